"""Serving what needs the primary's leader: here or elsewhere, waiting out a change of leader or primary for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from rstore_api.dialling.endpoint import retry_delay_seconds
from rstore_api.domain.topology import ReplicaAddress
from rstore_api.errors import (
    NoLeader,
    NoPrimary,
    NotLeader,
    NotPrimary,
    NotReady,
    ShuttingDown,
    StoreError,
    TooManyRequests,
)
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto.rstore_pb2 import RequestId

from rstore_replica.api.access.grants import FULL, Grant
from rstore_replica.api.auth.credentials import NOBODY, Credentials
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.ports import Group, Machine
from rstore_replica.api.routing.forward import Forwarder
from rstore_replica.api.routing.route import ForwardTo, Local, Refuse, decide, is_served_here

PATIENCE_SECONDS = 3.0
"""How long a request waits for a leader or a primary before the caller is answered that there is none."""

MAX_PATIENT = 4096

_WORTH_WAITING = (NotLeader, NoLeader, NotPrimary, NoPrimary, NotReady)


class CallInfo(msgspec.Struct, frozen=True):
    """What the services know of a call. The deadline is on the event loop's clock; ``forwarded``: it was handed on."""

    deadline: float
    forwarded: bool
    client: str = ""
    """For whom the request is, for fair turns: a client with a certificate of its own by name, else the address that it
    came from, without the port; where a replica handed it on, what that one says."""
    grant: Grant = FULL
    """What its caller may do. A replica that hands a request on has asked, and may do everything."""
    request_id: RequestId | None = None
    """The name of a write that its client may send again."""
    credentials: Credentials = NOBODY
    """By what its user is known while auth is on."""


class Router:
    """Decides for each request where it is served, and again after each failure that certainly changed nothing."""

    def __init__(
        self,
        *,
        machine: Machine,
        group: Group,
        forwarder: Forwarder,
        region: str,
        own_replicas: Mapping[str, ReplicaAddress],
        forward: bool,
        rng: random.Random,
        patience_seconds: float = PATIENCE_SECONDS,
        guard: Guard | None = None,
    ) -> None:
        """``own_replicas`` are this region's by name; ``forward``: hand on to another region. ``guard`` asks for
        what is served here; None where nobody's access is restricted.
        """
        self._machine = machine
        self._group = group
        self._forwarder = forwarder
        self._region = region
        self._own_replicas = own_replicas
        self._forward = forward
        self._rng = rng
        self._patience_seconds = patience_seconds
        self._guard = guard
        self._patient = 0
        self.stopping = False

    async def serve(
        self,
        method: Method[RequestT, ResponseT],
        request: Callable[[], RequestT],
        local: Callable[[], Awaitable[ResponseT]],
        *,
        call: CallInfo,
    ) -> ResponseT:
        """Returns the answer of the primary's leader: ``local()`` if that is this replica, else that of another one,
        which is sent ``request()``. Raises a StoreError.
        """
        loop = asyncio.get_running_loop()
        patient_until = min(loop.time() + self._patience_seconds, call.deadline - 0.1)
        attempt = 0
        while True:
            try:
                if self.serves_here:
                    return await self._here(method, request, local, call=call)
                return await self._elsewhere(method, request, local, call=call)
            except _WORTH_WAITING as error:
                attempt += 1
                pause = retry_delay_seconds(attempt, self._rng)
                settled = isinstance(error, NotPrimary) and not self._forward
                if call.forwarded or settled:
                    raise
                if loop.time() + pause >= patient_until:
                    raise _for_a_client(error) from error
                if self.stopping and isinstance(error, NoLeader | NoPrimary):
                    raise ShuttingDown from error
            if self._patient >= MAX_PATIENT:
                raise TooManyRequests
            self._patient += 1
            try:
                await asyncio.sleep(min(pause, 0.2))
            finally:
                self._patient -= 1

    @property
    def serves_here(self) -> bool:
        """Whether this replica is the primary's leader, as far as it knows."""
        return is_served_here(self._machine.state, self._group.role)

    async def _here(
        self,
        method: Method[RequestT, ResponseT],
        request: Callable[[], RequestT],
        local: Callable[[], Awaitable[ResponseT]],
        *,
        call: CallInfo,
    ) -> ResponseT:
        guard = self._guard
        if guard is not None and guard.is_needed:
            await guard.admit(method.path, request, call.credentials, deadline=call.deadline)
        return await local()

    async def _elsewhere(
        self,
        method: Method[RequestT, ResponseT],
        request: Callable[[], RequestT],
        local: Callable[[], Awaitable[ResponseT]],
        *,
        call: CallInfo,
    ) -> ResponseT:
        decision = decide(
            self._machine.state,
            self._group.status(),
            region=self._region,
            own_replicas=self._own_replicas,
            forward=self._forward,
            forwarded=call.forwarded,
        )
        match decision:
            case Local():
                return await self._here(method, request, local, call=call)
            case ForwardTo():
                return await self._forwarder.call(
                    decision,
                    method,
                    request(),
                    deadline=call.deadline,
                    client=call.client,
                    request_id=call.request_id,
                    credentials=() if self._guard is None else self._guard.handed_on(call.credentials),
                )
            case Refuse(error):
                raise error


def _for_a_client(error: StoreError) -> StoreError:
    """The error of a request that waited in vain, as a client takes it that was sent to no other address: clients of
    etcd try again after UNAVAILABLE, and give up after the FAILED_PRECONDITION by which replicas tell each other where
    to ask."""
    match error:
        case NotPrimary():
            return NoPrimary("a change of primary is under way")
        case NotLeader():
            return NoLeader("a change of leader is under way")
        case _:
            return error
