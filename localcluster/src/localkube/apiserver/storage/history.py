"""Recent changes of one resource, bounded, and the watches that read them.

A watch is a cursor into the shared history, not a queue of its own: memory stays bounded however slow a
client is, and a client that falls behind what is kept gets 410 and lists again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import msgspec

from localkube.apiserver.errors import expired
from localkube.apiserver.jsonobj import JsonObject, copy_json

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"
Matcher = Callable[[JsonObject], bool]

_encoder = msgspec.json.Encoder()


class Stored:
    """One version of one object; never changed after it was made. ``obj`` must not be modified.

    ``written`` is what was written, where a newer schema shows it in another way.
    """

    __slots__ = ("_encoded", "name", "namespace", "obj", "resource_version", "written")

    def __init__(self, obj: JsonObject, written: JsonObject | None = None) -> None:
        metadata = obj["metadata"]
        self.obj = obj
        self.written = obj if written is None else written
        self.namespace: str = metadata.get("namespace", "")
        self.name: str = metadata["name"]
        self.resource_version = int(metadata["resourceVersion"])
        self._encoded: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """Returns the object as JSON, encoded once."""
        if self._encoded is None:
            self._encoded = _encoder.encode(self.obj)
        return self._encoded


@dataclass(frozen=True)
class Change:
    """One write: what was stored before and after; after a deletion, what was stored before with a new version."""

    resource_version: int
    before: Stored | None
    after: Stored
    deleted: bool = False


@dataclass(frozen=True)
class WatchEvent:
    """What a watch yields."""

    type: str
    stored: Stored
    initial: bool = False
    """Whether it describes state at the start of the watch instead of a change."""

    @property
    def object(self) -> JsonObject:
        """Returns a copy of the object, the caller's to change."""
        return copy_json(self.stored.obj)  # type: ignore[no-any-return]


class History:
    """The last ``capacity`` changes (at least) of one resource, in order of resourceVersion."""

    def __init__(self, capacity: int, floor: int) -> None:
        self._capacity = capacity
        self._changes: list[Change] = []
        self._base = 0
        self._floor = floor
        self._wakeups: set[asyncio.Event] = set()
        self.ended = False

    @property
    def end(self) -> int:
        """Position after the newest change."""
        return self._base + len(self._changes)

    def append(self, change: Change) -> None:
        """Record a change and wake the watches."""
        self._changes.append(change)
        if len(self._changes) > 2 * self._capacity:
            dropped = self._changes[: self._capacity]
            self._floor = dropped[-1].resource_version
            self._base += len(dropped)
            del self._changes[: self._capacity]
        for wakeup in self._wakeups:
            wakeup.set()

    def position_after(self, resource_version: int) -> int:
        """Returns where a watch from a resourceVersion starts; raises 410 when changes since then were dropped."""
        if resource_version < self._floor:
            raise expired(f"too old resource version: {resource_version} ({self._floor})")
        low, high = 0, len(self._changes)
        while low < high:
            middle = (low + high) // 2
            if self._changes[middle].resource_version <= resource_version:
                low = middle + 1
            else:
                high = middle
        return self._base + low

    def read(self, position: int) -> Change | None:
        """Returns the change at a position, None at the end; raises 410 when it was dropped."""
        if position < self._base:
            raise expired(f"too old resource version: the watch fell behind ({self._floor})")
        index = position - self._base
        return self._changes[index] if index < len(self._changes) else None

    def undone(self, objects: dict[tuple[str, str], Stored], resource_version: int) -> dict[tuple[str, str], Stored]:
        """Returns the objects as they were at a resourceVersion; raises 410 when changes since then were dropped."""
        if resource_version < self._floor:
            raise expired("The resourceVersion for the provided list is too old.")
        earlier = dict(objects)
        for change in reversed(self._changes):
            if change.resource_version <= resource_version:
                break
            at = (change.after.namespace, change.after.name)
            if change.before is None:
                earlier.pop(at, None)
            else:
                earlier[at] = change.before
        return earlier

    def listen(self, wakeup: asyncio.Event) -> None:
        """Set ``wakeup`` at every change, until ``forget``."""
        self._wakeups.add(wakeup)

    def forget(self, wakeup: asyncio.Event) -> None:
        """Stop waking."""
        self._wakeups.discard(wakeup)

    def finish(self) -> None:
        """End every watch: the server stops, or the resource is no longer served."""
        self.ended = True
        for wakeup in tuple(self._wakeups):
            wakeup.set()


class Watch:
    """An async iterator of the changes of one resource; close it when done (or use ``async with``)."""

    def __init__(
        self,
        history: History,
        position: int,
        *,
        after: int,
        initial: list[Stored],
        initial_end: Stored | None,
        namespace: str,
        matcher: Matcher | None,
        current_version: Callable[[], int],
    ) -> None:
        self._history = history
        self._position = position
        self._after = after
        self._initial = list(reversed(initial))
        self._initial_end = initial_end
        self._namespace = namespace
        self._matcher = matcher
        self._current_version = current_version
        self._wakeup = asyncio.Event()
        self._closed = False
        history.listen(self._wakeup)

    @property
    def resource_version(self) -> int:
        """Returns a resourceVersion up to which this watch has yielded everything; valid right after ``poll`` gave
        None."""
        return self._current_version()

    @property
    def closed(self) -> bool:
        """Returns whether the watch has ended."""
        return self._closed

    def close(self) -> None:
        """End the watch; a pending ``next`` returns."""
        self._closed = True
        self._history.forget(self._wakeup)
        self._wakeup.set()

    def poll(self) -> WatchEvent | None:
        """Returns the next event if there is one now; raises 410 when this watch fell behind."""
        if self._initial:
            return WatchEvent(ADDED, self._initial.pop(), initial=True)
        if self._initial_end is not None:
            end, self._initial_end = self._initial_end, None
            return WatchEvent(BOOKMARK, end, initial=True)
        while (change := self._history.read(self._position)) is not None:
            self._position += 1
            event = self._event(change)
            if event is not None:
                return event
        return None

    def _event(self, change: Change) -> WatchEvent | None:
        if change.resource_version <= self._after:
            return None
        if self._namespace and change.after.namespace != self._namespace:
            return None
        matcher = self._matcher
        was = change.before is not None and (matcher is None or matcher(change.before.obj))
        now = not change.deleted and (matcher is None or matcher(change.after.obj))
        if now:
            return WatchEvent(MODIFIED if was else ADDED, change.after)
        if not was or change.before is None:
            return None
        if change.deleted:
            return WatchEvent(DELETED, change.after)
        metadata = {**change.before.obj["metadata"], "resourceVersion": str(change.resource_version)}
        return WatchEvent(DELETED, Stored({**change.before.obj, "metadata": metadata}))

    async def next(self, timeout_seconds: float | None = None) -> WatchEvent | None:
        """Returns the next event; None when the watch was closed or the time passed. Raises 410 when it fell behind."""
        while not self._closed:
            event = self.poll()
            if event is not None:
                return event
            if self._history.ended:
                self.close()
                return None
            self._wakeup.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._wakeup.wait()
            except TimeoutError:
                return None
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


__all__ = ["ADDED", "BOOKMARK", "DELETED", "MODIFIED", "Change", "History", "Stored", "Watch", "WatchEvent"]
