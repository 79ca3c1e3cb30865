"""The replica's Prometheus metrics: request counters and latencies, and gauges read from the replica at scrape time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from rstore_api.proto import rstore_pb2

from rstore_replica.call_metrics import CallMetrics, MethodMetrics
from rstore_replica.etcd_metrics import DiskTimings, EtcdReading, LeaseCounts, PeerRoundTrips

LAG_BUCKETS_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(frozen=True)
class RegionLag:
    """How far another region is behind."""

    region: str
    connected: bool
    acked_revision: int
    lag_revisions: int
    lag_bytes: int
    lag_seconds: float
    snapshot_bytes: int = 0


@dataclass(frozen=True)
class Reading:
    """The state of the replica at one moment."""

    store: str
    region: str
    replica: str
    version: str
    revision: int
    compact_revision: int
    epoch: int
    promised_epoch: int
    is_leader: bool
    has_leader: bool
    primary: bool
    writable: bool
    ready: bool
    term: int
    commit_index: int
    applied_index: int
    db_size_bytes: int
    disk_free_bytes: int
    disk_size_bytes: int
    queued_writes: int
    watches: int = 0
    leases: int = 0
    lock_waits: int = 0
    quarantined_tails: int = 0
    quarantined_rows: int = 0
    quarantined_bytes: int = 0
    staged_bytes: int = 0
    archive_kept_revision: int = 0
    quarantined_missing: int = 0
    tenure_held: bool = False
    tenure_remaining_seconds: float = 0.0
    regions: tuple[RegionLag, ...] = field(default=())
    sync: rstore_pb2.SyncStatus | None = None
    """On the primary's leader in SemiSync."""
    etcd: EtcdReading | None = None


