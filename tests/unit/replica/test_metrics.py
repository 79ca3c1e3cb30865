"""What a scrape says while a snapshot is under way."""

from __future__ import annotations

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
