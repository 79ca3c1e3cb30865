"""Addresses, the table of methods, what failures mean, the Admin wrapper."""

from __future__ import annotations

import random

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api import methods
from rstore_api.client import Client, prefix_end
from rstore_api.dialling.channels import Address, target_of
from rstore_api.dialling.endpoint import Endpoint, failure_of, retry_delay_seconds
from rstore_api.errors import (
    BY_CODE,
    DeadlineExceeded,
    NotLeader,
    NotSupported,
    OutcomeUnknown,
    RequestTooLarge,
    StoreError,
    TooManyRequests,
    Unreachable,
)
from rstore_api.methods import Method
from rstore_api.proto import rpc_pb2, rstore_pb2, v3election_pb2, v3lock_pb2

METHODS = [value for value in vars(methods).values() if isinstance(value, Method)]


def _rpc_error(code: grpc.StatusCode, details: str = "", trailing: tuple[tuple[str, str], ...] = ()) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(*trailing), details, None)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path)
def test_methods_are_as_the_protocol_files_say(method: Method) -> None:
    _, service_name, method_name = method.path.split("/")
    services = {
        service.full_name: service
        for file in (rpc_pb2.DESCRIPTOR, rstore_pb2.DESCRIPTOR, v3election_pb2.DESCRIPTOR, v3lock_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
    }
    found = services[service_name].methods_by_name[method_name]
    assert GetMessageClass(found.input_type) is method.request
    assert GetMessageClass(found.output_type) is method.response


@pytest.mark.parametrize(
    ("text", "host", "port", "name"),
    [
        ("orders-us-east-0.orders-us-east-peers.default.svc:2379", None, 2379, None),
        ("https://orders.default.svc:2379/", "orders.default.svc", 2379, "orders.default.svc"),
        ("127.1.2.3:2380", "127.1.2.3", 2380, "localhost"),
        ("[::1]:2380", "::1", 2380, "localhost"),
    ],
)
def test_address_is_parsed(text: str, host: str | None, port: int, name: str | None) -> None:
    address = Address.parse(text)
    assert address.host == (host or text.rpartition(":")[0])
    assert address.port == port
    assert address.server_name == (name or address.host)


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:x", "host:１"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Address.parse(text)


def test_target_prefers_ipv4() -> None:
    assert target_of(["::1", "127.0.0.1", "127.0.0.2"], 5) == "ipv4:127.0.0.1:5,127.0.0.2:5"
    assert target_of(["::1"], 5) == "ipv6:[::1]:5"


@given(prefix=st.binary(max_size=6), key=st.binary(max_size=8))
@settings(max_examples=200)
def test_prefix_end_bounds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    inside = key >= prefix and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


@pytest.mark.parametrize(
    ("error", "read", "write"),
    [
        (_rpc_error(grpc.StatusCode.UNAVAILABLE, "Socket closed"), Unreachable, OutcomeUnknown),
        (_rpc_error(grpc.StatusCode.CANCELLED), Unreachable, OutcomeUnknown),
        (_rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED), DeadlineExceeded, OutcomeUnknown),
        (_rpc_error(grpc.StatusCode.INTERNAL, "RST_STREAM"), StoreError, OutcomeUnknown),
        (_rpc_error(grpc.StatusCode.UNIMPLEMENTED), NotSupported, NotSupported),
        (
            _rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 1)"),
            RequestTooLarge,
            RequestTooLarge,
        ),
        (
            _rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"),
            TooManyRequests,
            TooManyRequests,
        ),
    ],
)
def test_failure_without_a_word_from_a_replica(
    error: aio.AioRpcError, read: type[StoreError], write: type[StoreError]
) -> None:
    assert type(failure_of(error, changes=False)) is read
    assert type(failure_of(error, changes=True)) is write


@pytest.mark.parametrize("kind", BY_CODE.values(), ids=lambda kind: kind.code)
def test_an_error_comes_out_as_a_replica_sent_it(kind: type[StoreError]) -> None:
    sent = kind("because of 100 % \u2013 and more", leader="orders-1:2380")
    received = failure_of(_rpc_error(*sent.answer()), changes=True)
    assert type(received) is kind
    assert (received.detail, received.leader, str(received)) == (sent.detail, "orders-1:2380", str(sent))


@given(attempt=st.integers(1, 10_000), seed=st.integers())
@settings(max_examples=100)
def test_pauses_are_bounded(attempt: int, seed: int) -> None:
    assert 0.005 <= retry_delay_seconds(attempt, random.Random(seed)) <= 0.5


async def test_admin_hands_the_leaders_address_to_its_caller(scripted) -> None:
    server = await scripted(NotLeader("the leader is orders-1", leader="orders-1:2380"))
    request = rstore_pb2.DemoteRequest(store_id="id", epoch=2)
    async with Endpoint(server.address, tls=None) as replica:
        with pytest.raises(NotLeader) as caught:
            await replica.call(methods.ADMIN_DEMOTE, request, timeout_seconds=10)
        assert caught.value.leader == "orders-1:2380"
        assert (await replica.call(methods.ADMIN_DEMOTE, request, timeout_seconds=10)).epoch == 1


async def test_admin_that_reaches_nobody_says_so(closed_port: int) -> None:
    async with Endpoint(f"127.0.0.1:{closed_port}", tls=None) as replica:
        with pytest.raises(Unreachable):
            await replica.call(methods.ADMIN_STATUS, rstore_pb2.StatusRequest(), timeout_seconds=1)


def test_client_without_endpoints_is_refused() -> None:
    with pytest.raises(ValueError, match="endpoint"):
        Client([])
