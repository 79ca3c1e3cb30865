"""Looks after every store with a task of its own: it takes a step whenever something has changed, or one is due.

Level-triggered: a change only wakes the task, which then looks at everything. So changes are neither queued nor lost,
and one store that fails does not hold up the others. Stores that appear before :meth:`Controller.begin` are only noted.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Callable

import structlog
from rstore_api.logs import get_logger
from rstore_kube.errors import ApiError

from rstore_operator.act import CONNECTION_ERRORS
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import StoreRef

log = get_logger(__name__)

FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 10.0
STOP_SECONDS = 8.0
STATES = STEPPING, WAITING, BACKING_OFF = "stepping", "waiting", "backing_off"
"""What a store's loop does at the moment."""


def log_failure(error: Exception) -> None:
    """Log a step that failed, with a traceback unless the API server or a connection is the reason."""
    expected = isinstance(error, (ApiError, *CONNECTION_ERRORS))
    log.warning("reconcile_failed", error=str(error) or type(error).__name__, exc_info=not expected)


def outcome_of(error: Exception) -> str:
    """Returns the outcome of a step that raised, as the metrics name it."""
    if isinstance(error, ApiError):
        return "refused"
    return "unreachable" if isinstance(error, CONNECTION_ERRORS) else "failed"


class _Loop:
    """The task of one store object."""

    def __init__(self, ref: StoreRef, reconciler: Reconciler) -> None:
        self.ref = ref
        self.reconciler = reconciler
        self.wake = asyncio.Event()
        self.stopping = False
        self.state = WAITING
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Let it end after the step that it is taking."""
        self.stopping = True
        self.wake.set()


class Controller:
    """The loops of all stores, by namespace and name. It is used from one event loop."""

    def __init__(
        self,
        new_reconciler: Callable[[StoreRef], Reconciler],
        *,
        unseen: Callable[[str], str] = lambda _namespace: "",
        failed: Callable[[Exception], None] = log_failure,
        stepped: Callable[[str, float], None] = lambda _outcome, _seconds: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``unseen`` says what cannot be watched in a namespace, "" when all can: until then nothing is changed there.
        ``failed`` is called with what a step raised, before the step is taken again; ``stepped`` with the outcome of
        each step and how long it took, in seconds. ``jitter`` is from 0 to 1.
        """
        self._new_reconciler = new_reconciler
        self._unseen = unseen
        self._failed = failed
        self._stepped = stepped
        self._jitter = jitter
        self._context = contextvars.copy_context()
        self._loops: dict[tuple[str, str], _Loop] = {}
        self._stores: dict[tuple[str, str], StoreRef] = {}
        self._acting = False

    def begin(self) -> None:
        """Look after all stores, with nothing remembered from before :meth:`suspend`."""
        self._acting = True
        for key, ref in self._stores.items():
            self._start(ref, before=self._loops.get(key))

    def suspend(self) -> None:
        """Take no more steps, and cancel those under way."""
        self._acting = False
        for loop in self._loops.values():
            loop.stop()
            if loop.task is not None:
                loop.task.cancel()

    def store_changed(self, ref: StoreRef, resource_version: str, *, deleting: bool = False) -> None:
        """The object is there at that version; ``deleting`` when its deletion has begun."""
        loop = self._loops.get((ref.namespace, ref.name))
        if loop is not None and loop.ref == ref:
            if loop.reconciler.object_changed(resource_version):
                loop.wake.set()
        elif not deleting:
            self._stores[ref.namespace, ref.name] = ref
            if self._acting:
                self._start(ref, before=loop)

    def store_deleted(self, ref: StoreRef) -> None:
        """The object is gone."""
        if self._stores.get((ref.namespace, ref.name)) == ref:
            del self._stores[ref.namespace, ref.name]
        loop = self._loops.get((ref.namespace, ref.name))
        if loop is not None and loop.ref == ref:
            loop.stop()

    def knows(self, namespace: str, store: str) -> bool:
        """Whether there is an object of that name, as far as it was seen."""
        return (namespace, store) in self._stores

    def child_changed(self, namespace: str, store: str) -> None:
        """An object that belongs to the store has changed, come or gone."""
        loop = self._loops.get((namespace, store))
        if loop is not None:
            loop.reconciler.children_changed()
            loop.wake.set()

    def states(self) -> dict[str, int]:
        """Returns how many stores are in each state."""
        counts = dict.fromkeys(STATES, 0)
        for loop in self._loops.values():
            counts[loop.state] += 1
        return counts

    async def close(self) -> None:
        """End all loops; a step that takes longer than STOP_SECONDS is cancelled."""
        tasks = [loop.task for loop in self._loops.values() if loop.task is not None]
        for loop in self._loops.values():
            loop.stop()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, ref: StoreRef, *, before: _Loop | None) -> None:
        """Begin the loop of an object; ``before`` is that of the object which had the same name and is gone."""
        key = (ref.namespace, ref.name)
        loop = self._loops[key] = _Loop(ref, self._new_reconciler(ref))

        def ended(_task: asyncio.Task[None]) -> None:
            if self._loops.get(key) is loop:
                del self._loops[key]

        context = self._context.copy()  # not the caller's: kopf keeps there what it knows of the event
        name = f"store {ref.namespace}/{ref.name}"
        loop.task = asyncio.create_task(self._run(loop, before), name=name, context=context)
        loop.task.add_done_callback(ended, context=context)

    async def _run(self, loop: _Loop, before: _Loop | None) -> None:
        """Take steps until the loop is stopped."""
        if before is not None:
            before.stop()
            if before.task is not None:
                await asyncio.wait([before.task])
        if loop.stopping:
            return
        reconciler, namespace = loop.reconciler, loop.ref.namespace
        structlog.contextvars.bind_contextvars(namespace=namespace, store=loop.ref.name)
        backoff = FIRST_BACKOFF_SECONDS
        clock = asyncio.get_running_loop().time
        try:
            while not loop.stopping:
                loop.wake.clear()
                loop.state, began = STEPPING, clock()
                try:
                    unseen = self._unseen(namespace)
                    wait = await (reconciler.cannot_look(unseen) if unseen else reconciler.step())
                    backoff = FIRST_BACKOFF_SECONDS
                    loop.state, outcome = WAITING, "blind" if unseen else "done"
                except Exception as error:  # whatever it is, the store is looked after again
                    loop.state, outcome = BACKING_OFF, outcome_of(error)
                    reconciler.invalidate()
                    wait = backoff * (0.5 + self._jitter())
                    backoff = min(LAST_BACKOFF_SECONDS, backoff * 2)
                    self._failed(error)
                self._stepped(outcome, clock() - began)
                if wait is None:
                    wait = LAST_BACKOFF_SECONDS  # being deleted: the watch is about to say that it is gone
                if wait > 0 and not loop.stopping:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await loop.wake.wait()
        finally:
            await reconciler.close()
