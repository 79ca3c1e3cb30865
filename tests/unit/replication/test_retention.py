"""How far automatic compaction goes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_replica.replication.retention import LAGGARD_FACTOR, SLACK, compaction_target


def test_history_within_the_retention_and_its_slack_is_kept() -> None:
    assert compaction_target(revision=1100, compact_revision=0, retention=1000, acked={}) is None
    assert compaction_target(revision=1101, compact_revision=0, retention=1000, acked={}) == 101


def test_what_a_region_still_needs_is_kept() -> None:
    assert compaction_target(revision=5000, compact_revision=0, retention=1000, acked={"eu": 2000}) == 2000
    assert compaction_target(revision=5000, compact_revision=0, retention=1000, acked={"eu": 4900}) == 4000
    assert compaction_target(revision=5000, compact_revision=0, retention=1000, acked={"eu": 0}) is None


def test_a_region_too_far_behind_no_longer_holds_it_back() -> None:
    acked = {"eu": 900, "ap": 10_500}
    assert compaction_target(revision=11_000, compact_revision=0, retention=1000, acked=acked) == 10_000


@given(
    revision=st.integers(1, 10**6),
    compact_revision=st.integers(0, 10**6),
    retention=st.integers(1, 10**5),
    acked=st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 10**6)),
)
@settings(deadline=None, max_examples=300)
def test_rules_hold_for_any_numbers(
    revision: int, compact_revision: int, retention: int, acked: dict[str, int]
) -> None:
    target = compaction_target(revision=revision, compact_revision=compact_revision, retention=retention, acked=acked)
    if target is None:
        return
    assert revision - compact_revision > retention * (1 + SLACK)
    assert compact_revision < target <= revision - retention
    for held in acked.values():
        assert target <= held or revision - held > retention * LAGGARD_FACTOR
