"""What the answers of replicas to HashKV say: do all hold the same data?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HashAnswer:
    """One replica's HashKV; None with a ``problem`` when it gave none."""

    region: str
    replica: str
    hash: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Verdict:
    """What one round says. ``differing`` regions hold something else than most; where it is even, than the primary."""

    revision: int
    hashes: Mapping[str, int] = field(default_factory=dict)
    """Each region's hash: that of most of its replicas."""
    differing: frozenset[str] = frozenset()
    text: str = ""
    """For a person: that they are equal, or which differ from which."""

    @property
    def equal(self) -> bool:
        """Whether all answers are the same."""
        return not self.differing


def compare(revision: int, answers: Iterable[HashAnswer], primary_region: str) -> Verdict | None:
    """The verdict on these answers; None when fewer than two replicas answered."""
    by_region: dict[str, dict[str, int]] = {}
    for answer in answers:
        if answer.hash is not None:
            by_region.setdefault(answer.region, {})[answer.replica] = answer.hash
    if sum(len(replicas) for replicas in by_region.values()) < 2:
        return None
    hashes = {region: _most_common(replicas.values()) for region, replicas in by_region.items()}
    usual = _most_common(hashes.values(), preferred=hashes.get(primary_region))
    odd: list[str] = []
    differing = set()
    for region, replicas in by_region.items():
        others = {name: value for name, value in replicas.items() if value != usual}
        if not others:
            continue
        differing.add(region)
        if len(others) == len(replicas) and len(set(others.values())) == 1:
            odd.append(f"{region} ({format_hash(hashes[region])})")
        else:
            odd += [f"{name} ({format_hash(value)})" for name, value in sorted(others.items())]
    usual_regions = ", ".join(region for region in by_region if hashes[region] == usual)
    if odd:
        text = f"hashes differ at revision {revision}: {', '.join(odd)} against {usual_regions} ({format_hash(usual)})"
    else:
        text = f"equal at revision {revision} in {usual_regions}"
    return Verdict(revision, hashes, frozenset(differing), text)


def _most_common(values: Collection[int], preferred: int | None = None) -> int:
    counts = Counter(values)
    most = max(counts.values())
    usual = [value for value, count in counts.items() if count == most]
    return preferred if preferred in usual else usual[0]


def format_hash(value: int) -> str:
    """As people see a hash."""
    return f"{value:08x}"
