"""What an archiver knows about itself, from which its report and its metrics are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rstore_api.domain.epochs import History, count_at, epoch_of

from rstore_backup.archiver.builder import FIRST
from rstore_backup.archiver.rules import recoverable
from rstore_backup.bases import Manifest
from rstore_backup.report import (
    SHOWN_BASES,
    BaseProgress,
    BaseReport,
    DrillProgress,
    DrillReport,
    DrillResult,
    ErrorReport,
    Phase,
    Problem,
    Report,
)

BASE_PARTS = frozenset({"session", "bases", "writing"})
"""The parts of the archiver without which no base is made."""


@dataclass
class Progress:
    """Changed by the parts of the archiver as they go on; times are milliseconds since 1970."""

    region: str = ""
    store_id: str = ""
    history: History = ()
    """Of the line that is being written."""
    archived_revision: int = 0
    archived_time_ms: int = 0
    region_revision: int = 0
    waiting_since_ms: int = 0
    line_from_revision: int = 0
    line_because: str = ""
    lost_revisions: int = 0
    manifests: tuple[Manifest, ...] = ()
    answered: dict[str, Manifest] = field(default_factory=dict)
    """By request, the base that answers it."""
    making: BaseProgress | None = None
    next_base_ms: int = 0
    last_drill: DrillReport | None = None
    drilling: DrillProgress | None = None
    drills: Counter[DrillResult] = field(default_factory=Counter)
    segments: int = 0
    segment_bytes: int = 0
    bases: int = 0
    errors: Counter[Problem] = field(default_factory=Counter)
    _failures: dict[str, ErrorReport] = field(default_factory=dict)
    seen_both: bool = False
    """Whether rows were read and the archive was, since the start."""

    def failed(self, part: str, problem: Problem, text: str, now_ms: int) -> None:
        """A part of the archiver (``session``, ``reading``, ``writing``, ``bases``, ``pruning`` or ``drills``) met with
        an error."""
        before = self._failures.get(part)
        self._failures[part] = ErrorReport(problem, text, now_ms, before.since_ms if before else now_ms)
        self.errors[problem] += 1

    def succeeded(self, part: str) -> None:
        """A part works again."""
        self._failures.pop(part, None)

    def drilled(self, report: DrillReport) -> None:
        """A drill has ended."""
        self.last_drill = report
        self.drills[report.result] += 1

    @property
    def recoverable(self) -> Manifest | None:
        """The oldest base from which the rows go on without a hole up to the newest that is archived."""
        if not self.history or self.archived_revision < self.line_from_revision:
            return None
        return recoverable(self.manifests, self.history, self.archived_revision, self.line_from_revision)

    @property
    def error(self) -> ErrorReport | None:
        """The error that has lasted longest."""
        return _oldest(self._failures.values())

    @property
    def base_error(self) -> ErrorReport | None:
        """The one that has lasted longest of those that keep bases from being made."""
        return _oldest(error for part, error in self._failures.items() if part in BASE_PARTS)

    def report(self, now_ms: int) -> Report:
        """Returns the report as of now."""
        error = self.error
        well = Phase.ARCHIVING if self.seen_both else Phase.STARTING
        shown = [base_report(manifest) for manifest in self.manifests]
        shown += [
            base_report(manifest, request) for request, manifest in self.answered.items() if request != manifest.request
        ]
        oldest = self.recoverable
        return Report(
            phase=well if error is None else Phase.FAILING,
            time_ms=now_ms,
            store_id=self.store_id,
            region=self.region,
            epoch=epoch_of(self.history),
            archived_revision=self.archived_revision,
            archived_time_ms=self.archived_time_ms,
            region_revision=self.region_revision,
            lag_revisions=max(0, self._count(self.region_revision) - self._count(self.archived_revision)),
            lag_seconds=self._lag_seconds(now_ms),
            line_from_revision=self.line_from_revision,
            line_because=self.line_because,
            hole="" if self.line_because == FIRST else self.line_because,
            first_recoverable_revision=oldest.revision if oldest else 0,
            first_recoverable_ms=oldest.time_ms if oldest else 0,
            last_base=newest(shown),
            bases=tuple(sorted(shown, key=lambda base: base.time_ms)[-SHOWN_BASES:]),
            making=self.making,
            next_base_ms=self.next_base_ms,
            last_drill=self.last_drill,
            drilling=self.drilling,
            error=error,
            base_error=self.base_error,
        )

    def _count(self, revision: int) -> int:
        """Returns how many revisions there are up to one: an epoch that begins after a jump left many out."""
        return count_at(self.history, revision)

    def _lag_seconds(self, now_ms: int) -> float:
        since = self.waiting_since_ms
        if self.error is not None and self.archived_time_ms:
            since = min(since or now_ms, self.archived_time_ms)
        return max(0, now_ms - since) / 1000 if since else 0.0


def _oldest(errors: Iterable[ErrorReport]) -> ErrorReport | None:
    return min(errors, key=lambda error: error.since_ms, default=None)


def base_report(manifest: Manifest, request: str | None = None) -> BaseReport:
    """Returns a base for the report, as the answer to a request if given."""
    return BaseReport(
        manifest.revision,
        manifest.epoch,
        manifest.time_ms,
        manifest.rows,
        manifest.size_bytes,
        manifest.duration_ms,
        manifest.request if request is None else request,
    )


def newest(reports: Sequence[BaseReport]) -> BaseReport | None:
    """Returns the base that was made last."""
    return max(reports, key=lambda base: base.time_ms, default=None)
