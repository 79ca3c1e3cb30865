"""What kopf calls: indexes of children, wake-ups, and one task per store. No decision is made here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import kopf
import structlog
from kopf._cogs.structs.references import Resource
from rstore_api.domain.kubernetes import (
    CHILD_KINDS,
    FINALIZER,
    KIND,
    SEEN_KINDS,
    STORE,
    STORE_LABEL,
    Kind,
)
from rstore_kube.errors import ApiError

from rstore_operator.act import CONNECTION_ERRORS
from rstore_operator.cluster.k8s import Kubernetes
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import DEFAULT_CERTIFICATE_SETTINGS, CertificateSettings, ReplicaImage, StoreRef
from rstore_operator.watching import SERVER_TIMEOUT_SECONDS, Watches

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Namespace and name of a store."""

FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 10.0
STOP_SECONDS = 8.0


class _WatchedStore:
    """A store's part of kopf's indexes."""

    def __init__(self, key: Key, indexes: Mapping[str, Any]) -> None:
        self._key = key
        self._indexes = indexes

    def children(self) -> Iterable[Mapping[str, Any]]:
        """Children of every kind, as last seen."""
        for kind in CHILD_KINDS:
            yield from self._of(_index_name(kind))

    def pods(self) -> Iterable[Mapping[str, Any]]:
        """Pods, as last seen."""
        yield from self._of(_index_name("Pod"))

    def claims(self) -> Iterable[Mapping[str, Any]]:
        """Claims of volumes, as last seen."""
        yield from self._of(_index_name("PersistentVolumeClaim"))

    def _of(self, index: str) -> Iterable[Mapping[str, Any]]:
        found = self._indexes[index]
        return tuple(found[self._key]) if self._key in found else ()


def _index_name(kind: str) -> str:
    return f"{kind.lower()}_index"


class _Running:
    """The task that looks after one store object."""

    def __init__(self, ref: StoreRef, reconciler: Reconciler) -> None:
        self.ref = ref
        self.reconciler = reconciler
        self.wake = asyncio.Event()
        self.stopped = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Ask it to end."""
        self.stopped.set()
        self.wake.set()


class Handlers:
    """Registers everything with a kopf registry.

    Stores are looked after by tasks of our own and not by kopf's daemons: those put a finalizer on each object, which
    nobody could take off any more once the operator, or its rights in a namespace, are gone. There is nothing to clean
    up: what a store is made of is deleted with it by its owner references.
    """

    def __init__(
        self,
        api: Callable[[], Kubernetes],
        image: ReplicaImage,
        *,
        certificates: CertificateSettings = DEFAULT_CERTIFICATE_SETTINGS,
        hash_check_seconds: float = 0.0,
        watches: Watches | None = None,
    ) -> None:
        self._api = api
        self._image = image
        self._certificates = certificates
        self._hash_check_seconds = hash_check_seconds
        self._watches = watches or Watches()
        self._running: dict[Key, _Running] = {}

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """All handlers."""
        kopf.on.startup(registry=registry)(configure)
        kopf.on.cleanup(registry=registry)(self._stop)
        kopf.on.login(registry=registry)(login)
        labels = {STORE_LABEL: kopf.PRESENT}
        for kind, resource in SEEN_KINDS.items():
            # Children carry the watch's own label selector (see configure); the filter here repeats it for clarity.
            name, place = _index_name(kind), _place(resource)
            kopf.index(*place, id=name, labels=labels, registry=registry)(_indexer(kind))
            kopf.on.event(*place, id=f"{name}_wake", labels=labels, registry=registry)(self._child_changed)
        kopf.on.event(*_place(STORE), id="store_wake", registry=registry)(self._store_changed)

    async def _child_changed(self, namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
        running = self._running.get((namespace or "", labels.get(STORE_LABEL, "")))
        if running is not None:
            running.reconciler.children_changed()
            running.wake.set()

    async def _store_changed(
        self,
        event: Mapping[str, Any],
        namespace: str | None,
        name: str | None,
        uid: str | None,
        meta: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        ref = StoreRef(namespace or "", name or "", uid or "")
        key = (ref.namespace, ref.name)
        running = self._running.get(key)
        if event.get("type") == "DELETED":
            if running is not None and running.ref == ref:
                running.stop()
            return
        if running is not None and running.ref == ref:
            if running.reconciler.object_changed(meta.get("resourceVersion", "")):
                running.wake.set()
            return
        if not meta.get("deletionTimestamp"):
            self._start(ref, kwargs, before=running)

    def _start(self, ref: StoreRef, indexes: Mapping[str, Any], *, before: _Running | None) -> None:
        """Look after that object; ``before`` is what looked after the one of the same name that is gone."""
        key = (ref.namespace, ref.name)
        reconciler = Reconciler(
            Sites(Site(ref, self._api(), _WatchedStore(key, indexes))),
            self._image,
            certificates=self._certificates,
            hash_check_seconds=self._hash_check_seconds,
        )
        running = self._running[key] = _Running(ref, reconciler)
        running.task = asyncio.create_task(self._run(running, before), name=f"store {ref.namespace}/{ref.name}")
        running.task.add_done_callback(lambda _: self._ended(running))

    def _ended(self, running: _Running) -> None:
        key = (running.ref.namespace, running.ref.name)
        if self._running.get(key) is running:
            del self._running[key]

    async def _stop(self, **_: Any) -> None:
        """Let all stores' tasks end."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for running in self._running.values():
            running.stop()
        if not tasks:
            return
        ended = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in ended[1]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, running: _Running, before: _Running | None) -> None:
        """Runs one store until it is deleted or the operator stops."""
        if before is not None:
            before.stop()
            if before.task is not None:
                await asyncio.wait([before.task])
        reconciler, ref = running.reconciler, running.ref
        structlog.contextvars.bind_contextvars(namespace=ref.namespace, store=ref.name)
        backoff = FIRST_BACKOFF_SECONDS
        rng = random.Random()
        try:
            while not running.stopped.is_set():
                running.wake.clear()
                try:
                    unseen = self._watches.never_seen(ref.namespace)
                    wait = await (reconciler.cannot_look(unseen) if unseen else reconciler.step())
                    backoff = FIRST_BACKOFF_SECONDS
                except Exception as error:  # whatever it is, the store is looked after again
                    reconciler.invalidate()
                    wait = backoff * (0.5 + rng.random())
                    backoff = min(LAST_BACKOFF_SECONDS, backoff * 2)
                    expected = isinstance(error, (ApiError, *CONNECTION_ERRORS))
                    log.warning("reconcile_failed", error=str(error) or type(error).__name__, exc_info=not expected)
                if wait is None:
                    wait = LAST_BACKOFF_SECONDS  # being deleted: the watch is about to say that it is gone
                if wait > 0 and not running.stopped.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(running.wake.wait(), wait)
        finally:
            await reconciler.close()


