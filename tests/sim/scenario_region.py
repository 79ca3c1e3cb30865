"""Scope ``region``: one region of one, three or five replicas, its clients, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from pathlib import Path

import lmdb
from rstore_api import errors
from rstore_api.proto import rstore_pb2
from rstore_api.rows import DamagedRows
from rstore_replica.api.batcher import BatchLimits
from rstore_replica.raft import RaftConfig
from sim import history
from sim.clients import Clients
from sim.faults import Faults
from sim.members import Members
from sim.oracle import agree
from sim.region import RegionProfile, bootstrap_entry, make_hosts
from sim.world import World

FAULTS_SECONDS = (5.0, 5.0, 9.0, 14.0)
RECOVERY_SECONDS = 40.0


def profile_of(rng: random.Random) -> RegionProfile:
    """Sizes, timeouts and thresholds: small, so that everything happens often."""
    election = rng.choice([(0.5, 1.0), (0.5, 0.6), (0.8, 1.6)])
    raft = RaftConfig(
        election_timeout_min_seconds=election[0],
        election_timeout_max_seconds=election[1],
        heartbeat_seconds=rng.choice([0.1, 0.15]),
        append_batch_entries=rng.choice([1, 3, 64]),
        append_window_messages=rng.choice([1, 4, 64]),
        segment_bytes=rng.choice([4096, 16384]),
        tail_cache_bytes=rng.choice([200, 1 << 20]),
        checkpoint_entries=rng.choice([10, 25, 60, 10_000]),
        checkpoint_bytes=rng.choice([16384, 1 << 20]),
        trailing_entries=rng.choice([0, 3, 20]),
        checkpoint_chunk_bytes=rng.choice([8192, 65536]),
        checkpoint_chunk_timeout_seconds=2.0,
    )
    batch = BatchLimits(
        max_entry_requests=rng.choice([1, 4, 64]),
        max_in_flight_entries=rng.choice([1, 2, 8]),
        propose_timeout_seconds=rng.choice([1.0, 3.0]),
    )
    if rng.random() < 0.3:
        # Whoever has missed a little needs a checkpoint.
        raft = dataclasses.replace(raft, checkpoint_entries=8, trailing_entries=0)
    aside = rng.choice([(0.001, 0.02), (0.01, 0.15)])
    return RegionProfile(aside_seconds=aside, size=rng.choice([3, 3, 3, 5, 5, 5, 1]), raft=raft, batch=batch)


class RegionScenario:
    """One run."""

    def __init__(self, world: World, root: Path) -> None:
        self._world = world
        rng = world.rng
        profile = profile_of(rng)
        names = [f"n{number}" for number in range(profile.size + 1)]
        self.hosts, self.oracle = make_hosts(world, root, names, profile, world.violated)
        self.members = Members(self.hosts, set(names[: profile.size]), world.trace)
        self._clients = Clients(
            self.hosts, random.Random(rng.random()), world.trace, keys=5, pause_seconds=rng.choice([0.05, 0.15])
        )
        self._faults = Faults(self.hosts, self.members, world.network, random.Random(rng.random()), world.trace)
        self._concurrent = rng.randint(1, 3)
        world.trace.fault(f"{profile.size} replicas, {self._concurrent} faults at a time, {profile.raft}")

    async def run(self) -> None:
        """Faults while clients work, then peace, then the questions."""
        for host in self.hosts:
            host.start()
        clients = asyncio.ensure_future(self._clients.run(self._world.rng.choice([2, 4])))
        operator = asyncio.ensure_future(self._operate())
        watcher = asyncio.ensure_future(self._watch())
        platform = asyncio.ensure_future(self.members.keep())
        await asyncio.sleep(1.2)
        await self._faults.rows.run(self._world.rng.choice(FAULTS_SECONDS), self._concurrent)
        self._faults.end()
        await self._recover()
        self._clients.stopping = True
        await clients
        await self._settled()
        for task in (operator, watcher, platform):
            task.cancel()
        await self._settled()
        await self._final_checks()

    def close(self) -> None:
        """After the run, whatever came of it."""
        for host in self.hosts:
            host.close()

    # ------------------------------------------------------------------ meanwhile

    async def _operate(self) -> None:
        """Bootstraps the region, then compacts it now and then."""
        while not any(host.machine is not None and host.machine.state.primary for host in self.hosts):
            await self._propose(bootstrap_entry())
            await asyncio.sleep(0.1)
        while True:
            await asyncio.sleep(self._world.rng.uniform(0.5, 2.0))
            revision = self.oracle.model.revision - self._world.rng.randint(0, 10)
            compaction = rstore_pb2.LogEntry(compaction=rstore_pb2.Compaction(revision=max(1, revision)))
            await self._propose(compaction.SerializeToString())

    async def _propose(self, entry: bytes) -> None:
        """At whoever leads; what becomes of it is not asked."""
        for host in self.hosts:
            if host.leads and host.process is not None and host.group is not None:
                group = host.group

                async def work() -> None:
                    try:
                        await group.propose(entry, timeout_seconds=1.0)  # noqa: B023
                    except errors.StoreError as error:
                        self._world.trace.add(f"the operator was refused: {error.code}")

                await asyncio.wait([host.process.spawn(work())], timeout=1.0)
                return

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            self._compare_logs()

    def _compare_logs(self) -> None:
        self.oracle.compare_logs([(host.name, host.journal) for host in self.hosts if host.journal is not None])

    # ------------------------------------------------------------------ at the end

    async def _recover(self) -> None:
        """A client gets its answer once everything works again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECOVERY_SECONDS
        before = sum(operation.outcome is history.Outcome.DONE for operation in self._clients.operations)
        while sum(operation.outcome is history.Outcome.DONE for operation in self._clients.operations) < before + 5:
            if loop.time() > deadline:
                self._world.violated(f"no client is served {RECOVERY_SECONDS:g} s after everything was repaired")
                return
            await asyncio.sleep(0.1)

    async def _settled(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECOVERY_SECONDS
        while not self._equal():
            if loop.time() > deadline:
                where = {
                    host.name: (host.group.status().commit_index, host.group.status().applied_index)
                    for host in self.hosts
                    if host.group is not None
                }
                members = sorted(self.members.wanted)
                self._world.violated(f"the replicas {members} do not come together: committed and applied {where}")
                return
            await asyncio.sleep(0.1)

    def _equal(self) -> bool:
        statuses = [host.group.status() for host in self.hosts if host.ready and host.group is not None]
        return self.members.settled and agree(
            [value for status in statuses for value in (status.last_index, status.applied_index)]
        )

    async def _final_checks(self) -> None:
        violated = self._world.violated
        self._compare_logs()
        found = []
        for host in self.hosts:
            if host.machine is not None:
                try:
                    hashed = await host.machine.hash_kv(0)
                except (DamagedRows, lmdb.Error) as error:
                    violated(f"{host.name} cannot read its data: {error}")
                    return
                found.append((host.machine.revision, hashed.hash, hashed.hash_revision))
        if not agree(found):
            violated(f"the replicas hold different data at the same entry: {found}")
        elif found and found[0][0] != self.oracle.model.revision:
            violated(
                f"the replicas are at revision {found[0][0]}, the committed log makes {self.oracle.model.revision}"
            )
        problem = history.check(self._clients.operations, self.oracle.states, self.oracle.writes)
        if problem:
            violated(problem)
        done = sum(operation.outcome is history.Outcome.DONE for operation in self._clients.operations)
        self._world.notes.update(
            operations=len(self._clients.operations),
            done=done,
            unknown=sum(operation.outcome is history.Outcome.UNKNOWN for operation in self._clients.operations),
            terms=len(self.oracle.leaders),
            entries=self.oracle.newest,
            restored=sum(host.restored for host in self.hosts),
            restarts=sum(max(0, host.incarnation - 1) for host in self.hosts),
            full=self._faults.volumes.full,
            refused_for_room=self._clients.refused_for_room,
            ended_without_room=sum(host.ended_without_room for host in self.hosts),
            rolled_back=self._faults.rollbacks.rolled_back,
            recognised=sum(host.recognised for host in self.hosts),
            failed_syncs=sum(host.volume.failed_syncs for host in self.hosts),
            emptied=self._faults.volumes.emptied,
            died_installing=self._faults.volumes.died_installing,
            added=self.members.added,
            removed=self.members.removed,
        )
