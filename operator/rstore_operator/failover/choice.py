"""Which region becomes primary when the old one is lost, what that would lose, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rstore_operator.planning.observed import FenceAnswer, Observed

REVISION_JUMP = 10**9
"""How far above its parent's last revision an epoch begins, so that no revision of a lost tail is ever used again."""


@dataclass(frozen=True)
class Rules:
    """What the spec and the object's annotations say about this failover."""

    priorities: Mapping[str, int]
    """The regions that may become primary; the lowest number first."""
    lease_ms: int
    max_data_loss_bytes: int | None = None
    loss_accepted: bool = False
    abort: bool = False


@dataclass(frozen=True)
class Loss:
    """What the old primary may have acknowledged that a region does not hold; None: not known."""

    revisions: int | None
    size_bytes: int | None

    def __str__(self) -> str:
        revisions = "an unknown number of" if self.revisions is None else str(self.revisions)
        size = "unknown size" if self.size_bytes is None else f"about {self.size_bytes} bytes"
        return f"{revisions} revisions, {size}"


def ranked(positions: Collection[FenceAnswer], priorities: Mapping[str, int]) -> list[FenceAnswer]:
    """Regions that may become primary, best first: most data, then lowest priority number, then name.

    A region of epoch 0 has never received anything: it is no copy of the store.
    """
    able = [found for found in positions if found.region in priorities and found.data_epoch > 0]
    return sorted(able, key=lambda a: (-a.data_epoch, -a.revision, priorities[a.region], a.region))


def expected_loss(intent_from: str, from_epoch: int, last_known: int, target: FenceAnswer, observed: Observed,
                  *, source: FenceAnswer | None) -> Loss:  # fmt: skip
    """What a promotion of ``target`` would lose. Exact when the old primary is among the fenced (``source``)."""
    if target.region == intent_from or target.data_epoch > from_epoch:
        return Loss(0, 0)
    revisions: int | None = max(0, _count(last_known) - _count(target.revision)) if last_known else None
    if source is not None and source.data_epoch == target.data_epoch:
        revisions = max(0, source.revision - target.revision)
        if revisions == 0:
            return Loss(0, 0)
    primary = observed.last_leaders.get(intent_from)
    lag = next((item for item in (primary.progress if primary else ()) if item.region == target.region), None)
    return Loss(revisions, lag.lag_bytes if lag else None)


def _count(revision: int) -> int:
    """How many revisions there are up to this one: what failovers have left out is always a multiple of the jump."""
    return revision % REVISION_JUMP


def loss_refusal(loss: Loss, region: str, from_region: str, from_epoch: int, rules: Rules) -> str:
    """Why the loss gate stays shut; "" when it is open."""
    if rules.max_data_loss_bytes is None or rules.loss_accepted or loss.size_bytes == 0:
        return ""
    if loss.size_bytes is not None and loss.size_bytes <= rules.max_data_loss_bytes:
        return ""
    return (
        f"{region} may lack {loss} of what {from_region} acknowledged, maxDataLoss is {rules.max_data_loss_bytes} "
        f'bytes; bring {from_region} back, or accept it by accept-data-loss: "{from_epoch}"'
    )
