"""The judge of the load's ledger must find each kind of harm, else no fault test could fail."""

from __future__ import annotations

import asyncio

import pytest
from rstore_api.errors import NoPrimary, OutcomeUnknown
from rstore_testkit.load import Acknowledged, Ledger, Load, Written, judge


def ledger() -> Ledger:
    return Ledger(acknowledged={b"a": (b"1", 5), b"b": (b"2", 6)}, unknown={b"u": b"3"})


HEALTHY = {b"a": Written(b"1", 5, 1), b"b": Written(b"2", 6, 1)}


def test_what_was_acknowledged_and_nothing_else_is_fine():
    assert judge(ledger(), HEALTHY).ok
    assert judge(ledger(), {**HEALTHY, b"u": Written(b"3", 7, 1)}).ok


@pytest.mark.parametrize(
    ("found", "kind", "key"),
    [
        ({b"a": HEALTHY[b"a"]}, "lost", b"b"),
        ({**HEALTHY, b"a": Written(b"other", 5, 1)}, "altered", b"a"),
        ({**HEALTHY, b"a": Written(b"1", 9, 1)}, "altered", b"a"),
        ({**HEALTHY, b"a": Written(b"1", 5, 2)}, "duplicated", b"a"),
        ({**HEALTHY, b"u": Written(b"3", 7, 2)}, "duplicated", b"u"),
        ({**HEALTHY, b"u": Written(b"x", 7, 1)}, "altered", b"u"),
        ({**HEALTHY, b"z": Written(b"", 8, 1)}, "unexpected", b"z"),
    ],
)
def test_each_kind_of_harm_is_found(found, kind, key):
    verdict = judge(ledger(), found)
    assert not verdict.ok
    assert getattr(verdict, kind) == (key,)


def test_the_longest_gap_counts_the_edges():
    ledger = Ledger(acks=[Acknowledged(number, at - 0.1, at) for number, at in enumerate((1.0, 1.5, 4.0))])
    assert ledger.longest_gap_seconds(0.0, 5.0) == 2.5
    assert ledger.longest_gap_seconds(3.0, 10.0) == 6.0


async def test_the_load_repeats_what_did_not_happen_and_gives_up_what_may_have():
    attempts: dict[bytes, int] = {}

    async def put(key: bytes, value: bytes) -> int:
        await asyncio.sleep(0)
        attempts[key] = attempts.get(key, 0) + 1
        if key.endswith(b"1") and attempts[key] == 1:
            raise NoPrimary
        if key.endswith(b"2"):
            raise OutcomeUnknown
        return len(attempts)

    async with Load([put]) as load:
        await load.wait_acknowledged(5, timeout_seconds=5)
    refused, unknown = b"load/0/00000001", b"load/0/00000002"
    assert attempts[refused] == 2
    assert refused in load.ledger.acknowledged
    assert attempts[unknown] == 1
    assert unknown in load.ledger.unknown
    assert unknown not in load.ledger.acknowledged


def test_two_regions_that_acknowledge_at_once_are_found():
    before = [Acknowledged(5, 0.0, 0.1), Acknowledged(6, 0.0, 0.2)]
    assert Ledger(acks=[*before, Acknowledged(10**9, 0.3, 0.5), Acknowledged(7, 0.4, 0.6)]).overtaken() == []
    old = Acknowledged(8, 0.55, 0.7)
    assert Ledger(acks=[*before, Acknowledged(10**9, 0.3, 0.5), old]).overtaken() == [old]
