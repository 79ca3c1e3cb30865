"""The columns of built-in kinds: headings (``+Name:type``; ``+`` is only for ``-o wide``) and cells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from localkube.apiserver.describe.ages import age, age_of
from localkube.apiserver.describe.pod_printer import pod_cells
from localkube.apiserver.jsonobj import Json, JsonObject, lookup

Cells = Callable[[JsonObject, datetime], list[Json]]


_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def shown_name(obj: JsonObject) -> str:
    """Returns an object's name; the default class says that it is."""
    name = str(obj["metadata"].get("name", ""))
    default = obj.get("kind") == "StorageClass" and lookup(obj, "metadata", "annotations", _DEFAULT_CLASS) == "true"
    return f"{name} (default)" if default else name


def _join(items: list[str] | None) -> str:
    return ",".join(items or []) or "<none>"


def _pairs(labels: JsonObject | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def _containers(obj: JsonObject) -> list[Json]:
    listed = lookup(obj, "spec", "template", "spec", "containers") or []
    return [_join([item.get("name", "") for item in listed]), _join([item.get("image", "") for item in listed])]


def _count(obj: JsonObject, section: str, name: str) -> int:
    return int(lookup(obj, section, name) or 0)


def _selector(selector: JsonObject | None) -> str:
    return _pairs((selector or {}).get("matchLabels"))


def _statefulset(obj: JsonObject, now: datetime) -> list[Json]:
    ready = f"{_count(obj, 'status', 'readyReplicas')}/{_count(obj, 'spec', 'replicas')}"
    return [ready, age_of(obj, now), *_containers(obj)]


def _deployment(obj: JsonObject, now: datetime) -> list[Json]:
    ready = f"{_count(obj, 'status', 'readyReplicas')}/{_count(obj, 'spec', 'replicas')}"
    updated, available = _count(obj, "status", "updatedReplicas"), _count(obj, "status", "availableReplicas")
    selector = _selector(lookup(obj, "spec", "selector"))
    return [ready, updated, available, age_of(obj, now), *_containers(obj), selector]


def _replicaset(obj: JsonObject, now: datetime) -> list[Json]:
    counts: list[Json] = [
        _count(obj, "spec", "replicas"),
        _count(obj, "status", "replicas"),
        _count(obj, "status", "readyReplicas"),
    ]
    return [*counts, age_of(obj, now), *_containers(obj), _selector(lookup(obj, "spec", "selector"))]


def _service(obj: JsonObject, now: datetime) -> list[Json]:
    spec = obj.get("spec") or {}
    ports = [f"{item.get('port')}/{item.get('protocol', 'TCP')}" for item in spec.get("ports") or []]
    external = spec.get("externalName") or _join(spec.get("externalIPs"))
    if spec.get("type") == "LoadBalancer":
        addresses = [
            item.get("ip") or item.get("hostname") for item in lookup(obj, "status", "loadBalancer", "ingress") or []
        ]
        external = ",".join(addresses) or "<pending>"
    return [
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or "<none>",
        external,
        _join(ports),
        age_of(obj, now),
        _pairs(spec.get("selector")),
    ]


def _endpoints(obj: JsonObject, now: datetime) -> list[Json]:
    names = [
        f"{address.get('ip')}:{port.get('port')}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or [{}]
        for address in subset.get("addresses") or []
    ]
    shown = ",".join(names[:3]) + (f" + {len(names) - 3} more..." if len(names) > 3 else "")
    return [shown or "<none>", age_of(obj, now)]


def _slice(obj: JsonObject, now: datetime) -> list[Json]:
    ports = [str(item.get("port")) for item in obj.get("ports") or []]
    addresses = [address for item in obj.get("endpoints") or [] for address in item.get("addresses") or []]
    return [
        obj.get("addressType", ""),
        ",".join(ports) or "<unset>",
        ",".join(addresses[:3]) or "<unset>",
        age_of(obj, now),
    ]


def _event(obj: JsonObject, now: datetime) -> list[Json]:
    about = obj.get("involvedObject") or {}
    last = obj.get("lastTimestamp") or obj.get("eventTime") or obj.get("firstTimestamp")
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    source = ", ".join(item for item in (lookup(obj, "source", "component"), lookup(obj, "source", "host")) if item)
    target = f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    count = obj.get("count") or lookup(obj, "series", "count") or 1
    message = str(obj.get("message") or "").strip()
    seen = age(last or obj["metadata"].get("creationTimestamp"), now)
    component = source or str(obj.get("reportingComponent") or "")
    path = about.get("fieldPath") or ""
    return [
        seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        path,
        component,
        message,
        age(first, now),
        int(count),
        obj["metadata"].get("name", ""),
    ]


def _node(obj: JsonObject, now: datetime) -> list[Json]:
    conditions = {item.get("type"): item.get("status") for item in lookup(obj, "status", "conditions") or []}
    state = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    if lookup(obj, "spec", "unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    info = lookup(obj, "status", "nodeInfo") or {}
    addresses = {item.get("type"): item.get("address") for item in lookup(obj, "status", "addresses") or []}
    return [
        state,
        _join(roles),
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or "<none>",
        addresses.get("ExternalIP") or "<none>",
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _short_modes(modes: list[str] | None) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or [])


def _claim(obj: JsonObject, now: datetime) -> list[Json]:
    phase = lookup(obj, "status", "phase") or ""
    spec = obj.get("spec") or {}
    modes = lookup(obj, "status", "accessModes") or []
    return [
        "Terminating" if obj["metadata"].get("deletionTimestamp") else phase,
        spec.get("volumeName") or "",
        lookup(obj, "status", "capacity", "storage") or "",
        _short_modes(modes),
        spec.get("storageClassName") or "",
        "<unset>",
        age_of(obj, now),
        spec.get("volumeMode") or "",
    ]


def _volume(obj: JsonObject, now: datetime) -> list[Json]:
    spec = obj.get("spec") or {}
    claim = spec.get("claimRef") or {}
    return [
        lookup(spec, "capacity", "storage") or "",
        _short_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        "Terminating" if obj["metadata"].get("deletionTimestamp") else lookup(obj, "status", "phase") or "",
        f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or "<unset>",
        lookup(obj, "status", "reason") or "",
        age_of(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _budget(obj: JsonObject, now: datetime) -> list[Json]:
    spec = obj.get("spec") or {}
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        _count(obj, "status", "disruptionsAllowed"),
        age_of(obj, now),
    ]


def _data(obj: JsonObject) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _class(obj: JsonObject, now: datetime) -> list[Json]:
    return [
        obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "<unset>",
        bool(obj.get("allowVolumeExpansion")),
        age_of(obj, now),
    ]


def _shown_selector(selector: JsonObject | None) -> str:
    """Returns a label selector as text: its labels, then its expressions."""
    selector = selector or {}
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or []:
        key, values = term.get("key", ""), ",".join(term.get("values") or [])
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "DoesNotExist": f"!{key}"}
        terms.append(forms.get(term.get("operator", ""), key))
    return ",".join(terms) or "<none>"


def _priority(obj: JsonObject, now: datetime) -> list[Json]:
    policy = obj.get("preemptionPolicy") or "PreemptLowerPriority"
    return [obj.get("value", 0), bool(obj.get("globalDefault")), age_of(obj, now), policy]


def _binding(obj: JsonObject, now: datetime) -> list[Json]:
    role = obj.get("roleRef") or {}
    named: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or []:
        name = str(subject.get("name"))
        space = subject.get("namespace")
        named.setdefault(subject.get("kind", ""), []).append(f"{space}/{name}" if space else name)
    users, groups, accounts = (",".join(named[kind]) for kind in ("User", "Group", "ServiceAccount"))
    return [f"{role.get('kind')}/{role.get('name')}", age_of(obj, now), users, groups, accounts]


_TEMPLATE = ("+Containers", "+Images")
_PLAIN: tuple[tuple[str, ...], Cells] = (
    ("Created At:date",),
    lambda obj, _now: [obj["metadata"].get("creationTimestamp") or ""],
)
"""Kinds that nobody made columns for."""
PRINTERS: dict[str, tuple[tuple[str, ...], Cells]] = {
    "pods": (("Ready", "Status", "Restarts", "Age", "+IP", "+Node", "+Nominated Node", "+Readiness Gates"), pod_cells),
    "statefulsets.apps": (("Ready", "Age", *_TEMPLATE), _statefulset),
    "deployments.apps": (("Ready", "Up-to-date", "Available", "Age", *_TEMPLATE, "+Selector"), _deployment),
    "replicasets.apps": (
        ("Desired:integer", "Current:integer", "Ready:integer", "Age", *_TEMPLATE, "+Selector"),
        _replicaset,
    ),
    "services": (("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"), _service),
    "endpoints": (("Endpoints", "Age"), _endpoints),
    "endpointslices.discovery.k8s.io": (("AddressType", "Ports", "Endpoints", "Age"), _slice),
    "nodes": (
        (
            *("Status", "Roles", "Age", "Version", "+Internal-IP", "+External-IP", "+OS-Image"),
            *("+Kernel-Version", "+Container-Runtime"),
        ),
        _node,
    ),
    "namespaces": (("Status", "Age"), lambda obj, now: [lookup(obj, "status", "phase") or "", age_of(obj, now)]),
    "secrets": (("Type", "Data", "Age"), lambda obj, now: [obj.get("type", ""), _data(obj), age_of(obj, now)]),
    "configmaps": (("Data", "Age"), lambda obj, now: [_data(obj), age_of(obj, now)]),
    "serviceaccounts": (("Age",), lambda obj, now: [age_of(obj, now)]),
    "persistentvolumeclaims": (
        ("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age", "+VolumeMode"),
        _claim,
    ),
    "persistentvolumes": (
        (
            *("Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass"),
            *("VolumeAttributesClass", "Reason", "Age", "+VolumeMode"),
        ),
        _volume,
    ),
    "poddisruptionbudgets.policy": (
        ("Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"),
        _budget,
    ),
    "leases.coordination.k8s.io": (
        ("Holder", "Age"),
        lambda obj, now: [lookup(obj, "spec", "holderIdentity") or "", age_of(obj, now)],
    ),
    "customresourcedefinitions.apiextensions.k8s.io": _PLAIN,
    "roles.rbac.authorization.k8s.io": _PLAIN,
    "clusterroles.rbac.authorization.k8s.io": _PLAIN,
    "rolebindings.rbac.authorization.k8s.io": (("Role", "Age", "+Users", "+Groups", "+ServiceAccounts"), _binding),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        ("Role", "Age", "+Users", "+Groups", "+ServiceAccounts"),
        _binding,
    ),
    "storageclasses.storage.k8s.io": (
        ("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"),
        _class,
    ),
    "networkpolicies.networking.k8s.io": (
        ("Pod-Selector", "Age"),
        lambda obj, now: [_shown_selector(lookup(obj, "spec", "podSelector")), age_of(obj, now)],
    ),
    "priorityclasses.scheduling.k8s.io": (
        ("Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"),
        _priority,
    ),
    "controllerrevisions.apps": (
        ("Controller", "Revision", "Age"),
        lambda obj, now: [
            next(
                (
                    f"{owner['kind'].lower()}.apps/{owner['name']}"
                    for owner in obj["metadata"].get("ownerReferences") or []
                    if owner.get("controller")
                ),
                "<none>",
            ),
            obj.get("revision", 0),
            age_of(obj, now),
        ],
    ),
}
EVENT_COLUMNS = (
    "Last Seen",
    "Type",
    "Reason",
    "Object",
    "+Subobject",
    "+Source",
    "Message",
    "+First Seen",
    "+Count",
    "+Name",
)
"""Events start with when they were last seen, not with their name."""
event_cells: Cells = _event
