"""The tables of faults: the primary region is being stopped, lost or cut off, or a change of primary is in trouble."""

from __future__ import annotations

from datetime import timedelta

from msgspec import structs

from rstore_operator.failover.choice import NO_COPY, candidates, loss_in, nearest, shortfall
from rstore_operator.failover.lost import cut_off, ending, primary_silence, silence, unfinished
from rstore_operator.failover.planned import overtaken
from rstore_operator.failover.rules.decisions import Begin, Decision, Rule, Wait, switchover
from rstore_operator.failover.scene import Scene
from rstore_operator.failover.unplanned import begin_unplanned, convert
from rstore_operator.resource.state import AUTOMATIC, FORCED, PLANNED, Outcome, Step, Trigger

RETRY_AFTER_SECONDS = 30.0
"""A region to which a move out of an ending region was given up is not tried again before this."""


def leave_ending_region(scene: Scene) -> Decision | None:
    """The primary region is being stopped: a switchover begins to the connected region that is nearest."""
    primary = scene.truth.primary_region
    given_up = {
        receipt.to_region
        for receipt in scene.status.history
        if receipt.outcome is Outcome.ABORTED
        and receipt.from_region == primary
        and (scene.clock.now - receipt.finished_at).total_seconds() < RETRY_AFTER_SECONDS
    }
    why, target = ending(primary, scene.observed), nearest(scene, given_up)
    if not why or target is None or scene.failover.policy != "Automatic":
        return None
    intent, source = switchover(scene, Trigger.PRIMARY_STOPPING, target), scene.observed.leader(primary)
    if source is not None and source.ending:
        stopped_at = scene.clock.now - timedelta(seconds=source.ending_seconds)
        intent = structs.replace(intent, stopped_at=stopped_at)
    return Begin(structs.replace(intent, reason=why), reported=False)


