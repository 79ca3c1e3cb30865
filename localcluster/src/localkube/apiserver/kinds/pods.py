"""Pods: their defaults, what is wrong with them, and what of them may change."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject, copy_json
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.pod_specs import containers_of, default_pod_spec, tolerations, validate_pod_spec
from localkube.apiserver.kinds.rules import between, forbidden, invalid
from localkube.apiserver.schema import formats

_SPEC_IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FAILED_NODE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATED_SECONDS = 300


def default_pod(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a pod."""
    spec = child(obj, "spec")
    default_pod_spec(spec)
    set_defaults(spec, enableServiceLinks=True)
    for container in containers_of(spec):
        _requests_from_limits(container)
        for port in container.get("ports") or []:
            if spec.get("hostNetwork") and not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort")
    for condition in (obj.get("status") or {}).get("conditions") or []:
        set_defaults(condition, lastProbeTime=None, lastTransitionTime=None)


def complete_pod(obj: JsonObject, old: JsonObject | None) -> None:
    """What admission adds to a pod that needs to see no other object, and a new pod's status."""
    spec = obj["spec"]
    if old is None:
        spec["serviceAccountName"] = spec["serviceAccount"] = spec.get("serviceAccountName") or "default"
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    _tolerate_failed_nodes(spec)


def _requests_from_limits(container: JsonObject) -> None:
    resources = container["resources"]
    for name, limit in (resources.get("limits") or {}).items():
        child(resources, "requests").setdefault(name, limit)


def _tolerate_failed_nodes(spec: JsonObject) -> None:
    """As the admission plugin DefaultTolerationSeconds does it."""
    given = [item for item in spec.get("tolerations") or [] if item.get("effect") in (None, "", "NoExecute")]
    tolerated = {item.get("key") or "" for item in given}
    if "" in tolerated:
        return
    for key in _FAILED_NODE:
        if key not in tolerated:
            added = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATED_SECONDS}
            spec["tolerations"] = [*(spec.get("tolerations") or []), added]


def qos_class(spec: JsonObject) -> str:
    """Guaranteed, Burstable or BestEffort."""
    resources = [container.get("resources") or {} for container in spec.get("containers") or []]
    if not any(item.get("requests") or item.get("limits") for item in resources):
        return "BestEffort"
    for item in resources:
        limits, requests = item.get("limits") or {}, item.get("requests") or item.get("limits") or {}
        if not {"cpu", "memory"} <= set(limits) or any(
            requests.get(name) != limits[name] for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def validate_pod(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a pod, or with how it changed."""
    if subresource == "status":
        return list(_status(obj))
    causes = validate_pod_spec(obj["spec"], "spec")
    causes += _untrimmed_images(obj["spec"])
    if old is None:
        if obj["spec"].get("nodeName") and obj["spec"].get("schedulingGates"):
            causes.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    else:
        causes += _changes(obj["spec"], old["spec"])
    return causes


def _untrimmed_images(spec: JsonObject) -> list[Cause]:
    return [
        invalid(f"spec.{name}[{index}].image", image, "must not have leading or trailing whitespace")
        for name in ("containers", "initContainers")
        for index, container in enumerate(spec.get(name) or [])
        if (image := container.get("image") or "") != image.strip()
    ]


def _changes(spec: JsonObject, before: JsonObject) -> list[Cause]:
    for name in ("containers", "initContainers"):
        if len(spec.get(name) or []) != len(before.get(name) or []):
            return [forbidden(f"spec.{name}", "pod updates may not add or remove containers")]
    deadline, earlier = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    field = "spec.activeDeadlineSeconds"
    if deadline is not None and not 0 <= deadline < 2**31:
        return list(between(0, 2**31 - 1)(deadline, field))
    if deadline is not None and earlier is not None and earlier < deadline:
        return [invalid(field, deadline, "must be less than or equal to previous value")]
    causes = _only_more_tolerations(spec, before) + _only_fewer_gates(spec, before)
    if deadline is None and earlier is not None:
        causes.append(invalid(field, None, "must not update from a positive integer to nil value"))
    gated = bool(before.get("schedulingGates"))
    if _fixed(spec, gated=gated) != _fixed(before, gated=gated):
        causes.append(forbidden("spec", _SPEC_IMMUTABLE))
    return causes


def _only_more_tolerations(spec: JsonObject, before: JsonObject) -> list[Cause]:
    def kept(item: JsonObject) -> JsonObject:
        return {name: value for name, value in item.items() if name != "tolerationSeconds"}

    now = [kept(item) for item in spec.get("tolerations") or []]
    if any(kept(item) not in now for item in before.get("tolerations") or []):
        return [forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")]
    return list(tolerations(spec.get("tolerations"), "spec.tolerations"))


def _only_fewer_gates(spec: JsonObject, before: JsonObject) -> list[Cause]:
    earlier = {gate.get("name") for gate in before.get("schedulingGates") or []}
    why = "only deletion is allowed, but found new scheduling gate"
    return [
        forbidden(f"spec.schedulingGates[{index}].name", f"{why} '{gate.get('name')}'")
        for index, gate in enumerate(spec.get("schedulingGates") or [])
        if gate.get("name") not in earlier
    ]


def _fixed(spec: JsonObject, *, gated: bool) -> JsonObject:
    """Returns the part of a pod's spec that no update may change; a gated pod may yet be given other nodes."""
    kept: JsonObject = copy_json(spec)
    for name in ("schedulingGates", "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"):
        kept.pop(name, None)
    if gated:
        kept.pop("nodeSelector", None)
    for name in ("initContainers", "containers"):
        for container in kept.get(name) or []:
            container.pop("image", None)
    return kept


def _status(obj: JsonObject) -> Iterator[Cause]:
    status = obj.get("status") or {}
    addresses = [item.get("ip") or "" for item in status.get("podIPs") or []]
    for index, address in enumerate(addresses):
        for why in formats.ip_address(address):
            yield invalid(f"status.podIPs[{index}]", address, why)
    for index, condition in enumerate(status.get("conditions") or []):
        for why in formats.qualified_name(condition.get("type") or ""):
            yield invalid(f"metadata.conditions[{index}].Type", condition.get("type") or "", why)
