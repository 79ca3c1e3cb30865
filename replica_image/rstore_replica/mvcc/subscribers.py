"""Telling others of a change, each on the event loop it lives on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Subscribers(Generic[T]):
    """A list of callbacks. One that fails is logged and does not keep the others from being called."""

    def __init__(self) -> None:
        self._callbacks: list[tuple[Callable[[T], None], asyncio.AbstractEventLoop | None]] = []

    def add(self, callback: Callable[[T], None]) -> Callable[[], None]:
        """Adds a callback, to be called on the loop that is running now (if one is); returns how to remove it."""
        entry = (callback, _running_loop())
        self._callbacks.append(entry)

        def remove() -> None:
            if entry in self._callbacks:
                self._callbacks.remove(entry)

        return remove

    def tell(self, value: T) -> None:
        """Calls back at once those of the present loop and those of none, and the others through their loop."""
        here = _running_loop()
        for callback, loop in tuple(self._callbacks):
            try:
                if loop is None or loop is here:
                    callback(value)
                else:
                    loop.call_soon_threadsafe(callback, value)
            except Exception:
                # What was applied is applied, whatever becomes of the subscribers.
                logger.exception("a subscriber of the state machine failed")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
