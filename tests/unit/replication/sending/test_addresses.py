"""Which address is tried when, and how long the pauses are."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_replica.replication.sending.addresses import AddressBook, Backoff


def drain(book: AddressBook) -> list[str]:
    tried = []
    while (address := book.next_address()) is not None:
        tried.append(address)
        assert len(tried) < 100
    return tried


def test_every_address_is_tried_once_per_round():
    book = AddressBook()
    book.new_round(["a", "b", "c", "b"])
    assert drain(book) == ["a", "b", "c"]
    book.new_round(["a", "b", "c"])
    assert drain(book) == ["a", "b", "c"]


def test_a_named_leader_is_tried_next_and_not_twice():
    book = AddressBook()
    book.new_round(["a", "b", "c"])
    assert book.next_address() == "a"
    book.prefer("c")
    assert drain(book) == ["c", "b"]


def test_a_leader_outside_the_list_is_followed():
    book = AddressBook()
    book.new_round(["a"])
    assert book.next_address() == "a"
    book.prefer("z")
    assert drain(book) == ["z"]


def test_replicas_that_name_each_other_end_the_round_and_start_the_next_with_the_last_named():
    book = AddressBook()
    book.new_round(["a", "b"])
    tried = []
    while (address := book.next_address()) is not None:
        tried.append(address)
        assert len(tried) < 10
        book.prefer("b" if address == "a" else "a")
    assert tried == ["a", "b"]
    book.new_round(["a", "b"])
    assert book.next_address() == "a"


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_pauses_grow_from_the_shortest_to_the_longest_and_stay_there(seed, steps):
    backoff = Backoff(low_seconds=0.1, high_seconds=5.0, rng=random.Random(seed))
    pauses = [backoff.next_seconds() for _ in range(steps)]
    for number, pause in enumerate(pauses):
        step = min(5.0, 0.1 * 2**number)
        assert max(0.1, step / 2) <= pause <= step
    backoff.reset()
    assert backoff.next_seconds() <= 0.1


def test_two_senders_do_not_pause_alike():
    one, other = (Backoff(low_seconds=0.1, high_seconds=5.0, rng=random.Random(seed)) for seed in (1, 2))
    assert [one.next_seconds() for _ in range(8)] != [other.next_seconds() for _ in range(8)]
