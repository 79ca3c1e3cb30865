"""The rules of the tenure, one by one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from rstore_api.domain.voters import WITNESS, voters
from rstore_replica.replication.tenure.rules import MAX_OPEN_ROUNDS, Granter, TenureHolder, bound_to_agree_on

THREE = voters(["a", "b", "c"])


def holder_of(names: frozenset[str], epoch: int = 1) -> TenureHolder:
    holder = TenureHolder()
    holder.begin(epoch, names, 1)
    return holder


def test_counts_from_sending_and_leaves_a_tenth() -> None:
    holder = holder_of(THREE)
    number = holder.start_round(100.0)
    assert not holder.held(1, 100.0)
    holder.granted(1, number, "a", 3.0)
    assert not holder.held(1, 100.5)
    holder.granted(1, number, "c", 3.0)
    assert holder.held(1, 102.69)
    assert not holder.held(1, 102.7)
    assert holder.remaining(101.0) == pytest.approx(1.7)


def test_grants_of_different_rounds_make_no_majority() -> None:
    holder = holder_of(THREE)
    first, second = holder.start_round(100.0), holder.start_round(101.0)
    holder.granted(1, first, "a", 3.0)
    holder.granted(1, second, "b", 3.0)
    assert not holder.held(1, 101.0)


def test_a_single_region_needs_none() -> None:
    holder = holder_of(voters(["a"]))
    assert holder.held(1, 1e9)
    assert not holder.held(2, 1e9)
    assert not TenureHolder().held(0, 1.0)


def test_what_was_announced_to_voters_binds_no_more_when_none_are_left() -> None:
    holder = holder_of(voters(["a", "b"]))
    holder.start_round(0.0, guarantee=1)
    assert holder.announced.binding == 1
    holder.change_voters(THREE)
    assert holder.announced.binding == 1
    holder.change_voters(frozenset())
    assert holder.announced.binding == 0


def test_two_regions_and_the_witness() -> None:
    holder = holder_of(voters(["a", "b"]))
    number = holder.start_round(10.0)
    holder.granted(1, number, "a", 3.0)
    assert holder.granted(1, number, WITNESS, 3.0)
    assert holder.held(1, 12.0)


def test_the_shortest_grant_that_the_majority_needs_decides() -> None:
    holder = holder_of(THREE)
    number = holder.start_round(0.0)
    holder.granted(1, number, "a", 10.0)
    holder.granted(1, number, "b", 1.0)
    assert not holder.held(1, 0.95)
    holder.granted(1, number, "c", 2.0)
    assert holder.held(1, 1.7)
    assert not holder.held(1, 1.85)


def test_strangers_other_epochs_and_old_rounds_do_not_count() -> None:
    holder = holder_of(THREE, epoch=4)
    number = holder.start_round(0.0)
    assert not holder.granted(4, number, "x", 3.0)
    assert not holder.granted(3, number, "a", 3.0)
    assert not holder.granted(4, number + 1, "a", 3.0)
    for _ in range(MAX_OPEN_ROUNDS):
        holder.start_round(1.0)
    assert not holder.granted(4, number, "a", 3.0)
    holder.end()
    assert not holder.granted(4, holder.start_round(2.0), "a", 3.0)


@pytest.mark.parametrize(
    ("before", "granters", "after", "runs_on"),
    [
        (["a", "b", "c"], "ab", ["a", "b", "c", "d", "e"], False),
        (["a", "b", "c"], "abc", ["a", "b", "c", "d", "e"], True),
        (["a", "b", "c"], "ab", ["a", "b", "c", "d"], False),  # and the witness
        (["a", "b"], ["a", WITNESS], ["a", "b", "c"], False),
        (["a", "b"], ["a", "b"], ["a", "b", "c"], True),
        (["a", "b", "c", "d", "e"], "abc", ["a", "d", "e"], False),
        (["a", "b", "c", "d", "e"], "abc", ["a", "b", "e"], True),
        (["a", "b", "c"], "ab", ["a", "c"], False),
        (["a", "b", "c"], "ab", ["a", "b"], True),
        (["a"], "", ["a", "b", "c"], False),
    ],
)
def test_what_was_granted_runs_on_while_its_granters_are_a_majority_of_the_new_voters(
    before: list[str], granters: Iterable[str], after: list[str], runs_on: bool
) -> None:
    holder = holder_of(voters(before))
    number = holder.start_round(0.0)
    for voter in granters:
        holder.granted(1, number, voter, 3.0)
    assert holder.held(1, 1.0)
    holder.change_voters(voters(after))
    assert holder.held(1, 1.0) == runs_on
    assert not holder.granted(1, number, "a", 3.0), "rounds of the voters before count no more"
    number = holder.start_round(1.0)
    for voter in voters(after):
        holder.granted(1, number, voter, 3.0)
    assert holder.held(1, 3.6)


def test_a_voter_that_granted_more_than_was_needed_counts_and_one_that_granted_less_does_not() -> None:
    holder = holder_of(THREE)
    number = holder.start_round(0.0)
    for voter, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        holder.granted(1, number, voter, seconds)
    assert holder.remaining(0.0) == pytest.approx(1.8)
    holder.change_voters(voters(["a", "b", "d"]))
    assert not holder.held(1, 0.5), "of the new voters only a has granted as much"


def test_where_voters_left_none_nothing_runs_on_for_those_that_come_back() -> None:
    holder = holder_of(THREE)
    number = holder.start_round(0.0)
    for voter in "abc":
        holder.granted(1, number, voter, 3.0)
    holder.change_voters(voters(["a"]))
    assert holder.held(1, 1e9)
    holder.change_voters(THREE)
    assert not holder.held(1, 1.0)


def test_the_granted_version_is_that_of_the_newest_topology_that_a_majority_granted() -> None:
    holder = holder_of(THREE)
    assert holder.granted_version == 0
    older, newer = holder.start_round(0.0, version=4), holder.start_round(0.1, version=5)
    holder.granted(1, newer, "a", 3.0)
    assert holder.granted_version == 0
    holder.granted(1, newer, "b", 3.0)
    for voter in "abc":
        holder.granted(1, older, voter, 3.0)
    assert holder.granted_version == 5
    holder.change_voters(voters(["a", "b", "c", "d", "e"]))
    assert holder.granted_version == 5, "those voters have granted nothing yet"
    holder.begin(1, THREE, 100)
    assert holder.granted_version == 0, "another leader"


def test_a_new_epoch_begins_without_a_tenure() -> None:
    holder = holder_of(THREE)
    number = holder.start_round(0.0)
    holder.granted(1, number, "a", 3.0)
    holder.granted(1, number, "b", 3.0)
    holder.end()
    assert holder.held(1, 1.0), "what was in flight may still be acknowledged"
    holder.begin(3, THREE, 1)
    assert not holder.held(1, 1.0)
    assert not holder.held(3, 1.0)
    assert holder.start_round(1.0) > number


def test_a_voter_keeps_promises_and_grants_one_region_per_epoch() -> None:
    granter = Granter(3.0)
    assert granter.grant(2, "a", promised_epoch=2, received_at=10.0, asked_seconds=9.0, bound_seconds=3.0) == 3.0
    assert granter.granted_until == 13.0
    assert granter.grant(2, "b", promised_epoch=2, received_at=10.0, asked_seconds=3.0, bound_seconds=3.0) == 0.0
    assert granter.grant(1, "a", promised_epoch=0, received_at=10.0, asked_seconds=3.0, bound_seconds=3.0) == 0.0
    assert granter.grant(2, "a", promised_epoch=3, received_at=10.0, asked_seconds=3.0, bound_seconds=3.0) == 0.0
    assert granter.grant(3, "b", promised_epoch=3, received_at=10.5, asked_seconds=1.0, bound_seconds=3.0) == 1.0
    assert granter.granted_until == 13.0, "a shorter grant does not end a longer one"


def test_a_new_leader_answers_a_full_tenure() -> None:
    granter = Granter(3.0)
    assert granter.remaining(100.0, leader_since=97.5, bound_seconds=0.0) == 3.0
    assert granter.remaining(100.0, leader_since=97.0, bound_seconds=3.0) == 0.0
    granter.grant(1, "a", promised_epoch=1, received_at=99.0, asked_seconds=3.0, bound_seconds=3.0)
    assert granter.remaining(100.0, leader_since=50.0, bound_seconds=3.0) == 2.0


def test_a_new_leader_with_a_shorter_tenure_answers_what_its_predecessor_may_have_granted() -> None:
    granter = Granter(1.0)
    assert granter.remaining(100.0, leader_since=98.0, bound_seconds=10.0) == 10.0
    assert granter.remaining(100.0, leader_since=90.0, bound_seconds=10.0) == 0.0


def test_nothing_longer_is_granted_than_the_region_has_agreed_on() -> None:
    granter = Granter(3.0)
    assert granter.grant(1, "a", promised_epoch=1, received_at=0.0, asked_seconds=9.0, bound_seconds=2.0) == 2.0
    assert granter.grant(1, "a", promised_epoch=1, received_at=0.0, asked_seconds=9.0, bound_seconds=0.0) == 0.0
    assert granter.granted_until == 2.0


def test_the_bound_is_raised_at_once_and_lowered_when_no_longer_grant_can_run() -> None:
    assert bound_to_agree_on(0, 3000, 0.0) == 3000
    assert bound_to_agree_on(3000, 3000, 100.0) is None
    assert bound_to_agree_on(3000, 10_000, 0.0) == 10_000
    assert bound_to_agree_on(10_000, 3000, 9.9) is None
    assert bound_to_agree_on(10_000, 3000, 10.0) == 3000


def test_a_holder_that_lacks_what_another_region_has_of_its_epoch_has_lost_it_or_not_applied_it_yet() -> None:
    holder = holder_of(THREE, epoch=3)
    holder.reported(2, 90)
    holder.reported(3, 17)
    holder.reported(3, 12)
    assert holder.missing_revision(16) == 17
    assert holder.missing_revision(17) == 0
    holder.begin(4, THREE, 1)
    assert holder.missing_revision(0) == 0, "what is held of an earlier epoch is a tail"
