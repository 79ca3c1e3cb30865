"""What this replica and a member of etcd both have, by the names under which etcd exports it.

So the alerts and dashboards that are made for etcd work. What only one of the two has is left out: a name that means
something else here would be worse than none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from rstore_api.domain import etcd_version

from rstore_replica.timings import Timings

FSYNC_BUCKETS_SECONDS = tuple(0.001 * 2**power for power in range(14))
"""Those of etcd: 1 ms to 8 s."""
ROUND_TRIP_BUCKETS_SECONDS = tuple(0.0001 * 2**power for power in range(16))
"""Those of etcd: 0.1 ms to 3 s."""


TIME_TO_LIVE_BUCKETS_SECONDS = tuple(float(2**power) for power in range(24))
"""Those of etcd: 1 s to half a year."""


class LeaseCounts:
    """What became of leases: grants and revocations are counted on each replica of the primary region, which applies
    them, and renewals on its leader.
    """

    def __init__(self) -> None:
        self.granted = 0
        self.revoked = 0
        """Also those that ended."""
        self.renewed = 0
        self.times_to_live = Timings(TIME_TO_LIVE_BUCKETS_SECONDS)
        """As granted."""

    def families(self) -> Iterable[Metric]:
        """Yields the counters, and the histogram of times to live."""
        for name, text, value in (
            ("granted", "Leases granted.", self.granted),
            ("revoked", "Leases that were revoked or have ended.", self.revoked),
            ("renewed", "Renewals of leases.", self.renewed),
        ):
            yield CounterMetricFamily(f"etcd_debugging_lease_{name}", text, value=float(value))
        family = HistogramMetricFamily("etcd_debugging_lease_ttl_total", "Times to live as granted, in seconds.")
        self.times_to_live.show(family)
        yield family


@dataclass(frozen=True)
class DiskTimings:
    """How long the disk takes: the journal's syncs, and the commits of the database."""

    journal_sync: Timings = field(default_factory=lambda: Timings(FSYNC_BUCKETS_SECONDS))
    database_commit: Timings = field(default_factory=lambda: Timings(FSYNC_BUCKETS_SECONDS))

    def families(self) -> Iterable[Metric]:
        """Yields both histograms."""
        for name, text, timings in (
            ("wal_fsync", "Time that a sync of the journal takes, in seconds.", self.journal_sync),
            ("backend_commit", "Time that a commit of the database takes, in seconds.", self.database_commit),
        ):
            family = HistogramMetricFamily(f"etcd_disk_{name}_duration_seconds", text)
            timings.show(family)
            yield family


@dataclass
class PeerTraffic:
    """What went over the links to another replica of the region, since this process knows of it."""

    received_bytes: int = 0
    sent_bytes: int = 0
    sent_failures: int = 0
    """Messages that were dropped, and dials that failed while there was no link."""


def _peer_families(peers: Mapping[str, PeerTraffic]) -> Iterable[Metric]:
    for name, text, label in (
        ("received_bytes", "Bytes received from peers.", "From"),
        ("sent_bytes", "Bytes sent to peers.", "To"),
        ("sent_failures", "Messages and dials to peers that failed.", "To"),
    ):
        family = CounterMetricFamily(f"etcd_network_peer_{name}", text, labels=[label])
        for peer, traffic in peers.items():
            family.add_metric([peer], float(getattr(traffic, name)))
        yield family


class PeerRoundTrips:
    """How long round trips to the other replicas of the region take; each scrape adds one of each."""

    def __init__(self) -> None:
        self._peers: dict[str, Timings] = {}

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count a round trip to each of these peers."""
        for peer, taken in seconds.items():
            self._peers.setdefault(peer, Timings(ROUND_TRIP_BUCKETS_SECONDS)).add(taken)

    def families(self) -> Iterable[Metric]:
        """Yields the histogram, whose label is ``To`` as in etcd."""
        text = "Round trips to peers, in seconds, as TCP measures them."
        family = HistogramMetricFamily("etcd_network_peer_round_trip_time_seconds", text, labels=["To"])
        for peer, timings in list(self._peers.items()):
            timings.show(family, [peer])
        yield family


@dataclass(frozen=True)
class EtcdReading:
    """The state of the replica at one moment, in etcd's terms."""

    has_leader: bool
    is_leader: bool
    is_learner: bool
    leader_changes: int
    committed_index: int
    applied_index: int
    pending_proposals: int
    failed_proposals: int
    db_size_bytes: int
    db_in_use_bytes: int
    quota_bytes: int
    revision: int
    compact_revision: int
    round_trips: Mapping[str, float] = field(default_factory=dict)
    """To each linked replica of the region, in seconds."""
    peers: Mapping[str, PeerTraffic] = field(default_factory=dict)

    def families(self) -> Iterable[Metric]:
        """Yields the gauges and counters."""
        for subject, version in (
            ("server", etcd_version.SERVER_VERSION),
            ("cluster", etcd_version.CLUSTER_VERSION),
        ):
            label = f"{subject}_version"
            family = GaugeMetricFamily(f"etcd_{label}", "1, with the version of etcd that is offered.", labels=[label])
            family.add_metric([version], 1.0)
            yield family
        for name, text, value in (
            ("server_has_leader", "1 when the region has a leader.", self.has_leader),
            ("server_is_leader", "1 on the region's leader.", self.is_leader),
            ("server_is_learner", "1 on a replica that has no vote yet.", self.is_learner),
            ("server_proposals_pending", "Writes that wait to be committed.", self.pending_proposals),
            ("server_quota_backend_bytes", "Bytes of data that the store takes.", self.quota_bytes),
            ("mvcc_db_total_size_in_bytes", "Size of the database's file.", self.db_size_bytes),
            ("mvcc_db_total_size_in_use_in_bytes", "Bytes of it that hold data.", self.db_in_use_bytes),
            ("debugging_mvcc_current_revision", "Revision of the store.", self.revision),
            ("debugging_mvcc_compact_revision", "Revisions below it are gone.", self.compact_revision),
            # Gauges in etcd, too, whatever their names.
            ("server_proposals_committed_total", "Index of the last committed entry.", self.committed_index),
            ("server_proposals_applied_total", "Index of the last applied entry.", self.applied_index),
        ):
            yield GaugeMetricFamily(f"etcd_{name}", text, value=float(value))
        for name, text, value in (
            ("server_leader_changes_seen", "Changes of the region's leader seen here.", self.leader_changes),
            ("server_proposals_failed", "Entries that were proposed and failed.", self.failed_proposals),
        ):
            yield CounterMetricFamily(f"etcd_{name}", text, value=float(value))
        yield from _peer_families(self.peers)
