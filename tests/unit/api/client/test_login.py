"""A client that is a user of etcd's auth: when it authenticates, and what it sends again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio
from rstore_api.client import Client, User
from rstore_api.client.login import MAX_REFUSALS
from rstore_api.dialling.endpoint import failure_of
from rstore_api.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidAuthToken,
    NoLeader,
    OutcomeUnknown,
    PermissionDenied,
    StoreError,
    UserEmpty,
)
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc
from unit.api.client_servers import ScriptedServer, Step

ALICE = User("alice", "secret")


class AuthServer(ScriptedServer, rpc_pb2_grpc.AuthServicer):
    """Gives tokens, numbered, for Alice's password; ``logins`` are refused first with these errors."""

    def __init__(self, *script: Step, logins: tuple[StoreError, ...] = ()) -> None:
        super().__init__(*script)
        self.logins = list(logins)
        self.tokens = 0
        rpc_pb2_grpc.add_AuthServicer_to_server(self, self._server)

    async def Authenticate(self, request: rpc_pb2.AuthenticateRequest, context: Any) -> rpc_pb2.AuthenticateResponse:
        await asyncio.sleep(0.01)
        if self.logins:
            await context.abort(*self.logins.pop(0).answer())
        if (request.name, request.password) != ("alice", "secret"):
            await context.abort(*AuthFailed().answer())
        self.tokens += 1
        return rpc_pb2.AuthenticateResponse(token=f"token-{self.tokens}")

    @property
    def sent(self) -> list[str | None]:
        """The token of each request."""
        return [metadata.get("token") for metadata in self.metadata]


@pytest.fixture
async def server() -> AsyncIterator[AuthServer]:
    server = AuthServer()
    await server.start()
    yield server
    await server.stop()


async def test_one_token_is_fetched_for_all_requests(server: AuthServer) -> None:
    async with Client([server.address], user=ALICE) as client:
        await asyncio.gather(*(client.put("k", str(number)) for number in range(10)))
        await client.get("k")
    assert server.sent == ["token-1"] * 11
    async with Client([server.address]) as client:
        await client.put("k", "v")
    assert server.sent[-1] is None
    assert server.tokens == 1


async def test_a_request_whose_token_is_refused_is_sent_again_with_another_one(server: AuthServer) -> None:
    async with Client([server.address], user=ALICE) as client:
        await client.put("k", "v")
        server.script = [InvalidAuthToken()]
        await client.put("k", "v")
        await client.put("k", "v")
    assert server.sent == ["token-1", "token-1", "token-2", "token-2"]


async def test_many_refusals_of_one_token_fetch_one_other(server: AuthServer) -> None:
    async with Client([server.address], user=ALICE) as client:
        await client.put("k", "v")
        server.script = [InvalidAuthToken()] * 10
        await asyncio.gather(*(client.put("k", str(number)) for number in range(10)))
    assert server.tokens == 2
    assert len(server.requests) == 21


async def test_a_write_of_unknown_outcome_is_not_sent_again_with_another_token(server: AuthServer) -> None:
    server.script = [InvalidAuthToken(), OutcomeUnknown()]
    async with Client([server.address], user=ALICE) as client:
        with pytest.raises(OutcomeUnknown):
            await client.put("k", "v")
    assert len(server.requests) == 2


async def test_a_token_that_is_refused_whenever_it_is_new_is_no_reason_to_go_on(server: AuthServer) -> None:
    server.script = [InvalidAuthToken()] * 10
    async with Client([server.address], user=ALICE) as client:
        with pytest.raises(InvalidAuthToken):
            await client.put("k", "v")
    assert len(server.requests) == MAX_REFUSALS + 1


async def test_while_auth_is_off_nothing_is_sent_until_a_user_is_asked_for(server: AuthServer) -> None:
    server.logins = [AuthNotEnabled()]
    async with Client([server.address], user=ALICE) as client:
        await client.put("k", "v")
        await client.put("k", "v")
        server.script = [UserEmpty()]
        await client.put("k", "v")
    assert server.sent == [None, None, None, "token-1"]


async def test_a_wrong_password_is_an_error_and_nothing_is_sent(server: AuthServer) -> None:
    async with Client([server.address], user=User("alice", "wrong")) as client:
        with pytest.raises(AuthFailed):
            await client.put("k", "v")
    assert server.requests == []


async def test_to_authenticate_is_tried_again_like_any_request(server: AuthServer) -> None:
    server.logins = [NoLeader(), NoLeader()]
    async with Client([server.address], user=ALICE) as client:
        await client.put("k", "v")
    assert server.sent == ["token-1"]


async def test_users_that_were_changed_meanwhile_are_asked_about_again(server: AuthServer) -> None:
    server.script = [AuthOldRevision()]
    async with Client([server.address], user=ALICE) as client:
        await client.get("k")
    assert server.sent == ["token-1", "token-1"]


@pytest.mark.parametrize("error", [UserEmpty(), InvalidAuthToken(), PermissionDenied()])
async def test_without_a_user_what_is_refused_is_not_sent_again(server: AuthServer, error: StoreError) -> None:
    server.script = [error]
    async with Client([server.address]) as client:
        with pytest.raises(type(error)):
            await client.put("k", "v")
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [InvalidAuthToken, UserEmpty, AuthFailed, AuthNotEnabled, AuthOldRevision])
def test_errors_of_an_etcd_are_known_by_their_text(error: type[StoreError]) -> None:
    failure = aio.AioRpcError(error.status, aio.Metadata(), aio.Metadata(), details=error.text)
    assert type(failure_of(failure, changes=True)) is error
    other = aio.AioRpcError(grpc.StatusCode.UNAUTHENTICATED, aio.Metadata(), aio.Metadata(), details="no certificate")
    assert type(failure_of(other, changes=True)) is PermissionDenied


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(ALICE)
