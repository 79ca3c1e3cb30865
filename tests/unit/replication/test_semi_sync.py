"""The SemiSync rule by example: what it waits for, when it gives up, and when it is in sync again."""

from __future__ import annotations

import pytest
from rstore_api.domain.topology import SyncRule
from rstore_replica.replication.semi_sync import EVERYTHING, SemiSync
from rstore_replica.replication.tenure.guarantees import AnnouncedGuarantees, ReceivedGuarantee

OTHERS = ("asia", "eu", "west")


def begun(rule: SyncRule, *, epoch: int = 1) -> SemiSync:
    made = SemiSync()
    made.begin(epoch, rule, OTHERS)
    made.started(1)
    return made


@pytest.mark.parametrize(
    ("rule", "timed_out", "announced", "allowed", "guarantee"),
    [
        # Committed elsewhere: 9, 7 and 4; shown to clients: 5; the newest is 10.
        (SyncRule(), False, 0, EVERYTHING, 0),
        (SyncRule(), False, 1, 9, 0),
        (SyncRule(1), False, 0, 9, 1),
        (SyncRule(1), False, 1, 9, 1),
        (SyncRule(1), False, 2, 7, 1),
        (SyncRule(2), False, 1, 7, 2),
        (SyncRule(3), False, 2, 4, 0),
        (SyncRule(4), False, 0, 0, 0),
        (SyncRule(1, degrade=False), True, 1, 9, 1),
        (SyncRule(1, degrade=True), True, 1, 9, 0),
        (SyncRule(1, degrade=True), True, 0, EVERYTHING, 0),
        (SyncRule(3, degrade=True), True, 2, 7, 0),
    ],
)
def test_what_may_be_acknowledged_and_what_is_announced(
    rule: SyncRule, timed_out: bool, announced: int, allowed: int, guarantee: int
) -> None:
    semi_sync = begun(rule)
    for region, revision in (("asia", 7), ("eu", 9), ("west", 4)):
        semi_sync.committed(region, 1, revision)
    semi_sync.expose(5)
    if timed_out:
        semi_sync.timed_out(10, 1.0)
    assert semi_sync.allowed(announced) == allowed
    assert semi_sync.guarantee == guarantee


@pytest.mark.parametrize(("regions", "allowed"), [(1, 9), (2, 7), (3, 4)])
def test_as_many_regions_as_the_rule_wants(regions: int, allowed: int) -> None:
    rule = begun(SyncRule(regions))
    for region, revision in (("asia", 7), ("eu", 9), ("west", 4)):
        rule.committed(region, 1, revision)
    assert rule.allowed(0) == allowed


def test_async_waits_for_nobody_but_is_bound_by_what_was_announced_to_the_voters() -> None:
    rule = begun(SyncRule())
    rule.committed("eu", 1, 5)
    assert rule.allowed(0) == EVERYTHING
    assert rule.allowed(1) == 5
    assert rule.allowed(2) == 0


def test_only_what_was_committed_in_this_epoch_counts() -> None:
    rule = begun(SyncRule(1), epoch=3)
    rule.committed("eu", 2, 50)
    rule.stands_at("eu", 2, 50)
    assert rule.allowed(0) == 0
    rule.stands_at("eu", 3, 40)
    assert rule.allowed(0) == 40


def test_a_region_that_comes_back_with_less_counts_with_less() -> None:
    rule = begun(SyncRule(1))
    rule.committed("eu", 1, 30)
    rule.expose(30)
    assert rule.guarantee == 1
    rule.stands_at("eu", 1, 0)
    assert rule.allowed(0) == 0
    assert rule.guarantee == 0, "what was acknowledged is in no other region any more"


def test_regions_that_left_the_store_do_not_count() -> None:
    rule = begun(SyncRule(1))
    rule.committed("eu", 1, 30)
    rule.change(SyncRule(1), ("asia", "west"), 30, 0.0)
    assert rule.allowed(0) == 0
    rule.committed("eu", 1, 31)
    assert rule.allowed(0) == 0


def test_more_regions_wanted_than_there_are_is_never_in_sync() -> None:
    rule = begun(SyncRule(4))
    for region in OTHERS:
        rule.committed(region, 1, 9)
    assert rule.allowed(0) == 0


def test_no_guarantee_before_it_is_known_what_earlier_leaders_announced() -> None:
    rule = SemiSync()
    rule.begin(1, SyncRule(1), OTHERS)
    rule.committed("eu", 1, 20)
    assert rule.exposed is None
    assert rule.guarantee == 0
    rule.started(25)
    assert rule.guarantee == 0, "25 may have been told of"
    rule.committed("eu", 1, 25)
    assert rule.guarantee == 1


def test_going_from_async_to_semi_sync_guarantees_nothing_until_the_past_is_there_too() -> None:
    rule = begun(SyncRule())
    rule.committed("eu", 1, 10)
    rule.expose(12)
    assert rule.guarantee == 0
    rule.change(SyncRule(1), OTHERS, 12, 0.0)
    assert rule.allowed(0) == 10
    assert rule.guarantee == 0
    rule.committed("eu", 1, 12)
    assert rule.guarantee == 1


