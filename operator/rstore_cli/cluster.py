"""Requests of the commands to the Kubernetes API: for stores, their Secrets and pods, and forwarded ports."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rstore_api.domain.kubernetes import (
    BACKUP,
    BACKUP_KIND,
    CLI_FIELD_MANAGER,
    EVENT,
    KIND,
    LEASE,
    POD,
    REGION_LABEL,
    SECRET,
    SEEN_KINDS,
    STORE,
    pod_selector,
    store_selector,
)
from rstore_kube.errors import ApiError, ConfigurationError

from rstore_cli.errors import CliError, NotFoundError

if TYPE_CHECKING:
    from rstore_kube.client import KubeClient
    from rstore_kube.pod_port import PodPort

REQUEST_TIMEOUT_SECONDS = 15
MAX_EVENTS = 500
OPERATOR_PODS = "app.kubernetes.io/name=replicated-store-operator"

T = TypeVar("T")
Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """One replica as Kubernetes sees it."""

    name: str
    region: str
    ready: bool


@dataclass(frozen=True)
class Target:
    """The cluster and namespace of a command; None is kubectl's default."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None


class Cluster:
    """A cluster and a namespace in it, connected at the first request.

    Every method raises :class:`CliError` with a message for the user.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: tuple[KubeClient, str] | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            await self._connection[0].close()

    async def namespace(self) -> str:
        """Returns the namespace of the stores."""
        return (await self._connected())[1]

    # ---- stores

    async def store(self, name: str) -> Object:
        """Returns the ReplicatedStore of that name."""
        client, namespace = await self._connected()
        what = f'replicatedstore "{name}" in namespace "{namespace}"'
        return await _asked(client, what, client.get(STORE, namespace, name))

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> Object:
        """Set annotations of a store (None removes one) and return the object."""
        client, namespace = await self._connected()
        patch = {"metadata": {"annotations": dict(annotations)}}
        what = f'replicatedstore "{name}" in namespace "{namespace}"'
        return await _asked(client, what, client.merge(STORE, namespace, name, patch))

    async def events(self, name: str, uid: str) -> list[Object]:
        """Returns events about a store, oldest first, as plain objects of the core API."""
        client, namespace = await self._connected()
        fields = f"involvedObject.name={name},involvedObject.kind={KIND}"
        events = await _asked(client, "events", client.list(EVENT, namespace, fields=fields, limit=MAX_EVENTS))
        own = [event for event in events if event.get("involvedObject", {}).get("uid") in (uid, None, "")]
        return sorted(own, key=event_time)

    async def request_base(self, store: str, retain: bool) -> Object:
        """Makes a ReplicatedStoreBackup for a store, with a name of its own, and returns it."""
        client, namespace = await self._connected()
        body = {
            "apiVersion": BACKUP.api_version,
            "kind": BACKUP_KIND,
            "metadata": {"generateName": f"{store}-"},
            "spec": {"store": store, "retain": retain},
        }
        return await _asked(client, f"{BACKUP_KIND} of {store}", client.create(BACKUP, namespace, body))

    async def requested_base(self, name: str) -> Object:
        """Returns a ReplicatedStoreBackup."""
        client, namespace = await self._connected()
        return await _asked(client, f'{BACKUP_KIND} "{name}"', client.get(BACKUP, namespace, name))

    async def lease(self, namespace: str, name: str) -> Object:
        """Returns a Lease, of whichever namespace."""
        client, _ = await self._connected()
        what = f'lease "{name}" in namespace "{namespace}"'
        return await _asked(client, what, client.get(LEASE, namespace, name))

    # ---- what a store is made of

    async def secret(self, name: str) -> dict[str, bytes]:
        """Returns the decoded data of a Secret."""
        client, namespace = await self._connected()
        what = f'secret "{name}" in namespace "{namespace}"'
        secret = await _asked(client, what, client.get(SECRET, namespace, name))
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

    async def pods(self, store: str, region: str | None = None) -> list[Pod]:
        """Returns the store's replicas (of one region), ready ones first, then by name."""
        client, namespace = await self._connected()
        request = client.list(POD, namespace, labels=pod_selector(store, region))
        pods = [read_pod(body) for body in await _asked(client, f'pods of "{store}"', request)]
        return sorted(pods, key=lambda pod: (not pod.ready, pod.name))

    async def pod_names(self, store: str, region: str | None = None) -> list[str]:
        """Returns the names of a region's replicas; without a region, of all pods that run for the store, in order."""
        if region is not None:
            return sorted(pod.name for pod in await self.pods(store, region))
        return sorted(body["metadata"]["name"] for body in await self.objects_of(store, "Pod"))

    def kinds_of_a_store(self) -> tuple[str, ...]:
        """Returns the kinds of objects that a store is made of, and of those that its controllers make."""
        return tuple(SEEN_KINDS)

    async def objects_of(self, store: str, kind: str) -> list[Object]:
        """Returns the store's objects of one of those kinds, as they are in the API."""
        client, namespace = await self._connected()
        return await _asked(
            client, f"objects of kind {kind}", client.list(SEEN_KINDS[kind], namespace, labels=store_selector(store))
        )

    async def operator_pods(self) -> list[Object]:
        """Returns the pods of operators in all namespaces."""
        client, _ = await self._connected()
        return await _asked(client, "pods of the operator", client.list(POD, "", labels=OPERATOR_PODS))

    async def log_text(self, pod: str, tail: int, *, namespace: str = "", previous: bool = False) -> str:
        """Returns the newest lines of a pod's log; those of the container before the last restart if ``previous``."""
        client, own = await self._connected()
        request = client.log(namespace or own, pod, tail=tail, previous=previous)
        return await _asked(client, f'the log of pod "{pod}"', request)

    async def log_lines(self, pod: str, *, tail: int, previous: bool, follow: bool) -> AsyncIterator[str]:
        """Yields the newest lines of a pod's log, and with ``follow`` those that come, until the container ends."""
        if not follow:
            for line in (await self.log_text(pod, tail, previous=previous)).splitlines():
                yield line
            return
        client, namespace = await self._connected()
        what = f'the log of pod "{pod}"'
        lines = client.follow_log(namespace, pod, tail=tail)
        while (new := await _asked(client, what, _next(lines))) is not None:
            yield new

    async def open_port(self, pod: str, port: int) -> PodPort:
        """Returns one connection to a pod's port, which the caller closes."""
        client, namespace = await self._connected()
        return await _asked(client, f'port {port} of pod "{pod}"', client.open_port(namespace, pod, port))

    # ---- connecting

    async def _connected(self) -> tuple[KubeClient, str]:
        """Returns a client with the credentials that kubectl would use, or with the pod's own when there is no
        kubeconfig, and the namespace. Sends nothing."""
        if self._connection is None:
            from rstore_kube.access import from_kubeconfig, from_pod  # takes long to import
            from rstore_kube.client import KubeClient

            target = self._target
            if target.kubeconfig and not target.kubeconfig.exists():
                raise CliError(f"there is no kubeconfig at {target.kubeconfig}", hint="check --kubeconfig")
            try:
                if target.kubeconfig is None and target.context is None and _in_pod():
                    access = from_pod()
                else:
                    paths = str(target.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
                    access = await from_kubeconfig(paths, target.context)
            except ConfigurationError as error:
                raise CliError(
                    f"no usable kubeconfig: {error}",
                    hint="set KUBECONFIG or --kubeconfig; `rstore dev up` makes a local cluster",
                ) from error
            client = KubeClient(
                access, field_manager=CLI_FIELD_MANAGER, timeout_seconds=REQUEST_TIMEOUT_SECONDS, uses_proxies=True
            )
            self._connection = client, target.namespace or access.namespace
        return self._connection


def read_pod(body: Object) -> Pod:
    """Returns one pod of a store."""
    meta = body["metadata"]
    conditions = {item.get("type"): item.get("status") for item in body.get("status", {}).get("conditions") or []}
    ready = conditions.get("Ready") == "True" and not meta.get("deletionTimestamp")
    return Pod(meta["name"], (meta.get("labels") or {}).get(REGION_LABEL, ""), ready)


def event_time(event: Object) -> str:
    """Returns when an event last happened, as RFC 3339 text (which sorts by time); "" if it names no time."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event.get("metadata", {}).get("creationTimestamp")
        or ""
    )


def _in_pod() -> bool:
    return (
        "KUBECONFIG" not in os.environ
        and "KUBERNETES_SERVICE_HOST" in os.environ
        and not Path("~/.kube/config").expanduser().exists()
    )


async def _next(lines: AsyncIterator[str]) -> str | None:
    async for line in lines:
        return line
    return None


async def _asked(client: KubeClient, what: str, request: Awaitable[T]) -> T:
    try:
        return await request
    except ApiError as error:
        raise _explain(what, client.host, error) from error
    except (OSError, TimeoutError) as error:
        reason = error.__cause__ or error
        raise CliError(
            f"the Kubernetes API at {client.host} does not answer: {str(reason) or type(reason).__name__}",
            hint="check that the cluster runs and that the kubeconfig's context is the one you mean",
        ) from error


def _explain(what: str, host: str, error: ApiError) -> CliError:
    text = str(error)
    if error.not_found and ("page not found" in text or "could not find the requested resource" in text):
        return CliError(
            f"the cluster at {host} does not know ReplicatedStores",
            hint="install the operator: helm install rstore charts/replicated-store-operator",
        )
    if error.not_found:
        return NotFoundError(f"{what} was not found", hint="`kubectl get rstore -A` lists every store")
    if error.status == 401:
        return CliError(f"the cluster at {host} does not accept these credentials", hint="log in again")
    if error.forbidden:
        return CliError(f"not allowed: {text}", hint="ask for the permission the message names")
    return CliError(f"{what}: {text}" + (f" (HTTP {error.status})" if error.status else ""))
