"""The tables of ``spec.primaryRegion``: the primary moves there when it is edited, when the region that is primary
leaves, and after a failover."""

from __future__ import annotations

from rstore_operator.failover.choice import obstacles, too_far
from rstore_operator.failover.rules.decisions import Begin, Decision, Rule, Wait, switchover
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.state import PLANNED, Outcome, Trigger

FAILBACK_AFTER_SECONDS = 10.0
"""How long after a failover the primary moves back at the earliest."""
FAILBACK_LAG_SECONDS = 1.0


RETRY_SECONDS = 30.0
"""How long after a switchover out of a region that leaves was given up the next one begins at the earliest."""


def edited_primary(scene: Scene) -> Decision | None:
    """``spec.primaryRegion`` was edited: a switchover begins, or waits until it can."""
    home = scene.spec.primary_region if scene.spec else ""
    if not scene.status.preferred_primary or home in (scene.status.preferred_primary, scene.truth.primary_region):
        return None
    return _move(scene, home)


def removed_primary(scene: Scene) -> Decision | None:
    """The primary region was taken out of the spec: a switchover to ``spec.primaryRegion`` begins, or waits until it
    can; it is tried again after one that was given up."""
    primary, last = scene.truth.primary_region, scene.last_receipt
    if scene.spec is None or not scene.status.preferred_primary or primary in scene.spec.region_names:
        return None
    given_up = last is not None and last.outcome is Outcome.ABORTED and last.from_region == primary
    if last is not None and given_up and (scene.clock.now - last.finished_at).total_seconds() < RETRY_SECONDS:
        return None
    return _move(scene, scene.spec.primary_region)


def _move(scene: Scene, home: str) -> Decision:
    blocked, far = obstacles(scene, home), too_far(scene, home)
    if blocked:
        return Wait("SwitchoverBlocked", blocked)
    if far:
        return Wait("TargetBehind", f"{far}; the switchover begins once it is close")
    return Begin(switchover(scene, Trigger.SPEC, home))


def failback(scene: Scene) -> Decision | None:
    """The region that is preferred is whole and close again after a change that nobody asked for: a switchover back
    begins, once."""
    if not _goes_back(scene) or scene.spec is None or scene.last_receipt is None:
        return None
    home = scene.spec.primary_region
    rested = (scene.clock.now - scene.last_receipt.finished_at).total_seconds() >= FAILBACK_AFTER_SECONDS
    if not rested or obstacles(scene, home) or not is_whole_and_close(scene, home):
        return None
    return Begin(switchover(scene, Trigger.FAILBACK, home))


def waits_for_home(scene: Scene) -> bool:
    """Whether the primary is to move to ``spec.primaryRegion`` by itself as soon as it can."""
    home = scene.spec.primary_region if scene.spec else ""
    if home == scene.truth.primary_region:
        return False
    return scene.status.preferred_primary != home or _goes_back(scene)


def _goes_back(scene: Scene) -> bool:
    """Whether the last change of primary is one after which the primary moves back."""
    last = scene.last_receipt
    if scene.spec is None or scene.failover.failback != "Automatic" or last is None:
        return False
    unasked = last.mode != PLANNED or last.trigger is Trigger.PRIMARY_STOPPING
    moved = scene.spec.primary_region != last.to_region == scene.truth.primary_region
    return last.outcome is Outcome.SUCCEEDED and unasked and moved


def is_whole_and_close(scene: Scene, region: str) -> bool:
    """Whether all pods of a secondary region are ready, and it is close behind the primary."""
    lag, wanted = scene.progress(region), scene.spec.region(region) if scene.spec else None
    whole = wanted is not None and scene.observed.region(region).ready_pods >= wanted.replicas
    return whole and lag is not None and lag.connected and lag.lag_seconds < FAILBACK_LAG_SECONDS


SPEC: tuple[Rule, ...] = (edited_primary, removed_primary)
FAILBACK: tuple[Rule, ...] = (failback,)
