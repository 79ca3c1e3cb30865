"""What is wrong with a container of a pod or pod template. Pure; after ``pkg/apis/core/validation``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.resource_lists import resource_requirements
from localkube.apiserver.kinds.rules import (
    Table,
    always_named,
    at_least,
    between,
    check,
    duplicate,
    forbidden,
    invalid,
    named,
    needed,
    needed_named,
    needed_one_of,
    not_found,
    one_of,
    port_number,
    port_or_name,
    required,
    unsupported,
)
from localkube.apiserver.schema import formats

_ENV_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"}
    | {"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
)
_POD_FIELDS = _ENV_FIELDS | {
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
_RESOURCE_FIELDS = frozenset(
    f"{side}.{name}" for side in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage")
)
_SUBSCRIPT = re.compile(r"^(.*)\['(.*)'\]$")
_USER_ID = between(0, 2**31 - 1)
_NOT_ZERO = at_least(1, "must be greater than 0")
SECURITY: Table = (
    ("runAsUser", _USER_ID),
    ("runAsGroup", _USER_ID),
    ("procMount", one_of("Default", "Unmasked", ordered=True)),
    ("seccompProfile.type", one_of("Localhost", "RuntimeDefault", "Unconfined")),
)


def field_reference(fields: Collection[str], value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a reference to one of a pod's own fields."""
    if value is None:
        return
    version, wanted = value.get("apiVersion") or "v1", value.get("fieldPath") or ""
    if not wanted:
        yield required(f"{path}.fieldPath")
        return
    subscript = _SUBSCRIPT.match(wanted)
    name = subscript[1] if subscript else wanted
    why = ""
    if version != "v1":
        why = f"unsupported pod version: {version}"
    elif subscript and name not in ("metadata.annotations", "metadata.labels"):
        why = f"field label does not support subscript: {wanted}"
    elif name not in _POD_FIELDS:
        why = f"field label not supported: {wanted}"
    if why:
        yield invalid(f"{path}.fieldPath", wanted, f"error converting fieldPath: {why}")
    elif subscript:
        key = subscript[2].lower() if name == "metadata.annotations" else subscript[2]
        for problem in formats.qualified_name(key):
            yield invalid(path, subscript[2], problem)
    elif wanted not in fields:
        yield unsupported(f"{path}.fieldPath", wanted, sorted(fields))


