"""Joining what the cluster shows and what the replicas say into one immutable :class:`Observed`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rstore_api.tls import TlsPem

from rstore_operator.cluster.replicas import Replicas
from rstore_operator.planning.children import secret_value
from rstore_operator.planning.observed import ChildKey, Observed, Pod, RegionObserved
from rstore_operator.resource.model import StoreRef
from rstore_operator.specs import names, secrets
from rstore_operator.specs.labels import REGION_LABEL

WRITTEN_SECONDS = 5.0
"""How long an object that we wrote counts as there although the watch has not shown it yet."""
FOREIGN_SECONDS = 10.0
"""How long a name counts as taken before we look again."""

Body = Mapping[str, Any]
_VERSION = re.compile("[0-9]{1,39}")
"""A resourceVersion that can be compared: Kubernetes has it up to 128 bits."""


@dataclass
class _Written:
    body: Body
    at: float


class ChildView:
    """The store's children: as the watch shows them, ahead of it where we have just written."""

    def __init__(self, ref: StoreRef, clock: Callable[[], float] = time.monotonic) -> None:
        self._ref = ref
        self._clock = clock
        self._written: dict[ChildKey, _Written] = {}
        self._foreign: dict[ChildKey, float] = {}
        self.settled: dict[ChildKey, tuple[str, str]] = {}

    def wrote(self, key: ChildKey, before: Body | None, after: Body, manifest_hash: str) -> None:
        """An apply came back. If it changed nothing, the same one is not tried again on the same object."""
        version = after.get("metadata", {}).get("resourceVersion", "")
        self._written[key] = _Written(after, self._clock())
        if before is not None and before.get("metadata", {}).get("resourceVersion") == version:
            self.settled[key] = (manifest_hash, version)
        else:
            self.settled.pop(key, None)

    def deleted(self, key: ChildKey) -> None:
        """We deleted it."""
        self._written.pop(key, None)
        self.settled.pop(key, None)

    def taken(self, key: ChildKey) -> None:
        """Somebody else's object has the name."""
        self._foreign[key] = self._clock()

    def join(self, watched: Iterable[Body]) -> tuple[dict[ChildKey, Body], frozenset[ChildKey]]:
        """Our children, and the names that are taken."""
        now = self._clock()
        children: dict[ChildKey, Body] = {}
        foreign = {key for key, at in self._foreign.items() if now - at < FOREIGN_SECONDS}
        self._foreign = {key: self._foreign[key] for key in foreign}
        for body in watched:
            key = (str(body.get("kind", "")), str(body["metadata"]["name"]))
            if self.is_ours(body):
                children[key] = body
            else:
                foreign.add(key)
        for key, written in list(self._written.items()):
            seen = children.get(key)
            if (seen is not None and _version(seen) >= _version(written.body)) or now - written.at > WRITTEN_SECONDS:
                del self._written[key]
            else:
                children[key] = written.body
        return children, frozenset(foreign)

    def is_ours(self, body: Body) -> bool:
        """Whether this very store object is its controlling owner."""
        owners = body.get("metadata", {}).get("ownerReferences") or []
        return any(owner.get("uid") == self._ref.uid and owner.get("controller") for owner in owners)


def _version(body: Body) -> int:
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if _VERSION.fullmatch(text) else 0


def read_pod(body: Body) -> Pod | None:
    """A watched pod; None when it belongs to no region."""
    meta, status = body["metadata"], body.get("status") or {}
    region = (meta.get("labels") or {}).get(REGION_LABEL)
    if not region:
        return None
    conditions = {item.get("type"): item for item in status.get("conditions") or []}
    return Pod(
        name=meta["name"],
        region=region,
        ip=status.get("podIP") or "" if status.get("phase") == "Running" else "",
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating=bool(meta.get("deletionTimestamp")),
        problem=_pod_problem(status, conditions),
    )


def _pod_problem(status: Body, conditions: Mapping[Any, Any]) -> str:
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}".rstrip(": ")
    return ""


def operator_credentials(store: str, children: Mapping[ChildKey, Body]) -> TlsPem | None:
    """The operator's certificate for this store; None until it has been made."""
    live = children.get(("Secret", names.operator_tls_secret(store)))
    parts = [secret_value(live, name) for name in (secrets.CA_CERT, secrets.TLS_CERT, secrets.TLS_KEY)]
    return TlsPem(*parts) if all(parts) else None


async def observe(
    ref: StoreRef,
    view: ChildView,
    replicas: Replicas,
    watched_children: Iterable[Body],
    watched_pods: Iterable[Body],
    *,
    ask: Callable[[Pod], bool],
    patience_seconds: float,
) -> Observed:
    """Look at everything once. ``ask`` picks the replicas that are asked anew, and waited for so long at most."""
    children, foreign = view.join(watched_children)
    await replicas.use(operator_credentials(ref.name, children))
    pods = [pod for pod in map(read_pod, watched_pods) if pod is not None]
    statuses = await replicas.statuses(pods, ask, patience_seconds=patience_seconds)
    regions = {
        region: RegionObserved(
            region,
            tuple(sorted((pod for pod in pods if pod.region == region), key=lambda pod: pod.name)),
            tuple(status for _, status in sorted(statuses.items()) if status.region == region),
        )
        for region in {pod.region for pod in pods}
    }
    return Observed(regions=regions, children=children, foreign=foreign)
