"""The Kubernetes API as the commands need it: stores, their Secrets and pods, and forwarded ports."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import kubernetes
import urllib3
from kubernetes import config as kube_config
from kubernetes import stream as kube_stream
from rstore_api.domain.kubernetes import CLI_FIELD_MANAGER, KIND, REGION_LABEL, STORE, pod_selector

from rstore_cli.errors import CliError, NotFoundError

REQUEST_TIMEOUT_SECONDS = 15

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
    """Which cluster and namespace the user means; None means kubectl's default."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None


class Cluster:
    """A cluster and a namespace in it. Every method raises :class:`CliError` with a message for the user."""

    def __init__(self, api: Any, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self._core = kubernetes.client.CoreV1Api(api)
        self._objects = kubernetes.client.CustomObjectsApi(api)

    @classmethod
    def connect(cls, target: Target) -> Cluster:
        """Load the credentials kubectl would use, or the pod's own when there is no kubeconfig. Sends nothing yet."""
        settings = kubernetes.client.Configuration()
        settings.retries = False
        path = str(target.kubeconfig) if target.kubeconfig else None
        if target.kubeconfig and not target.kubeconfig.exists():
            raise CliError(f"there is no kubeconfig at {target.kubeconfig}", hint="check --kubeconfig")
        if path is None and target.context is None and _in_pod():
            kube_config.load_incluster_config(client_configuration=settings)
            namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
        else:
            try:
                kube_config.load_kube_config(
                    config_file=path, context=target.context, client_configuration=settings, persist_config=False
                )
                contexts, active = kube_config.list_kube_config_contexts(config_file=path)
            except kube_config.ConfigException as error:
                raise CliError(
                    f"no usable kubeconfig: {error}",
                    hint="set KUBECONFIG or --kubeconfig; `rstore dev up` makes a local cluster",
                ) from error
            chosen = next((c for c in contexts if c["name"] == target.context), active)
            namespace = chosen.get("context", {}).get("namespace") or "default"
        return cls(kubernetes.client.ApiClient(settings), target.namespace or namespace)

    # ---- stores

    def store(self, name: str) -> Object:
        """The ReplicatedStore of that name."""
        return self._call(
            f'replicatedstore "{name}" in namespace "{self.namespace}"',
            lambda: self._objects.get_namespaced_custom_object(
                STORE.group, STORE.version, self.namespace, STORE.plural, name, _request_timeout=REQUEST_TIMEOUT_SECONDS
            ),
        )

    def annotate(self, name: str, annotations: Mapping[str, str | None]) -> Object:
        """Set annotations of a store (None removes one) and return the object."""
        return self._call(
            f'replicatedstore "{name}" in namespace "{self.namespace}"',
            lambda: self._objects.patch_namespaced_custom_object(
                STORE.group,
                STORE.version,
                self.namespace,
                STORE.plural,
                name,
                {"metadata": {"annotations": dict(annotations)}},
                field_manager=CLI_FIELD_MANAGER,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            ),
        )

    def events(self, name: str, uid: str) -> list[Object]:
        """Events about a store, oldest first, as plain objects of the core API."""
        found = self._call(
            "events",
            lambda: self._core.list_namespaced_event(
                self.namespace,
                field_selector=f"involvedObject.name={name},involvedObject.kind={KIND}",
                limit=500,
                _request_timeout=REQUEST_TIMEOUT_SECONDS,
            ),
        )
        events: list[Object] = self._api.sanitize_for_serialization(found.items)
        events = [event for event in events if event.get("involvedObject", {}).get("uid") in (uid, None, "")]
        return sorted(events, key=event_time)

    # ---- what a store is made of

    def secret(self, name: str) -> dict[str, bytes]:
        """The decoded data of a Secret."""
        found = self._call(
            f'secret "{name}" in namespace "{self.namespace}"',
            lambda: self._core.read_namespaced_secret(name, self.namespace, _request_timeout=REQUEST_TIMEOUT_SECONDS),
        )
        return {key: base64.b64decode(value) for key, value in (found.data or {}).items()}

    def pods(self, store: str, region: str | None = None) -> list[Pod]:
        """The store's replicas (of one region), ready ones first, then by name."""
        found = self._call(
            f'pods of "{store}"',
            lambda: self._core.list_namespaced_pod(
                self.namespace, label_selector=pod_selector(store, region), _request_timeout=REQUEST_TIMEOUT_SECONDS
            ),
        )
        pods = []
        for item in found.items:
            conditions = {c.type: c.status for c in (item.status.conditions or [])}
            ready = conditions.get("Ready") == "True" and item.metadata.deletion_timestamp is None
            pods.append(Pod(item.metadata.name, (item.metadata.labels or {}).get(REGION_LABEL, ""), ready))
        return sorted(pods, key=lambda pod: (not pod.ready, pod.name))

    def open_port(self, pod: str, port: int) -> tuple[socket.socket, Callable[[], str]]:
        """One forwarded connection to a pod's port: a socket, and what the other side said was wrong ("" if nothing).

        Blocks while the web socket is set up; call it in a thread.
        """
        # While it opens a web socket the library changes the client it is given: no other call may share that one.
        core = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(self._api.configuration))
        forward = self._call(
            f'port {port} of pod "{pod}"',
            lambda: kube_stream.portforward(
                core.connect_get_namespaced_pod_portforward, pod, self.namespace, ports=str(port)
            ),
        )
        wrapped = forward.socket(port)
        raw: socket.socket = wrapped.dup()
        wrapped.close()
        return raw, lambda: str(forward.error(port) or "")

    # ---- errors

    def _call(self, what: str, request: Callable[[], T]) -> T:
        host = self._api.configuration.host
        try:
            return request()
        except kubernetes.client.ApiException as error:
            raise _explain(what, host, error) from error
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise CliError(
                f"the Kubernetes API at {host} does not answer: {reason}",
                hint="check that the cluster runs and that the kubeconfig's context is the one you mean",
            ) from error


def event_time(event: Object) -> str:
    """When an event last happened, as RFC 3339 text (which sorts by time); "" when it does not say."""
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


def _explain(what: str, host: str, error: Any) -> CliError:
    body = kubernetes_message(error.body)
    if error.status == 404 and ("page not found" in body or "could not find the requested resource" in body):
        return CliError(
            f"the cluster at {host} does not know ReplicatedStores",
            hint="install the operator: helm install rstore charts/replicated-store-operator",
        )
    if error.status == 404:
        return NotFoundError(f"{what} was not found", hint="`kubectl get rstore -A` lists every store")
    if error.status == 401:
        return CliError(f"the cluster at {host} does not accept these credentials", hint="log in again")
    if error.status == 403:
        return CliError(f"not allowed: {body or error.reason}", hint="ask for the permission the message names")
    if error.status == 0 or error.status is None:
        return CliError(f"{what}: {error.reason}")
    return CliError(f"{what}: {body or error.reason} (HTTP {error.status})")


def kubernetes_message(body: Any) -> str:
    """The message inside a Kubernetes Status, or the text as it is; "" for nothing."""
    if not body:
        return ""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    try:
        parsed = json.loads(text)
    except ValueError:
        return text.strip()
    return str(parsed.get("message", text)) if isinstance(parsed, dict) else text