class Metrics:
    """All metrics of one replica, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: _ReadingCollector | None = None
        self.calls = CallMetrics()
        self.registry.register(self.calls)
        self.disk = DiskTimings()
        self.leases = LeaseCounts()
        ProcessCollector(registry=self.registry)
        self.forwarded = Counter(
            "rstore_forwarded_requests", "Requests sent on to the primary's leader.", ["method"], registry=self.registry
        )
        self.batch_requests = Histogram(
            "rstore_batch_requests",
            "Client requests that shared one entry of the log.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self.registry,
        )
        self.refusals = Counter(
            "rstore_refusals",
            "Connections, calls and frames that a port refused, by reason.",
            ["port", "reason"],
            registry=self.registry,
        )
        self.loop_lag_seconds = Histogram(
            "rstore_event_loop_lag_seconds",
            "How late the event loop woke a timer, in seconds.",
            buckets=LAG_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.loop_lag_max_seconds = Gauge(
            "rstore_event_loop_lag_max_seconds", "Greatest lag in the last minute.", registry=self.registry
        )

    def of_method(self, path: str) -> MethodMetrics:
        """Returns where the requests of a method are counted; the path is that of HTTP, ``/etcdserverpb.KV/Put``."""
        return self.calls.of_method(path)

    def count_refusal(self, port: str, reason: str) -> None:
        """Counts what a port refused."""
        self.refusals.labels(port, reason).inc()

    def observe(self, read: Callable[[], Reading]) -> None:
        """Adds the gauges of the replica, which ``read`` returns on the event loop. To be called once."""
        self._gauges = _ReadingCollector(read, self.disk, self.leases)
        self.registry.register(self._gauges)

    def take_reading(self) -> None:
        """Has the gauges show the replica as it is now. To be called on the event loop."""
        if self._gauges is not None:
            self._gauges.take()

    def render(self) -> bytes:
        """Returns the exposition text, with the gauges of the last reading. Callable from any thread."""
        return generate_latest(self.registry)


class _ReadingCollector(Collector):
    def __init__(self, read: Callable[[], Reading], disk: DiskTimings, leases: LeaseCounts) -> None:
        self._read = read
        self._disk = disk
        self._leases = leases
        self._reading: Reading | None = None
        self._round_trips = PeerRoundTrips()

    def take(self) -> None:
        self._reading = self._read()
        if self._reading.etcd is not None:
            self._round_trips.add(self._reading.etcd.round_trips)

    def collect(self) -> Iterable[Metric]:
        reading = self._reading
        if reading is None:
            return
        yield InfoMetricFamily(
            "rstore_replica",
            "This replica's names and version.",
            value={
                "store": reading.store,
                "region": reading.region,
                "replica": reading.replica,
                "version": reading.version,
            },
        )
        for name, text, value in (
            ("revision", "Revision of the store as applied here.", reading.revision),
            ("compact_revision", "Revisions below this one are gone.", reading.compact_revision),
            ("epoch", "Epoch of the newest revision.", reading.epoch),
            ("promised_epoch", "Highest epoch promised.", reading.promised_epoch),
            ("is_leader", "1 on the region's Raft leader.", reading.is_leader),
            ("has_leader", "1 when the region has a leader.", reading.has_leader),
            ("primary", "1 in the primary region.", reading.primary),
            ("writable", "1 where the region accepts writes.", reading.writable),
            ("ready", "1 when the replica is ready.", reading.ready),
            ("raft_term", "Raft term.", reading.term),
            ("raft_commit_index", "Raft commit index.", reading.commit_index),
            ("raft_applied_index", "Raft applied index.", reading.applied_index),
            ("db_size_bytes", "Size of the database, in bytes.", reading.db_size_bytes),
            ("disk_free_bytes", "Bytes that the volume has left.", reading.disk_free_bytes),
            ("disk_size_bytes", "Bytes that the volume has.", reading.disk_size_bytes),
            ("queued_writes", "Writes waiting for an entry of the log.", reading.queued_writes),
            ("watches", "Watches of all clients.", reading.watches),
            ("leases", "Leases of the store, on the primary's leader; 0 elsewhere.", reading.leases),
            ("lock_waits", "Calls that wait for a lock or to lead, or observe who does.", reading.lock_waits),
            ("quarantined_tails", "Diverged tails that the region keeps in quarantine.", reading.quarantined_tails),
            ("quarantined_rows", "Changes of keys in them.", reading.quarantined_rows),
            ("quarantined_bytes", "Size of their files.", reading.quarantined_bytes),
            ("staged_bytes", "What is here of a snapshot that is not visible yet.", reading.staged_bytes),
            (
                "archive_kept_revision",
                "What follows it is kept for the archive, whatever was compacted; 0: nothing is.",
                reading.archive_kept_revision,
            ),
            ("quarantined_missing", "Tails whose file this replica does not hold.", reading.quarantined_missing),
            ("tenure_held", "1 where writes may be acknowledged.", reading.tenure_held),
            ("tenure_remaining_seconds", "For how long without another grant.", reading.tenure_remaining_seconds),
        ):
            yield GaugeMetricFamily(f"rstore_{name}", text, value=float(value))
        yield from self._disk.families()
        yield from self._leases.families()
        yield from self._round_trips.families()
        if reading.etcd is not None:
            yield from reading.etcd.families()
        yield from _region_gauges(reading.regions)
        if reading.sync is not None:
            yield from _sync_gauges(reading.sync)


def _sync_gauges(sync: rstore_pb2.SyncStatus) -> Iterable[Metric]:
    for name, text, value in (
        ("required_regions", "Other regions that a write waits for.", sync.min_in_sync_regions),
        ("in_sync", "1 while they confirm in time.", sync.in_sync),
        ("degraded", "1 while writes are acknowledged without them.", sync.degraded),
        ("confirmed_revision", "Revision that so many of them have committed.", sync.in_sync_revision),
        ("waiting_entries", "Entries of the log whose writes wait to be acknowledged.", sync.waiting),
    ):
        yield GaugeMetricFamily(f"rstore_semi_sync_{name}", text, value=float(value))


def _region_gauges(regions: tuple[RegionLag, ...]) -> Iterable[Metric]:
    gauges: tuple[tuple[str, str, Callable[[RegionLag], float]], ...] = (
        ("connected", "1 while the stream to the region is up.", lambda lag: float(lag.connected)),
        ("acked_revision", "Revision the region has committed.", lambda lag: float(lag.acked_revision)),
        ("lag_revisions", "Revisions not yet acknowledged.", lambda lag: float(lag.lag_revisions)),
        ("lag_bytes", "Bytes not yet acknowledged (estimate).", lambda lag: float(lag.lag_bytes)),
        ("lag_seconds", "Age of the oldest revision not yet acknowledged.", lambda lag: lag.lag_seconds),
        ("snapshot_bytes", "Committed of a snapshot on its way to the region.", lambda lag: float(lag.snapshot_bytes)),
    )
    for name, text, value in gauges:
        family = GaugeMetricFamily(f"rstore_region_{name}", text, labels=["to_region"])
        for lag in regions:
            family.add_metric([lag.region], value(lag))
        yield family
