"""What was seen of a store's archiver at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_backup.report import Report


@dataclass(frozen=True)
class ArchiverPod:
    """The archiver's pod: its address, "" until it runs, and why it does not start, "" if nothing is known."""

    name: str
    ip: str
    problem: str = ""


@dataclass(frozen=True)
class ArchiverObserved:
    """The archiver's pod, and the newest report of it."""

    pod: ArchiverPod | None = None
    report: Report | None = None
    silence: str = ""
    """Why there is no report although the pod runs; "" where there is one."""
    credentials: str | None = ""
    """The digest of the Secret with the credentials; "" where the spec names none, None where it is not known."""


NO_ARCHIVER = ArchiverObserved()
