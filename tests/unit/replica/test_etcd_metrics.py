"""The names of etcd: those that its published alerts and dashboards ask for."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rstore_api.domain import etcd_version
from rstore_api.proto import rstore_pb2
from rstore_replica.call_metrics import code_of
from rstore_replica.etcd_metrics import EtcdReading, PeerTraffic
from rstore_replica.metrics import Metrics, Reading, RegionLag
from rstore_replica.process.leader_changes import LeaderChanges
from rstore_replica.raft.types import GroupStatus, Role
from rstore_replica.timings import Timings

ETCD = EtcdReading(
    has_leader=True,
    is_leader=False,
    is_learner=False,
    leader_changes=2,
    committed_index=12,
    applied_index=11,
    pending_proposals=3,
    failed_proposals=1,
    db_size_bytes=4096,
    db_in_use_bytes=2048,
    quota_bytes=8 << 30,
    revision=40,
    compact_revision=7,
    round_trips={"orders-us-east-1": 0.0003},
    peers={"orders-us-east-1": PeerTraffic(received_bytes=11, sent_bytes=12, sent_failures=13)},
)
# By etcd's mixin of 2025, ``up`` apart.
ASKED_FOR_BY_THE_ALERTS = [
    "etcd_network_peer_sent_failures_total",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds_bucket",
    "etcd_network_peer_round_trip_time_seconds_bucket",
    "etcd_server_proposals_failed_total",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_server_quota_backend_bytes",
]
ASKED_FOR_BY_THE_DASHBOARD = [
    "grpc_server_started_total",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_sent_bytes_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_pending",
    "process_resident_memory_bytes",
    "etcd_server_is_leader",
]


def scraped_text(regions: tuple[RegionLag, ...] = (), metrics: Metrics | None = None) -> str:
    """The exposition of a leader in SemiSync that has answered a call."""
    metrics = metrics or Metrics()
    put = metrics.of_method("/etcdserverpb.KV/Put")
    put.started += 1
    put.answered("ok", 0.003)
    metrics.count_refusal("client", "too many")
    numbers = dict.fromkeys(Reading.__dataclass_fields__, 0)
    texts = {name: name for name in ("store", "region", "replica", "version")}
    reading = Reading(**numbers | texts | {"regions": regions, "sync": rstore_pb2.SyncStatus(), "etcd": ETCD})
    metrics.observe(lambda: reading)
    metrics.take_reading()
    return metrics.render().decode()


def scraped(metrics: Metrics) -> dict[str, float]:
    """Every sample, by its name and labels."""
    result = {}
    for family in text_string_to_metric_families(scraped_text(metrics=metrics)):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            result[f"{sample.name}{{{labels}}}"] = sample.value
    return result


@pytest.fixture
def samples() -> dict[str, float]:
    metrics = Metrics()
    put = metrics.of_method("/etcdserverpb.KV/Put")
    put.started += 3
    for result, seconds in (("no-primary", 0.2), ("no-leader", 20.0)):
        put.answered(result, seconds)
    watch = metrics.calls.of_stream("/etcdserverpb.Watch/Watch", "bidi_stream")
    watch.started, watch.received, watch.sent = 5, 6, 7
    watch.end("Canceled")
    metrics.calls.client_traffic.received_bytes, metrics.calls.client_traffic.sent_bytes = 1000, 2000
    metrics.disk.journal_sync.add(0.0015)
    metrics.leases.granted, metrics.leases.revoked, metrics.leases.renewed = 4, 3, 9
    metrics.leases.times_to_live.add(60)
    return scraped(metrics)


@pytest.mark.parametrize("name", ASKED_FOR_BY_THE_ALERTS + ASKED_FOR_BY_THE_DASHBOARD)
def test_what_alerts_and_dashboards_of_etcd_ask_for_is_there(samples: dict[str, float], name: str) -> None:
    assert any(re.match(rf"{name}\{{", sample) for sample in samples)


def test_calls_have_both_names(samples: dict[str, float]) -> None:
    put = "grpc_method=Put,grpc_service=etcdserverpb.KV,grpc_type=unary"
    assert samples[f"grpc_server_started_total{{{put}}}"] == 4
    assert samples[f"grpc_server_handled_total{{grpc_code=OK,{put}}}"] == 1
    assert samples[f"grpc_server_handled_total{{grpc_code=Unavailable,{put}}}"] == 2
    assert samples["rstore_requests_total{method=Put,result=no-primary}"] == 1
    assert samples["rstore_request_seconds_count{method=Put}"] == 3
    assert samples["rstore_request_seconds_bucket{le=0.005,method=Put}"] == 1
    assert samples[f"grpc_server_handling_seconds_bucket{{{put},le=10.0}}"] == 2
    assert samples[f"grpc_server_handling_seconds_bucket{{{put},le=+Inf}}"] == 3


def test_streams_and_messages_are_counted_by_the_names_of_the_middleware(samples: dict[str, float]) -> None:
    watch = "grpc_method=Watch,grpc_service=etcdserverpb.Watch,grpc_type=bidi_stream"
    put = "grpc_method=Put,grpc_service=etcdserverpb.KV,grpc_type=unary"
    assert samples[f"grpc_server_started_total{{{watch}}}"] == 5
    # The dashboard subtracts it: it must be there before the first stream has ended.
    assert samples[f"grpc_server_handled_total{{grpc_code=OK,{watch}}}"] == 0
    assert samples[f"grpc_server_handled_total{{grpc_code=Canceled,{watch}}}"] == 1
    for labels, received, sent in ((watch, 6, 7), (put, 4, 1)):
        assert samples[f"grpc_server_msg_received_total{{{labels}}}"] == received
        assert samples[f"grpc_server_msg_sent_total{{{labels}}}"] == sent


def test_traffic_has_the_names_of_etcd(samples: dict[str, float]) -> None:
    assert samples["etcd_network_client_grpc_received_bytes_total{}"] == 1000
    assert samples["etcd_network_client_grpc_sent_bytes_total{}"] == 2000
    assert samples["etcd_network_peer_received_bytes_total{From=orders-us-east-1}"] == 11
    assert samples["etcd_network_peer_sent_bytes_total{To=orders-us-east-1}"] == 12
    assert samples["etcd_network_peer_sent_failures_total{To=orders-us-east-1}"] == 13


def test_gauges_have_the_values_of_the_replica(samples: dict[str, float]) -> None:
    assert samples["etcd_server_leader_changes_seen_total{}"] == 2
    assert samples["etcd_server_proposals_committed_total{}"] == 12
    assert samples["etcd_mvcc_db_total_size_in_use_in_bytes{}"] == 2048
    assert samples[f"etcd_server_version{{server_version={etcd_version.SERVER_VERSION}}}"] == 1
    assert samples[f"etcd_cluster_version{{cluster_version={etcd_version.CLUSTER_VERSION}}}"] == 1
    assert samples["etcd_disk_wal_fsync_duration_seconds_bucket{le=0.002}"] == 1
    assert samples["etcd_disk_wal_fsync_duration_seconds_bucket{le=0.001}"] == 0
    assert samples["etcd_disk_wal_fsync_duration_seconds_sum{}"] == 0.0015
    assert samples["etcd_network_peer_round_trip_time_seconds_bucket{To=orders-us-east-1,le=0.0002}"] == 0
    assert samples["etcd_network_peer_round_trip_time_seconds_bucket{To=orders-us-east-1,le=0.0004}"] == 1


def test_leases_are_counted_by_the_names_of_etcd(samples: dict[str, float]) -> None:
    assert samples["etcd_debugging_lease_granted_total{}"] == 4
    assert samples["etcd_debugging_lease_revoked_total{}"] == 3
    assert samples["etcd_debugging_lease_renewed_total{}"] == 9
    assert samples["etcd_debugging_lease_ttl_total_bucket{le=32.0}"] == 0
    assert samples["etcd_debugging_lease_ttl_total_bucket{le=64.0}"] == 1


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ("ok", "OK"),
        ("cancelled", "Canceled"),
        ("deadline-exceeded", "Unavailable"),
        ("not-leader", "FailedPrecondition"),
        ("compacted", "OutOfRange"),
        ("internal", "Internal"),
        ("too-many-requests", "ResourceExhausted"),
    ],
)
def test_codes_are_written_as_gos_middleware_writes_them(result: str, code: str) -> None:
    assert code_of(result) == code


def test_a_duration_on_a_bound_counts_below_it() -> None:
    timings = Timings((0.1, 0.2))
    for seconds in (0.1, 0.15, 0.2, 0.3):
        timings.add(seconds)
    assert timings.counts == [1, 2, 1]


def test_leaders_are_counted_and_times_without_one_are_not() -> None:
    changes = LeaderChanges()
    for leader, term in (("a", 1), (None, 1), ("a", 1), ("b", 2), (None, 2), ("b", 3)):
        changes.note(GroupStatus("a", Role.FOLLOWER, leader, term, 0, 0, 0, (), None))
    assert changes.count == 3
