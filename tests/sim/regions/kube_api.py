"""The Kubernetes API and its watches as one operator has them."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from rstore_api.domain.kubernetes import CLAIM, POD, STORE, Kind
from rstore_kube.errors import ApiError
from sim.regions.crd import event_problems
from sim.regions.kube import Kube
from sim.regions.sites import API_SITE
from stored_client import StoredClient
from stored_objects import Body

if TYPE_CHECKING:
    from sim.regions.operators import OperatorHost

T = TypeVar("T")


class ApiOf(StoredClient):
    """A client of the simulated cluster, and ``Watched`` of ``rstore_operator.cluster.site``."""

    def __init__(self, kube: Kube, operator: OperatorHost, rng: random.Random) -> None:
        super().__init__(kube)
        self._kube = kube
        self._operator = operator
        self._rng = rng
        self._seen: tuple[list[Body], list[Body], list[Body]] = ([], [], [])

    async def answer(self, request: str, work: Callable[[], T]) -> T:
        kube, site = self._kube, self._operator.site
        loop = asyncio.get_running_loop()
        self._operator.step(f"asks to {request}")
        await asyncio.sleep(kube.wires.arrival(site, API_SITE) - loop.time())
        if not kube.reachable(site):
            await asyncio.sleep(self._rng.choice([0.01, 1.0]))
            raise ConnectionError("the API server cannot be reached")
        result = work()
        self._operator.step(f"has asked to {request}")
        await asyncio.sleep(kube.wires.arrival(API_SITE, site) - loop.time())
        if kube.times_out and request == "patch status" and self._rng.random() < kube.times_out:
            self._operator.step("is told that the status was not written in time")
            raise ApiError(504, "Timeout", "the request did not complete within the allotted timeout")
        if not kube.reachable(site):
            await asyncio.sleep(1.0)
            raise TimeoutError("the API server does not answer")
        return _copy(result)

    async def find(self, kind: Kind, namespace: str, name: str) -> Body | None:
        if kind == CLAIM:
            return await self.answer("read a claim", lambda: None)
        return await super().find(kind, namespace, name)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], **options: str) -> Body:
        if kind == STORE:
            recorded = functools.partial(self._kube.record_status, patch["status"], options["resource_version"])
            return await self.answer("patch status", lambda: recorded(self._operator))
        return await super().merge(kind, namespace, name, patch, **options)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, propagation: str, resource_version: str = ""
    ) -> None:
        if kind == POD:
            await self.answer("delete a pod", lambda: self._kube.delete_pod(name, uid, resource_version))
        else:
            await super().delete(kind, namespace, name, uid=uid, propagation=propagation)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Body:
        self._kube.refused("event", event_problems(dict(body)))
        self._kube.events.append(f"{body['reason']}: {body['message']}")
        return await super().create(kind, namespace, body)

    def children(self) -> Iterable[Body]:
        return self._look()[0]

    def pods(self) -> Iterable[Body]:
        return self._look()[1]

    def requested_bases(self) -> Iterable[Body]:
        return ()

    def claims(self) -> Iterable[Body]:
        return self._look()[2]

    def _look(self) -> tuple[list[Body], list[Body], list[Body]]:
        """What the watches have shown: nothing new while the API is away."""
        if self._kube.reachable(self._operator.site):
            self._seen = (list(self._kube.objects.values()), self._kube.pods(), self._kube.claims())
        return self._seen


def _copy(item: T) -> T:
    return msgspec.json.decode(msgspec.json.encode(item))  # type: ignore[no-any-return]
