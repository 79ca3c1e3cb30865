"""Which keys a grant is for, at the borders of prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_replica.api.access.grants import EVERY_KEY, FULL, Grant, merged, prefix_range

SHOP = Grant.of(["shop/"], writes=True)
TO_THE_END = b"\0"


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff", None), (b"\xff\xff", None), (b"a/", b"a0")]
)
def test_a_prefix_is_the_range_up_to_the_next_one(prefix: bytes, end: bytes | None) -> None:
    assert prefix_range(prefix) == (prefix, end)


@pytest.mark.parametrize(
    ("key", "range_end", "allowed"),
    [
        (b"shop/", b"", True),
        (b"shop/1", b"", True),
        (b"shop", b"", False),
        (b"shop0", b"", False),
        (b"", b"", False),
        (b"shop/", b"shop0", True),
        (b"shop/a", b"shop/b", True),
        (b"shop/", b"shop1", False),
        (b"shop", b"shop0", False),
        (b"shop/", TO_THE_END, False),
        (TO_THE_END, TO_THE_END, False),
        (b"shop/b", b"shop/a", True),
        (b"x", b"a", False),
    ],
)
def test_a_request_is_for_keys_of_the_prefix_only(key: bytes, range_end: bytes, allowed: bool) -> None:
    assert SHOP.reads(key, range_end) is allowed
    assert SHOP.changes(key, range_end) is allowed
    assert FULL.reads(key, range_end)


def test_reading_is_not_changing() -> None:
    reader = Grant.of(["shop/"], writes=False)
    assert reader.reads(b"shop/1", b"")
    assert not reader.changes(b"shop/1", b"")


def test_a_range_over_two_prefixes_that_touch_is_allowed() -> None:
    both = Grant.of(["a", "b"], writes=False)
    assert both.keys == ((b"a", b"c"),)
    assert both.reads(b"a1", b"b9")
    assert not Grant.of(["a", "c"], writes=False).reads(b"a1", b"c9")


def test_the_last_prefix_there_is_reaches_to_the_end() -> None:
    assert Grant(merged([prefix_range(b"\xff")]), writes=False).reads(b"\xff", TO_THE_END)


def test_without_prefixes_every_key_is_allowed() -> None:
    assert Grant.of([], writes=True) is FULL
    reader = Grant.of([], writes=False)
    assert reader.keys == EVERY_KEY
    assert reader.reads(TO_THE_END, TO_THE_END)
    assert not reader.changes(b"a", b"")


@pytest.mark.parametrize(
    ("now", "before", "covers"),
    [
        (FULL, SHOP, True),
        (SHOP, SHOP, True),
        (SHOP, FULL, False),
        (Grant.of(["shop/", "cart/"], writes=True), SHOP, True),
        (Grant.of(["shop/a"], writes=True), SHOP, False),
        (Grant.of(["shop/"], writes=False), SHOP, False),
        (SHOP, Grant.of(["shop/a"], writes=False), True),
        (Grant.of([], writes=False), Grant.of(["a", "c"], writes=False), True),
    ],
)
def test_what_a_grant_covers(now: Grant, before: Grant, covers: bool) -> None:
    assert now.covers(before) is covers


_TEXT = st.text("abÿ", min_size=1, max_size=3)


@given(st.lists(_TEXT, max_size=4), _TEXT, st.one_of(st.just(""), _TEXT))
def test_a_range_is_allowed_only_if_each_of_its_keys_is(prefixes: list[str], low: str, high: str) -> None:
    grant = Grant.of(prefixes, writes=True)
    key, end = low.encode(), high.encode()
    letters = [b"a", b"b", *(bytes([byte]) for byte in "ÿ".encode())]
    keys = {b"".join(parts) for parts in ((one, two, three) for one in letters for two in letters for three in letters)}
    asked = {one for one in keys if (key <= one < end if end else one == key)} | {key}
    if grant.reads(key, end):
        allowed = [prefix.encode() for prefix in prefixes]
        assert not allowed or all(any(one.startswith(prefix) for prefix in allowed) for one in asked)
