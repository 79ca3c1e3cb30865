"""The one place where an answer or an error becomes gRPC: status, text, trailing metadata, metrics of the call."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from rstore_api.client.identity import parse_request_id
from rstore_api.errors import REQUEST_ID_KEY, InvalidRequest, OutcomeUnknown, PermissionDenied, StoreError
from rstore_api.logs import get_logger
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto.rstore_pb2 import RequestId

from rstore_replica.api.access.callers import RESTORERS, TRUSTED, Caller
from rstore_replica.api.access.grants import FULL
from rstore_replica.api.access.requirements import allows
from rstore_replica.api.auth.credentials import FORWARDED_KEY, NOBODY, TOKEN_KEYS, credentials_of
from rstore_replica.api.auth.expiry_clock import time_of_day
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.routing.forward import CLIENT_KEY
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.call_metrics import MethodMetrics
from rstore_replica.metrics import Metrics

_log = get_logger(__name__)

DEFAULT_DEADLINE_SECONDS = 10.0
"""For a call without a deadline of its own."""

MAX_DEADLINE_SECONDS = 300.0

Context = Any
"""grpc.aio.ServicerContext; its stubs fix type parameters that differ for each method."""


class Calls:
    """Runs the bodies of unary methods and answers for them."""

    def __init__(self, metrics: Metrics, guard: Guard | None = None) -> None:
        """``guard`` asks for what this replica carries out by itself; None where nobody's access is restricted."""
        self._metrics = metrics
        self._guard = guard

    def serve(
        self,
        server: Any,
        method: Method[RequestT, ResponseT],
        body: Callable[[Any, CallInfo], Awaitable[ResponseT]],
        *,
        decode: Callable[[bytes], Any] | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
        waits: bool = False,
    ) -> None:
        """Registers a method with a gRPC server: each call that its caller's grant allows is answered with what
        ``body`` returns or raises.

        ``decode`` makes of a request's bytes what ``body`` takes; by default it is the method's message. ``metadata``
        is sent behind each answer. ``waits`` says that a call may last as long as its client waits for it.
        """
        service, name = method.path.strip("/").split("/")
        metrics = self._metrics.of_method(method.path)

        def behaviour(request: Any, context: Context) -> Awaitable[ResponseT]:
            if metadata:
                context.set_trailing_metadata(metadata)
            return answer(method, metrics, body, request, context, self._guard, waits=waits)

        handler = grpc.unary_unary_rpc_method_handler(behaviour, decode or method.request.FromString, _encode)
        server.add_registered_method_handlers(service, {name: handler})


async def answer(
    method: Method[RequestT, ResponseT],
    metrics: MethodMetrics,
    body: Callable[[Any, CallInfo], Awaitable[ResponseT]],
    request: Any,
    context: Context,
    guard: Guard | None = None,
    *,
    waits: bool = False,
) -> ResponseT:
    """Returns what ``body`` returns, if the caller's grant and the guard allow the request. A StoreError becomes the
    call's status; any other error becomes OutcomeUnknown for a method that changes something, else INTERNAL.
    """
    started = time.monotonic()
    metrics.started += 1
    result = "ok"
    try:
        call = info_of(context, waits=waits)
        if call.grant is not FULL and not allows(call.grant, method.path, request):
            raise PermissionDenied
        before = None if guard is None else guard.state
        if guard is None or before is None or not before.enabled:
            return await body(request, call)
        guard.check_here(method.path, request, call.credentials)
        response = await body(request, call)
        guard.check_unchanged(method.path, before)
        return response
    except StoreError as error:
        result = error.code
        failure = error
    except asyncio.CancelledError:
        result = "cancelled"
        raise
    except Exception as error:
        _log.exception("call_failed", method=method.path)
        result = "internal"
        failure = (OutcomeUnknown if method.changes else StoreError)(f"internal error: {type(error).__name__}")
    finally:
        metrics.answered(result, time.monotonic() - started)
    await context.abort(*failure.answer())
    raise AssertionError("abort raises")


def _encode(response: Message) -> bytes:
    return response.SerializeToString()


def info_of(context: Context, *, waits: bool = False) -> CallInfo:
    """Returns what the services need to know of a call; one that ``waits`` has its client's deadline or none. Raises
    InvalidRequest, PermissionDenied.
    """
    remaining = context.time_remaining()
    if waits:
        remaining = math.inf if remaining is None else remaining
    else:
        remaining = min(DEFAULT_DEADLINE_SECONDS if remaining is None else remaining, MAX_DEADLINE_SECONDS)
    forwarded = False
    request_id: RequestId | None = None
    caller: Caller = context.caller
    has_credentials = bool(caller.client or caller.kinds & (TRUSTED | RESTORERS))
    if caller.grant is None:
        raise caller.shut_out
    client = f"client {caller.client}" if caller.client else context.peer().rpartition(":")[0]
    metadata = context.invocation_metadata() or ()
    for key, value in metadata:
        if key == FORWARDED_KEY:
            forwarded = True
        elif key == REQUEST_ID_KEY:
            request_id = _request_id(value)
        elif key == CLIENT_KEY and caller.may_hand_on:
            client = str(value)
        elif key in TOKEN_KEYS:
            has_credentials = True
    deadline = asyncio.get_running_loop().time() + remaining
    return CallInfo(
        deadline=deadline,
        forwarded=forwarded,
        client=client,
        grant=caller.grant,
        request_id=request_id,
        credentials=credentials_of(caller, metadata, time_of_day()) if has_credentials else NOBODY,
    )


def _request_id(value: str | bytes) -> RequestId:
    try:
        return parse_request_id(value if isinstance(value, str) else value.decode())
    except ValueError as error:
        raise InvalidRequest(f"{REQUEST_ID_KEY}: {error}") from error
