"""Which regions the primary goes by, or may go by since it was told last: kept on record. Pure.

The primary needs the grants of a majority of the regions in its topology. Who fences must have a majority of the same,
also when the primary cannot be asked, when this operator has never seen it, and when regions that it never heard of
have come, or come back, meanwhile. So before a topology is sent to a primary, or with a promotion, its regions are on
record; and they stay there until the primary is seen to hold a topology that is as new, since it takes no older one
after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rstore_api.domain.topology import Topology

from rstore_operator.facts.actions import Action, Bootstrap, Promote, PushTopology
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.resource.state import ToldRegions


def next_told(
    before: tuple[ToldRegions, ...], actions: Iterable[Action], observed: Observed, truth: Truth
) -> tuple[ToldRegions, ...]:
    """The record that has to be written before ``actions`` are carried out."""
    found = set(before)
    held = _held_by_primary(observed, truth)
    if held is not None:
        newer = {told for told in before if (told.epoch, told.version) > (held.epoch, held.version)}
        found = newer | {_told(held)}
    found |= {
        _told(action.topology)
        for action in actions
        if isinstance(action, Bootstrap | Promote | PushTopology) and action.region == action.topology.primary_region
    }
    return tuple(sorted(found, key=lambda told: (told.epoch, told.version, told.regions)))


def version_above(record: tuple[ToldRegions, ...], epoch: int, wanted: Collection[str]) -> int:
    """A topology of ``epoch`` with the ``wanted`` regions has to be newer than this: once the primary holds it, nothing
    that was sent before can take its place, and what was sent before needs no majority any more.
    """
    others = [told.version for told in record if told.epoch == epoch and set(told.regions) != set(wanted)]
    return max(others, default=0)


def _held_by_primary(observed: Observed, truth: Truth) -> Topology | None:
    leader = observed.leader(truth.primary_region) if truth.primary_region else None
    if leader is None or not leader.primary or leader.epoch != truth.epoch or leader.topology is None:
        return None
    return leader.topology if leader.topology.epoch == leader.epoch else None


def _told(topology: Topology) -> ToldRegions:
    return ToldRegions(topology.epoch, topology.version, tuple(sorted(region.name for region in topology.regions)))
