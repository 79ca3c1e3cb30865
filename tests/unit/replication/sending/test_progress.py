"""Lag in revisions, bytes and seconds, on a clock made of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_replica.replication.sending.progress import Progress, Timeline
from rstore_replica.replication.sending.window import Window


def only(progress: Progress, now: float):
    (region,) = progress.snapshot(now)
    return region


@pytest.fixture
def progress() -> Progress:
    made = Progress()
    made.begin(["west"], 1, 0.0)
    made.connected("west")
    made.acked("west", 1, epoch=1)
    return made


def test_an_idle_store_has_no_lag_however_long_it_is_idle(progress):
    region = only(progress, 1000.0)
    assert (region.lag_revisions, region.lag_bytes, region.lag_seconds) == (0, 0, 0.0)


def test_seconds_are_the_age_of_the_oldest_revision_not_acknowledged(progress):
    progress.wrote(2, 10.0)
    progress.wrote(3, 12.0)
    progress.wrote(4, 14.0)
    assert only(progress, 15.0).lag_seconds == 5.0
    progress.acked("west", 2, epoch=1)
    assert only(progress, 15.0).lag_seconds == 3.0
    progress.acked("west", 4, epoch=1)
    assert only(progress, 15.0).lag_seconds == 0.0


def test_revisions_of_one_entry_have_one_age(progress):
    progress.wrote(10, 5.0)
    progress.acked("west", 7, epoch=1)
    assert only(progress, 6.0).lag_seconds == 1.0
    assert only(progress, 6.0).lag_revisions == 3


def test_bytes_are_estimated_from_what_revisions_take(progress):
    progress.measured(10, 1000)
    progress.wrote(5, 1.0)
    assert only(progress, 2.0).lag_bytes == 400


def test_what_existed_before_counts_from_when_this_replica_became_source():
    progress = Progress()
    progress.begin(["west"], 500, 100.0)
    progress.acked("west", 400, epoch=1)
    assert only(progress, 103.0).lag_seconds == 3.0
    assert only(progress, 103.0).lag_revisions == 100


def test_an_acknowledgement_never_goes_back(progress):
    progress.wrote(9, 1.0)
    progress.acked("west", 9, epoch=1)
    progress.acked("west", 4, epoch=1)
    assert only(progress, 2.0).acked_revision == 9


def test_a_lost_stream_keeps_what_is_known_and_says_why(progress):
    progress.wrote(9, 1.0)
    progress.acked("west", 5, epoch=1)
    progress.disconnected("west", "connection refused")
    region = only(progress, 4.0)
    assert (region.connected, region.last_error, region.acked_revision, region.lag_seconds) == (
        False,
        "connection refused",
        5,
        3.0,
    )


def test_a_region_that_leaves_is_forgotten_and_does_not_hold_samples(progress):
    progress.keep_only(["west", "north"])
    progress.wrote(9, 1.0)
    progress.acked("west", 9, epoch=1)
    progress.keep_only(["west"])
    assert [region.region for region in progress.snapshot(2.0)] == ["west"]
    assert only(progress, 2.0).lag_seconds == 0.0


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.floats(0.0, 3.0)), min_size=1, max_size=200),
    st.integers(2, 16),
    st.data(),
)
def test_thinning_is_bounded_and_never_understates_an_age(steps, max_samples, data):
    timeline = Timeline(max_samples=max_samples)
    born: dict[int, float] = {}
    revision, now = 1, 0.0
    for count, pause in steps:
        now += pause
        for number in range(revision + 1, revision + count + 1):
            born[number] = now
        revision += count
        timeline.add(revision, now)
        assert len(timeline) <= max_samples
    acked = data.draw(st.integers(1, revision))
    since = timeline.first_after(acked)
    if acked == revision:
        assert since is None
    else:
        assert since is not None
        assert since <= born[acked + 1]


def test_the_window_counts_bytes_until_they_are_acknowledged():
    window = Window(max_bytes=100, max_batches=10)
    window.sent(10, 60, 0.0)
    assert not window.full
    window.sent(20, 60, 0.0)
    assert window.full
    window.acked(10, 1.0)
    assert (window.unacked_bytes, window.unacked_batches, window.full) == (60, 1, False)


def test_one_batch_larger_than_the_window_may_go_alone():
    window = Window(max_bytes=100, max_batches=10)
    assert not window.full
    window.sent(2, 5000, 0.0)
    assert window.full


def test_a_window_stalls_only_while_something_is_on_its_way():
    window = Window(max_bytes=100, max_batches=10)
    assert not window.stalled(1000.0, 30.0)
    window.sent(2, 1, 1000.0)
    window.sent(3, 1, 1020.0)
    assert not window.stalled(1029.0, 30.0)
    assert window.stalled(1030.0, 30.0)
    window.acked(2, 1030.0)
    assert not window.stalled(1059.0, 30.0)
