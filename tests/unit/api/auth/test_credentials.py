"""For whom a request is, by its connection and its metadata."""

from __future__ import annotations

import pytest
from rstore_replica.api.access.callers import ANYBODY, CLIENT, OPERATOR, PEER, Caller
from rstore_replica.api.auth.credentials import (
    FORWARDED_KEY,
    NOBODY,
    ON_BEHALF_KEY,
    SYSTEM,
    Credentials,
    credentials_of,
)

OWN = Caller(frozenset({CLIENT}), "alice")
SHARED = Caller(frozenset({CLIENT}))
REPLICA, CONTROLLER = Caller(frozenset({PEER})), Caller(frozenset({OPERATOR}))
HANDED_ON = (FORWARDED_KEY, "orders-eu-west-0")


def of(caller: Caller, *metadata: tuple[str, str]) -> Credentials:
    return credentials_of(caller, metadata, 5.0)


@pytest.mark.parametrize("caller", [SHARED, ANYBODY])
def test_a_client_is_its_token_or_nobody(caller: Caller) -> None:
    assert of(caller) is NOBODY
    assert of(caller, ("token", "t")) == Credentials("t", began_at=5.0)
    assert of(caller, ("authorization", "t")) == Credentials("t", began_at=5.0)
    assert of(caller, ("authorization", "a"), ("token", "t")).token == "t"


def test_a_certificate_of_its_own_names_a_user_besides_the_token() -> None:
    assert of(OWN) == Credentials(certificate_user="alice", began_at=5.0)
    assert of(OWN, ("token", "t")) == Credentials("t", "alice", began_at=5.0)


def test_only_the_store_itself_needs_no_user() -> None:
    assert of(REPLICA) is SYSTEM
    assert of(CONTROLLER) is SYSTEM
    assert of(REPLICA, HANDED_ON) is NOBODY
    for caller in (SHARED, OWN, ANYBODY):
        assert not of(caller, HANDED_ON, (ON_BEHALF_KEY, "replica")).system
        assert of(caller, HANDED_ON, (ON_BEHALF_KEY, "certificate:root")).certificate_user == caller.client
    assert of(CONTROLLER, HANDED_ON, (ON_BEHALF_KEY, "certificate:root")) is SYSTEM


@pytest.mark.parametrize("user", ["alice", "ü ser/%:", "certificate:", ""])
@pytest.mark.parametrize("token", [None, "", "t"])
def test_what_is_handed_on_arrives(user: str, token: str | None) -> None:
    sent = Credentials(token, user, began_at=5.0)
    metadata = sent.metadata(token)
    assert all(value.isascii() for _, value in metadata)
    assert of(REPLICA, HANDED_ON, *metadata) == (NOBODY if token is None and not user else sent)
    assert of(REPLICA, HANDED_ON, *SYSTEM.metadata(None)) is SYSTEM
