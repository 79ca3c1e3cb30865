"""Comparing epoch histories: examples, and properties over generated stores."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain.epochs import BASE_REVISION, EpochStart
from rstore_api.domain.forks import Chain
from rstore_replica.replication.history import Ahead, Contradiction, Diverged, Resume, Stale, compare, history_up_to

ONE = EpochStart(1, 2, "east")
TWO = EpochStart(2, 101, "west")


def test_a_prefix_is_resumed_right_after_its_end():
    assert compare(Chain((ONE,), 150), Chain((ONE,), 120)) == Resume(120)


def test_an_empty_region_is_filled_from_the_start():
    assert compare(Chain((ONE, TWO), 150), Chain((), BASE_REVISION)) == Resume(BASE_REVISION)


def test_a_demoted_primary_goes_on_under_the_next_epoch():
    assert compare(Chain((ONE, TWO), 130), Chain((ONE,), 100), receiver_promised_epoch=2) == Resume(100)


def test_revisions_above_the_start_of_the_next_epoch_are_a_diverged_tail():
    outcome = compare(Chain((ONE, TWO), 130), Chain((ONE,), 107))
    assert outcome == Diverged(100, 107)
    assert outcome.tail_first_revision == 101


def test_a_sender_behind_in_the_same_epoch_must_not_send():
    assert compare(Chain((ONE,), 100), Chain((ONE,), 101)) == Ahead(101, 100)


def test_a_higher_promise_makes_the_sender_stale():
    assert compare(Chain((ONE,), 100), Chain((ONE,), 100), receiver_promised_epoch=2) == Stale(2)
    assert compare(Chain((ONE,), 100), Chain((ONE, TWO), 100)) == Stale(2)


def test_one_epoch_with_two_primaries_is_a_contradiction():
    assert compare(Chain((ONE,), 100), Chain((EpochStart(1, 2, "west"),), 50)) == Contradiction(1)


def test_an_epoch_in_which_nothing_was_written_leaves_no_tail():
    three = EpochStart(3, 101, "north")
    assert compare(Chain((ONE, three), 120), Chain((ONE, TWO), 100)) == Resume(100)
    assert compare(Chain((ONE, three), 120), Chain((ONE, TWO), 101)) == Diverged(100, 101)


def test_epochs_without_revisions_travel_with_the_last_revision():
    chain = Chain((ONE, TWO, EpochStart(3, 101, "north")), 100)
    assert history_up_to(chain, 100) == chain.history
    assert history_up_to(chain, 99) == (ONE,)


@pytest.mark.parametrize(
    "history",
    [
        (TWO, ONE),
        (ONE, EpochStart(1, 50, "east")),
        (EpochStart(1, 50, "east"), EpochStart(2, 49, "west")),
        (EpochStart(1, 1, "east"),),
    ],
)
def test_a_history_that_cannot_be_is_refused(history):
    with pytest.raises(ValueError, match="epoch"):
        Chain(history, 100)


@dataclass(frozen=True)
class _Store:
    """A chain together with what each revision says, to check a comparison against."""

    chain: Chain
    content: tuple[str, ...]  # of revision BASE_REVISION + 1 on

    def write(self, count: int) -> _Store:
        epoch = self.chain.epoch
        start = self.chain.revision + 1
        rows = tuple(f"{epoch}:{number}" for number in range(start, start + count))
        return _Store(Chain(self.chain.history, self.chain.revision + count), self.content + rows)

    def promote(self, epoch: int, region: str) -> _Store:
        start = EpochStart(epoch, self.chain.revision + 1, region)
        return _Store(Chain((*self.chain.history, start), self.chain.revision), self.content)

    def prefix(self, revision: int) -> _Store:
        """What a region has that took this store's rows up to ``revision``."""
        return _Store(Chain(history_up_to(self.chain, revision), revision), self.content[: revision - BASE_REVISION])


@st.composite
def _two_stores(draw: st.DrawFn) -> tuple[_Store, _Store]:
    """Two regions of one store after promotions and writes, where each epoch was had by one region only."""
    common = _Store(Chain((), BASE_REVISION), ())
    epoch = 0
    for _ in range(draw(st.integers(0, 3))):
        epoch += draw(st.integers(1, 2))
        common = common.promote(epoch, f"r{epoch % 3}").write(draw(st.integers(0, 5)))
    stores = [common.prefix(draw(st.integers(BASE_REVISION, common.chain.revision))) for _ in range(2)]
    for _ in range(draw(st.integers(0, 3))):
        epoch += 1
        who = draw(st.integers(0, 1))
        stores[who] = stores[who].promote(epoch, f"r{who}").write(draw(st.integers(0, 5)))
    return stores[0], stores[1]


@settings(max_examples=400)
@given(_two_stores())
def test_resume_is_answered_exactly_when_the_receiver_holds_a_prefix(stores):
    sender, receiver = stores
    outcome = compare(sender.chain, receiver.chain)
    is_prefix = sender.content[: len(receiver.content)] == receiver.content
    match outcome:
        case Resume(after_revision):
            assert is_prefix
            assert after_revision == receiver.chain.revision
        case Diverged(fork, last):
            assert not is_prefix
            assert last == receiver.chain.revision
            kept = fork - BASE_REVISION
            assert sender.content[:kept] == receiver.content[:kept]
            # The fork point is the last shared revision, not merely a shared one.
            assert sender.content[kept : kept + 1] != receiver.content[kept : kept + 1]
        case Ahead():
            assert len(receiver.content) > len(sender.content)
            assert receiver.content[: len(sender.content)] == sender.content
        case Stale(epoch):
            assert epoch == receiver.chain.epoch > sender.chain.epoch
        case Contradiction():
            raise AssertionError("each epoch was had by one region only")


@settings(max_examples=200)
@given(_two_stores(), st.data())
def test_whatever_was_taken_from_a_sender_can_be_resumed_from_it(stores, data):
    sender, _ = stores
    revision = data.draw(st.integers(BASE_REVISION, sender.chain.revision))
    assert compare(sender.chain, sender.prefix(revision).chain) == Resume(revision)
