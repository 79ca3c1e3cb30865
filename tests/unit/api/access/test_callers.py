"""Who a certificate makes its holder, by the rules."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from grpc import StatusCode
from rstore_api import methods
from rstore_api.domain.access import (
    CLOSED,
    COMMON_NAME,
    NOT_BEFORE,
    OPEN,
    ORGANIZATION,
    Access,
    AccessRules,
    ClientRule,
    SharedClient,
)
from rstore_api.errors import DETAIL_KEY
from rstore_replica.api.access.admission import admit_by_grant, admit_by_kind, identify_by_kind, is_let_in, share_of
from rstore_replica.api.access.callers import ANYBODY, Caller, Certificate, has_lost, identify
from rstore_replica.api.access.grants import FULL, Grant

RULES = AccessRules(
    version=3,
    clients=(
        ClientRule(name="shop", prefixes=("shop/",), revoked_before=1000),
        ClientRule(name="report", access=Access.READ, max_requests=20),
        ClientRule(name="admin"),
    ),
)


def certificate(name: str, *, own: bool = False, begins: int | None = 2000) -> Certificate:
    return {
        COMMON_NAME: [name.encode()],
        ORGANIZATION: [b"client"] if own else [],
        NOT_BEFORE: [] if begins is None else [str(begins).encode()],
    }


def test_a_client_may_do_what_its_rule_says() -> None:
    assert identify(certificate("shop", own=True), RULES).grant == Grant.of(["shop/"], writes=True)
    assert identify(certificate("report", own=True), RULES).grant == Grant.of([], writes=False)
    assert identify(certificate("admin", own=True), RULES).grant is FULL
    assert identify(certificate("shop", own=True), RULES).client == "shop"
    assert share_of(identify(certificate("report", own=True), RULES)) == ("report", 20)
    assert share_of(identify(certificate("shop", own=True), RULES)) is None


@pytest.mark.parametrize("kind", ["peer", "operator"])
def test_replicas_and_the_operator_may_do_everything_whatever_the_rules_are(kind: str) -> None:
    for rules in (OPEN, CLOSED, RULES):
        assert identify(certificate(kind), rules).grant is FULL


RESTORING = AccessRules(version=4, clients=RULES.clients, restoring=True)


@pytest.mark.parametrize(
    "held",
    [certificate("shop", own=True), certificate("client"), certificate("restorer", own=True), {}, certificate("x")],
)
def test_no_client_gets_in_while_the_store_is_restored(held: Certificate) -> None:
    caller = identify(held, RESTORING)
    assert not is_let_in(caller)
    refusal = admit_by_grant(methods.RANGE.path, caller)
    assert refusal is not None
    assert (refusal[0], refusal[1]) == (StatusCode.UNAVAILABLE, "rstore: not ready: the store is being restored")


def test_a_restorer_may_fill_the_store_and_read_it_and_only_while_it_is_restored() -> None:
    caller = identify(certificate("restorer"), RESTORING)
    for method in (methods.IMPORT_STEP, methods.RANGE):
        assert admit_by_grant(method.path, caller) is None
    for method in (methods.PUT, methods.TXN, methods.COMPACT, methods.HASH_KV, methods.STATUS):
        assert admit_by_grant(method.path, caller) is not None
    assert not caller.may_hand_on
    assert admit_by_kind("/rstore.v1.Admin/Status", identify_by_kind(certificate("restorer"))) is not None
    for rules in (RULES, OPEN, CLOSED):
        later = identify(certificate("restorer"), rules)
        assert later.grant is None
        assert has_lost(caller, later)


@pytest.mark.parametrize("kind", ["peer", "operator"])
def test_replicas_and_the_operator_get_in_while_the_store_is_restored(kind: str) -> None:
    assert identify(certificate(kind), RESTORING).grant is FULL


@pytest.mark.parametrize("name", ["peer", "operator", "client"])
def test_the_name_of_a_client_makes_it_nothing_else(name: str) -> None:
    caller = identify(certificate(name, own=True), RULES)
    assert caller.grant is None
    assert not caller.may_hand_on
    assert admit_by_kind("/rstore.v1.Raft/Connect", identify_by_kind(certificate(name, own=True))) is not None


@pytest.mark.parametrize(
    ("begins", "let_in"), [(999, False), (1000, True), (1001, True), (None, False)], ids=["before", "at", "after", "?"]
)
def test_a_certificate_from_before_is_shut_out(begins: int | None, let_in: bool) -> None:
    assert is_let_in(identify(certificate("shop", own=True, begins=begins), RULES)) is let_in
    shared = AccessRules(version=1, shared_client=SharedClient(revoked_before=1000))
    assert is_let_in(identify(certificate("client", begins=begins), shared)) is let_in


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (identify(certificate("gone", own=True), RULES), "the store has no client 'gone'"),
        (identify(certificate("shop", own=True, begins=1), RULES), "client 'shop' was revoked"),
        (identify(certificate("client"), CLOSED), "not accepted any more"),
        (identify(certificate("web"), RULES), "no access for certificates of the common name web"),
    ],
    ids=["unknown", "revoked", "shared", "stranger"],
)
def test_one_who_is_shut_out_is_told_why(caller: Caller, reason: str) -> None:
    refusal = admit_by_grant("/etcdserverpb.KV/Range", caller)
    assert refusal is not None
    code, text, trailing = refusal
    assert code.name == "PERMISSION_DENIED"
    assert text == "etcdserver: permission denied"
    assert reason in unquote(str(dict(trailing)[DETAIL_KEY]))


def test_without_rules_the_shared_certificate_does_everything_and_no_other_client_gets_in() -> None:
    assert identify(certificate("client"), OPEN).grant is FULL
    assert identify(certificate("shop", own=True), OPEN).grant is None
    assert identify({}, CLOSED) is ANYBODY


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        (Caller(frozenset()), Caller(frozenset()), False),
        (Caller(frozenset()), Caller(frozenset(), grant=None), True),
        (Caller(frozenset(), grant=None), Caller(frozenset(), grant=None), True),
        (Caller(frozenset(), grant=None), Caller(frozenset()), False),
        (Caller(frozenset()), Caller(frozenset(), grant=Grant.of(["a"], writes=True)), True),
        (Caller(frozenset(), grant=Grant.of(["a"], writes=True)), Caller(frozenset()), False),
    ],
)
def test_who_may_do_less_than_before(before: Caller, now: Caller, lost: bool) -> None:
    assert has_lost(before, now) is lost