def _place(kind: Kind) -> tuple[str, str] | tuple[str, str, str]:
    """The kind as kopf names it: the core group is left out."""
    return (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)


def _indexer(kind: str) -> Callable[..., Any]:
    async def index(
        namespace: str | None, labels: Mapping[str, str], body: Mapping[str, Any], **_: Any
    ) -> dict[Key, dict[str, Any]]:
        plain = dict(body)
        plain["kind"] = kind  # objects of a list do not say
        return {(namespace or "", labels.get(STORE_LABEL, "")): plain}

    return index


async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Settings of kopf: nothing is written to objects, and only our children are watched.

    The finalizer is that of earlier versions, which kopf takes off wherever it finds it.
    """
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = _NoProgress()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 0.5
    settings.watching.server_timeout = SERVER_TIMEOUT_SECONDS
    settings.networking.request_timeout = 60
    settings.process.ultimate_exiting_timeout = 20
    for kind in SEEN_KINDS.values():
        settings.watching.label_selectors[_place(kind)] = STORE_LABEL


class _NoProgress(kopf.ProgressStorage):
    """Nothing is kept in objects and nothing is read from them: anybody may write annotations."""

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Nowhere."""

    def purge(self, **_: Any) -> None:
        """There is nothing."""

    def touch(self, **_: Any) -> None:
        """There is nothing."""

    def clear(self, *, essence: Any) -> Any:
        """As it is."""
        return essence


class _NoDiffBase(kopf.DiffBaseStorage):
    """See :class:`_NoProgress`."""

    def fetch(self, **_: Any) -> None:
        """Nothing."""

    def store(self, **_: Any) -> None:
        """Nowhere."""


STORES = Resource(
    STORE.group, STORE.version, STORE.plural, kind=KIND, namespaced=True, verbs=frozenset({"list", "watch", "patch"})
)
"""As kopf needs to know them to watch them before their definition is there."""


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The same credentials as our own client's: ``KUBECONFIG``, else the pod's service account."""
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)
