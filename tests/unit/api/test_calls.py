"""How answers and errors become gRPC."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rstore_api import methods
from rstore_api.errors import DETAIL_KEY, ERROR_KEY, LEADER_KEY, OUTCOME_KEY, NotLeader, PermissionDenied
from rstore_replica.api.access.callers import Caller
from rstore_replica.api.access.grants import Grant
from rstore_replica.api.auth.credentials import FORWARDED_KEY
from rstore_replica.api.calls import DEFAULT_DEADLINE_SECONDS, answer, info_of
from rstore_replica.api.routing.forward import CLIENT_KEY
from rstore_replica.metrics import Metrics


class _AbortedError(Exception):
    """What gRPC raises out of abort."""


class _Context:
    def __init__(self, *metadata: tuple[str, str], remaining: float | None = None, certificate: str = "client") -> None:
        self.certificate = certificate
        self.calling: Caller | None = None
        self.metadata = metadata
        self.remaining = remaining
        self.aborted: tuple[Any, str, dict[str, str]] | None = None

    def time_remaining(self) -> float | None:
        return self.remaining

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    @property
    def caller(self) -> Caller:
        return self.calling or Caller(frozenset({self.certificate}))

    def peer(self) -> str:
        return "ipv4:127.0.0.1:4321"

    async def abort(self, code: Any, details: str, trailing: tuple[tuple[str, str], ...]) -> None:
        self.aborted = (code, details, dict(trailing))
        raise _AbortedError


async def _answer(method, error: BaseException) -> tuple[_Context, Metrics]:
    context, metrics = _Context(), Metrics()

    async def body(_request: object, _call: object) -> Any:
        raise error

    with pytest.raises(_AbortedError):
        await answer(method, metrics.of_method(method.path), body, None, context)
    return context, metrics


async def test_an_error_carries_its_code_outcome_and_leader() -> None:
    context, metrics = await _answer(methods.PUT, NotLeader("it is r1", leader="r1:2380"))
    assert context.aborted is not None
    code, details, trailing = context.aborted
    assert code is NotLeader.status
    assert details == "etcdserver: not leader", "etcd's sentence, with nothing added"
    assert trailing == {
        ERROR_KEY: "not-leader",
        OUTCOME_KEY: "none",
        DETAIL_KEY: "it is r1",
        LEADER_KEY: "r1:2380",
    }
    assert b'rstore_requests_total{method="Put",result="not-leader"} 1.0' in metrics.render()


@pytest.mark.parametrize(("method", "outcome"), [(methods.PUT, "unknown"), (methods.RANGE, "none")])
async def test_a_bug_in_a_write_leaves_its_outcome_unknown_and_shows_no_secrets(method, outcome: str) -> None:
    context, _ = await _answer(method, RuntimeError("value=secret"))
    assert context.aborted is not None
    assert context.aborted[2][OUTCOME_KEY] == outcome
    assert "secret" not in context.aborted[1]


async def test_a_call_knows_its_deadline_and_whether_it_was_handed_on() -> None:
    now = asyncio.get_running_loop().time()
    plain = info_of(_Context())
    assert not plain.forwarded
    assert plain.deadline == pytest.approx(now + DEFAULT_DEADLINE_SECONDS, abs=1)
    handed = info_of(_Context((FORWARDED_KEY, "r1"), remaining=2.0))
    assert handed.forwarded
    assert handed.deadline == pytest.approx(now + 2, abs=1)


async def test_a_request_is_its_clients_also_when_a_replica_handed_it_on() -> None:
    origin = (CLIENT_KEY, "ipv4:10.1.2.3")
    assert info_of(_Context()).client == "ipv4:127.0.0.1"
    assert info_of(_Context((FORWARDED_KEY, "r1"), origin, certificate="peer")).client == "ipv4:10.1.2.3"
    assert info_of(_Context((FORWARDED_KEY, "r1"), origin)).client == "ipv4:127.0.0.1", "a client may say anything"


async def test_a_client_with_a_certificate_of_its_own_takes_turns_by_its_name() -> None:
    context = _Context()
    context.calling = Caller(frozenset({"client"}), "shop", Grant.of(["shop/"], writes=True))
    call = info_of(context)
    assert (call.client, call.grant) == ("client shop", context.calling.grant)


async def test_a_caller_that_was_shut_out_meanwhile_is_refused() -> None:
    context = _Context()
    context.calling = Caller(frozenset({"client"}), "shop", None, "the store has no client 'shop'")
    with pytest.raises(PermissionDenied, match="no client 'shop'"):
        info_of(context)
