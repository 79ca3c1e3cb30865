"""Which changes of status are worth a write at once."""

from __future__ import annotations

from msgspec.structs import replace

from rstore_operator.resource.state import StoreStatus

NUMBERS_EVERY_SECONDS = 5.0
"""Numbers that move all the time under load are written this often at most."""


def without_numbers(status: StoreStatus) -> StoreStatus:
    """The status without positions and lags."""
    regions = tuple(
        replace(
            region,
            commit_index=0,
            applied_index=0,
            revision=0,
            acked_revision=0,
            lag_revisions=0,
            lag_bytes=0,
            lag_seconds=0.0,
            hash=replace(region.hash, revision=0, value="") if region.hash is not None else None,
        )
        for region in status.regions
    )
    summary = replace(status.summary, lag="")
    backup = status.backup
    if backup is not None:
        backup = replace(backup, archived_revision=0, lag_revisions=0, lag_seconds=0.0, last_recoverable=None)
    return replace(status, regions=regions, summary=summary, backup=backup)


def due(before: StoreStatus, after: StoreStatus, seconds_since_write: float) -> bool:
    """Whether ``after`` should be written now."""
    if without_numbers(before) != without_numbers(after):
        return True
    return before != after and seconds_since_write >= NUMBERS_EVERY_SECONDS
