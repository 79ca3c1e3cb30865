"""StatefulSets, Deployments, ReplicaSets: their defaults, what is wrong with them, what of them may change."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, lookup
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.pod_specs import default_pod_spec, validate_pod_spec
from localkube.apiserver.kinds.rules import (
    GoStruct,
    Table,
    at_least,
    at_most_all,
    check,
    count_or_percentage,
    forbidden,
    immutable,
    invalid,
    label_selector,
    labels,
    named,
    one_of,
    required,
    unsupported,
)
from localkube.apiserver.objects.selectors import from_label_selector, labels_match
from localkube.apiserver.schema import formats

_STATEFULSET_MUTABLE = frozenset(
    {"replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}
    | {"revisionHistoryLimit"}
)
_STATEFULSET_IMMUTABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
    "are forbidden"
)


# ---- defaults


def _default_template(spec: JsonObject) -> None:
    template = child(spec, "template")
    child(template, "metadata")
    default_pod_spec(child(template, "spec"))


def default_statefulset(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a StatefulSet."""
    spec = child(obj, "spec")
    set_defaults(spec, podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)
    strategy = child(spec, "updateStrategy")
    strategy["type"] = strategy.get("type") or "RollingUpdate"
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
    strategy["type"] = strategy.get("type") or "RollingUpdate"
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


# ---- validation


_COMMON: Table = (
    ("replicas", at_least(0)),
    ("minReadySeconds", at_least(0)),
    ("revisionHistoryLimit", at_least(0)),
    ("selector", label_selector),
    ("template.metadata.labels", labels),
)


def _common(obj: JsonObject, *, selector_word: str, claims: Collection[str] = ()) -> Iterator[Cause]:
    spec = obj["spec"]
    problems = check(_COMMON, spec, "spec")
    yield from problems
    selector, template_labels = spec.get("selector"), lookup(spec, "template", "metadata", "labels")
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {selector_word}")
    wrong = any(cause.field.startswith("spec.selector") for cause in problems)
    empty = not (selector or {}).get("matchLabels") and not (selector or {}).get("matchExpressions")
    # A missing selector matches nothing; an empty one everything.
    if not wrong and (selector is None or not (empty or labels_match(from_label_selector(selector), template_labels))):
        yield invalid("spec.template.metadata.labels", template_labels, "`selector` does not match template `labels`")
    pod_spec = spec["template"]["spec"]
    causes = validate_pod_spec(pod_spec, "spec.template.spec", claims)
    yield from causes
    at = "spec.template.spec.restartPolicy"
    if pod_spec.get("restartPolicy") != "Always" and all(cause.field != at for cause in causes):
        yield unsupported(at, pod_spec.get("restartPolicy"), ("Always",))
    if pod_spec.get("activeDeadlineSeconds") is not None:
        name = {"statefulset": "StatefulSet", "deployment": "Deployment"}.get(selector_word, "ReplicaSet")
        yield forbidden("spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {name} is not Supported")


_RETENTION = one_of("Delete", "Retain", ordered=True)
_STATEFULSET: Table = (
    ("serviceName", named(formats.dns_label)),
    ("updateStrategy.rollingUpdate.partition", at_least(0)),
    ("persistentVolumeClaimRetentionPolicy.whenDeleted", _RETENTION),
    ("persistentVolumeClaimRetentionPolicy.whenScaled", _RETENTION),
    ("ordinals.start", at_least(0)),
)


def _update_strategy(spec: JsonObject) -> Iterator[Cause]:
    strategy = spec["updateStrategy"]
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        shown = GoStruct.of(strategy, ("Type", "type", ""), ("RollingUpdate", "rollingUpdate", None))
        yield invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")
    elif strategy["type"] == "OnDelete" and strategy.get("rollingUpdate") is not None:
        shown = GoStruct.of(
            strategy["rollingUpdate"], ("Partition", "partition", 0), ("MaxUnavailable", "maxUnavailable", None)
        )
        why = "only allowed for updateStrategy 'RollingUpdate'"
        yield invalid("spec.updateStrategy.rollingUpdate", shown, why)


def _status(obj: JsonObject, old: JsonObject | None, *parts: str) -> list[Cause]:
    """Returns what is wrong with a status: numbers of pods that contradict each other; ``parts`` are no more than
    all."""
    return list(_status_causes(obj.get("status") or {}, (old or {}).get("status") or {}, parts))


