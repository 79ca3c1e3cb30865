"""What kopf calls: events of stores, which go to the controller; and what it watches."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import kopf
from kopf._cogs.structs.references import Resource
from rstore_api.domain.kubernetes import (
    BACKUP,
    BACKUP_KIND,
    CHILD_KINDS,
    FINALIZER,
    KIND,
    OPERATOR_FIELD_MANAGER,
    SEEN_KINDS,
    STORE,
    STORE_LABEL,
    Kind,
)
from rstore_kube.access import from_kubeconfig, from_pod
from rstore_kube.client import KubeClient, Requested, ignore

from rstore_operator.cluster.admission import Admission
from rstore_operator.cluster.dials import Dials
from rstore_operator.cluster.seen_objects import SeenObjects, Store
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.cluster.spares import Spares
from rstore_operator.controller import Controller
from rstore_operator.leadership.others import Others
from rstore_operator.metrics import OperatorMetrics
from rstore_operator.planner.pace import Pace
from rstore_operator.planning.rollout.turns import DEFAULT_LIMIT, Turns
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import (
    DEFAULT_CERTIFICATE_SETTINGS,
    UNKNOWN_PODS,
    CertificateSettings,
    OperatorPods,
    ReplicaImage,
    StoreRef,
)
from rstore_operator.resource.state import OperatorName
from rstore_operator.unclaimed_bases import UnclaimedBases
from rstore_operator.watching import SERVER_TIMEOUT_SECONDS, Watches

REQUEST_TIMEOUT_SECONDS = 10
LISTED_AT_ONCE = 25
"""Objects in one answer to a listing: each takes some 50 KiB until it is kept."""


class _WatchedStore:
    """What the watches show of one store."""

    def __init__(self, store: Store, seen: SeenObjects) -> None:
        self._store = store
        self._seen = seen

    def children(self) -> Iterable[Mapping[str, Any]]:
        """Returns children of every kind, as last seen."""
        return self._seen.of(self._store, CHILD_KINDS)

    def pods(self) -> Iterable[Mapping[str, Any]]:
        """Returns pods, as last seen."""
        return self._seen.of(self._store, ("Pod",))

    def claims(self) -> Iterable[Mapping[str, Any]]:
        """Returns claims of volumes, as last seen."""
        return self._seen.of(self._store, ("PersistentVolumeClaim",))

    def requested_bases(self) -> Iterable[Mapping[str, Any]]:
        """Returns the ReplicatedStoreBackups that name it, as last seen."""
        return self._seen.of(self._store, (BACKUP_KIND,))


class Handlers:
    """Connects kopf to the controller.

    Stores are looked after by a :class:`Controller` and not by kopf's daemons: those put a finalizer on each object,
    which nobody could take off any more once the operator, or its rights in a namespace, are gone. There is nothing to
    clean up: Kubernetes deletes a store's children with it, by their owner references.
    """

    def __init__(
        self,
        client: KubeClient,
        image: ReplicaImage,
        *,
        certificates: CertificateSettings = DEFAULT_CERTIFICATE_SETTINGS,
        operator_pods: OperatorPods = UNKNOWN_PODS,
        hash_check_seconds: float = 0.0,
        concurrent_rollouts: int = DEFAULT_LIMIT,
        metrics: OperatorMetrics | None = None,
        operator: OperatorName | None = None,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """Nothing is done before :meth:`begin`. ``operator`` is this installation, ``may_act`` if its Lease is held."""
        self._operator = operator
        self._others = Others(client)
        self._may_act = may_act
        self._client = client
        self._image = image
        self._certificates = certificates
        self._operator_pods = operator_pods
        self._hash_check_seconds = hash_check_seconds
        self._turns = Turns(concurrent_rollouts)
        self._pace = Pace()
        self._spares = Spares()
        self._dials = Dials()
        self._admission = Admission()
        self._metrics = metrics or OperatorMetrics("", time.monotonic)
        self._seen = SeenObjects(self._child_changed)
        self.watches = Watches(self._seen)
        self._controller = Controller(self._reconciler, unseen=self.watches.never_seen, stepped=self._metrics.stepped)
        self._unclaimed = UnclaimedBases(self._seen, client, self._controller.knows)
        self._unclaimed_task: asyncio.Task[None] | None = None
        self._metrics.watch(self._controller.states, self.watches.out_of_step, may_act)

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Register all handlers."""
        kopf.on.startup(registry=registry)(configure)
        kopf.on.login(registry=registry)(login)
        for kind in (*SEEN_KINDS.values(), BACKUP):
            kopf.index(*_place(kind), registry=registry)(nothing_to_index)
        kopf.on.event(*_place(STORE), id="store_wake", registry=registry)(self._store_changed)

    def _child_changed(self, namespace: str, store: str) -> None:
        self._controller.child_changed(namespace, store)

    async def _store_changed(
        self,
        event: Mapping[str, Any],
        namespace: str | None,
        name: str | None,
        uid: str | None,
        meta: Mapping[str, Any],
        **_: Any,
    ) -> None:
        ref = StoreRef(namespace or "", name or "", uid or "")
        if event.get("type") == "DELETED":
            self._controller.store_deleted(ref)
        else:
            version, deleting = str(meta.get("resourceVersion", "")), bool(meta.get("deletionTimestamp"))
            self._controller.store_changed(ref, version, deleting=deleting)

    def _reconciler(self, ref: StoreRef) -> Reconciler:
        return Reconciler(
            Sites(Site(ref, self._client, _WatchedStore((ref.namespace, ref.name), self._seen))),
            self._image,
            certificates=self._certificates,
            operator_pods=self._operator_pods,
            hash_check_seconds=self._hash_check_seconds,
            metrics=self._metrics,
            operator=self._operator,
            others=self._others.acting,
            may_act=self._may_act,
            turns=self._turns,
            pace=self._pace,
            spares=self._spares,
            dials=self._dials,
            admission=self._admission,
        )

    def begin(self) -> None:
        """Act on all stores."""
        self._controller.begin()
        self._unclaimed_task = asyncio.create_task(self._unclaimed.run(), name="unclaimed bases")

    def suspend(self) -> None:
        """Stop at once; stores and their objects are watched on."""
        self._controller.suspend()
        if self._unclaimed_task is not None:
            self._unclaimed_task.cancel()

    async def close(self) -> None:
        """Stop, once the steps under way have ended."""
        await self._controller.close()
        if self._unclaimed_task is not None:
            self._unclaimed_task.cancel()
            await asyncio.gather(self._unclaimed_task, return_exceptions=True)
            self._unclaimed_task = None


