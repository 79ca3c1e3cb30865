"""PySyncObj as it is installed, nothing replaced but its clock and its network: what the hazards are shown on.

Each group has a private copy of ``pysyncobj.syncobj``, so that the clock does not leak into the module others import.
Messages wait in ``wire`` until the test delivers, keeps or drops them.
"""

from __future__ import annotations

import copy
import importlib.util
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from hazards.hazard_clock import HandClock

LEADER = 2


def stock_module(clock: HandClock | None = None, seed: int = 1) -> ModuleType:
    """Returns ``pysyncobj.syncobj``, unpatched but for the clock and the seed of the election timeouts."""
    spec = importlib.util.find_spec("pysyncobj.syncobj")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.VERSION == "0.3.17"
    if clock is not None:
        module.monotonicTime = clock.monotonic  # type: ignore[attr-defined]
    module.random = SimpleNamespace(random=random.Random(seed).random)  # type: ignore[attr-defined]
    return module


class Wire:
    """A replica's transport: what it sends goes to the group's list."""

    ready = True

    def __init__(self, group: StockGroup, name: str) -> None:
        self.group, self.name = group, name
        self.callbacks: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("set"):
            return lambda *arguments: self.callbacks.__setitem__(name, arguments[-1])
        raise AttributeError(name)

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        self.group.wire.append((self.name, node.id, copy.deepcopy(message)))
        return True

    def addNode(self, node: Any) -> None:
        """The group's members do not change."""

    dropNode = addNode  # noqa: N815

    def destroy(self) -> None:
        self.callbacks.clear()


class StockGroup:
    """Replicas of a list to which ``put`` appends, in one thread."""

    def __init__(self, names: Iterable[str], root: Path | None = None, **conf: Any) -> None:
        self.clock = HandClock()
        self.module = stock_module(self.clock)
        self.names = tuple(names)
        self.root = root
        self.conf = conf
        self.wire: list[tuple[str, str, dict[str, Any]]] = []
        self.replicas: dict[str, Any] = {}
        self.kind = self._make_kind()
        for name in self.names:
            self.start(name)

    def _make_kind(self) -> Any:
        module = self.module

        class Listing(module.SyncObj):  # type: ignore[misc,name-defined]
            def __init__(self, node: Any, others: Any, conf: Any, transport: Any) -> None:
                super().__init__(node, others, conf=conf, transport=transport)
                self.values: list[object] = []

            @module.replicated
            def put(self, value: object) -> int:
                if value == "raise":
                    raise RuntimeError("a bug in apply")
                self.values.append(value)
                return len(self.values)

        return Listing

    def start(self, name: str) -> Any:
        """Starts, or starts again, a replica on its files."""
        module = self.module
        files: dict[str, Any] = {}
        if self.root is not None:
            files["journalFile"] = str(self.root / f"{name}.journal")
        conf = module.SyncObjConf(**{"autoTick": False, "logCompactionMinTime": 10**9, **files, **self.conf})
        nodes = {other: module.Node(other) for other in self.names}
        others = {nodes[other] for other in self.names if other != name}
        replica = self.kind(nodes[name], others, conf, Wire(self, name))
        self.replicas[name] = replica
        for node in others:
            self.transport(name).callbacks["setOnNodeConnectedCallback"](node)
        return replica

    # ------------------------------------------------------------------ looking inside

    def transport(self, name: str) -> Wire:
        wire: Wire = self.replicas[name]._SyncObj__transport
        return wire

    def private(self, name: str, attribute: str) -> Any:
        return getattr(self.replicas[name], f"_SyncObj__{attribute}")

    def log(self, name: str) -> list[tuple[int, int]]:
        """Returns (index, term) of every entry in the replica's log."""
        return [(index, term) for _, index, term in self.private(name, "raftLog")[:]]

    def last_index(self, name: str) -> int:
        return int(self.private(name, "raftLog")[-1][1])

    def is_leader(self, name: str) -> bool:
        return bool(self.replicas[name]._isLeader())

    # ------------------------------------------------------------------ making things happen

    def tick(self, *names: str) -> None:
        for name in names or self.names:
            self.replicas[name].doTick(0.0)

    def deliver(self, accept: Callable[[str, str, dict[str, Any]], bool] = lambda *_: True) -> int:
        """Delivers what is under way now and accepted; the rest is kept. Returns how many were delivered."""
        now, self.wire = self.wire, []
        kept = []
        for sender, to, message in now:
            if accept(sender, to, message):
                self.hand_over(sender, to, message)
            else:
                kept.append((sender, to, message))
        self.wire = kept + self.wire
        return len(now) - len(kept)

    def hand_over(self, sender: str, to: str, message: dict[str, Any]) -> None:
        receive = self.transport(to).callbacks["setOnMessageReceivedCallback"]
        receive(self.module.Node(sender), copy.deepcopy(message))

    def settle(self, accept: Callable[[str, str, dict[str, Any]], bool] = lambda *_: True, rounds: int = 6) -> None:
        """Lets some heartbeats' time pass, delivering what is accepted."""
        for _ in range(rounds):
            self.clock.advance(0.11)
            self.tick()
            self.deliver(accept)

    def send(self, name: str) -> None:
        """The replica takes what was proposed at it into its log and sends it."""
        self.tick(name)
        self.clock.advance(0.11)
        self.tick(name)

    def drop(self) -> None:
        """Drops every message that is under way."""
        self.wire.clear()

    def elect(self, name: str, voters: Iterable[str] = ()) -> None:
        """Makes the replica stand for election now; only ``voters`` (all, by default) receive its request."""
        reached = {name, *(tuple(voters) or self.names)}
        self.replicas[name]._SyncObj__raftElectionDeadline = self.clock.now - 1
        self.tick(name)
        self.deliver(lambda sender, to, message: "vote" in message["type"] and {sender, to} <= reached)
        self.deliver(lambda sender, to, message: "vote" in message["type"] and {sender, to} <= reached)
        self.wire = [item for item in self.wire if "vote" not in item[2]["type"]]
        assert self.is_leader(name)

    def put(self, name: str, value: object) -> list[tuple[object, int]]:
        """Proposes at the replica; the list gets (result, error) when the group has answered."""
        answers: list[tuple[object, int]] = []
        self.replicas[name].put(value, callback=lambda result, error: answers.append((result, error)))
        return answers
