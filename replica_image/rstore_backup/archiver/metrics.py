"""The archiver's Prometheus metrics, made of its progress at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rstore_backup.archiver.progress import Progress
from rstore_backup.report import DrillResult, Problem, Report


class Metrics:
    """All metrics of one archiver, in a registry of their own."""

    def __init__(self, progress: Progress, now_ms: Callable[[], int]) -> None:
        self._collector = _ProgressCollector(progress, now_ms)
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)

    def take_reading(self) -> None:
        """Implements ``exposition.Exposed``."""
        self._collector.take()

    def render(self) -> bytes:
        """Implements ``exposition.Exposed``."""
        return generate_latest(self._registry)


class _ProgressCollector(Collector):
    def __init__(self, progress: Progress, now_ms: Callable[[], int]) -> None:
        self._progress = progress
        self._now_ms = now_ms
        self._report: Report | None = None

    def take(self) -> None:
        self._report = self._progress.report(self._now_ms())

    def collect(self) -> Iterable[Metric]:
        report, progress = self._report, self._progress
        if report is None:
            return
        base, drill = report.last_base, report.last_drill
        for name, text, value in (
            ("revision", "Newest revision that is in the archive.", report.archived_revision),
            ("timestamp_seconds", "When the store was at that revision.", report.archived_time_ms / 1000),
            ("region_revision", "Newest revision of the region that is archived.", report.region_revision),
            ("lag_revisions", "Revisions that are not archived yet.", report.lag_revisions),
            ("lag_seconds", "Age of the oldest of them.", report.lag_seconds),
            ("line_from_revision", "What follows is archived without a hole.", report.line_from_revision),
            ("last_base_revision", "Revision of the base that was made last.", base.revision if base else 0),
            ("last_base_timestamp_seconds", "When it was made.", base.time_ms / 1000 if base else 0),
            ("failing", "1 while something fails, see /status.", report.error is not None),
        ):
            yield GaugeMetricFamily(f"rstore_archive_{name}", text, value=float(value))
        for name, text, value in (
            (
                ("timestamp_seconds", "When the last drill since the start began.", drill.time_ms / 1000),
                ("rto_seconds", "How long the last drill took to restore the archive.", drill.rto_seconds),
                ("rpo_seconds", "Age of the newest archived state at its beginning.", drill.rpo_seconds),
            )
            if drill is not None
            else ()
        ):
            yield GaugeMetricFamily(f"rstore_archive_drill_{name}", text, value=float(value))
        for name, text, count in (
            ("segments", "Segments written since the start.", progress.segments),
            ("segment_bytes", "Bytes of them.", progress.segment_bytes),
            ("bases", "Bases made since the start.", progress.bases),
            (
                "lost_revisions",
                "Revisions that were compacted before they were archived, as found since the start.",
                progress.lost_revisions,
            ),
        ):
            yield CounterMetricFamily(f"rstore_archive_{name}", text, value=count)
        errors = CounterMetricFamily(
            "rstore_archive_errors", "Attempts that failed, by what failed.", labels=("problem",)
        )
        for problem in Problem:
            errors.add_metric((problem.value,), progress.errors[problem])
        yield errors
        drills = CounterMetricFamily(
            "rstore_archive_drills", "Drills since the start, by their result.", labels=("result",)
        )
        for result in DrillResult:
            drills.add_metric((result.value,), progress.drills[result])
        yield drills
