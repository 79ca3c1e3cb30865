"""etcd's JSON gateway: a request becomes a call of the same service in process, with the same rights and bounds."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from rstore_api.errors import AnswerTooLarge, StoreError
from rstore_api.logs import get_logger
from rstore_wire.call import Aborted
from rstore_wire.exchange import Exchange, Reply, RequestHead
from rstore_wire.headers import timeout_seconds
from rstore_wire.service import Refusal

from rstore_replica.api.http import replies
from rstore_replica.api.http.conversions import Conversions
from rstore_replica.api.http.gateway_call import GatewayCall
from rstore_replica.api.http.json_mapping import JsonError
from rstore_replica.api.http.routes import ROUTES, STREAMS_OF_REQUESTS

_log = get_logger(__name__)

MAX_ANSWER_BYTES = 4 << 20
"""Of an answer as gRPC's message; as JSON it takes several times that for a moment."""

Find = Callable[[str, Any], tuple[Any, Refusal | None]]
"""Method and caller to gRPC's handler, or why the caller may not call it."""
Kinds = tuple[type[Message], type[Message]]


class Gateway:
    """Answers the requests below ``/v3/``."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._conversions = Conversions()
        self._kinds: Mapping[str, Kinds] = _kinds_of_messages()

    def takes_stream(self, head: RequestHead) -> bool:
        """Whether requests follow each other in the body."""
        return ROUTES.get(head.path) in STREAMS_OF_REQUESTS

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request, or a stream of them."""
        path = ROUTES.get(exchange.head.path)
        if path is None:
            exchange.respond(replies.text(404, "Not Found"))
            return
        if exchange.head.method != "POST":
            exchange.respond(replies.text(405, "Method Not Allowed"))
            return
        handler, refusal = self._find(path, exchange.caller)
        if refusal is not None:
            exchange.end(*refusal)
            return
        call = GatewayCall(exchange, handler, self._kinds[path], self._conversions)
        try:
            _set_deadline(exchange)
            await self._serve(exchange, handler, call)
        except Aborted:
            return
        except JsonError as error:
            # grpc-gateway has no status for what it cannot read of a stream.
            is_stream = path in STREAMS_OF_REQUESTS
            code = grpc.StatusCode.UNKNOWN if is_stream else grpc.StatusCode.INVALID_ARGUMENT
            exchange.end(code, str(error))
        except StoreError as error:
            exchange.end(*error.answer())
        except Exception as error:
            _log.exception("gateway_failed", method=path)
            call.end_after_error(error)

    async def _serve(self, exchange: Exchange, handler: Any, call: GatewayCall) -> None:
        if handler.request_streaming:
            await self._serve_stream(exchange, handler.stream_stream(call.requests(), call), call)
            return
        request = await call.request_from(bytes(exchange.body))
        exchange.body.clear()
        if handler.response_streaming:
            await self._serve_stream(exchange, handler.unary_stream(request, call), call)
            return
        answer = handler.unary_unary(request, call)
        if inspect.isawaitable(answer):
            answer = await answer
        message = handler.response_serializer(answer)
        if len(message) > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(f"{len(message)} bytes, and {MAX_ANSWER_BYTES} are sent as JSON at most")
        exchange.respond(Reply(200, await call.json_of(message), replies.JSON))

    async def _serve_stream(self, exchange: Exchange, answers: Any, call: GatewayCall) -> None:
        sending = asyncio.create_task(call.send_lines())
        sending.add_done_callback(lambda task: _end_if_failed(exchange, task))
        try:
            if hasattr(answers, "__aiter__"):
                async for answer in answers:
                    await call.write(answer)
            else:
                await answers
            call.complete()
            await sending
            exchange.finish()
        finally:
            sending.cancel()


def _end_if_failed(exchange: Exchange, sending: asyncio.Task[None]) -> None:
    """Ends a stream whose answers cannot be sent."""
    error = None if sending.cancelled() else sending.exception()
    if isinstance(error, StoreError):
        exchange.cancel(error.status, error.message)
    elif error is not None:
        _log.error("gateway_failed", path=exchange.head.path, exc_info=error)
        exchange.cancel(grpc.StatusCode.INTERNAL, f"Unexpected {type(error).__name__}")


def _set_deadline(exchange: Exchange) -> None:
    text = exchange.head.header("grpc-timeout")
    if text:
        try:
            exchange.end_after(timeout_seconds(text))
        except ValueError as error:
            raise JsonError(f"invalid grpc-timeout: {text}") from error


def _kinds_of_messages() -> dict[str, Kinds]:
    """Returns the classes of requests and answers of each method that is in our copy of etcd's protocols."""
    pool = descriptor_pool.Default()
    kinds: dict[str, Kinds] = {}
    for path in set(ROUTES.values()):
        service, name = path.strip("/").split("/")
        try:
            method = pool.FindMethodByName(f"{service}.{name}")
        except KeyError:  # `find` refuses it as unimplemented
            continue
        kinds[path] = (
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
        )
    return kinds
