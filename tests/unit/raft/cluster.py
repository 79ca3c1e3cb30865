"""What the Raft tests share: a state machine in memory and groups over real gRPC on loopback."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

from rstore_api.listening import listening_socket
from rstore_replica.raft import Group, GrpcTransport, Member, RaftConfig, Role
from rstore_replica.raft.links.grpc_transport import MAX_MESSAGE_BYTES
from rstore_wire.server import Server

FAST = RaftConfig(
    election_timeout_min_seconds=0.5, election_timeout_max_seconds=1.0, heartbeat_seconds=0.05, segment_bytes=1 << 16
)


class ListMachine:
    """Keeps (index, entry) of everything applied; durable in a file only when told so (``keep``)."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.entries: list[tuple[int, bytes]] = []
        self.restored = 0
        if file is not None and file.exists():
            self._load(file)

    def _load(self, file: Path) -> None:
        self.entries = [(index, bytes.fromhex(entry)) for index, entry in json.loads(file.read_text())]

    @property
    def applied_index(self) -> int:
        return self.entries[-1][0] if self.entries else 0

    def apply(self, index: int, term: int, entry: bytes) -> object:
        if index > self.applied_index:
            self.entries.append((index, entry))
        return (index, term, entry)

    def checkpoint(self, directory: Path) -> None:
        copy = list(self.entries)
        (directory / "list.json").write_text(json.dumps([(index, entry.hex()) for index, entry in copy]))

    def sync(self) -> None:
        """Nothing: it is not kept."""

    def restore(self, directory: Path) -> None:
        self._load(directory / "list.json")
        self.restored += 1

    def keep(self) -> None:
        assert self.file is not None
        self.file.write_text(json.dumps([(index, entry.hex()) for index, entry in self.entries]))

    @property
    def values(self) -> list[bytes]:
        return [entry for _, entry in self.entries]


async def eventually(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Polls until the condition holds; fails with ``what`` when it does not in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.01)


class Cluster:
    """Replicas n0, n1, … on their own loopback addresses, each with its directory below ``root``."""

    def __init__(self, root: Path, size: int, config: RaftConfig = FAST) -> None:
        self.root = root
        self.config = config
        base = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}"
        self.port = random.randint(20000, 30000)
        self.members = tuple(Member(f"n{i}", f"{base}.{i + 1}:{self.port}") for i in range(size))
        self.groups: dict[str, Group] = {}
        self.machines: dict[str, ListMachine] = {}
        self.servers: dict[str, Server] = {}
        self.failures: dict[str, BaseException] = {}
        self.transports: dict[str, GrpcTransport] = {}
        self.feature_levels: dict[str, int] = {}
        self.admit: Callable[[bytes, int], None] = lambda _entry, _level: None

    async def start(self, *names: str) -> None:
        for member in self.members:
            if names and member.name not in names:
                continue
            name = member.name
            machine = ListMachine(self.root / f"{name}.machine")
            transport = GrpcTransport(name, self.members, group="test/one")
            group = Group(
                name=name,
                members=self.members,
                directory=self.root / name,
                machine=machine,
                transport=transport,
                config=self.config,
                on_fatal=lambda error, name=name: self.failures.__setitem__(name, error),
                feature_level=self.feature_levels.get(name, 1),
                admit=self.admit,
            )
            server = Server(max_message_bytes=MAX_MESSAGE_BYTES)
            group.add_to_server(server)
            server.add_listener(listening_socket(member.address.rpartition(":")[0], self.port, backlog=8), None)
            await server.start()
            self.groups[name], self.machines[name], self.servers[name] = group, machine, server
            self.transports[name] = transport
            await group.start()

    async def stop(self, *names: str) -> None:
        for name in names or tuple(self.groups):
            await self.groups.pop(name).stop()
            await self.servers.pop(name).stop(None)

    def leader(self) -> str | None:
        """The one leader that a majority of the running replicas follows; None while there is none."""
        statuses = [group.status() for group in self.groups.values()]
        for status in statuses:
            agreeing = [s for s in statuses if s.leader == status.name and s.term == status.term]
            if status.role is Role.LEADER and len(agreeing) * 2 > len(self.members):
                return status.name
        return None

    async def wait_leader(self, *, other_than: str = "") -> str:
        await eventually(lambda: self.leader() not in (None, other_than), "a leader")
        leader = self.leader()
        assert leader is not None
        return leader
