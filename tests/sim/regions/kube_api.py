"""The Kubernetes API and its watches as one operator has them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from rstore_kube.errors import ApiError
from rstore_operator.resource.model import StoreRef
from sim.regions.crd import event_problems
from sim.regions.kube import Kube
from sim.regions.sites import API_SITE
from stored_objects import Body

if TYPE_CHECKING:
    from sim.regions.operators import OperatorHost

T = TypeVar("T")


class ApiOf:
    """See ``Kubernetes`` of ``rstore_operator.cluster.k8s`` and ``Watched`` of ``rstore_operator.cluster.site``."""

    def __init__(self, kube: Kube, operator: OperatorHost, rng: random.Random) -> None:
        self._kube = kube
        self._operator = operator
        self._rng = rng
        self._seen: tuple[list[Body], list[Body]] = ([], [])

    async def _ask(self, what: str, work: Callable[[], T]) -> T:
        kube, site = self._kube, self._operator.site
        loop = asyncio.get_running_loop()
        self._operator.step(f"asks to {what}")
        await asyncio.sleep(kube.wires.arrival(site, API_SITE) - loop.time())
        if not kube.reachable(site):
            await asyncio.sleep(self._rng.choice([0.01, 1.0]))
            raise ConnectionError("the API server cannot be reached")
        result = work()
        self._operator.step(f"has asked to {what}")
        await asyncio.sleep(kube.wires.arrival(API_SITE, site) - loop.time())
        if kube.times_out and what == "record the status" and self._rng.random() < kube.times_out:
            self._operator.step("is told that the status was not written in time")
            raise ApiError(504, "Timeout", "the request did not complete within the allotted timeout")
        if not kube.reachable(site):
            await asyncio.sleep(1.0)
            raise TimeoutError("the API server does not answer")
        return _copy(result)

    async def get_store(self, namespace: str, name: str) -> Body:
        return await self._ask("read the object", lambda: self._kube.store)

    async def patch_status(self, namespace: str, name: str, patch: Body, resource_version: str) -> Body:
        return await self._ask(
            "record the status", lambda: self._kube.record_status(patch, resource_version, self._operator)
        )

    async def remove_annotations(self, namespace: str, name: str, values: Mapping[str, str]) -> None:
        await self._ask("remove annotations", lambda: self._kube.remove_annotations(values))

    async def get_child(self, kind: str, namespace: str, name: str) -> Body | None:
        return await self._ask("read a child", lambda: self._kube.objects.get((kind, name)))

    async def get_claim(self, namespace: str, name: str) -> Body | None:
        return await self._ask("read a claim", lambda: None)

    async def failed_creations(self, namespace: str, stateful_set: str) -> list[Body]:
        return await self._ask("list events", list)

    async def apply(self, manifest: Mapping[str, Any]) -> Body:
        return await self._ask("apply a child", lambda: self._kube.apply(manifest))

    async def delete_child(self, kind: str, namespace: str, name: str, uid: str) -> None:
        await self._ask("delete a child", lambda: self._kube.delete_child(kind, name, uid))

    async def post_event(
        self, ref: StoreRef, resource_version: str, reason: str, message: str, warning: bool, now: datetime
    ) -> None:
        self._kube.refused("event", await event_problems(ref, resource_version, reason, message, warning, now))
        await self._ask("post an event", lambda: self._kube.events.append(f"{reason}: {message}"))

    def children(self) -> Iterable[Body]:
        return self._look()[0]

    def pods(self) -> Iterable[Body]:
        return self._look()[1]

    def claims(self) -> Iterable[Body]:
        return ()

    def _look(self) -> tuple[list[Body], list[Body]]:
        """What the watches have shown: nothing new while the API is away."""
        if self._kube.reachable(self._operator.site):
            self._seen = (list(self._kube.objects.values()), self._kube.pods())
        return self._seen


def _copy(item: T) -> T:
    return msgspec.json.decode(msgspec.json.encode(item))  # type: ignore[no-any-return]
