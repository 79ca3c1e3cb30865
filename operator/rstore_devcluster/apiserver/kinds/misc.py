"""The remaining built-in kinds with defaults or rules of their own. Pure."""

from __future__ import annotations

import base64
import binascii

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import JsonObject, lookup
from rstore_devcluster.apiserver.kinds.common import FORBIDDEN, child, immutable, required, set_defaults, unsupported
from rstore_devcluster.apiserver.schema.structural import shown

_RBAC_GROUP = "rbac.authorization.k8s.io"
_MAX_DATA_BYTES = 1024 * 1024


def default_namespace(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a Namespace."""
    if old is None:
        obj["status"] = {"phase": "Active"}
    labels = child(obj["metadata"], "labels")
    labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def complete_namespace(obj: JsonObject, old: JsonObject | None) -> None:
    """The finalizer of a new Namespace."""
    if old is None:
        set_defaults(child(obj, "spec"), finalizers=["kubernetes"])


def default_secret(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Secret; ``stringData`` moves into ``data``."""
    set_defaults(obj, type="Opaque")
    plain = obj.pop("stringData", None) or {}
    if plain:
        data = child(obj, "data")
        for name, text in plain.items():
            data[name] = base64.b64encode(str(text).encode()).decode()


def validate_secret(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a Secret."""
    causes = []
    size = 0
    for name, text in (obj.get("data") or {}).items():
        try:
            size += len(base64.b64decode(text or "", validate=True))
        except (binascii.Error, ValueError):
            causes.append(Cause(f"data[{name}]", "Invalid value: illegal base64 data"))
    if size > _MAX_DATA_BYTES:
        causes.append(Cause("data", f"Too long: may not be more than {_MAX_DATA_BYTES} bytes", "FieldValueTooLong"))
    if obj.get("type") == "kubernetes.io/tls":
        causes += [required(f"data[{name}]") for name in ("tls.crt", "tls.key") if name not in (obj.get("data") or {})]
    if old is not None and obj.get("type") != old.get("type"):
        causes.append(immutable("type", obj.get("type")))
    return causes + _frozen_data(obj, old, ("data",))


def validate_configmap(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a ConfigMap."""
    size = sum(len(str(text)) for field in ("data", "binaryData") for text in (obj.get(field) or {}).values())
    causes = []
    if size > _MAX_DATA_BYTES:
        causes.append(Cause("", f"Too long: may not be more than {_MAX_DATA_BYTES} bytes", "FieldValueTooLong"))
    return causes + _frozen_data(obj, old, ("data", "binaryData"))


def _frozen_data(obj: JsonObject, old: JsonObject | None, fields: tuple[str, ...]) -> list[Cause]:
    if old is None or not old.get("immutable"):
        return []
    why = "Forbidden: field is immutable when `immutable` is set"
    changed = [name for name in (*fields, "immutable") if obj.get(name) != old.get(name)]
    return [Cause(name, why, FORBIDDEN) for name in changed]


def default_claim(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PersistentVolumeClaim."""
    set_defaults(child(obj, "spec"), volumeMode="Filesystem")
    if old is None:
        obj["status"] = {"phase": "Pending"}


def validate_claim(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a PersistentVolumeClaim, or with how it changed."""
    spec = obj["spec"]
    causes = []
    if not spec.get("accessModes"):
        causes.append(required("spec.accessModes", "at least 1 access mode is required"))
    if not lookup(spec, "resources", "requests", "storage"):
        causes.append(required("spec.resources[storage]"))
    if old is not None:
        # As in Kubernetes, what binding fills in may be set where it was empty: the volume and the default class.
        filled = {name for name in ("volumeName", "storageClassName") if not old["spec"].get(name)} | {"resources"}
        before = {name: value for name, value in old["spec"].items() if name not in filled}
        after = {name: value for name, value in spec.items() if name not in filled}
        if before != after:
            why = (
                "Forbidden: spec is immutable after creation except resources.requests and "
                "volumeAttributesClassName for bound claims"
            )
            causes.append(Cause("spec", why, FORBIDDEN))
    return causes


def default_binding(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of RoleBindings and ClusterRoleBindings."""
    set_defaults(child(obj, "roleRef"), apiGroup=_RBAC_GROUP)
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            set_defaults(subject, apiGroup=_RBAC_GROUP)


def validate_binding(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a binding, or with how it changed."""
    role = obj["roleRef"]
    causes = []
    if role.get("kind") not in ("Role", "ClusterRole"):
        causes.append(unsupported("roleRef.kind", role.get("kind"), ("ClusterRole", "Role")))
    if not role.get("name"):
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(obj.get("subjects") or []):
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
            causes.append(required(f"subjects[{index}].namespace"))
    if old is not None and old.get("roleRef") != role:
        causes.append(Cause("roleRef", f"Invalid value: {shown(role)}: cannot change roleRef"))
    return causes


def validate_role(obj: JsonObject, old: JsonObject | None) -> list[Cause]:  # noqa: ARG001
    """What is wrong with the rules of a role."""
    causes = []
    for index, rule in enumerate(obj.get("rules") or []):
        at = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.append(required(f"{at}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            continue
        if not rule.get("apiGroups"):
            causes.append(required(f"{at}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            causes.append(required(f"{at}.resources", "resource rules must supply at least one resource"))
    return causes


def default_budget(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PodDisruptionBudget."""
    child(obj, "spec")
    if old is None:
        obj["status"] = {
            "disruptionsAllowed": 0,
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
        }


def validate_budget(obj: JsonObject, old: JsonObject | None) -> list[Cause]:  # noqa: ARG001
    """What is wrong with a PodDisruptionBudget."""
    spec = obj["spec"]
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        why = f"Invalid value: {shown(spec)}: minAvailable and maxUnavailable cannot be both set"
        return [Cause("spec", why)]
    return []


def default_event(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of an Event."""
    child(obj, "involvedObject")
    set_defaults(obj, reportingComponent="", reportingInstance="")
    child(obj, "source")


def validate_event(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with an Event: its namespace must be that of the object it is about."""
    if old is not None:
        return []
    space = obj["involvedObject"].get("namespace") or ""
    own = obj["metadata"]["namespace"]
    if space != own and not (space == "" and own in ("default", "kube-system")):
        return [Cause("involvedObject.namespace", f'Invalid value: "{space}": does not match event.namespace')]
    return []


def validate_lease(obj: JsonObject, old: JsonObject | None) -> list[Cause]:  # noqa: ARG001
    """What is wrong with a Lease."""
    seconds = lookup(obj, "spec", "leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        return [Cause("spec.leaseDurationSeconds", f"Invalid value: {seconds}: must be greater than 0")]
    return []


def default_storage_class(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a StorageClass."""
    set_defaults(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def default_volume(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a PersistentVolume."""
    set_defaults(child(obj, "spec"), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    if old is None:
        obj["status"] = {"phase": "Pending"}
