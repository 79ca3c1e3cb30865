"""A container's environment and command line, as the API documentation defines them."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localkube.controllers.objects import labels_of, meta, uid_of
from localkube.controllers.resources import Obj

Lookup = Callable[[str, str], Obj | None]
"""(`ConfigMap` or `Secret`, name) in the pod's namespace; None when there is none."""

_REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")


class ConfigError(Exception):
    """The container cannot be configured (yet); the message says what is missing, as the kubelet words it."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; `$$` is a dollar, an unknown name stays as written."""

    def replacement(match: re.Match[str]) -> str:
        if match.group(1) == "$":
            return "$"
        return variables.get(match.group(2), match.group(0))

    return _REFERENCE.sub(replacement, text)


def expand_all(values: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """`expand` for each value."""
    return [expand(v, variables) for v in values]


def decode(obj: Obj, key: str) -> bytes | None:
    """Returns the value of a key in a ConfigMap or a Secret."""
    if obj.get("kind") == "Secret":
        value = (obj.get("data") or {}).get(key)
        return None if value is None else base64.b64decode(value)
    text = (obj.get("data") or {}).get(key)
    if text is not None:
        return str(text).encode()
    binary = (obj.get("binaryData") or {}).get(key)
    return None if binary is None else base64.b64decode(binary)


def keys(obj: Obj) -> list[str]:
    """Returns all keys of a ConfigMap or a Secret."""
    return sorted({*(obj.get("data") or {}), *(obj.get("binaryData") or {})})


def field_value(pod: Obj, path: str, status: Mapping[str, Any]) -> str:
    """Returns a `fieldRef` of the downward API. `status` has podIP and hostIP before the API server knows them."""
    metadata, spec = meta(pod), pod["spec"]
    simple: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": uid_of(pod),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": status.get("hostIP", ""),
    }
    if path in simple:
        return str(simple[path])
    for field, values in (("labels", labels_of(pod)), ("annotations", metadata.get("annotations") or {})):
        if path == f"metadata.{field}":
            return "\n".join(f'{k}="{v}"' for k, v in sorted(values.items()))
        match = re.fullmatch(rf"metadata\.{field}\['(.+)'\]", path)
        if match:
            return str(values.get(match.group(1), ""))
    raise ConfigError(f"unsupported fieldPath: {path}")


def build(container: Obj, pod: Obj, status: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    """Returns the environment a container's spec asks for; raises ConfigError for what is missing and not optional."""
    result: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        result.update(_from_source(source, lookup))
    for entry in container.get("env") or []:
        if "valueFrom" in entry:
            value = _from_reference(entry["valueFrom"], pod, status, lookup)
            if value is not None:
                result[entry["name"]] = value
        else:
            result[entry["name"]] = expand(entry.get("value") or "", result)
    return result


def _from_source(source: Obj, lookup: Lookup) -> dict[str, str]:
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if field in source:
            ref = source[field]
            obj = lookup(kind, ref["name"])
            if obj is None:
                if ref.get("optional"):
                    return {}
                raise ConfigError(f'{kind.lower()} "{ref["name"]}" not found')
            prefix = source.get("prefix", "")
            return {prefix + key: (decode(obj, key) or b"").decode() for key in keys(obj)}
    raise ConfigError(f"unsupported envFrom source: {', '.join(source)}")


def _from_reference(source: Obj, pod: Obj, status: Mapping[str, Any], lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"], status)
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source:
            ref = source[field]
            obj = lookup(kind, ref["name"])
            value = None if obj is None else decode(obj, ref["key"])
            if value is not None:
                return value.decode()
            if ref.get("optional"):
                return None
            if obj is None:
                raise ConfigError(f'{kind.lower()} "{ref["name"]}" not found')
            raise ConfigError(f"couldn't find key {ref['key']} in {kind} {meta(pod)['namespace']}/{ref['name']}")
    raise ConfigError(f"unsupported env valueFrom: {', '.join(source)}")
