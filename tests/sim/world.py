"""One simulated run: loop, network, trace, and what came of it. Scenarios put machines and clients into it."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol
from unittest import mock

import structlog
from rstore_replica.raft.checkpoints import transfer
from sim.loop import Stuck, VirtualLoop
from sim.network import Network
from sim.process import ProcessDied
from sim.trace import Trace

MAX_CALLBACKS = 600_000


class World:
    """What a scenario is given."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.rng = random.Random(seed)
        self.trace = Trace(loop)
        self.network = Network(loop, random.Random(self.rng.random()), self.trace)
        self.notes: dict[str, int] = {}
        self.first_violation: str | None = None
        self.ended = asyncio.Event()

    def violated(self, what: str) -> None:
        """Something that must never be. The run ends."""
        if self.first_violation is None:
            self.first_violation = what
            self.trace.fault(f"VIOLATION: {what}")
            self.ended.set()


class Scenario(Protocol):
    """What happens in a run."""

    def run(self) -> Coroutine[Any, Any, None]:
        """All of it."""

    def close(self) -> None:
        """Releases what is open, also after a run that did not end well."""


@dataclass(frozen=True)
class Report:
    """What came of a run. ``violation`` None: nothing that must not be."""

    seed: int
    scope: str
    violation: str | None
    digest: str
    events: int
    faults: list[str] = field(default_factory=list)
    recent: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """The violation, the faults, the last events and the command that runs the seed again."""
        return "\n".join(
            [
                f"seed {self.seed}: {self.violation or 'no violation'}",
                "faults:",
                *(f"  {line}" for line in self.faults),
                "last events:",
                *(f"  {line}" for line in self.recent),
                f"first violated: {self.violation}",
                f"run it again: make sim SEEDS={self.seed} SCOPE={self.scope}",
            ]
        )


def simulate(seed: int, scope: str, scenario: Callable[[World, Path], Scenario]) -> Report:
    """Runs one seed to its end or to the first violation."""
    with _silently():
        return _simulate(seed, scope, scenario)


def _simulate(seed: int, scope: str, scenario: Callable[[World, Path], Scenario]) -> Report:
    root = Path(tempfile.mkdtemp(prefix=f"sim-{seed}-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    loop = VirtualLoop(max_callbacks=MAX_CALLBACKS)
    try:
        world = World(loop, seed)
        secrets = SimpleNamespace(randbits=random.Random(world.rng.random()).getrandbits)
        loop.set_exception_handler(lambda _loop, context: _unhandled(world, context))
        made: list[Scenario] = []
        try:
            with mock.patch.object(transfer, "secrets", secrets):
                loop.run_until_complete(_main(world, scenario, root, made))
        except Stuck as error:
            world.violated(f"the run is stuck: {error}")
        for mistake in loop.mistakes():
            where = traceback.extract_tb(mistake.__traceback__)[-1]
            world.violated(f"a task ended with {mistake!r} at {Path(where.filename).name}:{where.lineno}")
        for one in made:
            one.close()
        return Report(
            seed=seed,
            scope=scope,
            violation=world.first_violation,
            digest=world.trace.digest(),
            events=world.trace.events,
            faults=world.trace.faults,
            recent=list(world.trace.recent),
            notes=world.notes,
        )
    finally:
        loop.set_exception_handler(lambda _loop, _context: None)
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        shutil.rmtree(root, ignore_errors=True)
        logging.disable(level)


@contextmanager
def _silently() -> Iterator[None]:
    """Nothing is logged, nor what the code of processes that died says when their tasks end with the run."""
    hook, logs, collecting = sys.unraisablehook, structlog.get_config(), gc.isenabled()
    spare_the_collector("the simulator")
    gc.disable()
    sys.unraisablehook = lambda _unraisable: None
    structlog.configure(
        processors=[_drop],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        gc.collect(0)  # it was off, so all that the run has made is there
        gc.collect(1)  # what the coroutines that ended just now had kept
        if collecting:
            gc.enable()
        structlog.configure(**logs)
        sys.unraisablehook = hook


def _drop(_logger: object, _method: str, _event: object) -> dict[str, object]:
    raise structlog.DropEvent


@functools.cache
def spare_the_collector(_what: str) -> None:
    """What was imported once need not be looked at after each run; once for each ``_what``."""
    gc.collect()
    gc.freeze()


async def _main(world: World, scenario: Callable[[World, Path], Scenario], root: Path, made: list[Scenario]) -> None:
    one = scenario(world, root)
    made.append(one)
    running = asyncio.ensure_future(one.run())
    ended = asyncio.ensure_future(world.ended.wait())
    await asyncio.wait([running, ended], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()


def _unhandled(world: World, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if "never retrieved" in context["message"] or isinstance(error, ProcessDied):
        return
    world.violated(f"an exception that nobody handled: {context['message']}: {error!r}")
