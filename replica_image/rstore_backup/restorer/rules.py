"""What a restorer decides: which state it restores, whether the store is still empty, and what an error is about."""

from __future__ import annotations

from rstore_api.domain.epochs import BASE_REVISION
from rstore_api.errors import InvalidRequest, NoSpace, StoreError

from rstore_backup.errors import AccessRefused, ArchiveError, Damaged, DestinationInvalid, WrongStore
from rstore_backup.restore_config import RestoreConfig
from rstore_backup.restore_report import Pinned, RestoreProblem
from rstore_backup.restoring.archives import NoArchive
from rstore_backup.restoring.key_table import TableUnusable
from rstore_backup.restoring.plan import AtRevision, AtTime, Latest, NotRestorable, Target


class NotEmpty(Exception):  # noqa: N818
    """Something was written to the store that is not what is restored."""


class Different(Exception):  # noqa: N818
    """A key in the store is not what it is in the archive. To try again does not help."""


def target_of(config: RestoreConfig, filled: Pinned | None) -> tuple[Target, int | None]:
    """Returns which state is to be restored, and on the history of which epoch; None: of the newest. ``filled`` is
    the state that the store has already."""
    if filled is not None:
        return AtRevision(filled.revision), filled.epoch
    epoch = config.epoch or None
    if config.revision:
        return AtRevision(config.revision), epoch
    return (AtTime(config.time_ms) if config.time_ms else Latest()), epoch


def filled_with(pinned: Pinned | None, revision: int) -> Pinned | None:
    """Returns the state that the store, which is at ``revision``, has: all of ``pinned``, which was recorded before the
    first key was sent, or None, nothing. All of it becomes visible at once, so there is no third. Raises NotEmpty when
    it has something else.

    What it had is lost in time: its leases run out. So it may be at a later revision.
    """
    if revision == BASE_REVISION:
        return None
    if pinned is not None and revision >= pinned.final_revision:
        return pinned
    raise NotEmpty(f"data can be restored only into a store in which nothing was written, this one is at {revision}")


def problem_of(error: Exception) -> RestoreProblem:
    """Returns what an error is about."""
    for kinds, problem in _PROBLEMS:
        if isinstance(error, kinds):
            return problem
    return RestoreProblem.STORE_NOT_READY


_PROBLEMS: tuple[tuple[tuple[type[Exception], ...], RestoreProblem], ...] = (
    ((Different,), RestoreProblem.DIFFERENT),
    ((NotEmpty, InvalidRequest), RestoreProblem.STORE_REFUSES),
    ((NoSpace, TableUnusable), RestoreProblem.DISK_FULL),
    ((AccessRefused,), RestoreProblem.ACCESS_REFUSED),
    ((DestinationInvalid,), RestoreProblem.DESTINATION_INVALID),
    ((NoArchive, WrongStore), RestoreProblem.NO_ARCHIVE),
    ((NotRestorable,), RestoreProblem.NOT_RESTORABLE),
    ((Damaged,), RestoreProblem.ARCHIVE_DAMAGED),
    ((ArchiveError,), RestoreProblem.ARCHIVE_NOT_READ),
    ((StoreError,), RestoreProblem.STORE_NOT_READY),
)
"""The first that fits counts."""
