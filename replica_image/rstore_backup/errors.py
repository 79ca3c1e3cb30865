# ruff: noqa: N818 # they are named for what happened, as those of rstore_api are
"""What can go wrong with an archive."""

from __future__ import annotations


class ArchiveError(Exception):
    """Something about an archive; the text is for a person."""


class StoreUnavailable(ArchiveError):
    """The object store did not answer, or not as it should; the same request may succeed later."""


class AccessRefused(ArchiveError):
    """The object store knows no such credentials, or they may not do this."""


class DestinationInvalid(ArchiveError):
    """The destination is no URL of an object store, or names a bucket, container or folder that does not exist."""


class ObjectExists(ArchiveError):
    """An object of that name exists already; objects are never replaced."""


class ObjectMissing(ArchiveError):
    """There is no object of that name."""


class WrongStore(ArchiveError):
    """The archive, or an object in it, belongs to another store."""


class Damaged(ArchiveError):
    """An object is not what was written: cut off, changed, or of a version that this one does not read."""

    def __init__(self, name: str, offset: int, reason: str) -> None:
        """``offset`` is the byte of the object at which the reading stopped."""
        super().__init__(f"{name}: at byte {offset}: {reason}")
        self.name = name
        self.offset = offset
        self.reason = reason
