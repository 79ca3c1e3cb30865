"""Watches that never end and never fail silently, in the place of kopf's.

kopf ends the whole operator when one of its watches is refused, does not look for a kind again that was missing when it
started, and keeps what was deleted while a watch was down. Here each pair of kind and namespace is listed and watched
for as long as the operator runs: whatever ends a watch, the objects are listed anew, and those that are gone are
reported as deleted. A watch that is out of step is known, so that the operator does not count as healthy meanwhile.

kopf has a task and a queue for each object that it is shown, and at the start keeps all of them until every kind has
been listed. So it is shown the stores only, and of these what :func:`_brief` leaves; the objects of stores, which are
thousands, go to :class:`SeenObjects`.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec
from kopf._cogs.clients import errors, fetching, watching
from kopf._cogs.configs.configuration import OperatorSettings
from kopf._cogs.structs.references import Insights, Namespace, Resource
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory
from rstore_api.domain.kubernetes import BACKUP, BACKUP_KIND, SEEN_KINDS
from rstore_api.logs import get_logger

from rstore_operator.cluster.seen_objects import SeenObjects, uid_of

log = get_logger(__name__)
_requests = logging.getLogger(f"{__name__}.requests")

FIRST_BACKOFF_SECONDS = 1.0
LAST_BACKOFF_SECONDS = 10.0
GRACE_SECONDS = 20.0
"""How long a watch may be out of step before the operator counts as unhealthy."""
SERVER_TIMEOUT_SECONDS = 240
"""How long one watch request lasts."""
_EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_KINDS = {(kind.group, kind.plural): name for name, kind in {**SEEN_KINDS, BACKUP_KIND: BACKUP}.items()}

Body = Mapping[str, Any]
Event = dict[str, Any]
"""An event as kopf has it: its type, None for an object of a listing, and the object."""


class _Receiver(Protocol):
    """What gets the objects of one watch. Each method returns what kopf is shown."""

    def there(self, event: str | None, body: Body, /) -> Iterable[Event]:
        """The object is there, by an event of that type or by a listing."""

    def gone(self, body: Body) -> Iterable[Event]:
        """The object is gone."""

    def listed(self, uids: Collection[str]) -> Iterable[Event]:
        """A listing has shown the objects that are there; others are gone."""


class _Kopf:
    """Shows kopf the objects in brief. What an event of the deletion of each needs is kept, as JSON, by uid."""

    def __init__(self) -> None:
        self._briefs: dict[str, bytes] = {}

    def there(self, event: str | None, body: Body, /) -> Iterable[Event]:
        brief = _brief(body)
        self._briefs[uid_of(body)] = msgspec.json.encode(brief)
        return ({"type": event, "object": brief},)

    def gone(self, body: Body) -> Iterable[Event]:
        self._briefs.pop(uid_of(body), None)
        return ({"type": "DELETED", "object": _brief(body)},)

    def listed(self, uids: Collection[str]) -> Iterable[Event]:
        gone = [self._briefs.pop(uid) for uid in list(self._briefs) if uid not in uids]
        return [{"type": "DELETED", "object": msgspec.json.decode(brief)} for brief in gone]


class _OfStores:
    """Keeps the objects of stores. kopf is shown none of them."""

    def __init__(self, seen: SeenObjects, kind: str, namespace: str | None) -> None:
        self._seen = seen
        self._kind = kind
        self._namespace = namespace

    def there(self, _event: str | None, body: Body, /) -> Iterable[Event]:
        self._seen.put(self._kind, body)
        return ()

    def gone(self, body: Body) -> Iterable[Event]:
        self._seen.drop(uid_of(body))
        return ()

    def listed(self, uids: Collection[str]) -> Iterable[Event]:
        self._seen.keep_only(self._kind, self._namespace, uids)
        return ()


class NoMemories(ResourceMemories):
    """Keeps nothing about an object, in the place of kopf's 0.9 KiB for each: no handler is resumed or delayed."""

    async def recall(self, *args: Any, **kwargs: Any) -> ResourceMemory:
        """Returns what is known of an object that is seen for the first time."""
        return await super().recall(*args, **(kwargs | {"ephemeral": True}))


class WatchRefusedError(Exception):
    """The API server ended a watch; the text is the server's message."""


@dataclass
class _Watch:
    """The watch of one kind in one namespace, or in all if that is None."""

    kind: str
    namespace: str | None
    receiver: _Receiver
    out_since: float
    """When it last began to be out of step; meaningless while ``in_step``."""
    in_step: bool = False
    was_in_step: bool = False
    error: str = ""
    backoff_seconds: float = FIRST_BACKOFF_SECONDS

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind}{where}: {self.error or 'the API server has not answered yet'}"