def _place(kind: Kind) -> tuple[str, str] | tuple[str, str, str]:
    """Returns the kind as kopf names it: without the core group."""
    return (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)


async def nothing_to_index(**_: Any) -> None:
    """Never called. That it is registered for a kind has kopf watch the kind, and hold events of stores back until all
    such kinds have been listed: a store is not looked after before its objects are seen."""


async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Set kopf so that it writes nothing to objects and watches only children of stores.

    The finalizer is that of earlier versions; kopf removes it wherever it finds it.
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
    settings.watching.chunk_size = LISTED_AT_ONCE
    settings.queueing.idle_timeout = 0.5  # kopf keeps an object, and a task, for so long after its last event
    settings.networking.request_timeout = 60
    settings.process.ultimate_exiting_timeout = 20
    for kind in SEEN_KINDS.values():
        settings.watching.label_selectors[_place(kind)] = STORE_LABEL


def _nothing(_self: object, **_: Any) -> None:
    """Does nothing."""


class _NoProgress(kopf.ProgressStorage):
    """Stores nothing in objects and reads nothing from them, as anybody may write annotations."""

    fetch = store = purge = touch = _nothing

    def clear(self, *, essence: Any) -> Any:
        """Returns it unchanged."""
        return essence


class _NoDiffBase(kopf.DiffBaseStorage):
    """Stores nothing in objects, reads nothing from them, and copies none of them in order to compare it later."""

    fetch = store = _nothing

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Returns nothing of an object."""
        return kopf.BodyEssence()


STORES = Resource(
    STORE.group, STORE.version, STORE.plural, kind=KIND, namespaced=True, verbs=frozenset({"list", "watch", "patch"})
)
"""The stores, as kopf must know them to watch them before their definition exists."""


async def connect(requested: Requested = ignore) -> tuple[KubeClient, str]:
    """Returns a client for the cluster of ``KUBECONFIG`` if that is set, else of the one this pod runs in, and the
    operator's own namespace there. ``requested`` is called after each request.

    Proxies of the environment are meant for what is outside the cluster, as with kopf's own requests.
    Raises ConfigurationError.
    """
    paths = os.environ.get("KUBECONFIG")
    access = await from_kubeconfig(paths) if paths else from_pod()
    client = KubeClient(
        access,
        field_manager=OPERATOR_FIELD_MANAGER,
        timeout_seconds=REQUEST_TIMEOUT_SECONDS,
        requested=requested,
    )
    return client, access.namespace


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Returns the credentials that :func:`connect` uses: of ``KUBECONFIG``, else of the pod's service account."""
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs)
