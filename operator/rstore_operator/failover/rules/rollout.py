"""The table of rolls: the primary moves before its region is stopped for a new pod, and back when all is done."""

from __future__ import annotations

from msgspec import structs

from rstore_operator.failover.choice import nearest, obstacles
from rstore_operator.failover.rules.decisions import Begin, Decision, Rule, switchover
from rstore_operator.failover.rules.preferred_primary import is_whole_and_close
from rstore_operator.failover.scene import Scene
from rstore_operator.resource.state import Outcome, Trigger


def leave_for_rollout(scene: Scene) -> Decision | None:
    """The primary region stops while a pod of it is replaced: a switchover begins to the nearest region."""
    target = nearest(scene) if scene.leave_primary else None
    if target is None:
        return None
    return Begin(
        structs.replace(switchover(scene, Trigger.ROLLOUT, target), reason=scene.leave_primary), reported=False
    )


def return_after_rollout(scene: Scene) -> Decision | None:
    """The roll is over and has moved the primary away from ``spec.primaryRegion``: a switchover back begins."""
    home = scene.spec.primary_region if scene.spec else ""
    if scene.rolling or not home or home == scene.truth.primary_region or not _was_left(scene, home):
        return None
    if obstacles(scene, home) or not is_whole_and_close(scene, home):
        return None
    return Begin(switchover(scene, Trigger.ROLLOUT, home), reported=False)


def _was_left(scene: Scene, home: str) -> bool:
    """Whether only rolls have moved the primary since it was in that region."""
    for receipt in reversed(scene.status.history):
        if receipt.trigger is not Trigger.ROLLOUT:
            return False
        if receipt.outcome is Outcome.SUCCEEDED and receipt.from_region == home:
            return True
    return False


ROLLOUT: tuple[Rule, ...] = (leave_for_rollout, return_after_rollout)