def test_degrading_acknowledges_everything_and_guarantees_nothing_until_caught_up() -> None:
    rule = begun(SyncRule(1, timeout_ms=4000, degrade=True))
    rule.committed("eu", 1, 10)
    rule.timed_out(14, 100.0)
    assert rule.degraded
    assert not rule.in_sync
    assert rule.guarantee == 0
    assert rule.allowed(1) == 10, "the voters still believe that one region has everything"
    assert rule.allowed(0) == EVERYTHING
    rule.expose(20)
    rule.committed("eu", 1, 13)
    rule.look(20, 101.0)
    assert rule.degraded, "not even where the store was when it began"
    rule.committed("eu", 1, 20)
    rule.look(20, 200.0)
    assert not rule.degraded
    assert rule.in_sync
    assert rule.guarantee == 1


def test_under_load_it_is_in_sync_again_once_a_lap_takes_less_than_half_the_timeout() -> None:
    rule = begun(SyncRule(1, timeout_ms=4000, degrade=True))
    rule.timed_out(100, 10.0)
    rule.committed("eu", 1, 100)
    rule.look(500, 30.0)
    assert rule.degraded, "it took 20 s to get to 100, and the store is at 500"
    rule.committed("eu", 1, 499)
    rule.look(600, 31.0)
    assert rule.degraded
    rule.committed("eu", 1, 500)
    rule.look(610, 31.5)
    assert not rule.degraded


def test_without_degrading_a_timeout_changes_what_is_said_and_nothing_else() -> None:
    rule = begun(SyncRule(1, timeout_ms=4000))
    rule.committed("eu", 1, 10)
    rule.timed_out(14, 100.0)
    assert not rule.in_sync
    assert rule.allowed(0) == 10
    assert rule.guarantee == 1
    rule.committed("eu", 1, 14)
    rule.look(14, 300.0)
    assert rule.in_sync


def test_another_leadership_of_the_same_epoch_keeps_what_it_knows_of_regions_and_nothing_else() -> None:
    rule = begun(SyncRule(1, degrade=True))
    rule.committed("eu", 1, 10)
    rule.timed_out(14, 1.0)
    rule.begin(1, SyncRule(1), OTHERS)
    assert not rule.degraded
    assert rule.exposed is None
    assert rule.allowed(0) == 10
    rule.begin(2, SyncRule(1), OTHERS)
    assert rule.allowed(0) == 0


def test_what_was_announced_binds_until_a_majority_has_granted_less() -> None:
    reported = AnnouncedGuarantees()
    reported.sent(1, 0)
    reported.sent(2, 2)
    reported.sent(3, 2)
    reported.sent(4, 0)
    assert (reported.newest, reported.binding) == (0, 2)
    reported.granted(3)
    assert reported.binding == 2
    reported.granted(4)
    assert reported.binding == 0
    reported.granted(2)
    assert reported.binding == 0, "an old round that comes late says nothing new"


def test_told_forgets_no_guarantee_when_it_changes_often() -> None:
    reported = AnnouncedGuarantees()
    for number in range(100):
        reported.sent(number, number % 2 + (number == 3))
    assert reported.binding == 2
    reported.granted(99)
    assert reported.binding == 1


def test_a_voter_uses_the_newest_round_of_its_own_leadership() -> None:
    received = ReceivedGuarantee()
    assert received.in_term(0, (0, 0)) == (0, 0)
    received.granted(3, 7, 1, version=1, asked_term=5, term=5)
    received.granted(3, 6, 0, version=1, asked_term=5, term=5)
    assert received.in_term(5, (3, 1)) == (3, 1)
    assert received.in_term(6, (3, 1)) == (0, 0), "another leader may have heard less"
    received.granted(3, 8, 2, version=1, asked_term=5, term=6)
    assert received.in_term(6, (3, 1)) == (0, 0), "it was asked before that leader led; one between may have heard less"
    received.granted(3, 9, 2, version=1, asked_term=6, term=6)
    assert received.in_term(6, (3, 1)) == (3, 2)
    received.granted(4, 1, 0, version=1, asked_term=6, term=6)
    assert received.in_term(6, (3, 1)) == (4, 0)


def test_a_voter_that_knows_of_other_regions_does_not_count_what_was_said_of_those_before() -> None:
    received = ReceivedGuarantee()
    received.granted(3, 7, 1, version=4, asked_term=5, term=5)
    assert received.in_term(5, (3, 4)) == (3, 1)
    assert received.in_term(5, (3, 5)) == (0, 0), "a region may have left that had it all"
    received.granted(3, 8, 1, version=5, asked_term=5, term=5)
    assert received.in_term(5, (3, 5)) == (3, 1)
    assert received.in_term(5, (2, 9)) == (3, 1), "it has not heard yet where the regions of this epoch are"
