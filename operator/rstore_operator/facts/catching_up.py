"""For how long the target of a switchover has come no nearer to the revision that it needs."""

from __future__ import annotations

from rstore_operator.facts.observed import Observed
from rstore_operator.resource.state import Step, StoreStatus

Position = tuple[int, int, int]
"""The epoch and the revision of a region's data, and the rows of a snapshot that it receives."""
Standstill = tuple[int, Position, float]
"""The epoch of the switchover, the furthest position that its target reported, and since when it has been there."""

NOWHERE: Position = (0, 0, 0)
"""The position of a region without a leader that answers."""


def standstill(before: Standstill | None, observed: Observed, status: StoreStatus, seconds: float) -> Standstill | None:
    """The standstill after a look at ``seconds``; None unless a switchover waits for its target to catch up.

    Only a position beyond the furthest one is progress: a region that falls silent, or that receives a snapshot again
    from its beginning, is as far as before.
    """
    intent = status.failover
    if intent is None or intent.step is not Step.CATCHING_UP:
        return None
    leader = observed.leader(intent.to_region)
    position = NOWHERE
    if leader is not None:
        position = (leader.epoch, leader.revision, leader.staged.rows if leader.staged is not None else 0)
    if before is None or before[0] != intent.epoch or position > before[1]:
        return intent.epoch, position, seconds
    return before