def _status_causes(status: JsonObject, before: JsonObject, parts: tuple[str, ...]) -> Iterator[Cause]:
    counts = {name: status.get(name) or 0 for name in ("replicas", "readyReplicas", "availableReplicas", *parts)}
    for name in (*counts, "observedGeneration", "collisionCount"):
        count = status.get(name) or 0
        if count < 0:
            yield invalid(f"status.{name}", count, formats.NOT_NEGATIVE)
        elif name in counts and name != "replicas" and count > counts["replicas"]:
            yield invalid(f"status.{name}", count, "cannot be greater than status.replicas")
    if counts["availableReplicas"] > counts["readyReplicas"]:
        why = "cannot be greater than readyReplicas"
        yield invalid("status.availableReplicas", counts["availableReplicas"], why)
    if (status.get("collisionCount") or 0) < (before.get("collisionCount") or 0):
        yield invalid("status.collisionCount", status.get("collisionCount") or 0, "cannot be decremented")


def validate_statefulset(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a StatefulSet, or with how it changed."""
    if subresource == "status":
        return _status(obj, old, "currentReplicas", "updatedReplicas")
    spec = obj["spec"]
    templates = spec.get("volumeClaimTemplates") or []
    claims = {str(lookup(claim, "metadata", "name") or "") for claim in templates}
    causes = [*_common(obj, selector_word="statefulset", claims=claims), *check(_STATEFULSET, spec, "spec")]
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        why = "must be 'OrderedReady' or 'Parallel'"
        causes.append(invalid("spec.podManagementPolicy", spec["podManagementPolicy"], why))
    causes += _update_strategy(spec)
    name = obj["metadata"]["name"]
    if old is None and "." in name and not formats.dns_subdomain(name):
        causes.append(invalid("metadata.name", name, "must not contain dots"))
    elif old is None and len(name) > 63 and not formats.dns_subdomain(name):
        causes.append(invalid("metadata.name", name, formats.too_long(63)))
    if old is not None and _fixed(spec) != _fixed(old["spec"]):
        causes.append(forbidden("spec", _STATEFULSET_IMMUTABLE))
    return causes


def _fixed(spec: JsonObject) -> dict[str, Json]:
    return {name: value for name, value in spec.items() if name not in _STATEFULSET_MUTABLE}


def _zero(value: Json) -> bool:
    return value in (0, "0%")


def _rolling_update(spec: JsonObject) -> Iterator[Cause]:
    strategy = spec["strategy"]
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate":
        if rolling is not None:
            why = "may not be specified when strategy `type` is 'Recreate'"
            yield forbidden("spec.strategy.rollingUpdate", why)
    elif strategy["type"] == "RollingUpdate":
        at = "spec.strategy.rollingUpdate"
        yield from count_or_percentage(rolling["maxUnavailable"], f"{at}.maxUnavailable")
        yield from count_or_percentage(rolling["maxSurge"], f"{at}.maxSurge")
        if _zero(rolling["maxUnavailable"]) and _zero(rolling["maxSurge"]):
            yield invalid(f"{at}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")
        yield from at_most_all(rolling["maxUnavailable"], f"{at}.maxUnavailable")
    else:
        yield unsupported("spec.strategy.type", strategy["type"], ("Recreate", "RollingUpdate"))


def validate_deployment(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a Deployment; its selector cannot change."""
    if subresource == "status":
        return _status(obj, old, "updatedReplicas")
    spec = obj["spec"]
    causes = [*_common(obj, selector_word="deployment"), *_rolling_update(spec)]
    deadline = spec["progressDeadlineSeconds"]
    if deadline < 0:
        causes.append(invalid("spec.progressDeadlineSeconds", deadline, formats.NOT_NEGATIVE))
    if deadline <= (spec.get("minReadySeconds") or 0):
        causes.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return causes + _fixed_selector(obj, old)


def validate_replicaset(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:
    """Returns what is wrong with a ReplicaSet; its selector cannot change."""
    if subresource == "status":
        return _status(obj, old, "fullyLabeledReplicas")
    return [*_common(obj, selector_word="deployment"), *_fixed_selector(obj, old)]


def _fixed_selector(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    selector = obj["spec"].get("selector")
    if old is None or selector == old["spec"].get("selector"):
        return []
    return [immutable("spec.selector", selector)]


def validate_revision(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a ControllerRevision; its data cannot change."""
    causes = [] if obj.get("data") is not None else [required("data", "data is mandatory")]
    causes += at_least(0)(obj.get("revision") or 0, "revision")
    if old is not None and obj.get("data") != old.get("data"):
        causes.append(immutable("data", obj.get("data")))
    return causes
