"""Servers that answer by a test's script, on loopback ports of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpc import aio
from rstore_api.errors import StoreError
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc, rstore_pb2, rstore_pb2_grpc

Step = StoreError | Callable[[], Awaitable[None]] | None
"""What to do with one request: answer with an error, run something first, or just answer."""


class ScriptedServer(rpc_pb2_grpc.KVServicer, rstore_pb2_grpc.AdminServicer):
    """Records requests; follows ``script`` one step per request, and answers well when it is used up."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        """Of each request."""
        self.revision = 1
        self.in_flight = 0
        self.max_in_flight = 0
        self.port = 0
        self._server = aio.server()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> ScriptedServer:
        rpc_pb2_grpc.add_KVServicer_to_server(self, self._server)
        rstore_pb2_grpc.add_AdminServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop(None)

    def break_connections(self) -> Callable[[], Awaitable[None]]:
        """A step: every connection breaks with the request received and not answered."""

        async def step() -> None:
            self._stopping = asyncio.ensure_future(self.stop())
            await asyncio.Event().wait()

        return step

    async def _follow(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            step = self.script.pop(0) if self.script else None
            if isinstance(step, StoreError):
                await context.abort(*step.answer())
            elif step is not None:
                await step()
        finally:
            self.in_flight -= 1

    async def Put(self, request: rpc_pb2.PutRequest, context: Any) -> rpc_pb2.PutResponse:
        await self._follow(request, context)
        self.revision += 1
        return rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=self.revision))

    async def Txn(self, request: rpc_pb2.TxnRequest, context: Any) -> rpc_pb2.TxnResponse:
        await self._follow(request, context)
        self.revision += 1
        return rpc_pb2.TxnResponse(header=rpc_pb2.ResponseHeader(revision=self.revision), succeeded=True)

    async def Range(self, request: rpc_pb2.RangeRequest, context: Any) -> rpc_pb2.RangeResponse:
        await self._follow(request, context)
        return rpc_pb2.RangeResponse(header=rpc_pb2.ResponseHeader(revision=self.revision), count=7)

    async def Demote(self, request: rstore_pb2.DemoteRequest, context: Any) -> rstore_pb2.DemoteResponse:
        await self._follow(request, context)
        return rstore_pb2.DemoteResponse(epoch=request.epoch - 1, final_revision=self.revision)


async def for_ever() -> None:
    """A step: no answer comes."""
    await asyncio.Event().wait()


async def until(condition: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
    """Wait for the condition; fails when it does not come."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)
