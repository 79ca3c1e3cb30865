"""One replica, put together and taken apart."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rstore_api
from rstore_api.client.quarantine import QuarantineClient
from rstore_api.dialling.channels import Dialer

from rstore_replica.api.batcher import Batcher
from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity
from rstore_replica.api.routing.forward import Forwarder
from rstore_replica.api.routing.own_replicas import OwnReplicas
from rstore_replica.api.routing.route import primary_region
from rstore_replica.api.routing.router import Router
from rstore_replica.api.services.admin import AdminService
from rstore_replica.api.services.cluster import ClusterService
from rstore_replica.api.services.health import HealthReporter
from rstore_replica.api.services.kv import KvService
from rstore_replica.api.services.maintenance import MaintenanceService
from rstore_replica.api.services.quarantine import QuarantineService
from rstore_replica.config import MAX_BATCH_BYTES, MAX_ENTRY_BYTES, ReplicaConfig
from rstore_replica.log import get_logger
from rstore_replica.metrics import Metrics, Reading, RegionLag
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.http_port import HttpServer
from rstore_replica.process.listeners import client_server, listen, peer_server
from rstore_replica.process.live_data import LiveData
from rstore_replica.process.readiness import not_ready_reason
from rstore_replica.process.volume_owner import Owner, WrongVolumeError, record_owner, require_owner
from rstore_replica.process.watchdog import Watchdog
from rstore_replica.raft.clock import SystemClock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.group import Group
from rstore_replica.raft.links.grpc_transport import GrpcTransport
from rstore_replica.raft.types import Member, Role
from rstore_replica.replication.config import EndingBounds, ReplicationConfig
from rstore_replica.replication.features import Features
from rstore_replica.replication.retention import Retention
from rstore_replica.replication.service import Replication
from rstore_replica.replication.tail_fetcher import TailFetcher
from rstore_replica.tls import CertificateStore

_log = get_logger("server")

DRAIN_TIMEOUT_SECONDS = 5.0
PEER_DRAIN_SECONDS = 0.5


class StartError(Exception):
    """The replica cannot be started; the text says why."""


@dataclass(frozen=True)
class Place:
    """What comes from the command line: who this replica is, and where its files and addresses are."""

    name: str
    data_directory: Path
    tls_directory: Path
    listen_host: str


class Replica:
    """Everything in one pod. :meth:`start` once, :meth:`stop` once; `failed` is set when it cannot go on."""

    def __init__(self, config: ReplicaConfig, place: Place) -> None:
        """Open the data and build the parts; nothing runs or listens yet. Raises StartError, TlsError."""
        self._config = config
        self._place = place
        self._stopping = False
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        owner = Owner(config.store, config.region)
        _require_volume(place.data_directory, owner)
        self._lock = _lock_directory(place.data_directory)
        _record_volume(place.data_directory, owner)
        self._certificates = CertificateStore(place.tls_directory)
        self._metrics = Metrics()
        self._live_data = LiveData(place.data_directory)
        self._live_data.claim()
        self._machine = Machine.open(
            self._live_data.path,
            region=config.region,
            max_txn_ops=config.limits.max_txn_ops,
            max_revision_rows=config.limits.max_revision_rows,
            max_revision_bytes=config.limits.max_revision_bytes,
            quota_bytes=config.limits.quota_bytes,
            quarantine=place.data_directory / "quarantine",
        )
        self._build_group()
        self._build_services()

    def _build_group(self) -> None:
        config, name = self._config, self._place.name
        members = tuple(Member(member.name, member.peer_address) for member in config.members)
        clock = SystemClock()
        features = Features(
            region=config.region, state=lambda: self._machine.state, required_level=COMMANDS.required_level
        )
        self._group = Group(
            name=name,
            members=members,
            directory=self._place.data_directory / "raft",
            machine=self._machine,
            transport=GrpcTransport(
                name,
                members,
                self._certificates.client_contexts(),
                group=f"{config.namespace}/{config.store}/{config.region}",
            ),
            clock=clock,
            config=RaftConfig(
                election_timeout_min_seconds=config.raft.election_timeout_min_ms / 1000,
                election_timeout_max_seconds=config.raft.election_timeout_max_ms / 1000,
                heartbeat_seconds=config.raft.heartbeat_ms / 1000,
                max_entry_bytes=MAX_ENTRY_BYTES,
            ),
            on_fatal=self._fail,
            feature_level=COMMANDS.level,
            admit=features.admit,
        )
        self._replication = Replication(
            machine=self._machine,
            group=self._group,
            dialer=Dialer(self._certificates),
            clock=clock,
            config=ReplicationConfig(
                region=config.region,
                replica=name,
                batch_interval_seconds=config.replication.batch_interval_ms / 1000,
                max_batch_bytes=min(config.replication.max_batch_bytes, MAX_BATCH_BYTES),
                window_bytes=config.replication.window_bytes,
                tenure_seconds=config.failover.lease_duration_ms / 1000,
                ending=EndingBounds(drain_seconds=config.failover.drain_timeout_ms / 1000),
            ),
            rng=random.Random(),
            features=features,
        )

    def _build_services(self) -> None:
        config, machine, group = self._config, self._machine, self._group
        calls = Calls(self._metrics)
        self._locations = OwnReplicas(group.status, config.client_port)
        identity = Identity(region=config.region, replica=self._place.name, machine=machine, group=group)
        self._batcher = Batcher(
            group=group,
            gate=self._replication.controller.write_gate,
            write_limits=machine.write_limits,
            on_batch=self._metrics.batch_requests.observe,
            tenure_held=self._replication.tenure.held,
            settle=self._replication.acknowledging.settle,
        )
        self._forwarder = Forwarder(
            replica=self._place.name,
            certificates=self._certificates,
            on_forward=lambda path: self._metrics.forwarded.labels(path.rpartition("/")[2]).inc(),
        )
        machine.subscribe_state(lambda state: self._forwarder.primary_is(primary_region(state)))
        self._router = Router(
            machine=machine,
            group=group,
            forwarder=self._forwarder,
            region=config.region,
            own_replicas=self._locations,
            forward=config.routing.forward,
            rng=random.Random(),
        )
        self._kv = KvService(
            calls=calls,
            router=self._router,
            batcher=self._batcher,
            machine=machine,
            group=group,
            identity=identity,
            limits=config.limits,
            tenure_held=self._replication.tenure.held,
            read_point=self._replication.acknowledging.read_point,
        )
        maintenance = MaintenanceService(
            calls=calls, machine=machine, group=group, identity=identity, not_ready_reason=self.not_ready_reason
        )
        cluster = ClusterService(
            calls=calls,
            machine=machine,
            identity=identity,
            replicas=self._locations,
            learners=lambda: self._locations.learners,
            scheme="https",
        )
        admin = AdminService(
            calls=calls,
            controller=self._replication.controller,
            group=group,
            certificates=self._certificates,
            not_ready_reason=self.not_ready_reason,
        )
        quarantine = QuarantineService(
            calls=calls, machine=machine, group=group, region=config.region, replica=self._place.name
        )
        self._tail_fetcher = TailFetcher(
            machine=machine,
            group=group,
            open_client=lambda address: QuarantineClient(address, tls=self._certificates),
        )
        self._health = HealthReporter(self.not_ready_reason)
        self._retention = Retention(
            machine=machine,
            group=group,
            retention=config.replication.retention_revisions,
            region=config.region,
            acked=lambda: {found.region: found.acked_revision for found in self._replication.progress()},
        )
        self._client_server = client_server(
            max_request_bytes=config.limits.max_request_bytes,
            services=(
                self._kv.add_to_server,
                maintenance.add_to_server,
                cluster.add_to_server,
                self._health.add_to_server,
            ),
        )
        self._peer_server = peer_server(
            services=(
                admin.add_to_server,
                quarantine.add_to_server,
                self._group.add_to_server,
                self._replication.add_to_server,
            ),
            replication_window_bytes=config.replication.window_bytes,
        )
        self._http = HttpServer(
            host=self._place.listen_host,
            port=config.http_port,
            metrics=self._metrics,
            not_ready_reason=self.not_ready_reason,
            not_alive_reason=self._not_alive_reason,
        )
        self._metrics.observe(self._reading)

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Recover, listen, take part. Raises OSError, ListenError, RaftError."""
        host, config = self._place.listen_host, self._config
        await self._http.start()
        for server, port, require in (
            (self._peer_server, config.peer_port, True),
            (self._client_server, config.client_port, config.client_auth == "mTLS"),
        ):
            listen(server, host=host, port=port, certificates=self._certificates, require_client_certificate=require)
        await self._group.start()
        self._running = True
        await self._peer_server.start()
        await self._replication.start()
        await self._client_server.start()
        self._run("watchdog", Watchdog(self._metrics).run())
        self._run("health", self._health.run())
        self._run("retention", self._retention.run())
        self._run("tail_fetcher", self._tail_fetcher.run())
        _log.info("started", version=rstore_api.__version__, listen_host=host, client_port=config.client_port)

    async def stop(self) -> None:
        """Leave without losing anything: not ready, leadership handed on or everything in another region (see
        ``replication/ending``), calls drained, everything closed.

        Takes at most ``failover.drainTimeoutMs`` and about 20 s: to hand on leadership, DRAIN_TIMEOUT_SECONDS, and what
        a stream from another region that cannot be committed any more takes to give up.
        """
        _log.info("stopping")
        self._stopping = True
        self._router.stopping = True
        await self._health.update()
        if self._running:
            await self._replication.ending.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client_server.stop(DRAIN_TIMEOUT_SECONDS)
        if self._running:
            await self._replication.stop()
        self._running = False
        await self._group.stop()  # what is still proposed is told that its outcome is unknown
        await self._batcher.close()
        await self._forwarder.close()
        await self._peer_server.stop(PEER_DRAIN_SECONDS)
        await self._http.stop()
        self._kv.close()
        await self._live_data.release(self._machine)
        os.close(self._lock)
        _log.info("stopped")

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A task for the replica's life; the replica must not go on without it."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self._fail(task.exception() or RuntimeError(f"the task {name} ended"))

        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    def _fail(self, error: BaseException) -> None:
        _log.critical("replica_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
        if not self.failed.done():
            self.failed.set_result(error)

    # ------------------------------------------------------------------ what it says of itself

    def not_ready_reason(self) -> str:
        """Why it is not ready; "" when it is."""
        if not self._running:
            return "the replica is stopping" if self._stopping else "the replica is starting"
        if self.failed.done():
            return "the replica has failed"
        return not_ready_reason(
            self._machine.state,
            self._group.status(),
            stopping=self._stopping,
            receives_snapshot=self._machine.staged is not None,
        )

    def _not_alive_reason(self) -> str:
        return "the replica has failed" if self.failed.done() else ""

    def _reading(self) -> Reading:
        machine, state = self._machine, self._machine.state
        status = self._group.status() if self._running else None
        transfers = {found.region: found.size_bytes for found in self._replication.sender.transfers()}
        return Reading(
            store=self._config.store,
            region=self._config.region,
            replica=self._place.name,
            version=rstore_api.__version__,
            revision=machine.revision,
            compact_revision=machine.compact_revision,
            epoch=state.epoch,
            promised_epoch=state.promised_epoch,
            is_leader=status is not None and status.role is Role.LEADER,
            has_leader=status is not None and status.leader is not None,
            primary=state.primary,
            writable=state.writable,
            ready=not self.not_ready_reason(),
            term=status.term if status is not None else 0,
            commit_index=status.commit_index if status is not None else 0,
            applied_index=machine.applied_index,
            db_size_bytes=machine.db_size_bytes,
            queued_writes=self._batcher.queued,
            quarantined_tails=len(machine.quarantined),
            quarantined_rows=sum(tail.count for tail in machine.quarantined),
            quarantined_bytes=sum(tail.size_bytes for tail in machine.quarantined),
            staged_bytes=machine.staged.size_bytes if machine.staged is not None else 0,
            quarantined_missing=len(self._tail_fetcher.missing()),
            tenure_held=self._replication.tenure.held(state.epoch),
            tenure_remaining_seconds=self._replication.tenure.remaining_seconds(),
            sync=self._replication.acknowledging.status(),
            regions=tuple(
                RegionLag(
                    found.region,
                    found.connected,
                    found.acked_revision,
                    found.lag_revisions,
                    found.lag_bytes,
                    found.lag_seconds,
                    transfers.get(found.region, 0),
                )
                for found in self._replication.progress()
            ),
        )


def _require_volume(directory: Path, owner: Owner) -> None:
    """Raises StartError when the volume is another region's."""
    try:
        require_owner(directory, owner)
    except (WrongVolumeError, OSError) as error:
        raise StartError(str(error)) from error


def _record_volume(directory: Path, owner: Owner) -> None:
    """A volume that has no room for it, which an earlier version may have filled, is recorded at a later start."""
    try:
        record_owner(directory, owner)
    except OSError as error:
        _log.warning("volume_owner_not_recorded", reason=error.strerror or str(error))


def _lock_directory(directory: Path) -> int:
    """Makes sure that no other process uses the data. Raises StartError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot use the data directory {directory}: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StartError(f"the data directory {directory} is in use by another process") from error
    return lock
