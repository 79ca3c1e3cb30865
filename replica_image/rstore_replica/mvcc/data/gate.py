"""The memory map is used by many readers, or by one that resizes, closes or replaces it.

LMDB must not be resized or closed while any transaction of the process is open, and reads run in threads, too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadInterruptedError(Exception):
    """A long read has given way to one that needs the map alone; it may be made again."""


class MapGate:
    """A readers-writer lock in which the writer goes first. Waits are as long as the longest read (or copy)."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._exclusive = False

    def give_way(self) -> None:
        """To be called at the steps of a long read. Raises ReadInterruptedError when somebody needs the map alone."""
        if self._exclusive:
            raise ReadInterruptedError

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Inside, the map stays as it is. Must not be entered twice by one thread, nor around :meth:`exclusive`."""
        with self._condition:
            while self._exclusive:
                self._condition.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                if not self._readers:
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
