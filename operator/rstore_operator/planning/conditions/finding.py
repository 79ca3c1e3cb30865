"""What a condition says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A condition without its times."""

    type: str
    status: bool | None
    reason: str
    message: str = ""
