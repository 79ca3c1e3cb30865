"""The error vocabulary: what a client of etcd makes of each error is right for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import rstore_replica
from rstore_api.errors import (
    BY_CODE,
    DETAIL_KEY,
    MAX_DETAIL_BYTES,
    OWN_PREFIX,
    InvalidRequest,
    NoLeader,
    NoPrimary,
    NotLeader,
    OutcomeUnknown,
    PermissionDenied,
    ShuttingDown,
    StoreError,
    TooManyRequests,
)

ERRORS = pytest.mark.parametrize("kind", BY_CODE.values(), ids=lambda kind: kind.code)
OF_LOCKS_AND_ELECTIONS = frozenset(
    {
        '"leader" field must be provided',
        "election: no leader",
        "election: not leader",
        "mutex: session is expired",
    }
)
"""Texts of etcd that do not begin as its others do."""
NOTHING_HAPPENED = frozenset(kind.text for kind in (NoLeader, NotLeader, ShuttingDown, TooManyRequests))
"""Texts by which clients of etcd know that a write was not proposed, so that they may send it again."""


@ERRORS
def test_an_error_is_etcds_or_says_that_it_is_not(kind: type[StoreError]) -> None:
    assert kind.text.startswith(("etcdserver: ", "auth: ", OWN_PREFIX)) or kind.text in OF_LOCKS_AND_ELECTIONS


@ERRORS
def test_a_write_of_unknown_outcome_does_not_look_like_one_that_did_not_happen(kind: type[StoreError]) -> None:
    if kind.text in NOTHING_HAPPENED:
        assert kind.outcome == "none"


@ERRORS
def test_errors_of_one_text_have_one_code(kind: type[StoreError]) -> None:
    assert {other.status for other in BY_CODE.values() if other.text == kind.text} == {kind.status}


@pytest.mark.parametrize(
    ("error", "message", "shown"),
    [
        (PermissionDenied("why"), "etcdserver: permission denied", "etcdserver: permission denied: why"),
        (NoPrimary("why"), "etcdserver: no leader", "rstore: no region accepts writes at the moment: why"),
        (OutcomeUnknown("why"), "etcdserver: request timed out", "rstore: outcome unknown: why"),
        (InvalidRequest("why"), "rstore: invalid request: why", "rstore: invalid request: why"),
        (NoLeader(), "etcdserver: no leader", "etcdserver: no leader"),
    ],
)
def test_a_message_is_etcds_alone_and_people_see_the_detail(error: StoreError, message: str, shown: str) -> None:
    assert error.message == message
    assert str(error) == shown
    assert dict(error.trailing_metadata()).get(DETAIL_KEY, "") == error.detail


@pytest.mark.parametrize("detail", ["long" * 10_000, "größer als 100 %\n" * 1_000, "\0\x7f"])
def test_a_detail_fits_into_a_header(detail: str) -> None:
    sent = dict(InvalidRequest(detail).trailing_metadata())[DETAIL_KEY]
    assert len(sent) <= MAX_DETAIL_BYTES
    assert all(" " <= character <= "~" for character in sent)


def test_no_call_ends_with_a_text_of_its_own_for_an_error() -> None:
    """With ``str(error)`` as the message the detail would be added to etcd's sentence."""
    sources = Path(rstore_replica.__file__).parent.rglob("*.py")
    assert not [path.name for path in sources if re.search(r"\w+\.status, str\(\w+\)", path.read_text())]
