"""What a scrape says: of a snapshot that is under way, of requests."""

from __future__ import annotations

from rstore_replica.call_metrics import LATENCY_BUCKETS_SECONDS
from rstore_replica.metrics import Metrics, Reading, RegionLag


def test_both_sides_of_a_snapshot_are_shown() -> None:
    reading = Reading(
        store="orders",
        region="us-east",
        replica="orders-us-east-0",
        version="1",
        revision=10,
        compact_revision=9,
        epoch=1,
        promised_epoch=1,
        is_leader=True,
        has_leader=True,
        primary=True,
        writable=True,
        ready=True,
        term=1,
        commit_index=1,
        applied_index=1,
        db_size_bytes=1,
        disk_free_bytes=1,
        disk_size_bytes=1,
        queued_writes=0,
        staged_bytes=321,
        regions=(
            RegionLag("eu-west", True, 2, 8, 800, 1.5, snapshot_bytes=123),
            RegionLag("ap-south", True, 10, 0, 0, 0.0),
        ),
    )
    metrics = Metrics()
    metrics.observe(lambda: reading)
    metrics.take_reading()
    lines = metrics.render().decode().splitlines()
    assert "rstore_staged_bytes 321.0" in lines
    assert 'rstore_region_snapshot_bytes{to_region="eu-west"} 123.0' in lines
    assert 'rstore_region_snapshot_bytes{to_region="ap-south"} 0.0' in lines


def test_requests_are_counted_by_method_and_result_and_their_times_cumulate() -> None:
    metrics = Metrics()
    put = metrics.of_method("/etcdserverpb.KV/Put")
    for result, seconds in (("ok", 0.00048828125), ("ok", 0.00390625), ("ok", 99.0), ("no-leader", 0.00390625)):
        put.answered(result, seconds)
    assert metrics.of_method("/etcdserverpb.KV/Put") is put
    metrics.of_method("/etcdserverpb.KV/Txn")
    lines = metrics.render().decode().splitlines()
    assert 'rstore_requests_total{method="Put",result="ok"} 3.0' in lines
    assert 'rstore_requests_total{method="Put",result="no-leader"} 1.0' in lines
    start = 'rstore_request_seconds_bucket{le="'
    buckets = [line.removeprefix(start).partition('"')[::2] for line in lines if line.startswith(start)]
    assert [float(bound) for bound, _ in buckets] == [*LATENCY_BUCKETS_SECONDS, float("inf")]
    counts = {float(bound): float(rest.rpartition(" ")[2]) for bound, rest in buckets}
    assert (counts[0.0005], counts[0.0025], counts[0.005], counts[10.0], counts[float("inf")]) == (1, 1, 3, 3, 4)
    assert 'rstore_request_seconds_count{method="Put"} 4.0' in lines
    assert 'rstore_request_seconds_sum{method="Put"} 99.00830078125' in lines
    assert not [line for line in lines if 'method="Txn"' in line]  # nothing was asked
