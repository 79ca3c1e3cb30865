"""A region's one replica without its ports: the real group, journal, checkpoints and state machine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rstore_api.proto.rpc_pb2 import PutRequest
from rstore_api.proto.rstore_pb2 import BootstrapRequest, Compaction, LogEntry, Topology, WriteBatch, WriteRequest
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft import Group, Member, RaftConfig
from rstore_replica.raft.links.transport import OnLink, OnMessage

REGION = "us-east"
TIMEOUT_SECONDS = 60.0


class NobodyElse:
    """A transport for a group of one, which has nobody to reach."""

    refusal = ""

    def add_to_server(self, server: object) -> None:
        """There is nobody to serve."""

    def update_members(self, members: Sequence[Member], _removed: frozenset[str]) -> None:
        assert not members

    async def start(self, on_message: OnMessage, on_link: OnLink) -> None:
        """There is nobody to reach."""

    async def stop(self) -> None:
        """There is nothing to stop."""

    def send(self, peer: str, _envelope: object) -> bool:
        raise AssertionError(f"a message to {peer}")


class Counting:
    """Passes entries on to a state machine, and lists their indexes."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.given: list[int] = []

    def apply(self, index: int, term: int, entry: bytes) -> object:
        self.given.append(index)
        return self._machine.apply(index, term, entry)

    @property
    def applied_index(self) -> int:
        return self._machine.applied_index

    def checkpoint(self, directory: Path) -> None:
        self._machine.checkpoint(directory)

    def sync(self) -> None:
        self._machine.sync()

    def restore(self, directory: Path) -> None:
        self._machine.restore(directory)


class OneReplica:
    """A replica that can be stopped and started again on the same directory."""

    def __init__(self, directory: Path, config: RaftConfig) -> None:
        self.directory = directory
        self.config = config
        self.failures: list[BaseException] = []

    async def start(self) -> None:
        self.machine = Machine.open(self.directory / "mvcc", region=REGION)
        self.counting = Counting(self.machine)
        self.group = Group(
            name="orders-us-east-0",
            members=(Member("orders-us-east-0", "127.0.0.1:1"),),
            directory=self.directory / "raft",
            machine=self.counting,
            transport=NobodyElse(),
            config=self.config,
            on_fatal=self.failures.append,
        )
        await self.group.start()

    async def stop(self) -> None:
        await self.group.stop()
        self.machine.close()
        assert self.failures == []

    def lose_power(self) -> None:
        """Drops the live data of a stopped replica, as after a loss of power, when it cannot be trusted."""
        shutil.rmtree(self.directory / "mvcc")

    def checkpointed(self) -> int:
        """Returns the index of the newest checkpoint; 0 without one."""
        names = [path.name for path in (self.directory / "raft" / "checkpoints").iterdir() if "-" in path.name]
        return max((int(name.partition("-")[0]) for name in names), default=0)

    async def propose(self, entry: LogEntry) -> object:
        return await self.group.propose(entry.SerializeToString(), timeout_seconds=TIMEOUT_SECONDS)

    async def bootstrap(self) -> None:
        topology = Topology(epoch=1, version=1, primary_region=REGION)
        assert await self.propose(LogEntry(bootstrap=BootstrapRequest(store_id="store", topology=topology))) is None

    async def put_many(self, keys: list[bytes], value: bytes) -> None:
        """Writes one entry with one Put, and so one revision, for each key."""
        requests = [WriteRequest(put=PutRequest(key=key, value=value)) for key in keys]
        answers = await self.propose(LogEntry(write=WriteBatch(epoch=1, requests=requests)))
        assert isinstance(answers, list)
        unwanted = [answer for answer in answers if isinstance(answer, Exception)]
        assert not unwanted, unwanted[:3]

    async def compact(self, revision: int) -> None:
        if revision > max(1, self.machine.compact_revision):
            answer = await self.propose(LogEntry(compaction=Compaction(revision=revision)))
            assert not isinstance(answer, Exception), answer