def resource_reference(value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a reference to one of a container's own resources."""
    if value is None:
        return
    wanted = value.get("resource") or ""
    if not wanted:
        yield required(f"{path}.resource")
    elif wanted not in _RESOURCE_FIELDS and not wanted.startswith(("limits.hugepages-", "requests.hugepages-")):
        yield unsupported(f"{path}.resource", wanted, sorted(_RESOURCE_FIELDS))


_KEY_REFERENCE: Table = (("name", always_named(formats.dns_subdomain)), ("key", needed_named(formats.config_key)))


def _value_from(value: Json, path: str) -> Iterator[Cause]:
    source = value.get("valueFrom")
    if source is None:
        return
    at = f"{path}.valueFrom"
    yield from field_reference(_ENV_FIELDS, source.get("fieldRef"), f"{at}.fieldRef")
    yield from resource_reference(source.get("resourceFieldRef"), f"{at}.resourceFieldRef")
    for name in ("configMapKeyRef", "secretKeyRef"):
        if source.get(name) is not None:
            yield from check(_KEY_REFERENCE, source[name], f"{at}.{name}")
    count = sum(item is not None for item in source.values())
    if count == 0:
        names = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield invalid(at, "", f"must specify one of: {names}")
    elif value.get("value"):
        yield invalid(at, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield invalid(at, "", "may not have more than one field specified at a time")


def _all_from(value: Json, path: str) -> Iterator[Cause]:
    for index, source in enumerate(value or []):
        at = f"{path}[{index}]"
        yield from named(formats.environment_name)(source.get("prefix"), f"{at}.prefix")
        named_sources = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in named_sources:
            yield from needed_named(formats.dns_subdomain)(source[name].get("name"), f"{at}.{name}.name")
        if not named_sources:
            yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(named_sources) > 1:
            yield invalid(path, "", "may not have more than one field specified at a time")


def _ports(value: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, port in enumerate(value or []):
        at = f"{path}[{index}]"
        name = port.get("name")
        problems = list(named(formats.port_name)(name, f"{at}.name"))
        yield from problems
        if name and not problems:
            if name in seen:
                yield duplicate(f"{at}.name", name)
            seen.add(name)
        if not port.get("containerPort"):
            yield required(f"{at}.containerPort")
        else:
            yield from port_number(port["containerPort"], f"{at}.containerPort")
        if port.get("hostPort"):
            yield from port_number(port["hostPort"], f"{at}.hostPort")


def descending_path(value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a path that must stay inside a volume."""
    if not value:
        return
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def _mounts(container: JsonObject, path: str, volumes: Collection[str]) -> Iterator[Cause]:
    places: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        at = f"{path}.volumeMounts[{index}]"
        name, place = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{at}.name")
        if name not in volumes:
            yield not_found(f"{at}.name", name)
        if not place:
            yield required(f"{at}.mountPath")
        if place in places:
            yield invalid(f"{at}.mountPath", place, "must be unique")
        places.add(place)
        if mount.get("subPath") and mount.get("subPathExpr"):
            why = "subPathExpr and subPath are mutually exclusive"
            yield invalid(f"{at}.subPathExpr", mount["subPathExpr"], why)
        for field in ("subPath", "subPathExpr"):
            yield from descending_path(mount.get(field), f"{path}.volumeMounts.{field}")
        propagation = one_of("Bidirectional", "HostToContainer", "None")
        yield from propagation(mount.get("mountPropagation"), f"{path}.volumeMounts.mountPropagation")
    devices: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or []):
        at = f"{path}.volumeDevices[{index}]"
        name = device.get("name") or ""
        if not name:
            yield required(f"{at}.name")
        if name in devices:
            yield invalid(f"{at}.name", name, "must be unique")
        devices.add(name)
        if name not in volumes:
            yield not_found(f"{at}.name", name)
        if not device.get("devicePath"):
            yield required(f"{at}.devicePath")


_HANDLERS: dict[str, Table] = {
    "exec": (("command", needed()),),
    "httpGet": (
        ("path", needed()),
        ("port", port_or_name),
        ("scheme", needed_one_of("HTTP", "HTTPS")),
        ("httpHeaders[*].name", always_named(formats.header_name)),
    ),
    "tcpSocket": (("port", port_or_name),),
    "grpc": (("port", port_number),),
    "sleep": (),
}


def _handler(value: JsonObject, path: str, grace: int | None) -> Iterator[Cause]:
    first = ""
    for name, table in _HANDLERS.items():
        action = value.get(name)
        if action is None:
            continue
        if first:
            yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
            continue
        first = name
        for cause in check(table, action, f"{path}.{name}"):
            # A header is reported at the list of headers.
            yield Cause(
                re.sub(r"\.httpHeaders\[\d+\]\.name$", ".httpHeaders", cause.field), cause.message, cause.reason
            )
        seconds = action.get("seconds") or 0
        if name == "sleep" and grace is not None and not 0 <= seconds <= grace:
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            yield invalid(f"{path}.sleep", seconds, why)
    if not first:
        yield required(path, "must specify a handler type")


_PROBE: Table = (
    *((name, at_least(0)) for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds")),
    *((name, at_least(0)) for name in ("successThreshold", "failureThreshold")),
    ("terminationGracePeriodSeconds", _NOT_ZERO),
)


def _probes(container: JsonObject, path: str) -> Iterator[Cause]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is None:
            continue
        at = f"{path}.{name}"
        yield from _handler({key: item for key, item in probe.items() if key != "sleep"}, at, None)
        yield from check(_PROBE, probe, at)
        grace = probe.get("terminationGracePeriodSeconds")
        if name == "readinessProbe":
            if grace is not None:
                yield invalid(f"{at}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
        elif probe.get("successThreshold") != 1:
            yield invalid(f"{at}.successThreshold", probe.get("successThreshold"), "must be 1")


def _lifecycle(container: JsonObject, path: str, grace: int | None) -> Iterator[Cause]:
    for name in ("postStart", "preStop"):
        hook = (container.get("lifecycle") or {}).get(name)
        if hook is not None:
            yield from _handler(hook, f"{path}.lifecycle.{name}", grace)


_COMMON: Table = (
    ("name", needed_named(formats.dns_label)),
    ("image", needed()),
    ("terminationMessagePolicy", needed_one_of("File", "FallbackToLogsOnError", ordered=True)),
    ("imagePullPolicy", needed_one_of("Always", "IfNotPresent", "Never")),
    ("ports", _ports),
    ("ports[*].protocol", needed_one_of("SCTP", "TCP", "UDP")),
    ("env[*].name", needed_named(formats.environment_name)),
    ("env[*]", _value_from),
    ("envFrom", _all_from),
    ("resources", resource_requirements),
    ("restartPolicy", one_of("Always", "Never", "OnFailure")),
)


def _common(container: JsonObject, path: str, volumes: Collection[str]) -> Iterator[Cause]:
    yield from check(_COMMON, container, path)
    yield from check(SECURITY, container.get("securityContext"), f"{path}.securityContext")
    yield from _mounts(container, path, volumes)


def _host_port_conflicts(groups: list[tuple[str, JsonObject]]) -> Iterator[Cause]:
    seen: set[str] = set()
    for path, container in groups:
        for index, port in enumerate(container.get("ports") or []):
            if port.get("hostPort"):
                text = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
                if text in seen:
                    yield duplicate(f"{path}.ports[{index}].hostPort", text)
                seen.add(text)


_NOT_INIT = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")


def validate_containers(spec: JsonObject, path: str, volumes: Collection[str]) -> Iterator[Cause]:
    """Yields what is wrong with the containers of a pod's spec."""
    grace = spec.get("terminationGracePeriodSeconds")
    containers = spec.get("containers") or []
    names: set[str] = set()
    if not containers:
        yield required(f"{path}.containers")
    for index, container in enumerate(containers):
        at = f"{path}.containers[{index}]"
        yield from _common(container, at, volumes)
        yield from _taken(container, at, names)
        yield from _lifecycle(container, at, grace)
        yield from _probes(container, at)
    yield from _host_port_conflicts(
        [(f"{path}.containers[{index}]", container) for index, container in enumerate(containers)]
    )
    for index, container in enumerate(spec.get("initContainers") or []):
        at = f"{path}.initContainers[{index}]"
        yield from _common(container, at, volumes)
        yield from _taken(container, at, names)
        yield from _host_port_conflicts([(at, container)])
        if container.get("restartPolicy") == "Always":
            yield from _lifecycle(container, at, grace)
            yield from _probes(container, at)
            continue
        for field in _NOT_INIT:
            if container.get(field) is not None:
                yield forbidden(f"{at}.{field}", "may not be set for init containers without restartPolicy=Always")
    if spec.get("ephemeralContainers"):
        yield forbidden(f"{path}.ephemeralContainers", "not supported by this server")


def _taken(container: JsonObject, path: str, names: set[str]) -> Iterator[Cause]:
    name = container.get("name")
    if name and name in names:
        yield duplicate(f"{path}.name", name)
    names.add(name or "")
