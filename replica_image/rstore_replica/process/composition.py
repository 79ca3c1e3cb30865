"""One replica, put together and taken apart."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import rstore_api
from rstore_api.dialling.channels import Dialer
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.exposition import Exposition
from rstore_api.logs import get_logger

from rstore_replica.api.access.callers import has_lost
from rstore_replica.api.access.control import AccessControl
from rstore_replica.api.alarms.store_alarms import StoreAlarms, other_members
from rstore_replica.api.archive.keeping import Keeping
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.auth.passwords import Passwords
from rstore_replica.api.batcher import Batcher
from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity
from rstore_replica.api.leases.keeper import LeaseKeeper
from rstore_replica.api.locks.candidates import Candidates
from rstore_replica.api.locks.key_values import KeyValues
from rstore_replica.api.routing.forward import Forwarder
from rstore_replica.api.routing.own_replicas import OwnReplicas
from rstore_replica.api.routing.route import primary_region
from rstore_replica.api.routing.router import Router
from rstore_replica.api.services.admin import AdminService
from rstore_replica.api.services.archive import ArchiveService
from rstore_replica.api.services.auth import AuthService
from rstore_replica.api.services.cluster import ClusterService
from rstore_replica.api.services.election import ElectionService
from rstore_replica.api.services.health import HealthReporter
from rstore_replica.api.services.importing import ImportService
from rstore_replica.api.services.kv import KvService
from rstore_replica.api.services.lease import LeaseService, submit_with
from rstore_replica.api.services.lock import LockService
from rstore_replica.api.services.maintenance import MaintenanceService
from rstore_replica.api.services.quarantine import QuarantineService
from rstore_replica.api.services.snapshot import SnapshotService
from rstore_replica.api.services.watch import WatchService
from rstore_replica.api.watch.pump import Pump
from rstore_replica.api.watch.refusals import refusals_of
from rstore_replica.config import MAX_BATCH_BYTES, MAX_ENTRY_BYTES, ReplicaConfig
from rstore_replica.disk_full import NO_ROOM
from rstore_replica.metrics import Metrics
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.client_http import client_http
from rstore_replica.process.http_port import HttpServer
from rstore_replica.process.known_peers import KnownPeers
from rstore_replica.process.leader_changes import LeaderChanges
from rstore_replica.process.life import Life
from rstore_replica.process.listeners import REQUEST_OVERHEAD_BYTES, client_server, listen, peer_server
from rstore_replica.process.live_data import LiveData
from rstore_replica.process.reading import read
from rstore_replica.process.standing import Standing
from rstore_replica.process.volume import Owner, claim_volume, require_level
from rstore_replica.process.watchdog import Watchdog
from rstore_replica.raft.clock import SystemClock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.group import Group
from rstore_replica.raft.links.grpc_transport import GrpcTransport
from rstore_replica.raft.types import Member
from rstore_replica.replication.config import EndingBounds, ReplicationConfig
from rstore_replica.replication.features import Features
from rstore_replica.replication.retention import Retention
from rstore_replica.replication.service import Replication
from rstore_replica.replication.showing import Showing
from rstore_replica.replication.tail_fetcher import TailFetcher
from rstore_replica.tls import CertificateStore

_log = get_logger(__name__)

DRAIN_TIMEOUT_SECONDS = 5.0
PEER_DRAIN_SECONDS = 0.5
LAME_DUCK_SECONDS = 3.0
"""Until every node knows that the pod belongs to its Services no longer: the endpoints are written and read by then."""


@dataclass(frozen=True)
class Place:
    """What comes from the command line: this replica's name, and where its files and addresses are."""

    name: str
    data_directory: Path
    tls_directory: Path
    config_directory: Path
    listen_host: str


