"""What is in an archive, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rstore_backup.bases import Manifest
from rstore_backup.line import Line
from rstore_backup.restoring.plan import Span, time_of


def base_data(base: Manifest) -> dict[str, Any]:
    """Returns a base."""
    return {
        "revision": base.revision,
        "epoch": base.epoch,
        "time": time_of(base.time_ms),
        "rows": base.rows,
        "sizeBytes": base.size_bytes,
        "durationMs": base.duration_ms,
        "reason": base.reason,
    }


def spans_data(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """Returns what can be restored."""
    return [
        {
            "firstRevision": span.first_revision,
            "lastRevision": span.last_revision,
            "firstTime": time_of(span.first_time_ms),
            "lastTime": time_of(span.last_time_ms),
        }
        for span in spans
    ]


def holes_data(line: Line | None) -> list[dict[str, Any]]:
    """Returns where rows are missing."""
    holes = line.holes if line is not None else ()
    return [
        {"afterRevision": hole.after_revision, "untilRevision": hole.until_revision, "reason": hole.reason}
        for hole in holes
    ]


def branches_data(line: Line | None) -> list[dict[str, Any]]:
    """Returns what failovers have lost."""
    branches = line.branches if line is not None else ()
    return [
        {"epoch": branch.epoch, "forkRevision": branch.fork_revision, "lastRevision": branch.last_revision}
        for branch in branches
    ]
