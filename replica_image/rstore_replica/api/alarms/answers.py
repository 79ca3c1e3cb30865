"""What each other member last said about its alarms, and whether it is asked again. Times are in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rstore_api.proto.rpc_pb2 import AlarmMember

FRESH_SECONDS = 1.0
"""How long an answer is listed without asking again."""
SILENT_SECONDS = 30.0
"""How long nobody waits for a member that did not answer; it is asked meanwhile as often as others are."""

Alarms = tuple[AlarmMember, ...]


class Member(NamedTuple):
    """A replica as others reach it."""

    region: str
    client_address: str


class _Answer(NamedTuple):
    at: float
    alarms: Alarms | None
    """None where there was no answer."""


class Answers:
    """The last answer of each member."""

    def __init__(self) -> None:
        self._last: dict[Member, _Answer] = {}

    def note(self, member: Member, alarms: Alarms | None, now: float) -> None:
        """Takes an answer; None says that there was none."""
        self._last[member] = _Answer(now, alarms)

    def keep(self, members: Iterable[Member]) -> None:
        """Forgets all other members."""
        self._last = {member: self._last[member] for member in members if member in self._last}

    def is_due(self, member: Member, now: float) -> bool:
        """Returns whether the member is to be asked."""
        last = self._last.get(member)
        return last is None or now - last.at >= FRESH_SECONDS

    def is_awaited(self, member: Member, now: float) -> bool:
        """Returns whether a list waits for the member's answer while it is asked."""
        last = self._last.get(member)
        return last is None or last.alarms is not None or now - last.at >= SILENT_SECONDS

    def alarms(self) -> list[AlarmMember]:
        """Returns the alarms of all members that answered when they were last asked."""
        return [alarm for last in self._last.values() for alarm in last.alarms or ()]
