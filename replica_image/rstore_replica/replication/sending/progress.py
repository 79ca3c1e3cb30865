"""How far behind each other region is, in revisions, bytes and seconds.

Seconds means the age of the oldest revision not yet acknowledged. When each revision came to be is remembered as a
bounded list of samples; when it is full, neighbours are merged keeping the earlier time, so that an age may be
overstated by the distance of two samples but is never understated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from rstore_api.domain.epochs import BASE_REVISION, EpochStart, count_at


@dataclass(frozen=True)
class RegionProgress:
    """One region as this replica, the source's leader, sees it."""

    region: str
    connected: bool = False
    acked_revision: int = 0
    lag_revisions: int = 0
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    last_error: str = ""


class Timeline:
    """When revisions came to be, in at most ``max_samples`` samples."""

    def __init__(self, *, max_samples: int = 1024) -> None:
        if max_samples < 2:
            raise ValueError("a timeline needs at least two samples")
        self._max_samples = max_samples
        self._revisions: list[int] = []  # ascending; a sample covers the revisions above the one before it
        self._seconds: list[float] = []  # when the first of them came to be

    def __len__(self) -> int:
        return len(self._revisions)

    def add(self, revision: int, now: float) -> None:
        """Everything up to ``revision`` that is not known yet came to be at ``now``."""
        if self._revisions and revision <= self._revisions[-1]:
            return
        if len(self._revisions) >= self._max_samples:
            self._thin()
        self._revisions.append(revision)
        self._seconds.append(now)

    def first_after(self, revision: int) -> float | None:
        """Returns when the first revision above ``revision`` came to be; None when there is none."""
        position = bisect_right(self._revisions, revision)
        return self._seconds[position] if position < len(self._seconds) else None

    def forget_through(self, revision: int) -> None:
        """Nobody will ask for revisions up to ``revision`` any more."""
        position = bisect_right(self._revisions, revision)
        del self._revisions[:position]
        del self._seconds[:position]

    def _thin(self) -> None:
        self._revisions = self._revisions[1::2] + ([self._revisions[-1]] if len(self._revisions) % 2 else [])
        self._seconds = self._seconds[0::2]


class Progress:
    """Collects what writer, streams and acknowledgements report; answers lag per region.

    Times are readings of one monotonic clock, in seconds, passed in by the caller.
    """

    def __init__(self, *, max_samples: int = 1024) -> None:
        self._max_samples = max_samples
        self._timeline = Timeline(max_samples=max_samples)
        self._regions: dict[str, RegionProgress] = {}
        self._revision = 0
        self._history: tuple[EpochStart, ...] = ()
        self._bytes_per_revision = 0.0
        self._on_position: Callable[[str, int, int, bool], None] = lambda _region, _epoch, _revision, _anew: None
        self.urgent = False
        """Whether clients wait until other regions have what they wrote."""

    def on_position(self, callback: Callable[[str, int, int, bool], None]) -> None:
        """Calls back with region, epoch of the stream, revision, and whether a stream begins there."""
        self._on_position = callback

    def begin(self, regions: Iterable[str], revision: int, now: float) -> None:
        """This replica becomes the source. What exists already counts as written now: its age is not known here."""
        self._timeline = Timeline(max_samples=self._max_samples)
        self._regions = {}
        self._revision = 0
        self.keep_only(regions)
        self.wrote(revision, now)

    def end(self) -> None:
        """This replica is no source any more; nothing is known about other regions."""
        self._timeline = Timeline(max_samples=self._max_samples)
        self._regions = {}

    def keep_only(self, regions: Iterable[str]) -> None:
        """The other regions are exactly these; what is known of those that stay is kept."""
        self._regions = {name: self._regions.get(name, RegionProgress(name)) for name in regions}
        self._forget()

    def follow(self, history: Iterable[EpochStart]) -> None:
        """The source's epochs: what they leave out is no lag."""
        self._history = tuple(history)

    def wrote(self, revision: int, now: float) -> None:
        """The source's own revision is now ``revision``."""
        if revision > self._revision:
            self._revision = revision
            self._timeline.add(revision, now)
            self._forget()

    def measured(self, revisions: int, size_bytes: int) -> None:
        """``revisions`` revisions took ``size_bytes``; bytes not yet read are estimated from a moving average."""
        if revisions <= 0:
            return
        sample = size_bytes / revisions
        self._bytes_per_revision = (
            sample if self._bytes_per_revision == 0 else 0.8 * self._bytes_per_revision + 0.2 * sample
        )

    def stands_at(self, region: str, revision: int, *, epoch: int) -> None:
        """A stream of ``epoch`` begins: ``region`` has committed ``revision``, and nothing above it."""
        progress = self._regions.get(region)
        if progress is not None:
            self._regions[region] = replace(progress, acked_revision=revision)
            self._forget()
            self._on_position(region, epoch, revision, True)

    def acked(self, region: str, revision: int, *, epoch: int) -> None:
        """``region`` reported on a stream of ``epoch`` that it has committed ``revision``."""
        progress = self._regions.get(region)
        if progress is not None and revision > progress.acked_revision:
            self._regions[region] = replace(progress, acked_revision=revision)
            self._forget()
            self._on_position(region, epoch, revision, False)

    def connected(self, region: str) -> None:
        """A stream to ``region`` is established."""
        if region in self._regions:
            self._regions[region] = replace(self._regions[region], connected=True, last_error="")

    def disconnected(self, region: str, error: str) -> None:
        """There is no stream to ``region``; ``error`` says why, for people."""
        if region in self._regions:
            self._regions[region] = replace(self._regions[region], connected=False, last_error=error)

    def snapshot(self, now: float) -> tuple[RegionProgress, ...]:
        """Returns every other region with its lag at ``now``, in order of name."""
        return tuple(self._with_lag(self._regions[name], now) for name in sorted(self._regions))

    def _with_lag(self, progress: RegionProgress, now: float) -> RegionProgress:
        acked = count_at(self._history, max(progress.acked_revision, BASE_REVISION))
        behind = max(0, count_at(self._history, self._revision) - acked)
        if behind == 0:
            return progress
        since = self._timeline.first_after(progress.acked_revision)
        return replace(
            progress,
            lag_revisions=behind,
            lag_bytes=round(behind * self._bytes_per_revision),
            lag_seconds=0.0 if since is None else max(0.0, now - since),
        )

    def _forget(self) -> None:
        if self._regions:
            self._timeline.forget_through(min(progress.acked_revision for progress in self._regions.values()))
