"""What clients asked and were answered, and whether one order of everything explains it.

The store numbers its states: a write that changes something makes the next revision, and every answer names the
revision it speaks of. So the order is given, and checking it is easy: what happened at a revision must be what was
asked and answered, and no operation may lie, in that order, before another that had ended when it began. That is strict
serializability of the whole history, which for each key by itself is linearizability.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What a client knows."""

    DONE = "done"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


@dataclass
class Operation:
    """One call. ``marks`` are the (key, unique value) it writes if it happens; deletions have none."""

    number: int
    text: str
    changes: bool
    marks: tuple[tuple[bytes, bytes], ...]
    invoked: float
    returned: float = float("inf")
    outcome: Outcome = Outcome.UNKNOWN
    revision: int = 0
    """Of the answer."""
    changed: bool = False
    """Whether the answer says that this operation made that revision."""
    seen: tuple[tuple[bytes, bytes | None], ...] = ()
    """What it read: key and value, of the state at ``revision``."""
    seen_before: tuple[tuple[bytes, bytes | None], ...] = ()
    """The same of the state before."""
    gone: tuple[bytes, ...] = ()
    """Keys that it deleted."""


def check(
    operations: Iterable[Operation],
    states: dict[int, dict[bytes, bytes]],
    writes: dict[int, list[tuple[bytes, bytes]]],
) -> str | None:
    """The first contradiction in words, or None.

    ``states`` are the keys and values at every revision that was made, ``writes`` what was put at each.
    """
    operations = list(operations)
    writer: dict[tuple[bytes, bytes], int] = {}
    for revision, puts in sorted(writes.items()):
        for mark in puts:
            if mark in writer:
                return f"{mark[1]!r} was put to {mark[0]!r} twice: at revisions {writer[mark]} and {revision}"
            writer[mark] = revision
    made_by: dict[int, Operation] = {}
    points: list[tuple[Operation, int, bool]] = []
    for operation in operations:
        problem = check_one(operation, states, writer)
        if problem:
            return f"operation {operation.number} ({operation.text}): {problem}"
        revision, changed = operation.revision, operation.changed
        if operation.outcome is Outcome.UNKNOWN:
            found = {writer[mark] for mark in operation.marks if mark in writer}
            if not found:
                continue
            revision, changed = found.pop(), True
        elif operation.outcome is Outcome.NOTHING:
            continue
        if changed:
            other = made_by.setdefault(revision, operation)
            if other is not operation:
                return f"revision {revision} was made by operation {other.number} and by {operation.number}"
        points.append((operation, revision, changed))
    return _check_order(points)


def check_one(
    operation: Operation, states: dict[int, dict[bytes, bytes]], writer: dict[tuple[bytes, bytes], int]
) -> str | None:
    made = {writer.get(mark) for mark in operation.marks}
    if operation.outcome is Outcome.NOTHING:
        return f"refused, and yet it happened at {made}" if made - {None} else None
    if operation.outcome is Outcome.UNKNOWN:
        return f"happened in part, or in parts: {made}" if len(made) > 1 else None
    if operation.revision not in states:
        return f"its revision {operation.revision} does not exist: what was acknowledged is lost"
    state = states[operation.revision]
    before = states.get(operation.revision - 1, {})
    if operation.changed and made - {operation.revision}:
        return f"acknowledged at revision {operation.revision}, found at {made}: what was acknowledged is lost"
    if not operation.changed and made - {None}:
        return f"answered that nothing changed, but it happened at {made}"
    for key in operation.gone:
        if key in state or key not in before:
            return f"acknowledged the deletion of {key!r} at revision {operation.revision}, which did not delete it"
    for what, found, read in (("", state, operation.seen), (" before it", before, operation.seen_before)):
        for key, value in read:
            if found.get(key) != value:
                return f"read {key!r} = {value!r}, at revision {operation.revision}{what} it is {found.get(key)!r}"
    return None


def _check_order(points: list[tuple[Operation, int, bool]]) -> str | None:
    """No operation may lie before one that had ended when it began."""
    ended = sorted(points, key=lambda point: (point[0].returned, point[0].number))
    latest: tuple[Operation, int, bool] | None = None
    position = 0
    for operation, revision, changed in sorted(points, key=lambda point: (point[0].invoked, point[0].number)):
        while position < len(ended) and ended[position][0].returned < operation.invoked:
            if latest is None or ended[position][1] > latest[1]:
                latest = ended[position]
            position += 1
        if latest is not None and (revision < latest[1] or (changed and revision == latest[1])):
            return (
                f"operation {operation.number} ({operation.text}) is at revision {revision}, but operation "
                f"{latest[0].number} ({latest[0].text}), at revision {latest[1]}, had ended before it began"
            )
    return None
