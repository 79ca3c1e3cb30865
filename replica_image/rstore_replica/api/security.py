"""Who may call what on the peer port, by the kind of certificate: the subject's common name.

TLS has already refused everybody without a certificate of the store's CA. The client port admits any of those.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
from grpc import aio
from rstore_api.errors import PermissionDenied

from rstore_replica.log import get_logger

_log = get_logger("security")

PEER = "peer"
OPERATOR = "operator"
CLIENT = "client"

PEER_PORT_RULES: Mapping[str, frozenset[str]] = {
    "rstore.v1.Admin": frozenset({PEER, OPERATOR}),
    "rstore.v1.Quarantine": frozenset({PEER, OPERATOR}),
    "rstore.v1.Raft": frozenset({PEER}),
    "rstore.v1.Replication": frozenset({PEER}),
    "grpc.health.v1.Health": frozenset({PEER, OPERATOR}),
}
"""Kinds of certificate that may call each service of the peer port; a service that is not here is for peers only."""

Context = Any
Handler = Any


def common_names(context: Context) -> frozenset[str]:
    """The common names in the caller's certificate; empty without one."""
    found = context.auth_context().get("x509_common_name") or ()
    return frozenset(name.decode(errors="replace") for name in found)


def allowed_kinds(method: str, rules: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Who may call ``/package.Service/Method``."""
    service = method.strip("/").partition("/")[0]
    return rules.get(service, frozenset({PEER}))


class KindInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Refuses callers whose certificate is of a kind that may not call the service."""

    def __init__(self, rules: Mapping[str, frozenset[str]] = PEER_PORT_RULES) -> None:
        self._rules = rules

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Handler]], handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The handler with a check in front of it."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        allowed = allowed_kinds(method, self._rules)

        async def check(context: Context) -> None:
            kinds = common_names(context)
            if kinds & allowed:
                return
            _log.warning("call_refused", method=method, kinds=sorted(kinds), peer=context.peer())
            error = PermissionDenied(
                f"a certificate of kind {', '.join(sorted(kinds)) or 'none'} may not call {method}"
            )
            await context.abort(error.status, str(error), error.trailing_metadata())

        return _guarded(handler, check)


def _guarded(handler: Handler, check: Callable[[Context], Awaitable[None]]) -> Handler:
    """The same handler, calling ``check`` first; keeps the kind of function, by which gRPC tells them apart."""
    maker, behaviour = _maker_and_behaviour(handler)
    if inspect.isasyncgenfunction(behaviour):

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            await check(context)
            async for response in behaviour(request, context):
                yield response

        guarded: Callable[..., Any] = stream
    elif inspect.iscoroutinefunction(behaviour):

        async def unary(request: Any, context: Context) -> Any:
            await check(context)
            return await behaviour(request, context)

        guarded = unary
    else:
        raise TypeError(f"{behaviour!r} is neither a coroutine function nor an asynchronous generator function")
    return maker(
        guarded,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def _maker_and_behaviour(handler: Handler) -> tuple[Callable[..., Handler], Callable[..., Any]]:
    kinds: dict[tuple[bool, bool], tuple[Callable[..., Handler], str]] = {
        (False, False): (grpc.unary_unary_rpc_method_handler, "unary_unary"),
        (False, True): (grpc.unary_stream_rpc_method_handler, "unary_stream"),
        (True, False): (grpc.stream_unary_rpc_method_handler, "stream_unary"),
        (True, True): (grpc.stream_stream_rpc_method_handler, "stream_stream"),
    }
    maker, name = kinds[handler.request_streaming, handler.response_streaming]
    return maker, getattr(handler, name)
