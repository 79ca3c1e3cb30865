"""Kubernetes Events: recorded in the background, equal ones counted instead of repeated."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from localkube import tasks
from localkube.apiserver.errors import ApiError
from localkube.controllers.api import Api
from localkube.controllers.objects import meta, rfc3339, uid_of
from localkube.controllers.resources import EVENTS, Obj

log = logging.getLogger(__name__)

MAX_REMEMBERED = 1024
MAX_WAITING = 1024


class Recorder:
    """Writes events without making the caller wait; drops what exceeds its bounded queue (and logs that it did)."""

    def __init__(self, api: Api, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        self._queue: asyncio.Queue[Obj] = asyncio.Queue(MAX_WAITING)
        self._seen: OrderedDict[tuple[str, ...], tuple[str, str]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def event(
        self,
        obj: Obj,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        component: str,
        host: str = "",
        field_path: str = "",
    ) -> None:
        """Record that something happened to `obj`."""
        metadata = meta(obj)
        namespace = metadata.get("namespace") or "default"
        now = rfc3339(self._now())
        involved = {
            "apiVersion": obj.get("apiVersion", "v1"),
            "kind": obj.get("kind", ""),
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": uid_of(obj),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        if field_path:
            involved["fieldPath"] = field_path
        event: Obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}"},
            "involvedObject": {k: v for k, v in involved.items() if v},
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": component, **({"host": host} if host else {})},
            "reportingComponent": component,
            "reportingInstance": host,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="event-recorder")
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("event dropped, too many waiting reason=%s object=%s", reason, metadata["name"])

    async def stop(self) -> None:
        """Stop; events still waiting are dropped."""
        await tasks.end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except ApiError as error:
                log.debug("event not written error=%s", error)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                log.warning("event not written error=%r", error)

    async def _write(self, event: Obj) -> None:
        involved = event["involvedObject"]
        identity = (involved.get("uid", ""), involved["name"], event["reason"], event["message"], event["type"])
        namespace = event["metadata"]["namespace"]
        earlier = self._seen.get(identity)
        if earlier is not None:
            try:
                old = await self._api.get(EVENTS, earlier[0], earlier[1])
                old["count"] = int(old.get("count") or 1) + 1
                old["lastTimestamp"] = event["lastTimestamp"]
                await self._api.update(EVENTS, earlier[0], old)
                return
            except ApiError as error:
                if not error.not_found:
                    raise
        await self._api.create(EVENTS, namespace, event)
        self._seen[identity] = (namespace, event["metadata"]["name"])
        self._seen.move_to_end(identity)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
