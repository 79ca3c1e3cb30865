"""The volume of a replica is for one process, and for one region of one store: a file beside the data names the store
and the region that wrote it first.

A pod gets its volume by name, and the names of two stores and their regions may meet: region ``west`` of ``orders-eu``
and region ``eu-west`` of ``orders``. A volume of another store or region is left as it is.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
from rstore_api.logs import get_logger

from rstore_replica.durable_files import write_durably

_log = get_logger(__name__)

FILE_NAME = "owner.json"


class VolumeError(Exception):
    """The volume must not be used; the text says why."""


class Owner(msgspec.Struct, frozen=True):
    """The store and the region, by name."""

    store: str
    region: str

    def __str__(self) -> str:
        return f"region {self.region} of store {self.store}"


def claim_volume(directory: Path, owner: Owner) -> int:
    """Makes sure that the data is the owner's and that no other process uses it; returns the lock's descriptor.

    Raises VolumeError, OSError; nothing but the lock's file is written then.
    """
    require_owner(directory, owner)
    lock = lock_directory(directory)
    try:
        record_owner(directory, owner)
    except OSError as error:
        # An earlier version may have left no room for it; a later start records it.
        _log.warning("volume_owner_not_recorded", reason=error.strerror or str(error))
    return lock


def lock_directory(directory: Path) -> int:
    """Locks the directory, made where it is missing, until the returned descriptor is closed. Raises VolumeError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise VolumeError(f"cannot use the data directory {directory}: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise VolumeError(f"the data directory {directory} is in use by another process") from error
    return lock


def require_owner(directory: Path, owner: Owner) -> None:
    """Changes nothing. A volume that names no owner belongs to the region that has it.

    Raises VolumeError, OSError.
    """
    path = directory / FILE_NAME
    try:
        recorded = msgspec.json.decode(path.read_bytes(), type=Owner)
    except FileNotFoundError:
        return
    except msgspec.DecodeError as error:
        raise VolumeError(
            f"{path} cannot be read ({error}), so whose data the volume holds is not known; remove that file if the "
            f"data is of {owner}"
        ) from error
    if recorded != owner:
        raise VolumeError(
            f"the volume holds data of {recorded}, and this replica is of {owner}: nothing of it is used or changed; "
            "give the region another name, or remove the claim if the data is not needed"
        )


def record_owner(directory: Path, owner: Owner) -> None:
    """Writes the owner where none is named, durably. Raises OSError."""
    path = directory / FILE_NAME
    if path.exists():
        return
    write_durably(path, msgspec.json.encode(owner))


def require_level(used: int, known: int) -> None:
    """``used`` is the feature level of the data, ``known`` that of this version. Raises VolumeError where the data may
    hold what this version does not understand.
    """
    if used > known:
        raise VolumeError(
            f"the data uses feature level {used}, and this version knows no higher one than {known}: a store cannot go "
            "back to a version from before a level that it uses; run the version that it had, or a later one"
        )
