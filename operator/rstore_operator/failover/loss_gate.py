"""What an unplanned failover would lose, whether it may, and what it did lose.

In SemiSync every acknowledged write is in at least ``k`` other regions, where the primary has said so with the rounds
of its tenure (see ``rstore_replica/replication/tenure/guarantees.py``). When a majority of the fenced voters received
that last, it was true of all that was ever acknowledged. If, besides, so many of the other regions are fenced that
``k`` of them cannot all be missing, the one with most data holds everything. Otherwise an acknowledged write might be
missing, however small the lag was when the primary was last seen.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from msgspec import structs
from rstore_api.domain.epochs import History, count_at, epoch_of, parent_of
from rstore_api.domain.limits import MAX_OTHER_REGIONS
from rstore_api.domain.voters import WITNESS

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import FenceAnswer
from rstore_operator.failover.scene import Rules
from rstore_operator.failover.voting import Electorate
from rstore_operator.resource.state import PLANNED, QuarantinedTail, Receipt, RegionStatus


@dataclass(frozen=True)
class Loss:
    """What the old primary may have acknowledged that a region does not hold; None: not known.

    ``certain``: nothing at all. ``doubt`` says why it is not, where it should be.
    """

    revisions: int | None
    size_bytes: int | None
    certain: bool = False
    doubt: str = ""
    unacknowledged: int = 0
    """Revisions that the region lacks and that were never acknowledged, as far as is known."""
    acknowledged_by: str = ""
    """The primary that may have acknowledged it, where that is another one than the failover leaves."""

    def __str__(self) -> str:
        revisions = "an unknown number of" if self.revisions is None else str(self.revisions)
        size = "unknown size" if self.size_bytes is None else f"about {self.size_bytes} bytes"
        text = f"{revisions} revisions, {size}" if not self.doubt else f"something ({self.doubt})"
        return "nothing" if self.certain else text


NOTHING = Loss(0, 0, certain=True)


def expected_loss(from_region: str, from_epoch: int, last_known: int, target: FenceAnswer, answers:
                  Collection[FenceAnswer], memory: Memory, voters: Electorate, rules: Rules, *, final: bool
                  ) -> Loss:  # fmt: skip
    """What a promotion of ``target`` would lose, from where the regions that answered stand.

    ``final``: they are fenced, so that an old primary among them makes it exact. Where ``target`` has data of a later
    epoch, an earlier attempt of this failover made a primary that was lost again: then it is about what that one may
    have acknowledged.
    """
    if target.data_epoch > from_epoch:
        attempted = next((start.region for start in target.history if start.epoch == target.data_epoch), "")
        seen = memory.last_leaders.get(attempted)
        last_known = seen.revision if seen is not None else 0
        rules = replace(rules, witness_in_sync_regions=0)  # what the witness knows is of the epoch that is left
        loss = expected_loss(
            attempted, target.data_epoch, last_known, target, answers, memory, voters, rules, final=final
        )
        acknowledged_by = attempted or f"the primary of epoch {target.data_epoch}"
        return loss if loss.certain else replace(loss, acknowledged_by=acknowledged_by)
    if target.region == from_region:
        return NOTHING
    doubt = _doubt(from_region, from_epoch, target, answers, voters, rules) if rules.semi_sync else ""
    primary = memory.last_leaders.get(from_region)
    history = max((answer.history for answer in answers), key=epoch_of, default=())
    if primary is not None:
        history = max(history, primary.history, key=epoch_of)
    revisions = _lost(history, from_epoch, last_known, target.revision)
    source = next((answer for answer in answers if answer.region == from_region and final), None)
    if source is not None and source.data_epoch == target.data_epoch:
        revisions = max(0, source.revision - target.revision)
        if revisions == 0:
            return NOTHING
    if rules.semi_sync and not doubt:
        return Loss(0, 0, certain=True, unacknowledged=revisions or 0)
    lag = next((item for item in (primary.progress if primary else ()) if item.region == target.region), None)
    return Loss(revisions, lag.lag_bytes if lag else None, doubt=doubt)


def _doubt(
    from_region: str,
    from_epoch: int,
    target: FenceAnswer,
    answers: Collection[FenceAnswer],
    voters: Electorate,
    rules: Rules,
) -> str:
    """Why ``target`` might lack something that was acknowledged; "" when it cannot."""
    # What the old primary itself holds above is not acknowledged, by that same guarantee.
    elsewhere = [answer for answer in answers if answer.region != from_region]
    if any((answer.data_epoch, answer.revision) > (target.data_epoch, target.revision) for answer in elsewhere):
        return "another region holds more"
    guarantee = _guarantee(from_epoch, answers, voters, rules)
    if not guarantee:
        return f"not all that {from_region} had acknowledged was known to be in other regions when it answered last"
    present = {answer.region for answer in answers}
    for board in voters.boards:
        others = board - {WITNESS, from_region}
        if len(others & present) + guarantee <= len(others):
            missing = ", ".join(sorted(others - present))
            return f"a write is in {guarantee} of {len(others)} other regions, and {missing} cannot be asked"
    return ""


def _guarantee(from_epoch: int, answers: Collection[FenceAnswer], voters: Electorate, rules: Rules) -> int:
    """In how many other regions a majority of the voters knows everything to be; 0 when it knows nothing."""
    for regions in range(MAX_OTHER_REGIONS, 0, -1):
        knowing = {
            answer.region
            for answer in answers
            if answer.in_sync_epoch == from_epoch and answer.in_sync_regions >= regions
        }
        if rules.witness_in_sync_regions >= regions:
            knowing.add(WITNESS)
        if voters.decides(knowing):
            return regions
    return 0


def _lost(history: History, from_epoch: int, last_known: int, held: int) -> int | None:
    """How many revisions there are above ``held``, up to ``last_known``; None where it is not known what they are."""
    if not last_known or (history and epoch_of(history) < from_epoch and last_known > held):
        return None  # from_epoch may have begun with a jump
    return max(0, count_at(history, last_known) - count_at(history, held))


def loss_refusal(
    loss: Loss, region: str, from_region: str, from_epoch: int, rules: Rules, absent: Collection[str] = ()
) -> str:
    """Why the loss gate stays shut; "" when it is open.

    ``absent`` are regions that can never be asked again, without which there is no majority: whatever the spec says by
    now, and whatever is known of the loss, a person has to accept that nothing of them runs any more.
    """
    limit = rules.max_data_loss_bytes
    from_region = loss.acknowledged_by or from_region
    if rules.loss_accepted or region == from_region:
        return ""
    if absent:
        return (
            f"{region} may lack {loss} of what {from_region} acknowledged, and nothing is left of "
            f'{", ".join(sorted(absent))}; accept it by accept-data-loss: "{from_epoch}"'
        )
    if loss.certain or limit is None:
        return ""
    bearable = loss.size_bytes is not None and loss.size_bytes <= limit
    if bearable and (limit > 0 or not rules.semi_sync):
        return ""
    return (
        f"{region} may lack {loss} of what {from_region} acknowledged, maxDataLoss is {limit} "
        f'bytes; bring {from_region} back, or accept it by accept-data-loss: "{from_epoch}"'
    )


def corrected(history: tuple[Receipt, ...], regions: tuple[RegionStatus, ...], line: History) -> tuple[Receipt, ...]:
    """Receipts of failovers with what was lost as the quarantine of returned regions shows it.

    ``line`` is the history of epochs that the store goes on from; while it is not known, receipts stay as they are. The
    tail of the region that was left is exact. Another region may have had a part of the same revisions.
    """
    if not line:
        return history
    receipts = list(history)
    for index, receipt in enumerate(history):
        counts = {
            region.name: _left_out(receipt, tail)
            for region in regions
            for tail in region.quarantined
            if _leaver(history, line, tail, region.name) is receipt and region.name != receipt.to_region
        }
        if counts:
            count = "revisions_unacknowledged" if receipt.acknowledged_kept else "revisions_lost"
            known = 0 if receipt.from_region in counts else getattr(receipt, count)
            receipts[index] = structs.replace(receipt, **{count: max(known, *counts.values())})
    return tuple(receipts)


def _leaver(history: tuple[Receipt, ...], line: History, tail: QuarantinedTail, region: str) -> Receipt | None:
    """The failover that left behind the tail of this region: its epoch is the first one above the tail's that began
    from where the tail begins, or from further on. None when its receipt is gone, as after a status was lost.

    That epoch may itself have been left by a later failover, to a region that did not know it. Then it is not in
    ``line``, and its receipt says where it began.
    """
    epochs = {start.epoch for start in line}
    above = [start.epoch for start in line if start.epoch > tail.epoch and parent_of(start) >= tail.fork_revision]
    above += [
        receipt.epoch
        for receipt in history
        if receipt.epoch not in epochs
        and tail.epoch < receipt.epoch <= tail.replaced_by_epoch
        and receipt.mode != PLANNED
        and receipt.to_region != region
        and receipt.final_revision is not None
        and tail.fork_revision <= receipt.final_revision < tail.last_revision
    ]
    epoch = min(above, default=0)
    return next((receipt for receipt in history if receipt.epoch == epoch and receipt.mode != PLANNED), None)


def _is_before(receipt: Receipt, tail: QuarantinedTail) -> bool:
    return receipt.final_revision is None or receipt.final_revision < tail.last_revision


def _left_out(receipt: Receipt, tail: QuarantinedTail) -> int:
    """How many of the tail's revisions are after the last one that its leaver kept."""
    lost = tail.revisions or min(tail.rows, tail.last_revision - tail.first_revision + 1)
    kept = receipt.final_revision
    return lost if kept is None or not _is_before(receipt, tail) else min(lost, tail.last_revision - kept)