class Watches:
    """The watches of one operator."""

    def __init__(self, seen: SeenObjects, clock: Callable[[], float] = time.monotonic) -> None:
        """``seen`` gets the objects of stores."""
        self._seen = seen
        self._clock = clock
        self._watches: dict[tuple[str, str | None], _Watch] = {}

    def install(self) -> Callable[[], None]:
        """Take the place of kopf's watches in this process. Returns a function that puts kopf's back."""
        before = watching.continuous_watch

        def restore() -> None:
            watching.continuous_watch = before

        watching.continuous_watch = self.stream
        for name in (_requests.name, watching.logger.name):  # each failure is logged here, once
            logging.getLogger(name).setLevel(logging.CRITICAL)
        return restore

    def problems(self) -> tuple[str, ...]:
        """Returns the watches that have been out of step for longer than GRACE_SECONDS, and why."""
        now = self._clock()
        late = (one for one in self._watches.values() if not one.in_step and now - one.out_since >= GRACE_SECONDS)
        return tuple(sorted(map(str, late)))

    def out_of_step(self) -> int:
        """Returns how many watches do not show what is there now."""
        return sum(not one.in_step for one in self._watches.values())

    def never_seen(self, namespace: str) -> str:
        """Returns which kinds have never been listed for a store in that namespace, and why; "" if all have."""
        missing = [
            str(one)
            for one in self._watches.values()
            if one.namespace in (None, namespace) and not one.was_in_step and one.error
        ]
        return "; ".join(sorted(missing))

    async def stream(
        self,
        *,
        settings: OperatorSettings,
        resource: Resource,
        namespace: Namespace,
        operator_pause_waiter: asyncio.Future[Any],
    ) -> AsyncIterator[Any]:
        """Yields what kopf is shown of one listing, and of the watch that follows it until that ends; kopf then asks
        for the next."""
        watch = self._of(resource, namespace)
        settings = _at_once(settings)
        try:
            listed: set[str] = set()
            version: str | None = None
            async for chunk, version in fetching.fetch_objs(  # noqa: B007 (the last one counts)
                logger=_requests, settings=settings, resource=resource, namespace=namespace
            ):
                for body in chunk:
                    listed.add(uid_of(body))
                    for event in watch.receiver.there(None, body):
                        yield event
                del chunk  # else it is kept for as long as the watch lasts
            for event in watch.receiver.listed(listed):
                yield event
            del listed
            self._is_in_step(watch)
            yield watching.Bookmark.LISTED
            active = True
            while active and not operator_pause_waiter.done():
                active = False
                async for raw in watching.watch_objs(
                    settings=settings,
                    resource=resource,
                    namespace=namespace,
                    since=version,
                    operator_pause_waiter=operator_pause_waiter,
                ):
                    kind, seen = raw["type"], cast(Body, raw["object"])
                    if kind == "ERROR":
                        if seen.get("code") == 410:  # it was away for too long
                            self._is_out(watch)
                            return
                        raise WatchRefusedError(str(seen.get("message") or seen))
                    if kind not in _EVENTS:
                        continue
                    active = True
                    version = seen.get("metadata", {}).get("resourceVersion", version)
                    if kind == "BOOKMARK":
                        continue
                    gone = kind == "DELETED"
                    for event in watch.receiver.gone(seen) if gone else watch.receiver.there(kind, seen):
                        yield event
            self._is_out(watch)
        except Exception as error:  # whatever it is, the operator looks again
            self._has_failed(watch, error)
            if isinstance(error, errors.APINotFoundError):  # the kind is gone, and all objects with it
                for event in watch.receiver.listed(()):
                    yield event
            yield watching.Bookmark.LISTED  # other watches do not wait for this one
            await asyncio.sleep(watch.backoff_seconds)
            watch.backoff_seconds = min(LAST_BACKOFF_SECONDS, watch.backoff_seconds * 2)

    def _of(self, resource: Resource, namespace: str | None) -> _Watch:
        kind = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        watch = self._watches.get((kind, namespace))
        if watch is None:
            seen = _KINDS.get((resource.group, resource.plural))
            receiver = _OfStores(self._seen, seen, namespace) if seen is not None else _Kopf()
            watch = self._watches[kind, namespace] = _Watch(kind, namespace, receiver, self._clock())
        return watch

    def _is_in_step(self, watch: _Watch) -> None:
        if watch.error:
            log.info("watching_again", kind=watch.kind, namespace=watch.namespace)
        watch.error, watch.backoff_seconds = "", FIRST_BACKOFF_SECONDS
        watch.in_step = watch.was_in_step = True

    def _is_out(self, watch: _Watch) -> None:
        if watch.in_step:
            watch.in_step, watch.out_since = False, self._clock()

    def _has_failed(self, watch: _Watch, error: Exception) -> None:
        self._is_out(watch)
        text = _reason(error)
        if text != watch.error:
            log.warning("cannot_watch", kind=watch.kind, namespace=watch.namespace, reason=text)
        watch.error = text


def _at_once(settings: OperatorSettings) -> OperatorSettings:
    """Returns settings with which a request that fails raises at once, instead of being repeated for a minute."""
    changed = copy.copy(settings)
    changed.networking = copy.copy(settings.networking)
    changed.networking.error_backoffs = ()
    return changed


def _reason(error: Exception) -> str:
    if isinstance(error, errors.APINotFoundError):
        return "the API server does not know it; is the custom resource definition there?"
    if isinstance(error, errors.APIError):
        return str(error.message or f"the API server answered {error.status}")
    return str(error) or type(error).__name__


def _brief(body: Body) -> dict[str, Any]:
    """Returns what kopf and its handlers need of an object."""
    keys = ("name", "namespace", "uid", "labels", "resourceVersion", "deletionTimestamp", "finalizers")
    meta = {key: body["metadata"][key] for key in keys if key in body["metadata"]}
    return {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": meta}


async def watch_also(insights: Insights, resource: Resource) -> None:
    """Watch a kind from the beginning, even if the API server does not know it yet: its definition may come later."""
    await insights.ready_resources.wait()
    async with insights.revised:
        insights.watched_resources.add(resource)
        insights.revised.notify_all()
