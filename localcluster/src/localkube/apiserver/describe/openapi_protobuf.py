"""``/openapi/v2`` in protobuf, the only form in which kubectl reads it.

kubectl asks for it where it cannot leave the checking to the server, that is for ``kind: List``. It then wants every
kind to be known; what a kind's fields are is left to the server, which checks each object of the list anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from localkube.apiserver.resources import Registry, Resource

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
ANSWER_TYPE = MEDIA_TYPE.replace("@", ".")
"""The answer's type: a media type may not hold an @, though clients ask for one that does."""
_GVK = "x-kubernetes-group-version-kind"


def document(registry: Registry) -> bytes:
    """Returns an ``openapi.v2.Document`` with a definition, free of content, for each kind."""
    info = _text(1, "Kubernetes") + _text(2, "unversioned")
    definitions = b"".join(_bytes(1, _definition(resource)) for resource in _by_name(registry.all()))
    return _text(1, "2.0") + _bytes(2, info) + _bytes(8, b"") + _bytes(9, definitions)


def _by_name(resources: Iterable[Resource]) -> list[Resource]:
    return list({_name(resource): resource for resource in resources}.values())


def _name(resource: Resource) -> str:
    return f"{resource.group}.{resource.version}.{resource.kind}".lstrip(".")


def _definition(resource: Resource) -> bytes:
    """Returns a NamedSchema; its only content is the extension that names the kind, as YAML."""
    kinds = f'- group: "{resource.group}"\n  kind: {resource.kind}\n  version: {resource.version}\n'
    extension = _text(1, _GVK) + _bytes(2, _text(2, kinds))
    return _text(1, _name(resource)) + _bytes(2, _bytes(31, extension))


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
