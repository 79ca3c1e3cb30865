"""What was seen of a store's restorer at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_backup.restore_report import RestoreReport

from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.resource.requested_base import BaseArchive


@dataclass(frozen=True)
class RestorerObserved:
    """The restorer's pod, the newest report of it, and the ReplicatedStoreBackup that says where the archive is."""

    pod: ArchiverPod | None = None
    report: RestoreReport | None = None
    silence: str = ""
    """Why there is no report although the pod runs; "" where there is one."""
    credentials: str | None = None
    """The digest of the Secret with the credentials; "" where none is named, None where it is not known."""
    base: BaseArchive | None = None
    """Where the backup is that the spec names; None where it names none, or that is not known."""
    base_problem: str = ""
    """Why that is not known."""


NO_RESTORER = RestorerObserved()