def policy_is_manual(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and the policy is Manual: waits for a person."""
    primary = scene.truth.primary_region
    if scene.failover.policy == "Automatic" or not _is_missed(scene):
        return None
    if primary_silence(scene) is not None:
        return Wait(
            "PolicyManual",
            f"{primary} is lost and spec.failover.policy is Manual; fail over by failover-to with "
            "failover-mode: forced",
        )
    return Wait(
        "PolicyManual",
        f"{primary} is cut off from a majority of the regions and spec.failover.policy is Manual; bring back the "
        "network, or fail over by failover-to with failover-mode: forced",
    )


def failover_lacks_voters(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and fewer voters than a majority can be reached: waits."""
    missing = shortfall(scene) if _is_missed(scene) else ""
    return Wait("NoMajority", missing) if missing else None


def tenure_in_doubt(scene: Scene) -> Decision | None:
    """The operator does not reach the primary region, and others may still see its tenure renewed: waits."""
    quiet = primary_silence(scene)
    return Wait("TenureInDoubt", quiet.doubt) if quiet and not quiet.lost and _is_missed(scene) else None


def no_copy(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and no region that answers holds a copy: waits."""
    return Wait("NoCopy", NO_COPY) if _is_missed(scene) and not candidates(scene) else None


def loss_gate_is_shut(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off, and the best region may lack more than may be lost: waits."""
    refusal = loss_in(scene, candidates(scene)[0])[1] if _is_missed(scene) else ""
    return Wait("DataLoss", refusal) if refusal else None


def failover_begins(scene: Scene) -> Decision | None:
    """The primary region is lost or cut off: a failover begins."""
    if not _is_missed(scene):
        return None
    if primary_silence(scene) is not None:
        return Begin(begin_unplanned(scene, AUTOMATIC, Trigger.PRIMARY_LOST))
    reason = f"{scene.truth.primary_region} {cut_off(scene)}"
    return Begin(begin_unplanned(scene, AUTOMATIC, Trigger.TENURE_LOST, reason=reason))


def finish_what_was_begun(scene: Scene) -> Decision | None:
    """Regions promised an epoch that nobody brings about: a failover begins, whatever the policy, or waits for voters.

    The old primary is chosen again if it has most data.
    """
    reason = unfinished(scene)
    if not reason:
        return None
    missing = shortfall(scene)
    if missing:
        return Wait("NoMajority", missing)
    intent = begin_unplanned(scene, AUTOMATIC, Trigger.PRIMARY_LOST, reason=reason)
    return Begin(structs.replace(intent, cut_off=False))


def switchover_is_promised_beyond(scene: Scene) -> Decision | None:
    """A region of the switchover has promised a later epoch, for a change of primary that `.status` does not know any
    more (it was restored from an older copy), so the switchover's commands are refused there: it turns into a failover,
    whatever the policy, or waits for voters."""
    intent = scene.status.failover
    if intent is None or intent.mode != PLANNED or intent.step is Step.REPOINTING:
        return None
    if overtaken(intent, scene.observed) is not None:  # that change of primary has come to its end
        return None
    leaders = [scene.observed.leader(name) for name in (intent.from_region, intent.to_region)]
    beyond = [
        leader for leader in leaders if leader is not None and leader.promised_epoch > max(intent.epoch, leader.epoch)
    ]
    if not beyond:
        return None
    missing = shortfall(scene)
    if missing:
        return Wait("NoMajority", missing)
    reason = (
        f"{beyond[0].region} has promised epoch {beyond[0].promised_epoch}, and the switchover makes {intent.epoch}"
    )
    return Begin(convert(scene, intent, AUTOMATIC, "", reason=reason), reported=False)


def switchover_loses_its_region(scene: Scene) -> Decision | None:
    """A switchover lost the region it depends on: it turns into a failover, or waits for voters, or for a person where
    the policy is Manual. When that region comes back before, the switchover goes on."""
    intent = scene.status.failover
    if intent is None or intent.mode != PLANNED or intent.step is Step.REPOINTING:
        return None
    needed, epoch = intent.from_region, intent.from_epoch
    if intent.step is Step.PROMOTING:
        needed, epoch = intent.to_region, intent.epoch
    forced = (
        scene.commands.forced and scene.named in scene.regions and scene.observed.leader(needed) is None
    )  # fmt: skip
    quiet = silence(scene, needed, epoch)
    if not forced and (quiet is None or not quiet.lost):
        return None
    if not forced and scene.failover.policy != "Automatic":
        return Wait(
            "PolicyManual",
            f"{needed} was lost while the switchover was {intent.step.value}, and spec.failover.policy is Manual; "
            "bring it back, or fail over by failover-to with failover-mode: forced",
        )
    missing = shortfall(scene)
    if missing:
        return Wait("NoMajority", missing)
    converted = convert(
        scene, intent, FORCED if forced else AUTOMATIC, scene.named if forced else "",
        reason=f"{needed} was lost while the switchover was {intent.step.value}",
    )  # fmt: skip
    return Begin(converted, reported=False)


ENDING: tuple[Rule, ...] = (leave_ending_region,)
LOST: tuple[Rule, ...] = (
    policy_is_manual, failover_lacks_voters, tenure_in_doubt, no_copy, loss_gate_is_shut, failover_begins,
)  # fmt: skip
UNFINISHED: tuple[Rule, ...] = (finish_what_was_begun,)
UNDER_WAY: tuple[Rule, ...] = (switchover_is_promised_beyond, switchover_loses_its_region)


def _is_missed(scene: Scene) -> bool:
    """Whether the primary region has been without a leader that answers for the failover delay, or is cut off."""
    quiet = primary_silence(scene)
    if quiet is None:
        return cut_off(scene) is not None
    waited_ms = (scene.clock.now - quiet.since).total_seconds() * 1000
    return waited_ms >= scene.failover.failover_delay_ms and (quiet.lost or not quiet.electing)
