"""What is wrong with the volumes of a pod or pod template. Pure; after ``pkg/apis/core/validation``."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.containers import descending_path, field_reference, resource_reference
from localkube.apiserver.kinds.rules import (
    Table,
    amount,
    check,
    duplicate,
    forbidden,
    invalid,
    needed,
    needed_named,
    one_of,
    required,
)
from localkube.apiserver.schema import formats

_VOLUME_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"}
)
_HOST_PATH_TYPES = (
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate"),
    "Socket",
)


def _mode(value: Json, path: str) -> list[Cause]:
    if value is None or 0 <= value <= 0o777:
        return []
    return [invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive")]


def _inside(value: Json, path: str) -> Iterator[Cause]:
    if not value:
        yield required(path)
        return
    yield from descending_path(value, path)
    if value.startswith("..") and ".." not in value.split("/"):
        yield invalid(path, value, "must not start with '..'")


def _size_limit(value: Json, path: str) -> list[Cause]:
    if value is None or amount(value) >= 0:
        return []
    return [forbidden(path, "SizeLimit field must be a valid resource quantity")]


def _downward(value: Json, path: str) -> Iterator[Cause]:
    yield from _inside(value.get("path"), f"{path}.path")
    yield from _mode(value.get("mode"), f"{path}.mode")
    field, resource = value.get("fieldRef"), value.get("resourceFieldRef")
    if field is not None:
        yield from field_reference(_VOLUME_FIELDS, field, f"{path}.fieldRef")
        if resource is not None:
            yield invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif resource is not None:
        if not resource.get("containerName"):
            yield required(f"{path}.resourceFieldRef.containerName")
        else:
            yield from resource_reference(resource, f"{path}.resourceFieldRef")
    else:
        yield required(path, "one of fieldRef and resourceFieldRef is required")


_ITEMS: Table = (("items[*].key", needed()), ("items[*].path", _inside), ("items[*].mode", _mode))
_SOURCES: dict[str, Table] = {
    "emptyDir": (("sizeLimit", _size_limit),),
    "hostPath": (("path", needed()), ("type", one_of(*_HOST_PATH_TYPES))),
    "nfs": (("server", needed()), ("path", needed())),
    "secret": (("secretName", needed()), ("defaultMode", _mode), *_ITEMS),
    "configMap": (("name", needed()), ("defaultMode", _mode), *_ITEMS),
    "downwardAPI": (("defaultMode", _mode), ("items[*]", _downward)),
    "persistentVolumeClaim": (("claimName", needed_named(formats.dns_subdomain)),),
    "csi": (("driver", needed_named(formats.dns_subdomain)),),
    "ephemeral": (("volumeClaimTemplate", needed()),),
}
_PROJECTIONS: dict[str, Table] = {
    "secret": (("name", needed()), *_ITEMS),
    "configMap": (("name", needed()), *_ITEMS),
    "downwardAPI": (("items[*]", _downward),),
    "serviceAccountToken": (("path", needed()), ("path", descending_path)),
    "clusterTrustBundle": (("path", needed()),),
}


def _projected(value: JsonObject, path: str) -> Iterator[Cause]:
    yield from _mode(value.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for index, source in enumerate(value.get("sources") or []):
        at = f"{path}.sources[{index}]"
        kinds = [kind for kind, part in source.items() if part is not None]
        for kind in kinds[:1]:
            yield from check(_PROJECTIONS.get(kind, ()), source[kind], f"{at}.{kind}")
        for kind in kinds[1:]:
            yield forbidden(f"{at}.{kind}", "may not specify more than 1 volume type")
        token = source.get("serviceAccountToken")
        if token is not None and not 600 <= (token.get("expirationSeconds") or 3600) <= 2**32:
            why = "may not specify a duration less than 10 minutes"
            if token["expirationSeconds"] > 2**32:
                why = "may not specify a duration larger than 2^32 seconds"
            field = f"{at}.serviceAccountToken.expirationSeconds"
            yield invalid(field, token["expirationSeconds"], why)
        for place in _places(source):
            if place in taken:
                why = "conflicting duplicate paths"
                yield invalid(path, place, why)
            taken.add(place)


def _places(source: JsonObject) -> Iterator[str]:
    for part in source.values():
        if not isinstance(part, dict):
            continue
        if part.get("path"):
            yield part["path"]
        for item in part.get("items") or []:
            if item.get("path"):
                yield item["path"]


def _source(volume: JsonObject, path: str) -> Iterator[Cause]:
    kinds = [kind for kind, source in volume.items() if kind != "name" and source is not None]
    if not kinds:
        yield required(path, "must specify a volume type")
        return
    for kind in kinds[1:]:
        yield forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
    source = volume[kinds[0]]
    at = f"{path}.{kinds[0]}"
    yield from _projected(source, at) if kinds[0] == "projected" else check(_SOURCES.get(kinds[0], ()), source, at)


def validate_volumes(volumes: list[JsonObject], path: str) -> Iterator[Cause]:
    """Yields what is wrong with a list of volumes."""
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        yield from _source(volume, at)
        name = volume.get("name") or ""
        yield from needed_named(formats.dns_label)(name, f"{at}.name")
        if name and name in names:
            yield duplicate(f"{at}.name", name)
        names.add(name)
