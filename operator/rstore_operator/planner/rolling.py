"""What a roll of pods has to know of everything else that goes on."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.conditions.conditions import VOLUMES_GROWING, is_rolling
from rstore_operator.planning.conditions.lacking_pods import Lacking
from rstore_operator.planning.rollout.revisions import read_region
from rstore_operator.planning.rollout.steps import NO_ROLLOUT, Rollout, RolloutScene, plan_repair, plan_rollout
from rstore_operator.planning.rollout.turns import Turn
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.resource.state import StoreStatus


def rollout_of(
    store: str,
    effective: Effective | None,
    truth: Truth,
    observed: Observed,
    memory: Memory,
    lacking: Mapping[str, Lacking],
    commands: Commands,
    before: StoreStatus,
    turn: Turn,
    image: ReplicaImage,
    behind: Collection[str],
) -> Rollout:
    """Return the next step; nothing rolls while the spec is invalid, and before the store is created pods are only
    repaired.

    Pods are to have ``image``; the StatefulSets of the regions in ``behind`` do not have the newest template yet.
    """
    if effective is None:
        return NO_ROLLOUT
    decide = plan_rollout if truth.epoch else plan_repair
    return decide(
        RolloutScene(
            store=store,
            regions=tuple(
                read_region(store, region, image.of(effective.spec.pods).image, observed, behind=region.name in behind)
                for region in effective.spec.regions
            ),
            primary=truth.primary_region,
            epoch=truth.epoch,
            observed=observed,
            lacking_seconds=memory.lacking_seconds,
            lacking=lacking,
            shown=is_rolling(before),
            paused=commands.paused,
            not_now=_not_now(effective, commands, before),
            movable=effective.spec.failover.policy == "Automatic",
            turn=turn,
        )
    )


def _not_now(effective: Effective, commands: Commands, before: StoreStatus) -> str:
    """What else is being changed, for people; "" when nothing is."""
    if before.failover is not None or commands.failover_to is not None:
        return "the change of primary"
    if effective.scaling or effective.leaving:
        return f"the replicas of {', '.join([*(name for name, _ in effective.scaling), *sorted(effective.leaving)])}"
    return "larger volumes" if before.condition(VOLUMES_GROWING) is not None else ""
