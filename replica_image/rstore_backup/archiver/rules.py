"""When a base is made, and what of the archive is not kept any longer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rstore_api.domain.epochs import History
from rstore_api.domain.forks import Chain, fork_revision
from rstore_api.domain.schedule import Schedule

from rstore_backup import names
from rstore_backup.bases import Manifest


@dataclass(frozen=True)
class Wanted:
    """A base that is to be made now."""

    reason: str
    request: str = ""
    scheduled: bool = False


def on_line(manifest: Manifest, history: History, revision: int) -> bool:
    """Whether a base is of a line, and not of a branch that was lost."""
    chain = Chain.of(history, max(revision, manifest.revision))
    return fork_revision(chain, Chain.of(manifest.history, manifest.revision)) == manifest.revision


def recoverable(
    manifests: Sequence[Manifest], history: History, revision: int, line_from_revision: int
) -> Manifest | None:
    """Returns the oldest base from which the rows go without a hole up to ``revision``, the line's end."""
    usable = [
        manifest
        for manifest in manifests
        if line_from_revision <= manifest.revision <= revision and on_line(manifest, history, revision)
    ]
    return min(usable, key=lambda manifest: manifest.revision, default=None)


def wanted(
    *,
    has_base: bool,
    last_base_ms: int,
    requests: Sequence[str],
    answered: Collection[str],
    schedule: str,
    now_ms: int,
) -> Wanted | None:
    """Returns the base that is to be made now, if any: where the line has none, on request, or by schedule.

    ``last_base_ms`` is when the newest was made, or the schedule was followed for the last time.
    """
    request = next((each for each in requests if each not in answered), "")
    if not has_base:
        return Wanted("the line had no base", request)
    if request:
        return Wanted("it was requested", request)
    if schedule and last_base_ms < _ms(Schedule.parse(schedule).before(_moment(now_ms + 1))):
        return Wanted("by schedule", scheduled=True)
    return None


def next_base_ms(schedule: str, now_ms: int) -> int:
    """Returns when the schedule wants the next base; 0 where there is none."""
    return _ms(Schedule.parse(schedule).after(_moment(now_ms))) if schedule else 0


@dataclass(frozen=True)
class Pruning:
    """What is to be removed, in this order."""

    bases: tuple[Manifest, ...]
    """Newest first."""
    epoch: int
    """With ``revision``, of the oldest base that is kept: what only serves older ones is not needed."""
    revision: int


def pruning(
    manifests: Sequence[Manifest],
    history: History,
    revision: int,
    *,
    keep_bases: int,
    keep_seconds: int,
    now_ms: int,
) -> Pruning | None:
    """Returns what is older than both bounds; None where everything is kept. History and revision are the line's.

    Bases of branches that were lost count for neither bound: they go with the bases of the line that are older. So that
    every moment of the last ``keep_seconds`` stays recoverable, the newest base before them is kept as well.
    """
    if not keep_bases and not keep_seconds:
        return None
    of_line = [manifest for manifest in manifests if on_line(manifest, history, revision)]
    newest_first = sorted(of_line, key=lambda manifest: (manifest.time_ms, manifest.revision), reverse=True)
    kept = max(1, keep_bases)
    if keep_seconds:
        since = now_ms - 1000 * keep_seconds
        young = sum(1 for manifest in newest_first if manifest.time_ms > since)
        kept = max(kept, young + 1)
    if not newest_first:
        return None
    oldest = min(newest_first[:kept], key=lambda manifest: manifest.revision)
    dropped = tuple(
        manifest
        for manifest in sorted(manifests, key=lambda manifest: manifest.revision, reverse=True)
        if manifest.revision < oldest.revision
    )
    return Pruning(dropped, oldest.epoch, oldest.revision) if dropped else None


def not_needed(segments: Sequence[str], epoch: int, revision: int) -> tuple[str, ...]:
    """Returns the segments, of names in their order, that no restore from a base at that revision, or a later one,
    reads: all that are before the one that may have the revision.
    """
    places = [(place, name) for name in segments if (place := names.parse_segment(name)) is not None]
    before = [name for place, name in places if place <= (epoch, revision)]
    return tuple(before[:-1])


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
