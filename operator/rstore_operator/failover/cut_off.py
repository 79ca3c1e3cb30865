"""A primary whose leader the operator reaches, and the other regions do not: nobody renews its tenure. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.facts.without_tenure import is_stuck, streams_to
from rstore_operator.failover.voting import Electorate
from rstore_operator.resource.commands import Commands
from rstore_operator.resource.state import PLANNED, Outcome, Receipt


@dataclass(frozen=True)
class CutOff:
    """Voters that did renew the tenure of this epoch, the last of them ``seconds`` ago."""

    regions: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return f"it holds no tenure, which {', '.join(self.regions)} renewed last {self.seconds:.1f} s ago"


def cut_off(
    truth: Truth, observed: Observed, memory: Memory, voters: Electorate, *, last: Receipt | None, delay_ms: int
) -> CutOff | None:
    """Judge the primary region; None unless its leader answers, holds no tenure, and a majority has not renewed it.

    Only voters that granted in this very epoch count, or before the switchover that came to nothing and gave the region
    this epoch. A primary that was made so while the regions do not reach each other never gets a tenure, and is not
    replaced again and again.
    """
    primary = truth.primary_region
    if not is_stuck(primary, memory) or memory.without_tenure_seconds[primary] * 1000 < delay_ms:
        return None
    ages = _ages_ms(truth, observed, voters, since_epoch=1 if _stayed(truth, last) else truth.epoch)
    late = {name: age_ms for name, age_ms in ages.items() if age_ms >= delay_ms}
    return CutOff(tuple(sorted(late)), min(late.values()) / 1000) if voters.decides(late) else None


def unrenewed_seconds(truth: Truth, observed: Observed, memory: Memory, voters: Electorate) -> float:
    """For how long a primary without the tenure has acknowledged nothing, at most."""
    ages = _ages_ms(truth, observed, voters, since_epoch=truth.epoch)
    return min(ages.values()) / 1000 if ages else memory.without_tenure_seconds.get(truth.primary_region, 0.0)


def _stayed(truth: Truth, last: Receipt | None) -> bool:
    """Whether the present epoch is that of a switchover after which the old primary was primary again."""
    return last is not None and (last.mode, last.epoch, last.from_region, last.outcome) == (
        PLANNED,
        truth.epoch,
        truth.primary_region,
        Outcome.ABORTED,
    )


def _ages_ms(truth: Truth, observed: Observed, voters: Electorate, *, since_epoch: int) -> dict[str, int]:
    """How long ago the other regions granted last, where they did in that epoch or later."""
    leaders = {name: observed.leader(name) for name in voters.regions - {truth.primary_region}}
    return {
        name: leader.granted.age_ms
        for name, leader in leaders.items()
        if leader is not None and leader.granted is not None and leader.granted.epoch >= since_epoch
    }


def takes_the_planned_way(commands: Commands, observed: Observed, memory: Memory, truth: Truth) -> bool:
    """Whether a forced failover need not be one: the primary can hand over, and nobody accepted to lose anything."""
    source = observed.leader(truth.primary_region)
    accepted = commands.accepted_epoch == truth.epoch
    target = commands.failover_to or ""
    hands_over = source is not None and source.writable and not is_apart(target, observed, memory, truth)
    return not commands.forced or (hands_over and not accepted)


def is_apart(region: str, observed: Observed, memory: Memory, truth: Truth) -> bool:
    """Whether the primary has been without its tenure for long, and nothing it holds reaches the region."""
    primary = truth.primary_region
    return is_stuck(primary, memory) and not streams_to(observed.leader(primary), region)
