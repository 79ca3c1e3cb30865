"""StatefulSets, Deployments, ReplicaSets: defaults, validation, immutable fields. Pure."""

from __future__ import annotations

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, lookup
from rstore_devcluster.apiserver.kinds.common import FORBIDDEN, child, immutable, required, set_defaults, unsupported
from rstore_devcluster.apiserver.kinds.pods import default_pod_spec, validate_pod_spec
from rstore_devcluster.apiserver.objects.selectors import from_label_selector, labels_match
from rstore_devcluster.apiserver.schema.structural import shown

_STATEFULSET_MUTABLE = frozenset(
    {"replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}
    | {"revisionHistoryLimit"}
)


def _default_template(spec: JsonObject) -> None:
    template = child(spec, "template")
    child(template, "metadata")
    default_pod_spec(child(template, "spec"))


def default_statefulset(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a StatefulSet."""
    spec = child(obj, "spec")
    set_defaults(spec, podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)
    strategy = child(spec, "updateStrategy")
    set_defaults(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        set_defaults(child(strategy, "rollingUpdate"), partition=0)
    set_defaults(child(spec, "persistentVolumeClaimRetentionPolicy"), whenDeleted="Retain", whenScaled="Retain")
    _default_template(spec)
    for claim in spec.get("volumeClaimTemplates") or []:
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        set_defaults(child(claim, "spec"), volumeMode="Filesystem")
        claim["status"] = {"phase": "Pending"}
    if old is None:
        obj["status"] = {"replicas": 0, "availableReplicas": 0}


def default_deployment(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a Deployment."""
    spec = child(obj, "spec")
    set_defaults(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = child(spec, "strategy")
    set_defaults(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        set_defaults(child(strategy, "rollingUpdate"), maxSurge="25%", maxUnavailable="25%")
    _default_template(spec)
    if old is None:
        obj["status"] = {}


def default_replicaset(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a ReplicaSet."""
    spec = child(obj, "spec")
    set_defaults(spec, replicas=1)
    _default_template(spec)
    if old is None:
        obj["status"] = {"replicas": 0}


def _validate_common(obj: JsonObject, *, claims: bool = False) -> list[Cause]:
    spec = obj["spec"]
    causes: list[Cause] = []
    if spec["replicas"] < 0:
        message = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        causes.append(Cause("spec.replicas", message))
    selector = spec.get("selector")
    if not selector:
        causes.append(required("spec.selector"))
    elif not from_label_selector(selector):
        message = f"Invalid value: {shown(selector)}: empty selector is invalid for {obj['kind'].lower()}"
        causes.append(Cause("spec.selector", message))
    elif not labels_match(from_label_selector(selector), lookup(spec, "template", "metadata", "labels")):
        labels = lookup(spec, "template", "metadata", "labels")
        message = f"Invalid value: {shown(labels)}: `selector` does not match template `labels`"
        causes.append(Cause("spec.template.metadata.labels", message))
    pod_spec = spec["template"]["spec"]
    if claims and spec.get("volumeClaimTemplates"):
        names = [{"name": lookup(claim, "metadata", "name")} for claim in spec["volumeClaimTemplates"]]
        taken = {item["name"] for item in names}
        own = [volume for volume in pod_spec.get("volumes") or [] if volume.get("name") not in taken]
        pod_spec = {**pod_spec, "volumes": [*own, *names]}
    causes += validate_pod_spec(pod_spec, "spec.template.spec")
    if pod_spec.get("restartPolicy") != "Always":
        causes.append(unsupported("spec.template.spec.restartPolicy", pod_spec.get("restartPolicy"), ("Always",)))
    return causes


def validate_statefulset(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a StatefulSet, or with how it changed."""
    causes = _validate_common(obj, claims=True)
    spec = obj["spec"]
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        supported = ("OrderedReady", "Parallel")
        causes.append(unsupported("spec.podManagementPolicy", spec["podManagementPolicy"], supported))
    if spec["updateStrategy"]["type"] not in ("RollingUpdate", "OnDelete"):
        supported = ("RollingUpdate", "OnDelete")
        causes.append(unsupported("spec.updateStrategy.type", spec["updateStrategy"]["type"], supported))
    if old is not None and _fixed(spec) != _fixed(old["spec"]):
        message = (
            "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
            "are forbidden"
        )
        causes.append(Cause("spec", message, FORBIDDEN))
    return causes


def _fixed(spec: JsonObject) -> dict[str, Json]:
    return {name: value for name, value in spec.items() if name not in _STATEFULSET_MUTABLE}


def validate_selector_workload(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a Deployment or ReplicaSet; their selector cannot change."""
    causes = _validate_common(obj)
    if old is not None and obj["spec"].get("selector") != old["spec"].get("selector"):
        causes.append(immutable("spec.selector", obj["spec"].get("selector")))
    return causes
