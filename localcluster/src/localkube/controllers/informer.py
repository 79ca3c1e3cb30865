"""A cache of one resource kept current by list and watch, that tells subscribers what changed."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable
from typing import Literal

from localkube import tasks
from localkube.apiserver.errors import ApiError
from localkube.apiserver.resources import Resource
from localkube.controllers.api import Api
from localkube.controllers.objects import Key, key_of, uid_of
from localkube.controllers.resources import Obj

log = logging.getLogger(__name__)

Change = Literal["added", "modified", "deleted"]
Subscriber = Callable[[Change, Obj | None, Obj], None]

REWATCH_SECONDS = 0.02
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Informer:
    """The last seen state of every object of a resource.

    Objects handed out are shared: callers copy before they change (`Informer.copy_of`). Subscribers are called on the
    loop as (change, old object or None, new object), also for the first listing, and must not raise.
    """

    def __init__(self, api: Api, resource: Resource) -> None:
        self.resource = resource
        self._api = api
        self._objects: dict[Key, Obj] = {}
        self._subscribers: list[Subscriber] = []
        self._task: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Calls a function at every change from now on, and at once for every object that is there."""
        self._subscribers.append(subscriber)
        for obj in list(self._objects.values()):
            subscriber("added", None, obj)

    def start(self) -> None:
        """Begin to list and watch."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"informer-{self.resource.plural}")

    async def stop(self) -> None:
        """Stop watching; the cache stays readable."""
        await tasks.end(self._task)
        self._task = None

    async def wait_synced(self) -> None:
        """Return when the first listing is in the cache."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> Obj | None:
        """Returns the object as last seen; shared, do not change it."""
        return self._objects.get((namespace, name))

    def copy_of(self, namespace: str, name: str) -> Obj | None:
        """Returns the object as last seen, as a copy to change."""
        return copy.deepcopy(self._objects.get((namespace, name)))

    def items(self, namespace: str | None = None) -> list[Obj]:
        """Returns all objects (of a namespace), shared, do not change them; in order of name."""
        return [o for k, o in sorted(self._objects.items()) if namespace is None or k[0] == namespace]

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                version = await self._relist()
                failures = 0
                while True:
                    version = await self._watch(version)
            except ApiError as error:
                if error.not_found:
                    failures = len(RETRY_SECONDS)
                elif not error.gone:
                    log.warning("watch failed resource=%s error=%s", self.resource.plural, error)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("watch broke resource=%s error=%r", self.resource.plural, error)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _relist(self) -> str:
        items, version = await self._api.list(self.resource)
        seen = {key_of(item): item for item in items}
        for key in [k for k in self._objects if k not in seen]:
            self._remove(key, self._objects[key])
        for key, obj in seen.items():
            self._put(key, obj)
        self._synced.set()
        return version

    async def _watch(self, version: str) -> str:
        async for event in self._api.watch(self.resource, version):
            obj = event.object
            version = obj["metadata"].get("resourceVersion", version)
            if event.type in ("ADDED", "MODIFIED"):
                self._put(key_of(obj), obj)
            elif event.type == "DELETED":
                self._remove(key_of(obj), obj)
        await asyncio.sleep(REWATCH_SECONDS)
        return version

    def _put(self, key: Key, obj: Obj) -> None:
        obj.setdefault("apiVersion", self.resource.api_version)
        obj.setdefault("kind", self.resource.kind)
        old = self._objects.get(key)
        if old is not None and uid_of(old) != uid_of(obj):
            self._remove(key, old)
            old = None
        if old is not None and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return
        self._objects[key] = obj
        self._tell("added" if old is None else "modified", old, obj)

    def _remove(self, key: Key, obj: Obj) -> None:
        old = self._objects.pop(key, None)
        self._tell("deleted", old, obj)

    def _tell(self, change: Change, old: Obj | None, obj: Obj) -> None:
        for subscriber in self._subscribers:
            try:
                subscriber(change, old, obj)
            except Exception:
                log.exception("subscriber failed resource=%s", self.resource.plural)


class Informers:
    """One shared informer per resource."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._informers: dict[Resource, Informer] = {}
        self._running = False

    def of(self, resource: Resource) -> Informer:
        """Returns the informer of a resource, made (and started, when the others are) at first use."""
        informer = self._informers.get(resource)
        if informer is None:
            informer = self._informers[resource] = Informer(self._api, resource)
            if self._running:
                informer.start()
        return informer

    def known(self) -> list[Informer]:
        """Returns every informer made so far."""
        return list(self._informers.values())

    async def start(self) -> None:
        """Start all and wait for their first listing."""
        self._running = True
        for informer in self.known():
            informer.start()
        for informer in self.known():
            await informer.wait_synced()

    async def stop(self) -> None:
        """Stop all."""
        self._running = False
        for informer in self.known():
            await informer.stop()

    async def drop(self, resource: Resource) -> None:
        """Stop and forget the informer of a resource that is served no more."""
        informer = self._informers.pop(resource, None)
        if informer is not None:
            await informer.stop()
