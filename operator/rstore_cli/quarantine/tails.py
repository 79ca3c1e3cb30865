"""The tails of all regions, put together from what each replica answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rstore_api.proto.rstore_pb2 import LeavingTail, QuarantinedTail


@dataclass(frozen=True)
class Holding:
    """The answer of one replica: the tails that it knows, or why it did not answer."""

    region: str
    replica: str
    leader: bool = False
    tails: tuple[QuarantinedTail, ...] = ()
    leaving: LeavingTail | None = None
    problem: str = ""


@dataclass(frozen=True)
class RegionTail:
    """One tail of a region: its file, its record, and which replicas have it."""

    region: str
    file: str
    record: QuarantinedTail
    holders: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    """Replicas that should have it and do not, or whose file is damaged."""
    damage: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name for people: ``region/epoch-first-last``."""
        return f"{self.region}/{self.file.removesuffix('.wal')}"


def tails_of(holdings: Sequence[Holding]) -> list[RegionTail]:
    """Returns the tails of all regions, sorted by region and first revision."""
    records: dict[tuple[str, str], QuarantinedTail] = {}
    for holding in holdings:
        for tail in holding.tails:
            record = records.get((holding.region, tail.file))
            if record is None or (tail.count and not record.count) or (record.unknown and not tail.unknown):
                records[holding.region, tail.file] = tail
    tails = []
    for (region, file), tail in records.items():
        answers = [
            (holding, next((mine for mine in holding.tails if mine.file == file), None))
            for holding in holdings
            if holding.region == region and not holding.problem
        ]
        tails.append(
            RegionTail(
                region,
                file,
                tail,
                holders=tuple(holding.replica for holding, mine in answers if mine is not None and mine.held),
                lacking=tuple(holding.replica for holding, mine in answers if mine is None or not mine.held),
                damage=tuple(mine.damage for _, mine in answers if mine is not None and mine.damage),
            )
        )
    return sorted(tails, key=lambda tail: (tail.region, tail.record.first_revision, tail.file))


def is_called(tail: RegionTail, wanted: str) -> bool:
    """Returns whether ``wanted`` names this tail: with or without region and ``.wal``."""
    name = wanted.removesuffix(".wal")
    return name in (tail.name, tail.file.removesuffix(".wal"))
