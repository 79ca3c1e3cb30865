"""etcd's Lease service, in every region: what needs the time of a lease is answered by the primary's leader."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
import msgspec
from rstore_api import methods
from rstore_api.domain.limits import MAX_LEASES
from rstore_api.errors import LeaseExists, PermissionDenied, ShuttingDown, StoreError, TooManyRequests
from rstore_api.methods import LEASE_KEEP_ALIVE
from rstore_api.proto import rpc_pb2
from rstore_api.proto.rstore_pb2 import LeaseCheckpointsResponse, RenewLeasesRequest, RenewLeasesResponse, WriteRequest

from rstore_replica.api.access.grants import FULL, Grant
from rstore_replica.api.auth.credentials import SYSTEM
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.batcher import Batcher
from rstore_replica.api.calls import Calls, Context, info_of
from rstore_replica.api.identity import Identity
from rstore_replica.api.leases.attaching import leases_in
from rstore_replica.api.leases.keeper import LeaseKeeper, Role, Submit
from rstore_replica.api.ports import ReadPoint
from rstore_replica.api.routing.router import CallInfo, Router
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.requests.validate import check_lease

MAX_RENEWALS = 256
"""Of one stream, that are renewed together; beyond it the client waits."""
RENEW_SECONDS = 8.0
"""A renewal that takes longer ends its stream."""
FEW_KEYS = 64
"""A lease with more keys is revoked in an entry of the log of its own."""

LeaseResponseT = TypeVar("LeaseResponseT", rpc_pb2.LeaseGrantResponse, rpc_pb2.LeaseRevokeResponse)


class LeaseService:
    """LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive and LeaseLeases."""

    def __init__(
        self,
        *,
        calls: Calls,
        router: Router,
        batcher: Batcher,
        machine: Machine,
        identity: Identity,
        keeper: LeaseKeeper,
        guard: Guard | None = None,
        max_leases: int = MAX_LEASES,
        read_point: ReadPoint | None = None,
    ) -> None:
        """``read_point`` waits until a revision may be shown; see ``Acknowledging.read_point``."""
        self._read_point = read_point
        self._calls = calls
        self._router = router
        self._batcher = batcher
        self._machine = machine
        self._identity = identity
        self._keeper = keeper
        self._guard = guard
        self._max_leases = max_leases
        self._stopping = False
        self._streams: set[asyncio.Task[None]] = set()

    def add_to_server(self, server: Any) -> None:
        """Registers the service, and what replicas ask each other for it."""
        self._calls.serve(server, methods.LEASE_GRANT, self.grant)
        self._calls.serve(server, methods.LEASE_REVOKE, self.revoke)
        self._calls.serve(server, methods.LEASE_TIME_TO_LIVE, self.time_to_live)
        self._calls.serve(server, methods.LEASE_LEASES, self.leases)
        self._calls.serve(server, methods.RENEW_LEASES, self.renew)
        service, name = LEASE_KEEP_ALIVE.path.strip("/").split("/")
        handler = grpc.stream_stream_rpc_method_handler(
            self.keep_alive, LEASE_KEEP_ALIVE.request.FromString, LEASE_KEEP_ALIVE.response.SerializeToString
        )
        server.add_registered_method_handlers(service, {name: handler})

    async def grant(self, request: rpc_pb2.LeaseGrantRequest, call: CallInfo) -> rpc_pb2.LeaseGrantResponse:
        """Grants a lease, with an id that is not taken where the request has none."""

        async def local() -> rpc_pb2.LeaseGrantResponse:
            if len(self._keeper) >= self._max_leases:
                raise TooManyRequests(f"there are {self._max_leases} leases, and may be no more")
            while True:
                lease = request.ID or secrets.randbits(63)
                chosen = rpc_pb2.LeaseGrantRequest(ID=lease, TTL=request.TTL)
                try:
                    response = await self._write(
                        WriteRequest(lease_grant=chosen), rpc_pb2.LeaseGrantResponse, call, wide=False
                    )
                except LeaseExists:
                    if request.ID:
                        raise
                    continue
                await self._keeper.granted(response.ID, deadline=call.deadline)
                return response

        check_lease(WriteRequest(lease_grant=rpc_pb2.LeaseGrantRequest(ID=request.ID or 1, TTL=request.TTL)))
        return await self._router.serve(methods.LEASE_GRANT, lambda: request, local, call=call)

    async def revoke(self, request: rpc_pb2.LeaseRevokeRequest, call: CallInfo) -> rpc_pb2.LeaseRevokeResponse:
        """Ends a lease, and deletes its keys in one revision."""

        async def local() -> rpc_pb2.LeaseRevokeResponse:
            wide = self._machine.count_lease_keys(request.ID) > FEW_KEYS
            return await self._write(WriteRequest(lease_revoke=request), rpc_pb2.LeaseRevokeResponse, call, wide=wide)

        check_lease(WriteRequest(lease_revoke=request))
        await self.check_changing([request.ID], call)
        return await self._router.serve(methods.LEASE_REVOKE, lambda: request, local, call=call)

    async def time_to_live(
        self, request: rpc_pb2.LeaseTimeToLiveRequest, call: CallInfo
    ) -> rpc_pb2.LeaseTimeToLiveResponse:
        """Returns how long a lease still lives, and its keys where they are asked for; TTL -1: there is none."""

        async def local() -> rpc_pb2.LeaseTimeToLiveResponse:
            left = await self._keeper.time_left(request.ID, deadline=call.deadline)
            while request.keys and self._machine.amid_deletion:
                # Asked again it waits for what has been committed by now.
                left = await self._keeper.time_left(request.ID, deadline=call.deadline)
            response = rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
            if left is not None:
                response.TTL, response.grantedTTL = left
                if request.keys:
                    response.keys.extend(self._machine.lease_keys(request.ID))
            await self._fill(response.header, call)
            return response

        response = await self._router.serve(methods.LEASE_TIME_TO_LIVE, lambda: request, local, call=call)
        if call.grant is not FULL and not all(call.grant.reads(key, b"") for key in response.keys):
            raise PermissionDenied
        return response

    async def leases(self, request: rpc_pb2.LeaseLeasesRequest, call: CallInfo) -> rpc_pb2.LeaseLeasesResponse:
        """Returns all leases, those that end first at first."""

        async def local() -> rpc_pb2.LeaseLeasesResponse:
            leases = await self._keeper.by_end(deadline=call.deadline)
            response = rpc_pb2.LeaseLeasesResponse(leases=[rpc_pb2.LeaseStatus(ID=lease) for lease in leases])
            await self._fill(response.header, call)
            return response

        return await self._router.serve(methods.LEASE_LEASES, lambda: request, local, call=call)

    async def _fill(self, header: rpc_pb2.ResponseHeader, call: CallInfo) -> None:
        """Completes the header of an answer that has just been read; returns once what was read may be shown."""
        revision, epoch = self._machine.revision, self._machine.state.epoch
        if self._read_point is not None:
            await self._read_point(epoch, revision, call.deadline - asyncio.get_running_loop().time())
        self._identity.fill(header, revision=revision)

    async def renew(self, request: RenewLeasesRequest, call: CallInfo) -> RenewLeasesResponse:
        """Renews leases, here or by the primary's leader."""

        async def local() -> RenewLeasesResponse:
            return RenewLeasesResponse(seconds=await self._keeper.renew(request.ids, deadline=call.deadline))

        return await self._router.serve(methods.RENEW_LEASES, lambda: request, local, call=call)

    # ------------------------------------------------------------------ streams of renewals

    async def keep_alive(self, requests: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], context: Context) -> None:
        """Answers renewals in their order until the client sends no more; those that come while others are under way
        are renewed together.
        """
        try:
            call = info_of(context)
            if not call.grant.writes:
                raise PermissionDenied
            if self._guard is not None and self._guard.state.enabled:
                self._guard.check(LEASE_KEEP_ALIVE.path, None, call.credentials)
            if self._stopping:
                raise ShuttingDown
            await self._serve_stream(requests, context, call)
        except StoreError as error:
            await context.abort(*error.answer())

    def close(self) -> None:
        """Ends all streams: their clients go on at other replicas."""
        self._stopping = True
        for answering in self._streams:
            answering.cancel()

    async def _serve_stream(
        self, requests: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], context: Context, call: CallInfo
    ) -> None:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[int | None] = asyncio.Queue(MAX_RENEWALS)
        reading = loop.create_task(_read(requests, arrived))
        answering = loop.create_task(self._answer(arrived, context, call))
        self._streams.add(answering)
        try:
            await answering
            await reading
        except asyncio.CancelledError:
            if self._stopping:
                raise ShuttingDown from None
            raise
        finally:
            self._streams.discard(answering)
            reading.cancel()

    async def _answer(self, arrived: asyncio.Queue[int | None], context: Context, call: CallInfo) -> None:
        ended = False
        while not ended:
            leases = [await arrived.get()]
            while not arrived.empty():
                leases.append(arrived.get_nowait())
            ended = leases[-1] is None
            ids = [lease for lease in leases if lease is not None]
            if not ids:
                return
            deadline = asyncio.get_running_loop().time() + RENEW_SECONDS
            # Its user was asked for when the stream began: a token may have expired since.
            asking = msgspec.structs.replace(call, deadline=deadline, credentials=SYSTEM)
            renewed = await self.renew(RenewLeasesRequest(ids=ids), asking)
            for lease, seconds in zip(ids, renewed.seconds, strict=True):
                response = rpc_pb2.LeaseKeepAliveResponse(ID=lease, TTL=seconds)
                self._identity.fill(response.header, revision=self._machine.revision)
                await context.write(response)

    # ------------------------------------------------------------------ who may change what a lease holds

    async def check_attaching(self, request: WriteRequest, call: CallInfo) -> None:
        """Raises PermissionDenied when the request attaches a key to a lease that has keys which its caller may not
        change: it could delete them by not renewing the lease, and its key would be deleted with them.
        """
        if call.grant is not FULL:
            kind = request.WhichOneof("request")
            if kind in ("put", "txn"):
                await self.check_changing(set(leases_in(getattr(request, kind))), call)

    async def check_changing(self, leases: Iterable[int], call: CallInfo) -> None:
        """Raises PermissionDenied unless the caller may change every key of the leases."""
        if call.grant is FULL:
            return
        asking = msgspec.structs.replace(call, grant=FULL, credentials=SYSTEM)
        for lease in leases:
            response = await self.time_to_live(rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True), asking)
            if not _changes_all(call.grant, response.keys):
                raise PermissionDenied

    async def _write(
        self, request: WriteRequest, response: type[LeaseResponseT], call: CallInfo, *, wide: bool
    ) -> LeaseResponseT:
        if call.request_id is not None:
            request.request_id.CopyFrom(call.request_id)
        answer = await self._batcher.submit(request, response, deadline=call.deadline, wide=wide)
        self._identity.fill(answer.header, revision=answer.header.revision)
        return answer


def submit_with(batcher: Batcher, machine: Machine) -> Submit:
    """Returns how the keeper has its own requests carried out."""

    async def submit(request: WriteRequest, deadline: float, role: Role) -> object:
        if request.HasField("lease_revoke"):
            wide = machine.count_lease_keys(request.lease_revoke.ID) > FEW_KEYS
            return await batcher.submit(
                request, rpc_pb2.LeaseRevokeResponse, deadline=deadline, wide=wide, only_in=role
            )
        return await batcher.submit(request, LeaseCheckpointsResponse, deadline=deadline, wide=True, only_in=role)

    return submit


def _changes_all(grant: Grant, keys: Iterable[bytes]) -> bool:
    return all(grant.changes(key, b"") for key in keys)


async def _read(requests: AsyncIterator[rpc_pb2.LeaseKeepAliveRequest], arrived: asyncio.Queue[int | None]) -> None:
    """Hands over what the client sends; None at the end, also where it ends by an error."""
    try:
        async for request in requests:
            await arrived.put(request.ID)
    except Exception:
        await arrived.put(None)
        raise
    await arrived.put(None)