class Replica:
    """Everything in one pod. :meth:`start` once, :meth:`stop` once; `failed` is set when it cannot go on."""

    def __init__(self, config: ReplicaConfig, place: Place) -> None:
        """Opens the data and builds the parts, each from those before it; nothing runs or listens yet.

        Raises VolumeError, StorageFailed, TlsError, OSError.
        """
        self._config = config
        self._place = place
        self._life = Life()
        self.failed = self._life.failed
        self._lock = claim_volume(place.data_directory, Owner(config.store, config.region))
        self._certificates = CertificateStore(place.tls_directory)
        self._access = AccessControl(
            volume=place.data_directory, mounted=place.config_directory, anonymous=config.client_auth == "None"
        )
        self._metrics = Metrics()
        self._live_data = LiveData(place.data_directory)
        self.machine = self._live_data.open(
            partial(
                Machine.open,
                self._live_data.path,
                region=config.region,
                max_txn_ops=config.limits.max_txn_ops,
                max_revision_rows=config.limits.max_revision_rows,
                max_revision_bytes=config.limits.max_revision_bytes,
                quota_bytes=config.limits.quota_bytes,
                quarantine=self._live_data.quarantine,
                commit_took=self._metrics.disk.database_commit.add,
            )
        )
        require_level(self.machine.state.feature_level, COMMANDS.level)
        self._build_group()
        self._standing = Standing(self._life, self.machine, self.group)
        self.not_ready_reason = self._standing.not_ready_reason
        self._build_services()

    def _build_group(self) -> None:
        config, name = self._config, self._place.name
        members = tuple(Member(member.name, member.peer_address) for member in config.members)
        self._clock = clock = SystemClock()
        features = Features(region=config.region, machine=self.machine, required_level=COMMANDS.required_level)
        self._links = GrpcTransport(
            name,
            members,
            self._certificates.client_contexts(),
            group=f"{config.namespace}/{config.store}/{config.region}",
        )
        self.group = Group(
            name=name,
            members=members,
            directory=self._place.data_directory / "raft",
            machine=self.machine,
            transport=self._links,
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
            sync_took=self._metrics.disk.journal_sync.add,
        )
        self._leaders = LeaderChanges()
        self.group.on_change(self._leaders.note)
        self._replication_config = ReplicationConfig(
            region=config.region,
            replica=name,
            batch_interval_seconds=config.replication.batch_interval_ms / 1000,
            max_batch_bytes=min(config.replication.max_batch_bytes, MAX_BATCH_BYTES),
            window_bytes=config.replication.window_bytes,
            tenure_seconds=config.failover.lease_duration_ms / 1000,
            ending=EndingBounds(drain_seconds=config.failover.drain_timeout_ms / 1000),
        )
        self.replication = Replication(
            machine=self.machine,
            group=self.group,
            dialer=Dialer(self._certificates),
            clock=clock,
            config=self._replication_config,
            rng=random.Random(),
            features=features,
        )

    def _build_services(self) -> None:
        config, machine, group, replication = self._config, self.machine, self.group, self.replication
        certificates, metrics, not_ready_reason = self._certificates, self._metrics, self.not_ready_reason
        guard = Guard(machine=machine, group=group)
        calls = Calls(metrics, guard)
        locations = OwnReplicas(group.status, config.client_port)
        identity = Identity(region=config.region, replica=self._place.name, machine=machine, group=group)
        self._batcher = Batcher(
            group=group,
            gate=replication.controller.write_gate,
            write_limits=machine.write_limits,
            on_batch=metrics.batch_requests.observe,
            tenure_held=replication.tenure.held,
            settle=replication.acknowledging.settle,
        )
        self._forwarder = forwarder = Forwarder(
            replica=self._place.name,
            certificates=certificates,
            on_forward=lambda path: metrics.forwarded.labels(path.rpartition("/")[2]).inc(),
        )
        machine.subscribe_state(lambda state: forwarder.primary_is(primary_region(state)))
        self._router = Router(
            machine=machine,
            group=group,
            forwarder=forwarder,
            region=config.region,
            own_replicas=locations,
            forward=config.routing.forward,
            rng=random.Random(),
            guard=guard,
        )
        self.leases = LeaseKeeper(
            machine=machine,
            group=group,
            tenure_held=replication.tenure.held,
            submit=submit_with(self._batcher, machine),
            counts=metrics.leases,
        )
        self._lease = lease = LeaseService(
            calls=calls,
            router=self._router,
            batcher=self._batcher,
            machine=machine,
            identity=identity,
            keeper=self.leases,
            read_point=replication.acknowledging.read_point,
            guard=guard,
        )
        self._auth = auth = AuthService(
            calls=calls,
            router=self._router,
            batcher=self._batcher,
            machine=machine,
            group=group,
            identity=identity,
            guard=guard,
            passwords=Passwords(),
            tenure_held=replication.tenure.held,
            read_point=replication.acknowledging.read_point,
        )
        self._kv = KvService(
            calls=calls,
            router=self._router,
            batcher=self._batcher,
            machine=machine,
            group=group,
            identity=identity,
            limits=config.limits,
            tenure_held=replication.tenure.held,
            read_point=replication.acknowledging.read_point,
            check_attaching=lease.check_attaching,
            standing=guard.standing,
        )
        self._showing = Showing(
            machine=machine,
            group=group,
            clock=self._clock,
            region=config.region,
            acknowledging=replication.acknowledging,
            open_replica=partial(Endpoint, tls=certificates),
        )
        self._pump = Pump(machine, self._showing)
        self._watch = WatchService(
            pump=self._pump,
            group=group,
            identity=identity,
            fragment_bytes=config.limits.max_request_bytes + REQUEST_OVERHEAD_BYTES,
            refusals=partial(refusals_of, guard),
            on_refusal=partial(metrics.count_refusal, "client"),
        )
        self._candidates = candidates = Candidates(
            key_values=KeyValues(self._kv),
            grant=lease.grant,
            pump=self._pump,
            rng=random.Random(),
            on_refusal=partial(metrics.count_refusal, "client"),
        )
        lock = LockService(calls=calls, candidates=candidates)
        election = ElectionService(calls=calls, candidates=candidates)
        maintenance = MaintenanceService(
            calls=calls,
            alarms=StoreAlarms(
                members=lambda: other_members(
                    machine.state,
                    locations,
                    region=config.region,
                    replica=self._place.name,
                    to_others=config.routing.forward,
                ),
                ask=forwarder.ask,
                clock=self._clock.monotonic,
            ),
            machine=machine,
            group=group,
            identity=identity,
            not_ready_reason=not_ready_reason,
            quota_bytes=config.limits.quota_bytes,
        )
        snapshots = SnapshotService(
            machine=machine, identity=identity, pump=self._pump, scans=self._kv.scans, guard=guard
        )
        importing = ImportService(
            calls=calls,
            router=self._router,
            machine=machine,
            group=group,
            identity=identity,
            tenure_held=replication.tenure.held,
        )
        cluster = ClusterService(
            calls=calls,
            router=self._router,
            machine=machine,
            group=group,
            identity=identity,
            replicas=locations,
            learners=lambda: locations.learners,
            reported_learners=replication.tenure.learners,
            scheme="https",
        )
        self._keeping = Keeping(
            machine=machine,
            clock=self._clock,
            directory=self._place.data_directory,
            retention=config.replication.retention_revisions,
        )
        archive = ArchiveService(
            machine=machine,
            pump=self._pump,
            clock=self._clock,
            config=self._replication_config,
            has_leader=lambda: group.status().leader is not None,
            keeping=self._keeping,
        )
        admin = AdminService(
            calls=calls,
            controller=replication.controller,
            group=group,
            certificates=certificates,
            access=self._access,
            not_ready_reason=not_ready_reason,
        )
        quarantine = QuarantineService(
            calls=calls, machine=machine, group=group, region=config.region, replica=self._place.name
        )
        self._tail_fetcher = TailFetcher(
            machine=machine,
            group=group,
            open_replica=partial(Endpoint, tls=certificates),
        )
        self._health = HealthReporter(not_ready_reason)
        self._retention = Retention(
            machine=machine,
            group=group,
            retention=config.replication.retention_revisions,
            region=config.region,
            progress=replication.progress,
        )
        self._client_server = client_server(
            identify=self._access.identify,
            metrics=metrics.calls,
            on_refusal=partial(self._metrics.count_refusal, "client"),
            max_request_bytes=config.limits.max_request_bytes,
            services=(
                self._kv.add_to_server,
                self._watch.add_to_server,
                lease.add_to_server,
                lock.add_to_server,
                election.add_to_server,
                auth.add_to_server,
                maintenance.add_to_server,
                snapshots.add_to_server,
                importing.add_to_server,
                cluster.add_to_server,
                self._health.add_to_server,
            ),
        )
        self._access.on_change(partial(self._client_server.identify_again, has_lost))
        self._peer_server = peer_server(
            on_refusal=partial(self._metrics.count_refusal, "peer"),
            services=(
                admin.add_to_server,
                quarantine.add_to_server,
                archive.add_to_server,
                group.add_to_server,
                replication.add_to_server,
                self._showing.add_to_server,
            ),
            replication_window_bytes=config.replication.window_bytes,
        )
        exposition = Exposition(metrics)
        self._client_server.http = client_http(
            find=self._client_server.find,
            kv=self._kv,
            maintenance=maintenance,
            group=group,
            life=self._life,
            name=self._place.name,
            exposition=exposition,
        )
        self._http = HttpServer(
            host=self._place.listen_host,
            port=config.http_port,
            exposition=exposition,
            not_ready_reason=not_ready_reason,
            not_alive_reason=self._standing.not_alive_reason,
        )
        metrics.observe(
            lambda: read(
                store=config.store,
                identity=identity,
                life=self._life,
                standing=self._standing,
                machine=machine,
                group=group,
                replication=replication,
                batcher=self._batcher,
                watch=self._watch,
                leases=self.leases,
                candidates=candidates,
                tail_fetcher=self._tail_fetcher,
                keeping=self._keeping,
                data_directory=self._place.data_directory,
                round_trips=self._links.round_trips(),
                peers=self._links.traffic(),
                quota_bytes=config.limits.quota_bytes,
                leader_changes=self._leaders.count,
            )
        )

    # ------------------------------------------------------------------ life

    def _fail(self, error: BaseException) -> None:
        if not (isinstance(error, OSError) and error.errno in NO_ROOM):  # a full disk refuses writes, and loses none
            self._live_data.distrust()
        self._life.fail(error)

    async def start(self) -> None:
        """Recover, listen, take part. Raises OSError, ListenError, RaftError."""
        host, config = self._place.listen_host, self._config
        await self._http.start()
        for server, port, require in (
            (self._peer_server, config.peer_port, True),
            (self._client_server, config.client_port, config.client_auth == "mTLS"),
        ):
            listen(server, host=host, port=port, certificates=self._certificates, require_client_certificate=require)
        self._keeping.begin()
        await self.group.start()
        self._life.running = True
        await self._peer_server.start()
        await self.replication.start()
        self._life.run("leases", self.leases.run())
        self._life.run("watches", self._pump.run())
        self._life.run("showing", self._showing.run())
        self._life.run("watch_streams", self._watch.run())
        await self._client_server.start()
        self._life.run("known_peers", KnownPeers(self._peers, self._peer_server.know).run())
        self._life.run("watchdog", Watchdog(self._metrics).run())
        self._life.run("health", self._health.run())
        self._life.run("retention", self._retention.run())
        self._life.run("keeping", self._keeping.run())
        self._life.run("tail_fetcher", self._tail_fetcher.run())
        self._life.run("access", self._access.run())
        _log.info("started", version=rstore_api.__version__, listen_host=host, client_port=config.client_port)

    def _peers(self) -> list[str]:
        topology = self.machine.state.topology
        others = [replica for region in topology.regions for replica in region.replicas] if topology is not None else []
        return [member.address for member in self.group.status().members] + [each.peer_address for each in others]

    async def stop(self) -> None:
        """Leave without losing anything: not ready, leadership handed on or everything in another region (see
        ``replication/ending``), calls drained, everything closed.

        Where others serve the calls that still come, the ports stay open for LAME_DUCK_SECONDS from now on: it takes as
        long until nobody is sent here any more. Takes at most ``failover.drainTimeoutMs`` and about 20 s: to hand on
        leadership, DRAIN_TIMEOUT_SECONDS, and what a stream from another region that cannot be committed any more takes
        to give up.
        """
        _log.info("stopping")
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        self._life.stopping = True
        self._router.stopping = True
        await self._health.update()
        if self._life.running:
            decision = await self.replication.ending.leave()
            if decision.served:
                await asyncio.sleep(asked_at + LAME_DUCK_SECONDS - loop.time())
        self._watch.close()
        self._lease.close()
        self._candidates.close()
        await self._life.end()
        await self._client_server.stop(DRAIN_TIMEOUT_SECONDS)
        if self._life.running:
            await self.replication.stop()
        self._life.running = False
        await self.group.stop()  # what is still proposed is answered with OutcomeUnknown
        await self._batcher.close()
        await self._forwarder.close()
        await self._peer_server.stop(PEER_DRAIN_SECONDS)
        await self._http.stop()
        self._kv.close()
        self._auth.close()
        await self._live_data.release(self.machine)
        os.close(self._lock)
        _log.info("stopped")
