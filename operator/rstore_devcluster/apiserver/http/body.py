"""Request bodies: JSON or YAML into plain objects, noticing duplicate keys."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import yaml

from rstore_devcluster.apiserver.describe.protobuf import MEDIA_TYPE, decode_protobuf
from rstore_devcluster.apiserver.http.errors import UNKNOWN_FORMAT, bad_request, unsupported_media_type
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject

JSON_TYPES = frozenset({"application/json", ""})
YAML_TYPE = "application/yaml"


@dataclass
class Body:
    """A decoded body, and the keys that stand in it twice."""

    value: Json
    duplicates: list[str] = field(default_factory=list)

    def as_object(self) -> JsonObject:
        """The body as an object; raises 400."""
        if not isinstance(self.value, dict):
            raise bad_request("the object provided is unrecognized (must be of type Object)")
        return self.value


def decode_json(data: bytes) -> Body:
    """Decode JSON; raises 400."""
    duplicates: list[str] = []

    def pairs(items: list[tuple[str, Json]]) -> JsonObject:
        made = dict(items)
        if len(made) != len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    duplicates.append(key)
                seen.add(key)
        return made

    try:
        return Body(json.loads(data, object_pairs_hook=pairs), duplicates)
    except ValueError as error:
        raise bad_request(f"couldn't parse the body as JSON: {error}") from None


def decode_yaml(data: bytes) -> Body:
    """Decode YAML (of which JSON is a part); raises 400."""
    try:
        return Body(yaml.load(data, Loader=_JsonLikeLoader))
    except yaml.YAMLError as error:
        raise bad_request(f"couldn't parse the body as YAML: {error}") from None


def decode(data: bytes, content_type: str) -> Body:
    """Decode by content type; raises 400 or 415."""
    media_type = content_type.split(";")[0].strip().lower()
    if media_type in JSON_TYPES:
        return decode_json(data)
    if media_type == YAML_TYPE:
        return decode_yaml(data)
    if media_type == MEDIA_TYPE:
        return Body(decode_protobuf(data))
    raise unsupported_media_type(f"{UNKNOWN_FORMAT}application/json, {YAML_TYPE}, {MEDIA_TYPE}")


class _JsonLikeLoader(yaml.SafeLoader):
    """YAML whose timestamps stay strings, as in JSON."""


_JsonLikeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
