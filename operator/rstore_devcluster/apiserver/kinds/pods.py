"""Pods and pod templates: defaults, validation, what may change. Pure."""

from __future__ import annotations

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import JsonObject, copy_json
from rstore_devcluster.apiserver.kinds.common import DUPLICATE, child, required, set_defaults, unsupported
from rstore_devcluster.apiserver.schema.formats import dns_label

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_MUTABLE_HINT = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def default_pod(obj: JsonObject, old: JsonObject | None) -> None:
    """Defaults of a pod."""
    spec = child(obj, "spec")
    default_pod_spec(spec)
    if old is None:
        set_defaults(spec, enableServiceLinks=True)


def complete_pod(obj: JsonObject, old: JsonObject | None) -> None:
    """What admission adds to a new pod, and its first status."""
    if old is None:
        spec = obj["spec"]
        set_defaults(spec, serviceAccountName="default", preemptionPolicy="PreemptLowerPriority", priority=0)
        spec["serviceAccount"] = spec["serviceAccountName"]
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


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


def default_pod_spec(spec: JsonObject) -> None:
    """Defaults of a pod spec, wherever it stands."""
    set_defaults(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
    )
    child(spec, "securityContext")
    if spec.get("serviceAccountName"):
        set_defaults(spec, serviceAccount=spec["serviceAccountName"])
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if isinstance(container, dict):
            _default_container(container)
    for volume in spec.get("volumes") or []:
        if isinstance(volume, dict):
            _default_volume(volume)


def _default_container(container: JsonObject) -> None:
    image = str(container.get("image") or "")
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    set_defaults(
        container,
        imagePullPolicy="Always" if not tag or tag == "latest" else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    child(container, "resources")
    for port in container.get("ports") or []:
        set_defaults(port, protocol="TCP")
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            set_defaults(reference, apiVersion="v1")
    resources = container["resources"]
    for name, limit in (resources.get("limits") or {}).items():
        child(resources, "requests").setdefault(name, limit)
    for name in _PROBES:
        probe = container.get(name)
        if isinstance(probe, dict):
            set_defaults(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if isinstance(probe.get("httpGet"), dict):
                set_defaults(probe["httpGet"], path="/", scheme="HTTP")


def _default_volume(volume: JsonObject) -> None:
    for source in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(source), dict):
            set_defaults(volume[source], defaultMode=420)
    if len(volume) == 1:
        volume["emptyDir"] = {}


def validate_pod(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """What is wrong with a pod, or with how it changed."""
    causes = validate_pod_spec(obj.get("spec") or {}, "spec")
    if old is not None and _frozen(obj["spec"]) != _frozen(old["spec"]):
        before = old["spec"].get("nodeName")
        moved = {**_frozen(obj["spec"]), "nodeName": before} == {**_frozen(old["spec"]), "nodeName": before}
        if not (moved and not before):
            causes.append(Cause("spec", _MUTABLE_HINT, "FieldValueForbidden"))
    return causes


def _frozen(spec: JsonObject) -> JsonObject:
    kept: JsonObject = copy_json(spec)
    for name in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"):
        kept.pop(name, None)
    for container in [*(kept.get("initContainers") or []), *(kept.get("containers") or [])]:
        container.pop("image", None)
    return kept


def validate_pod_spec(spec: JsonObject, path: str) -> list[Cause]:
    """What is wrong with a pod spec."""
    causes: list[Cause] = []
    volumes = [volume.get("name") for volume in spec.get("volumes") or []]
    for index, name in enumerate(volumes):
        if not name:
            causes.append(required(f"{path}.volumes[{index}].name"))
        elif name in volumes[:index]:
            causes.append(Cause(f"{path}.volumes[{index}].name", f'Duplicate value: "{name}"', DUPLICATE))
    if not spec.get("containers"):
        causes.append(required(f"{path}.containers"))
    if spec.get("restartPolicy") not in ("Always", "OnFailure", "Never"):
        causes.append(unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never")))
    names: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            causes += _validate_container(container, f"{path}.{field}[{index}]", names, volumes)
    return causes


def _validate_container(container: JsonObject, path: str, names: set[str], volumes: list[str]) -> list[Cause]:
    causes = []
    name = container.get("name")
    if not name:
        causes.append(required(f"{path}.name"))
    elif name in names:
        causes.append(Cause(f"{path}.name", f'Duplicate value: "{name}"', DUPLICATE))
    else:
        causes += [Cause(f"{path}.name", f'Invalid value: "{name}": {problem}') for problem in dns_label(name)]
    names.add(str(name))
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    for index, port in enumerate(container.get("ports") or []):
        if not 0 < int(port.get("containerPort") or 0) < 65536:
            message = f"Invalid value: {port.get('containerPort')}: must be between 1 and 65535, inclusive"
            causes.append(Cause(f"{path}.ports[{index}].containerPort", message))
    for index, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            causes.append(required(f"{path}.env[{index}].name"))
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        at = f"{path}.volumeMounts[{index}]"
        if volumes_missing(mount.get("name"), volumes):
            causes.append(Cause(f"{at}.name", f'Not found: "{mount.get("name")}"', "FieldValueNotFound"))
        if not mount.get("mountPath"):
            causes.append(required(f"{at}.mountPath"))
        elif mount["mountPath"] in paths:
            causes.append(Cause(f"{at}.mountPath", f'Invalid value: "{mount["mountPath"]}": must be unique'))
        paths.add(str(mount.get("mountPath")))
    return causes


def volumes_missing(name: str | None, volumes: list[str]) -> bool:
    """Whether a mount names a volume the pod does not have; ``None`` in ``volumes`` stands for claim templates."""
    return name not in volumes and "*" not in volumes
