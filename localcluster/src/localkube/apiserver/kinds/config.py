"""ConfigMaps and Secrets: their defaults, keys, sizes, types, and what an immutable one keeps."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject, lookup
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import forbidden, immutable, invalid, required, too_long
from localkube.apiserver.schema import formats

_MAX_BYTES = 1024 * 1024
_ACCOUNT = "kubernetes.io/service-account.name"
_NEEDED: dict[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON: dict[str, str] = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def default_secret(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of a Secret; ``stringData`` moves into ``data``."""
    set_defaults(obj, type="Opaque")
    plain = obj.pop("stringData", None) or {}
    for name, text in plain.items():
        child(obj, "data")[name] = base64.b64encode(str(text).encode()).decode()


def _keys(values: Json, path: str) -> Iterator[Cause]:
    for key in values or {}:
        for why in formats.config_key(key):
            yield invalid(f"{path}[{key}]", key, why)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text or "")


def validate_secret(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a Secret, or with how it changed."""
    data, kind = obj.get("data") or {}, obj["type"]
    causes = list(_keys(data, "data"))
    if sum(len(_decoded(text)) for text in data.values()) > _MAX_BYTES:
        causes.append(too_long("data", _MAX_BYTES))
    causes += [required(f"data[{name}]") for name in _NEEDED.get(kind, ()) if name not in data]
    if kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        causes.append(required("data[ssh-privatekey]"))
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        causes += [required("data[username]"), required("data[password]")]
    if kind == "kubernetes.io/service-account-token" and not lookup(obj, "metadata", "annotations", _ACCOUNT):
        causes.append(required(f"metadata.annotations[{_ACCOUNT}]"))
    if kind in _JSON:
        causes += _json(data, _JSON[kind])
    if old is not None and kind != old.get("type"):
        causes.append(immutable("type", kind))
    return causes + _unchanged(obj, old, ("data",))


def _json(data: JsonObject, key: str) -> list[Cause]:
    if key not in data:
        return [required(f"data[{key}]")]
    try:
        content = json.loads(_decoded(data[key]))
    except ValueError as error:
        return [invalid(f"data[{key}]", "<secret contents redacted>", f"invalid character: {error}")]
    if isinstance(content, dict):
        return []
    why = "json: cannot unmarshal it into Go value of type map[string]interface {}"
    return [invalid(f"data[{key}]", "<secret contents redacted>", why)]


def secret_warnings(obj: JsonObject) -> list[str]:
    """Returns what a client is warned of when it writes a Secret."""
    pairs = {"kubernetes.io/tls": "tls.crt"}
    name = pairs.get(obj.get("type") or "")
    if name is None or name not in (obj.get("data") or {}):
        return []
    certificate, key = (_decoded(obj["data"].get(part) or "") for part in ("tls.crt", "tls.key"))
    for what, text in (("certificate", certificate), ("key", key)):
        if b"-----BEGIN " not in text:
            return [f"tls: failed to find any PEM data in {what} input"]
    return []


def validate_configmap(obj: JsonObject, old: JsonObject | None, subresource: str = "") -> list[Cause]:  # noqa: ARG001
    """Returns what is wrong with a ConfigMap, or with how it changed."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    causes = list(_keys(data, "data"))
    causes += [invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data if key in binary]
    causes += _keys(binary, "binaryData")
    size = sum(len(text.encode()) for text in data.values()) + sum(len(_decoded(text)) for text in binary.values())
    if size > _MAX_BYTES:
        causes.append(too_long("[]", _MAX_BYTES))
    return causes + _unchanged(obj, old, ("data", "binaryData"))


def _unchanged(obj: JsonObject, old: JsonObject | None, fields: tuple[str, ...]) -> list[Cause]:
    if old is None or not old.get("immutable"):
        return []
    why = "field is immutable when `immutable` is set"
    unset = [] if obj.get("immutable") else ["immutable"]
    return [forbidden(name, why) for name in unset + [name for name in fields if obj.get(name) != old.get(name)]]
