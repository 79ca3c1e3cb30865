"""When leases end: the rules, and that no renewal is ever cut short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rstore_replica.api.leases.deadlines import CHECKPOINT_SECONDS, Deadlines

MANY = 1000


def test_a_lease_ends_when_its_time_is_over_and_not_before() -> None:
    deadlines = Deadlines()
    deadlines.add(1, 10, now=100.0)
    assert deadlines.time_left(1, 104.0) == (6.0, 10)
    assert deadlines.take_expired(109.9, MANY) == []
    assert deadlines.take_expired(110.0, MANY) == [1]
    assert deadlines.take_expired(111.0, MANY) == []
    assert deadlines.time_left(1, 111.0) == (0.0, 10)


def test_a_renewal_gives_all_of_the_time_again() -> None:
    deadlines = Deadlines()
    deadlines.add(1, 10, now=0.0)
    assert deadlines.renew(1, 9.0) == 10
    assert deadlines.take_expired(18.9, MANY) == []
    assert deadlines.take_expired(19.0, MANY) == [1]


def test_nobody_renews_a_lease_whose_time_is_over_even_when_it_could_not_be_revoked() -> None:
    deadlines = Deadlines()
    deadlines.add(1, 10, now=0.0)
    deadlines.take_expired(10.0, MANY)
    assert deadlines.renew(1, 10.0) == 0
    deadlines.revoke_again(1, 12.0)
    assert deadlines.renew(1, 11.0) == 0
    assert deadlines.time_left(1, 11.0) == (0.0, 10)
    assert deadlines.take_expired(11.9, MANY) == []
    assert deadlines.take_expired(12.0, MANY) == [1]
    deadlines.remove(1)
    assert deadlines.time_left(1, 12.0) is None


def test_what_the_log_says_is_left_counts_with_what_a_client_may_have_been_promised() -> None:
    deadlines = Deadlines()
    deadlines.add(1, 1000, now=0.0, remaining_seconds=40, extra_seconds=1.0)
    deadlines.add(2, 1000, now=0.0, extra_seconds=1.0)
    assert deadlines.is_checkpointed(1)
    assert not deadlines.is_checkpointed(2)
    assert deadlines.time_left(2, 0.0) == (1000, 1000)
    assert deadlines.take_expired(40.9, MANY) == []
    assert deadlines.take_expired(41.0, MANY) == [1]


def test_only_leases_that_are_not_renewed_are_checkpointed_again_and_again() -> None:
    deadlines = Deadlines()
    deadlines.add(1, 1000, now=0.0)
    deadlines.add(2, 1000, now=0.0)
    deadlines.add(3, int(CHECKPOINT_SECONDS), now=0.0)
    deadlines.renew(2, 200.0)
    assert deadlines.take_checkpoints(299.0, MANY) == []
    assert deadlines.take_checkpoints(300.5, MANY) == [(1, 700)]
    assert deadlines.is_checkpointed(1)
    assert deadlines.take_checkpoints(501.0, MANY) == [(2, 699)]
    assert deadlines.take_checkpoints(601.0, MANY) == [(1, 399)]
    deadlines.renew(1, 650.0)
    assert deadlines.is_checkpointed(1), "until the log says otherwise"
    deadlines.whole_again(1)
    assert not deadlines.is_checkpointed(1)
    assert deadlines.take_checkpoints(900.0, MANY) == [(2, 300)]
    assert deadlines.take_checkpoints(951.0, MANY) == [(1, 699)]


def test_work_is_bounded_and_nothing_is_left_out() -> None:
    deadlines = Deadlines()
    for lease in range(100):
        deadlines.add(lease, 10 + lease % 3, now=0.0)
    ended: list[int] = []
    while expired := deadlines.take_expired(20.0, 7):
        assert len(expired) <= 7
        ended += expired
    assert sorted(ended) == list(range(100))
    assert ended[0] % 3 == 0, "those that ended first"


def test_memory_follows_the_number_of_leases_whatever_comes_and_goes() -> None:
    deadlines = Deadlines()
    for number in range(20_000):
        deadlines.add(number % 10, 1_000_000, now=float(number))
        deadlines.remove(number % 10)
    assert len(deadlines._ends) < 3000
    assert len(deadlines._checkpoints) < 3000


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "renew", "remove", "look", "fail"]), st.integers(1, 4), st.integers(0, 400)),
    max_size=60,
)


@given(steps=STEPS)
def test_no_lease_ends_before_the_time_that_was_promised_nor_much_later(steps: list[tuple[str, int, int]]) -> None:
    deadlines, now = Deadlines(), 0.0
    promised: dict[int, float] = {}
    over: set[int] = set()
    for kind, lease, number in steps:
        now += number / 10
        if kind == "add" and lease not in deadlines:
            deadlines.add(lease, 5 + number, now)
            promised[lease] = now + 5 + number
        elif kind == "renew":
            seconds = deadlines.renew(lease, now)
            assert (seconds > 0) == (lease in promised and lease not in over)
            if seconds:
                promised[lease] = now + seconds
        elif kind == "remove":
            deadlines.remove(lease)
            promised.pop(lease, None)
            over.discard(lease)
        elif kind in ("look", "fail"):
            expired = deadlines.take_expired(now, MANY)
            assert sorted(expired) == sorted(each for each, until in promised.items() if until <= now)
            for each in expired:
                if kind == "look":
                    deadlines.remove(each)
                    del promised[each]
                    over.discard(each)
                else:
                    deadlines.revoke_again(each, now + 1)
                    promised[each] = now + 1
                    over.add(each)
