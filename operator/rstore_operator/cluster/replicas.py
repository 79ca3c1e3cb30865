"""Calls replicas: over one connection to each pod of a store; their status in parallel, with a short deadline."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from rstore_api.dialling.channels import SMALL_BUFFERS
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.dialling.pool import Pool
from rstore_api.domain import names
from rstore_api.domain.limits import MAX_REGIONS, MAX_REPLICAS
from rstore_api.errors import DeadlineExceeded, OutcomeUnknown, StoreError
from rstore_api.logs import get_logger
from rstore_api.methods import ADMIN_STATUS, HASH_KV, Method, RequestT, ResponseT
from rstore_api.proto.rpc_pb2 import HashKVRequest, HashKVResponse
from rstore_api.proto.rstore_pb2 import StatusRequest
from rstore_api.tls import TlsPem

from rstore_operator.cluster.dials import Dials
from rstore_operator.cluster.messages import replica_status
from rstore_operator.cluster.spares import Spares
from rstore_operator.facts.actions import Target
from rstore_operator.facts.observed import Pod, ReplicaStatus

log = get_logger(__name__)

MAX_ENDPOINTS = 2 * MAX_REGIONS * MAX_REPLICAS
STATUS_TIMEOUT_SECONDS = 1.0
KEEP_LATE_SECONDS = 2.0
"""How long the last answer of a replica counts, from the first request that it did not answer in time: on a busy
machine an answer may be late. A replica that hangs counts as silent after two requests."""


@dataclass
class _Known:
    status: ReplicaStatus
    address: str


class Replicas:
    """Calls the replicas of one store."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        spares: Spares | None = None,
        dials: Dials | None = None,
    ) -> None:
        """``spares`` and ``dials`` are of all stores of the process."""
        self._clock = clock
        self._spares = spares or Spares()
        self._dials = dials or Dials()
        self._tls: TlsPem | None = None
        self._endpoints: Pool[Target, Endpoint] = Pool(
            lambda target: self._endpoint(target, names.PEER_PORT), limit=MAX_ENDPOINTS
        )
        self._known: dict[str, _Known] = {}
        self._unanswered: dict[str, float] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def use(self, tls: TlsPem | None) -> None:
        """Present this certificate from now on; connections made with another one are closed."""
        if tls != self._tls:
            self._tls = tls
            await self.close()

    async def close(self) -> None:
        """Stop asking, close all connections."""
        asking, self._asking = list(self._asking.values()), {}
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        self._spares.take_all(self)
        self._dials.hurry(self, hurried=False)
        await self._endpoints.close()

    async def statuses(
        self, pods: Iterable[Pod], ask: Callable[[Pod], bool], *, patience_seconds: float
    ) -> dict[str, ReplicaStatus]:
        """Returns the status of each replica, by pod. ``ask`` picks those to ask; of the others the last answer is
        used.

        A replica that does not answer within ``patience_seconds`` is not waited for: its last answer is used while its
        request is under way, so that one which hangs does not delay the others.
        """
        pods = [pod for pod in pods if pod.ip]
        await self._forget({(pod.name, pod.ip) for pod in pods})
        if self._tls is None:
            return {}
        for pod in pods:
            if ask(pod) and (pod.name, pod.ip) not in self._asking:
                self._asking[(pod.name, pod.ip)] = asyncio.create_task(self._probe(pod))
        if self._asking:
            done, _ = await asyncio.wait(self._asking.values(), timeout=patience_seconds)
            self._asking = {key: task for key, task in self._asking.items() if task not in done}
            for task in done:
                task.result()  # a probe reports by itself; anything it raises is a bug
        return {pod.name: self._known[pod.name].status for pod in pods if pod.name in self._known}

    @property
    def waits_for_late(self) -> bool:
        """Whether a replica whose last answer still counts has not answered a request: it should be asked again
        soon."""
        return any(name in self._known for name in self._unanswered)

    def unanswered_seconds(self) -> dict[str, float]:
        """Returns, by replica that has not answered its newest requests, how long ago the first of them was sent."""
        return {name: self._clock() - at for name, at in self._unanswered.items()}

    async def call(
        self, target: Target, method: Method[RequestT, ResponseT], request: RequestT, *, timeout_seconds: float
    ) -> ResponseT:
        """One call to that replica's peer port. Raises StoreError."""
        self._spares.take(self, target)
        async with self._endpoints.use(target) as endpoint:
            return await endpoint.call(method, request, timeout_seconds=timeout_seconds)

    def hurry(self, *, hurried: bool) -> None:
        """Whether its connections are opened before those of other stores."""
        self._dials.hurry(self, hurried=hurried)

    async def spare(self, pods: Iterable[Pod]) -> None:
        """The replicas of these pods are not asked for a while: connections to them may be closed."""
        for target in (Target.of(pod) for pod in pods if pod.ip):
            await self._spares.put(self, target, functools.partial(self._endpoints.retire, target.__eq__))

    async def hash_kv(self, target: Target, revision: int, *, timeout_seconds: float) -> HashKVResponse:
        """Returns that replica's HashKV, over a connection of its own, as it may take long. Raises StoreError."""
        async with self._endpoint(target, names.CLIENT_PORT) as endpoint:
            return await endpoint.call(HASH_KV, HashKVRequest(revision=revision), timeout_seconds=timeout_seconds)

    def _endpoint(self, target: Target, port: int) -> Endpoint:
        host = f"[{target.ip}]" if ":" in target.ip else target.ip
        return Endpoint(
            f"{host}:{port}",
            tls=self._tls,
            server_name=target.server_name,
            options=SMALL_BUFFERS,
            turn=lambda: self._dials.turn(self),
        )

    async def _probe(self, pod: Pod) -> None:
        asked_at = self._clock()
        try:
            message = await self.call(
                Target.of(pod), ADMIN_STATUS, StatusRequest(), timeout_seconds=STATUS_TIMEOUT_SECONDS
            )
        except StoreError as error:
            first_asked_at = self._unanswered.setdefault(pod.name, asked_at)
            late = isinstance(error, DeadlineExceeded | OutcomeUnknown)
            if pod.name in self._known and not (late and self._clock() - first_asked_at < KEEP_LATE_SECONDS):
                del self._known[pod.name]
                log.debug("replica_silent", replica=pod.name, reason=str(error))
            return
        self._unanswered.pop(pod.name, None)
        if message.region != pod.region or message.replica != pod.name:
            self._known.pop(pod.name, None)
            log.warning("replica_mistaken", replica=pod.name, answered=f"{message.region}/{message.replica}")
            return
        status = replica_status(pod.region, message)
        for other in self._known.values():
            if other.status.topology == status.topology:
                status = replace(status, topology=other.status.topology)  # the same for all, so kept once
                break
        self._known[pod.name] = _Known(status, pod.ip)

    async def _forget(self, present: set[tuple[str, str]]) -> None:
        """Close connections to pods that are gone or have another address."""
        for key in [key for key in self._asking if key not in present]:
            self._asking.pop(key).cancel()
        addresses = dict(present)
        for name in [name for name, known in self._known.items() if addresses.get(name) != known.address]:
            del self._known[name]
        self._unanswered = {name: since for name, since in self._unanswered.items() if name in addresses}
        await self._endpoints.close(lambda target: (target.pod, target.ip) not in present)
