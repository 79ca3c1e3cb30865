"""etcd's Election service, in every region."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
from rstore_api import methods
from rstore_api.errors import (
    Compacted,
    ElectionNoLeader,
    ElectionNotLeader,
    MissingLeaderKey,
    PermissionDenied,
    StoreError,
)
from rstore_api.proto import kv_pb2
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.v3election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ProclaimResponse,
    ResignRequest,
    ResignResponse,
)
from rstore_api.rows import Row

from rstore_replica.api.access.requirements import allows
from rstore_replica.api.calls import Calls, Context, info_of
from rstore_replica.api.locks import rules
from rstore_replica.api.locks.candidates import Candidates, step
from rstore_replica.api.locks.rules import Candidate, candidates_of
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.mvcc.watch.events import Want
from rstore_replica.mvcc.watch.ranges import Span


class ElectionService:
    """Campaign, Proclaim, Leader, Observe and Resign."""

    def __init__(self, *, calls: Calls, candidates: Candidates) -> None:
        self._calls = calls
        self._candidates = candidates

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.CAMPAIGN, self.campaign, waits=True)
        self._calls.serve(server, methods.PROCLAIM, self.proclaim)
        self._calls.serve(server, methods.LEADER, self.leader)
        self._calls.serve(server, methods.RESIGN, self.resign)
        service, name = methods.OBSERVE.path.strip("/").split("/")
        handler = grpc.unary_stream_rpc_method_handler(
            self.observe, LeaderRequest.FromString, LeaderResponse.SerializeToString
        )
        server.add_registered_method_handlers(service, {name: handler})

    async def campaign(self, request: CampaignRequest, call: CallInfo) -> CampaignResponse:
        """Returns once the lease leads, until it ends or Resign is called. A client that goes away meanwhile is no
        candidate any more.
        """
        candidate, first, stood = await self._candidates.stand(request.name, request.lease, request.value, call)
        header = stood.header
        async with self._candidates.withdrawn_on_failure(candidate, call):
            if candidate.value != request.value:
                await self._proclaim(candidate, request.value, call)
            if not first:
                await self._candidates.wait_for_turn(candidate, call)
                own = await self._candidates.read(rpc.RangeRequest(key=candidate.key), call)
                if not own.kvs or own.kvs[0].create_revision != candidate.revision:
                    raise ElectionNotLeader
                header = own.header
        key = LeaderKey(name=request.name, key=candidate.key, rev=candidate.revision, lease=candidate.lease)
        return CampaignResponse(header=header, leader=key)

    async def proclaim(self, request: ProclaimRequest, call: CallInfo) -> ProclaimResponse:
        """Gives a leader another value. Raises ElectionNotLeader."""
        return ProclaimResponse(header=await self._proclaim(_candidate_of(request), request.value, call))

    async def resign(self, request: ResignRequest, call: CallInfo) -> ResignResponse:
        """Ends a leadership, or a candidacy; also answers when there is none."""
        response = await self._candidates.key_values.txn(rules.withdraw(_candidate_of(request)), step(call))
        return ResignResponse(header=response.header)

    async def leader(self, request: LeaderRequest, call: CallInfo) -> LeaderResponse:
        """Returns who leads. Raises ElectionNoLeader."""
        response = await self._candidates.key_values.range(rules.oldest_of(request.name), step(call))
        if not response.kvs:
            raise ElectionNoLeader
        return LeaderResponse(header=response.header, kv=response.kvs[0])

    async def observe(self, request: LeaderRequest, context: Context) -> None:
        """Answers with who leads, and with each other leader and each other value of a leader from then on."""
        try:
            call = info_of(context, waits=True)
            if not allows(call.grant, methods.OBSERVE.path, request):
                raise PermissionDenied
            with self._candidates.counted(call):
                while True:
                    async with aclosing(self._leaders(request.name, call)) as leaders:
                        async for response in leaders:
                            await context.write(response)
        except StoreError as error:
            await context.abort(*error.answer())

    async def _leaders(self, name: bytes, call: CallInfo) -> AsyncGenerator[LeaderResponse, None]:
        """Yields who leads, waiting for somebody to, and what it proclaims, until it leads no more; or until what
        happens next is unknown, as where its region gave up a tail.
        """
        response = await self._candidates.read(rules.oldest_of(name), call)
        header = response.header
        try:
            if response.kvs:
                kv = response.kvs[0]
            else:
                key, range_end = candidates_of(name)
                watch = self._candidates.watch(Span(key, range_end), Want(deletions=False), header.revision + 1)
                async with watch as candidates:
                    kv = _key_value(next(iter(await candidates.next())))
                header.revision = kv.mod_revision
            yield LeaderResponse(header=header, kv=kv)
            span = Span(kv.key, kv.key + b"\0")
            async with self._candidates.watch(span, Want(), header.revision + 1) as proclaimed:
                while True:
                    for row in await proclaimed.next():
                        if row.deletion:
                            return
                        header.revision = row.revision
                        yield LeaderResponse(header=header, kv=_key_value(row))
        except Compacted:
            return

    async def _proclaim(self, candidate: Candidate, value: bytes, call: CallInfo) -> rpc.ResponseHeader:
        response = await self._candidates.key_values.txn(rules.replace(candidate, value), step(call))
        if not response.succeeded:
            raise ElectionNotLeader
        return response.header


def _candidate_of(request: ProclaimRequest | ResignRequest) -> Candidate:
    if not request.HasField("leader"):
        raise MissingLeaderKey
    leader = request.leader
    return Candidate(leader.name, leader.key, leader.lease, leader.rev)


def _key_value(row: Row) -> kv_pb2.KeyValue:
    return kv_pb2.KeyValue(
        key=row.key,
        value=row.value,
        create_revision=row.create_revision,
        mod_revision=row.revision,
        version=row.version,
        lease=row.lease,
    )
