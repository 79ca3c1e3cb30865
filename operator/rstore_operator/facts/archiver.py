"""What was seen of a store's archiver at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiverPod:
    """The archiver's pod: its address, "" until it runs, and why it does not start, "" if nothing is known."""

    name: str
    ip: str
    problem: str = ""


@dataclass(frozen=True)
class ArchiverObserved:
    """The archiver's pod and its newest report."""

    pod: ArchiverPod | None = None
    report: object | None = None
    credentials: str | None = ""
    """The digest of the Secret with the credentials; "" where there is none, None where it is not known."""


NO_ARCHIVER = ArchiverObserved()
