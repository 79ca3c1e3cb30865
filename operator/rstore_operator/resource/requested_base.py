"""A ReplicatedStoreBackup: a base that somebody asks for, and what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from msgspec import field

from rstore_operator.resource.backup import ArchivePlace
from rstore_operator.resource.state import Stored, Time, written


class BasePhase(Enum):
    """How far it is."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    """Final, as Completed is: it is not tried again."""


DEADLINE_SECONDS = 3600
"""``spec.deadlineSeconds`` where it is not given."""
DONE = frozenset({BasePhase.COMPLETED, BasePhase.FAILED})


class BaseArchive(Stored, frozen=True):
    """Where the base is, so that it is found though the store is gone; the fields are those of ``spec.backup``."""

    store_id: str = written("")
    destination: str = written("")
    volume_claim: str = ""
    endpoint: str = ""
    credentials_secret: str = ""
    service_account: str = field(name="serviceAccountName", default="")

    @property
    def place(self) -> ArchivePlace:
        """The destination, and how to get there."""
        return ArchivePlace(
            self.destination, self.volume_claim, self.endpoint, self.credentials_secret, self.service_account
        )


class BaseStatus(Stored, frozen=True):
    """All of its ``.status``."""

    phase: BasePhase = written(BasePhase.PENDING)
    revision: int = 0
    size_bytes: int = field(name="bytes", default=0)
    started_at: Time | None = None
    completed_at: Time | None = None
    error: str = ""
    """Why it does not go on, or has failed."""
    archive: BaseArchive | None = None
    """Once it is complete."""


@dataclass(frozen=True)
class RequestedBase:
    """The object as it was seen."""

    name: str
    uid: str
    resource_version: str
    created_at: str
    retain: bool
    deadline_seconds: int
    """How long after it was created it must be complete."""
    owners: tuple[Mapping[str, Any], ...]
    status: BaseStatus | None
    """None before the operator has written one."""

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status is not None and self.status.phase in DONE
