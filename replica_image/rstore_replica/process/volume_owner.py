"""Whose data a volume holds: a file beside the data names the store and the region that wrote it first.

A pod gets its volume by name, and the names of two stores and their regions may meet: region ``west`` of ``orders-eu``
and region ``eu-west`` of ``orders``. A volume of another store or region is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

FILE_NAME = "owner.json"


class WrongVolumeError(Exception):
    """The volume must not be used. The text says whose data it holds."""


class Owner(msgspec.Struct, frozen=True):
    """The store and the region, by name."""

    store: str
    region: str

    def __str__(self) -> str:
        return f"region {self.region} of store {self.store}"


def require_owner(directory: Path, owner: Owner) -> None:
    """Look, and change nothing. A volume that does not say belongs to whoever has it.

    Raises WrongVolumeError, OSError.
    """
    path = directory / FILE_NAME
    try:
        recorded = msgspec.json.decode(path.read_bytes(), type=Owner)
    except FileNotFoundError:
        return
    except msgspec.DecodeError as error:
        raise WrongVolumeError(
            f"{path} cannot be read ({error}), so whose data the volume holds is not known; remove that file if the "
            f"data is of {owner}"
        ) from error
    if recorded != owner:
        raise WrongVolumeError(
            f"the volume holds data of {recorded}, and this replica is of {owner}: nothing of it is used or changed; "
            "give the region another name, or remove the claim if the data is not needed"
        )


def record_owner(directory: Path, owner: Owner) -> None:
    """Write it where it is missing, durably. Raises OSError."""
    path = directory / FILE_NAME
    if path.exists():
        return
    fresh = directory / f"{FILE_NAME}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(owner))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
