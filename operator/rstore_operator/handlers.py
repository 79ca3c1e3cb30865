"""What kopf calls: indexes of children, wake-ups, and one daemon per store. No decision is made here."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import kopf
import structlog

from rstore_operator.cluster.k8s import Kubernetes
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import (
    DEFAULT_CERTIFICATE_SETTINGS,
    FINALIZER,
    GROUP,
    PLURAL,
    VERSION,
    CertificateSettings,
    ReplicaImage,
    StoreRef,
)
from rstore_operator.specs.labels import STORE_LABEL

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Namespace and name of a store."""

CHILD_KINDS: Mapping[str, tuple[str, str, str]] = {
    "ConfigMap": ("", "v1", "configmaps"),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets"),
    "Secret": ("", "v1", "secrets"),
    "Service": ("", "v1", "services"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "StatefulSet": ("apps", "v1", "statefulsets"),
}
POD = ("", "v1", "pods")
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

    def _of(self, index: str) -> Iterable[Mapping[str, Any]]:
        found = self._indexes[index]
        return tuple(found[self._key]) if self._key in found else ()


def _index_name(kind: str) -> str:
    return f"{kind.lower()}_index"


class Handlers:
    """Registers everything with a kopf registry."""

    def __init__(
        self,
        api: Callable[[], Kubernetes],
        image: ReplicaImage,
        *,
        hash_check_seconds: float = 0.0,
        certificates: CertificateSettings = DEFAULT_CERTIFICATE_SETTINGS,
    ) -> None:
        self._api = api
        self._certificates = certificates
        self._image = image
        self._hash_check_seconds = hash_check_seconds
        self._running: dict[Key, tuple[asyncio.Event, Reconciler]] = {}

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """All handlers."""
        kopf.on.startup(registry=registry)(configure)
        kopf.on.login(registry=registry)(login)
        labels = {STORE_LABEL: kopf.PRESENT}
        for kind, resource in {**CHILD_KINDS, "Pod": POD}.items():
            # Children carry the watch's own label selector (see configure); the filter here repeats it for clarity.
            group, version, plural = resource
            place = (group, version, plural) if group else (version, plural)
            name = _index_name(kind)
            kopf.index(*place, id=name, labels=labels, registry=registry)(_indexer(kind))
            kopf.on.event(*place, id=f"{name}_wake", labels=labels, registry=registry)(self._child_changed)
        kopf.on.event(GROUP, VERSION, PLURAL, id="store_wake", registry=registry)(self._store_changed)
        kopf.daemon(
            GROUP,
            VERSION,
            PLURAL,
            id="store",
            registry=registry,
            cancellation_backoff=STOP_SECONDS,
            cancellation_timeout=2.0,
        )(self._run)

    async def _child_changed(self, namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
        running = self._running.get((namespace or "", labels.get(STORE_LABEL, "")))
        if running is not None:
            wake, reconciler = running
            reconciler.children_changed()
            wake.set()

    async def _store_changed(self, namespace: str | None, name: str | None, meta: Mapping[str, Any], **_: Any) -> None:
        running = self._running.get((namespace or "", name or ""))
        if running is not None:
            wake, reconciler = running
            if reconciler.object_changed(meta.get("resourceVersion", "")):
                wake.set()

    async def _run(
        self, namespace: str | None, name: str | None, uid: str | None, stopped: kopf.DaemonStopped, **kwargs: Any
    ) -> None:
        """Runs one store until it is deleted or the operator stops."""
        ref = StoreRef(namespace or "", name or "", uid or "")
        key = (ref.namespace, ref.name)
        wake = asyncio.Event()
        reconciler = Reconciler(
            ref,
            self._api(),
            _WatchedStore(key, kwargs),
            self._image,
            hash_check_seconds=self._hash_check_seconds,
            certificates=self._certificates,
        )
        self._running[key] = (wake, reconciler)
        structlog.contextvars.bind_contextvars(namespace=ref.namespace, store=ref.name)
        backoff = FIRST_BACKOFF_SECONDS
        rng = random.Random()
        try:
            while not stopped:
                wake.clear()
                try:
                    wait = await reconciler.step()
                    backoff = FIRST_BACKOFF_SECONDS
                except Exception as error:  # whatever it is, the store is looked after again
                    reconciler.invalidate()
                    wait = backoff * (0.5 + rng.random())
                    backoff = min(LAST_BACKOFF_SECONDS, backoff * 2)
                    log.warning("reconcile_failed", error=str(error) or type(error).__name__, exc_info=True)
                if wait is None:
                    wait = LAST_BACKOFF_SECONDS  # being deleted: kopf is about to stop this daemon
                if wait > 0:
                    await _wait_for_any(wake, stopped, timeout_seconds=wait)
        finally:
            if self._running.get(key) == (wake, reconciler):
                del self._running[key]
            await reconciler.close()


async def _wait_for_any(wake: asyncio.Event, stopped: kopf.DaemonStopped, *, timeout_seconds: float) -> None:
    tasks = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(_stopped(stopped))]
    try:
        await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _stopped(stopped: kopf.DaemonStopped) -> None:
    await stopped.wait()


def _indexer(kind: str) -> Callable[..., Any]:
    async def index(
        namespace: str | None, labels: Mapping[str, str], body: Mapping[str, Any], **_: Any
    ) -> dict[Key, dict[str, Any]]:
        plain = dict(body)
        plain["kind"] = kind  # objects of a list do not say
        return {(namespace or "", labels.get(STORE_LABEL, "")): plain}

    return index


async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Settings of kopf: nothing is written to objects but our finalizer, and only our children are watched."""
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.background.instant_exit_timeout = STOP_SECONDS
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 0.5
    settings.networking.request_timeout = 60
    settings.process.ultimate_exiting_timeout = 20
    for group, version, plural in [*CHILD_KINDS.values(), POD]:
        place = (group, version, plural) if group else (version, plural)
        settings.watching.label_selectors[place] = STORE_LABEL


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The same credentials as our own client's: ``KUBECONFIG``, else the pod's service account."""
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)
