"""The tails of all regions, put together from what each replica answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rstore_api.proto.rstore_pb2 import LeavingTail, QuarantinedTail


@dataclass(frozen=True)
class Holding:
    """What one replica answered: the tails it knows, or why it did not answer."""

    region: str
    replica: str
    leader: bool = False
    tails: tuple[QuarantinedTail, ...] = ()
    leaving: LeavingTail | None = None
    problem: str = ""


@dataclass(frozen=True)
class RegionTail:
    """One tail of a region: its file, what is known of it, and who holds it."""

    region: str
    file: str
    known: QuarantinedTail
    holders: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    """Replicas that ought to hold it and do not, or whose file is damaged."""
    damage: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call it: ``region/epoch-first-last``."""
        return f"{self.region}/{self.file.removesuffix('.wal')}"


def tails_of(holdings: Sequence[Holding]) -> list[RegionTail]:
    """The tails of all regions, by region and first revision."""
    known: dict[tuple[str, str], QuarantinedTail] = {}
    for holding in holdings:
        for tail in holding.tails:
            held = known.get((holding.region, tail.file))
            if held is None or (tail.count and not held.count) or (held.unknown and not tail.unknown):
                known[holding.region, tail.file] = tail
    found = []
    for (region, file), tail in known.items():
        answers = [
            (holding, next((mine for mine in holding.tails if mine.file == file), None))
            for holding in holdings
            if holding.region == region and not holding.problem
        ]
        found.append(
            RegionTail(
                region,
                file,
                tail,
                holders=tuple(holding.replica for holding, mine in answers if mine is not None and mine.held),
                lacking=tuple(holding.replica for holding, mine in answers if mine is None or not mine.held),
                damage=tuple(mine.damage for _, mine in answers if mine is not None and mine.damage),
            )
        )
    return sorted(found, key=lambda tail: (tail.region, tail.known.first_revision, tail.file))


def is_called(tail: RegionTail, wanted: str) -> bool:
    """Whether a person who says ``wanted`` means this tail: with or without region and ``.wal``."""
    name = wanted.removesuffix(".wal")
    return name in (tail.name, tail.file.removesuffix(".wal"))
