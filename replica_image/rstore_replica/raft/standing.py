"""What replicas have promised to hold, as others remember it: by this a volume that went back in time is recognised.

A replica acknowledges entries and gives votes only once they are durable. So a process of it that begins in an earlier
term than it has promised something in, or in that term with a shorter log or without the vote it gave, runs on a volume
that was rolled back (restored from a snapshot of the disk), or on a disk that lost what it had synced. Logs get shorter
only by a leader of a later term, and that term is durable first.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rstore_replica.raft.membership import Membership


class Standing(msgspec.Struct, frozen=True):
    """What one process of a replica of this name and identity holds, at least."""

    name: str
    identity: int
    process: int
    """Drawn at random when the process began."""
    term: int
    index: int = 0
    """In that term, it held the log up to here."""
    voted_for: str = ""
    """In that term; "" when no vote is known."""


def _highest(before: Standing, standing: Standing) -> Standing:
    """Returns what both of one term promise; ``before`` itself where the other one adds nothing to it."""
    higher = standing if standing.index > before.index else before
    voted_for = before.voted_for or standing.voted_for
    if higher.voted_for == voted_for:
        return higher
    return Standing(higher.name, higher.identity, higher.process, higher.term, higher.index, voted_for)


class Standings:
    """The highest promise of each replica that has come to be known here."""

    def __init__(self, standings: Iterable[Standing] = ()) -> None:
        self._of = {(standing.name, standing.identity): standing for standing in standings}
        self.version = 0
        """Grows whenever something is learnt."""

    def note(self, standing: Standing) -> None:
        """The replica has promised this."""
        key = (standing.name, standing.identity)
        before = self._of.get(key)
        if before is not None:
            if before.term > standing.term:
                return
            if before.term == standing.term:
                standing = _highest(before, standing)
                if standing is before:
                    return
        self._of[key] = standing
        self.version += 1

    def contradiction(self, start: Standing) -> Standing | None:
        """Returns an earlier process's promise that the one which began so has forgotten; None when there is none."""
        promised = self._of.get((start.name, start.identity))
        if promised is None or promised.process == start.process or start.term > promised.term:
            return None
        forgotten = (
            start.term < promised.term
            or start.index < promised.index
            or promised.voted_for not in ("", start.voted_for)
        )
        return promised if forgotten else None

    def of(self, membership: Membership) -> list[Standing]:
        """Those of the present members."""
        members = [(replica.name, replica.identity) for replica in membership.replicas]
        return [self._of[member] for member in members if member in self._of]
