"""The memory map is used by many readers, or by one that resizes, closes or replaces it.

LMDB must not be resized or closed while any transaction of the process is open, and reads run in threads, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadInterruptedError(Exception):
    """A long read has given way to one that needs the map alone; it may be made again."""


class _Shared:
    """Lets readers in and out of a gate. It keeps nothing of one reader, so that all can use the same one."""

    __slots__ = ("_gate",)

    def __init__(self, gate: MapGate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        self._gate.enter()

    def __exit__(self, *_error: object) -> None:
        self._gate.leave()


class MapGate:
    """A readers-writer lock in which the writer goes first. Waits are as long as the longest read (or copy)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._readers = 0
        self._exclusive = False
        self.shared = _Shared(self)
        """A context manager: inside, the map stays as it is. See :meth:`enter`."""

    def give_way(self) -> None:
        """To be called at the steps of a long read. Raises ReadInterruptedError when somebody needs the map alone."""
        if self._exclusive:
            raise ReadInterruptedError

    def enter(self) -> None:
        """Has the map stay as it is until :meth:`leave`. No thread may be inside twice, or ask for :meth:`exclusive`
        inside.
        """
        with self._lock:
            while self._exclusive:
                self._condition.wait()
            self._readers += 1

    def leave(self) -> None:
        """Ends what :meth:`enter` began."""
        with self._lock:
            self._readers -= 1
            if self._exclusive and not self._readers:
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Inside, nobody else uses the map. One at a time."""
        with self._condition:
            while self._exclusive:
                self._condition.wait()
            self._exclusive = True
            while self._readers:
                self._condition.wait()
        try:
            yield
        finally:
            with self._condition:
                self._exclusive = False
                self._condition.notify_all()
