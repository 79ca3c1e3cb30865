"""The loop every controller runs in: a queue of keys, one reconcile at a time, retries with back-off."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from localkube import tasks
from localkube.apiserver.errors import ApiError
from localkube.apiserver.resources import Resource
from localkube.controllers.api import Api
from localkube.controllers.events import Recorder
from localkube.controllers.informer import Change, Informers
from localkube.controllers.objects import Key, controller_ref, key_of
from localkube.controllers.resources import Obj

log = logging.getLogger(__name__)

MAX_RETRY_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.02


class Clock(Protocol):
    """Where controllers take the time from."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()


class Context:
    """What controllers share: the API, the caches, the clock and an event recorder."""

    def __init__(self, api: Api, clock: Clock | None = None) -> None:
        self.api = api
        self.informers = Informers(api)
        self.clock: Clock = clock or SystemClock()
        self.recorder = Recorder(api, self.clock.now)


class Controller(ABC):
    """Base of all controllers. `reconcile` is level-triggered: it reads the present state and may always be called."""

    name = "controller"

    def __init__(self, context: Context) -> None:
        self.context = context
        self.api = context.api
        self._queue: asyncio.Queue[Key] = asyncio.Queue()  # holds each key once: bounded by the number of objects
        self._queued: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def setup(self) -> None:
        """Subscribe to the caches whose changes should cause a reconcile."""

    @abstractmethod
    async def reconcile(self, key: Key) -> float | None:
        """Bring `key` one step closer to what is wanted; returns seconds after which to look again, if any."""

    def enqueue(self, key: Key) -> None:
        """Reconcile `key` soon; asking twice before it happens is asking once."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """Reconcile `key` after a while, unless it is asked for earlier."""
        if key in self._queued:
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.enqueue, key)

    def start(self) -> None:
        """Begin to work the queue."""
        self._task = asyncio.create_task(self._run(), name=f"controller-{self.name}")

    async def stop(self) -> None:
        """Stop after the present step is cancelled."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await tasks.end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            try:
                again = await self.reconcile(key)
            except ApiError as error:
                if not error.conflict:
                    log.warning("reconcile failed controller=%s key=%s error=%s", self.name, key, error)
                self._retry(key)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("reconcile failed controller=%s key=%s", self.name, key)
                self._retry(key)
            else:
                self._failures.pop(key, None)
                if again is not None:
                    self.enqueue_after(key, again)
            await asyncio.sleep(0)

    def _retry(self, key: Key) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.enqueue_after(key, min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures, 16)))

    # helpers to subscribe

    def watch_own(self, resource: Resource) -> None:
        """Reconcile an object when it changes."""
        self.context.informers.of(resource).subscribe(lambda _change, _old, obj: self.enqueue(key_of(obj)))

    def watch_controlled(self, resource: Resource, owner: Resource) -> None:
        """Reconcile the managing controller of a child when the child changes."""

        def on_change(_change: Change, old: Obj | None, obj: Obj) -> None:
            for version in (old, obj):
                ref = controller_ref(version) if version is not None else None
                if ref is not None and ref.get("kind") == owner.kind and ref.get("apiVersion") == owner.api_version:
                    self.enqueue((key_of(obj)[0], ref["name"]))

        self.context.informers.of(resource).subscribe(on_change)


class Manager:
    """Starts and stops a set of controllers over one context."""

    def __init__(self, context: Context, controllers: Sequence[Callable[[Context], Controller]]) -> None:
        self.context = context
        self.controllers = [make(context) for make in controllers]

    async def start(self) -> None:
        """Fill the caches, then start every controller."""
        for controller in self.controllers:
            controller.setup()
        await self.context.informers.start()
        for controller in self.controllers:
            controller.start()

    async def stop(self) -> None:
        """Stop controllers, caches and event recorder."""
        for controller in self.controllers:
            await controller.stop()
        await self.context.informers.stop()
        await self.context.recorder.stop()
