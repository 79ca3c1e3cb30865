"""What the planner needs of the unplanned failover beside its own steps: how it is driven, grants, receipts. Pure."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs
from rstore_api.domain.kubernetes import ABORT_FAILOVER, ACCEPT_DATA_LOSS, FAILOVER_MODE, FAILOVER_TO

from rstore_operator.facts.actions import GrantTenure, Target
from rstore_operator.failover.lost import silence
from rstore_operator.failover.planned import Progressed
from rstore_operator.failover.requests import Answer
from rstore_operator.failover.scene import Scene
from rstore_operator.failover.unplanned import advance_unplanned
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.state import (
    FORCED,
    PLANNED,
    FailoverIntent,
    QuarantinedTail,
    Receipt,
    RegionStatus,
    Step,
)


def advance_in(scene: Scene, intent: FailoverIntent, reply: Answer, *, told: bool) -> Progressed:
    """One look at the failover under way; what stops it goes into ``reply``."""
    truth, clock = scene.truth, scene.clock
    if intent is not scene.status.failover:
        clock = replace(clock, recorded_at_seconds=None)  # begins with this very plan
    chosen_is_lost = False
    if intent.step is Step.PROMOTING:
        delay_ms = scene.failover.failover_delay_ms
        quiet = silence(
            intent.to_region, intent.epoch, scene.observed, scene.memory, scene.voters, delay_ms=delay_ms, now=clock.now
        )
        chosen = scene.observed.leader(intent.to_region)
        without_data = chosen is not None and chosen.epoch == 0  # no region is chosen that has not received anything
        chosen_is_lost = without_data or (quiet is not None and quiet.lost)
    progressed = advance_unplanned(
        intent,
        scene.observed,
        scene.memory,
        scene.voters,
        scene.rules,
        clock,
        highest_epoch=max(truth.highest_epoch, truth.promised_epoch),
        chosen_is_lost=chosen_is_lost,
        told=told,
    )
    if progressed.blocked:
        reply.blocked, reply.blocked_reason = progressed.blocked, "FailoverWaits"
    return progressed


def finished_requests(commands: Commands, intent: FailoverIntent) -> dict[str, str]:
    """Annotations that a change of primary has taken care of once it is at its last step."""
    found = {}
    if commands.failover_to is not None and (commands.failover_to == intent.to_region or intent.mode == FORCED):
        found[FAILOVER_TO] = commands.failover_to
        if commands.failover_mode is not None:
            found[FAILOVER_MODE] = commands.failover_mode
    if intent.mode != PLANNED and commands.accepted_epoch == intent.from_epoch:
        found[ACCEPT_DATA_LOSS] = commands.accept_data_loss or ""
    if commands.abort_failover is not None and (intent.aborted or intent.mode != PLANNED):
        found[ABORT_FAILOVER] = commands.abort_failover
    return found


def grants(scene: Scene, intent: FailoverIntent | None, target: Target | None, store_id: str) -> list[GrantTenure]:
    """The witness' grant, where the primary's leader asks for one and nothing higher is promised.

    The promise is read again by whoever carries this out: after the round was offered, and before it is granted.
    """
    leader = scene.observed.leader(scene.truth.primary_region) if scene.truth.primary_region else None
    if leader is None or leader.tenure is None or target is None or not scene.voters.witness:
        return []
    if not leader.tenure.witness_round or not leader.primary or leader.epoch < scene.status.promised_epoch:
        return []
    if intent is not None and intent.epoch > leader.epoch:
        return []
    offer = leader.tenure
    return [GrantTenure(leader.region, target, store_id, leader.epoch, offer.witness_round, offer.duration_ms)]


def witness_promise(intent: FailoverIntent | None) -> int:
    """The epoch that is promised by putting this intent on record."""
    return 0 if intent is None or intent.mode == PLANNED else intent.epoch


def corrected(history: tuple[Receipt, ...], regions: tuple[RegionStatus, ...]) -> tuple[Receipt, ...]:
    """Receipts of failovers with what was lost as the quarantine of returned regions shows it.

    The tail of the region that was left is exact. Another region may have had a part of the same revisions.
    """
    found = list(history)
    for index, receipt in enumerate(history):
        counts = {
            region.name: _left_out(receipt, tail)
            for region in regions
            for tail in region.quarantined
            if _leaver(history, tail) is receipt and region.name != receipt.to_region
        }
        if counts:
            known = 0 if receipt.from_region in counts else receipt.revisions_lost
            found[index] = structs.replace(receipt, revisions_lost=max(known, *counts.values()))
    return tuple(found)


def _leaver(history: tuple[Receipt, ...], tail: QuarantinedTail) -> Receipt | None:
    """The first failover out of that epoch that went on from before the tail's end."""
    for receipt in history:
        if (
            receipt.mode != PLANNED
            and tail.epoch < receipt.epoch <= tail.replaced_by_epoch
            and _left_out(receipt, tail)
        ):
            return receipt
    return None


def _left_out(receipt: Receipt, tail: QuarantinedTail) -> int:
    """How many of the tail's revisions are after the last one that the failover kept."""
    lost = tail.revisions or min(tail.rows, tail.last_revision - tail.first_revision + 1)
    kept = receipt.final_revision
    return lost if kept is None else max(0, min(lost, tail.last_revision - kept))
