"""The schema of each served resource, and the checks of a request's body against it."""

from __future__ import annotations

from rstore_devcluster.apiserver.http.errors import bad_request
from rstore_devcluster.apiserver.jsonobj import JsonObject, copy_json
from rstore_devcluster.apiserver.objects.resources import Resource
from rstore_devcluster.apiserver.schema import builtin
from rstore_devcluster.apiserver.schema.node import OBJECT_META, Node
from rstore_devcluster.apiserver.schema.pruning import prune
from rstore_devcluster.apiserver.schema.structural import NOWHERE, TYPE_INVALID, validate


class Schemas:
    """Nodes by resource, made once."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], tuple[Resource, Node]] = {}

    def node(self, resource: Resource) -> Node:
        """The schema of whole objects of a resource, metadata included."""
        at = (resource.key, resource.version)
        held = self._nodes.get(at)
        if held is not None and held[0] is resource:
            return held[1]
        node = _custom(resource.schema) if resource.schema is not None else self.model(resource.model)
        self._nodes[at] = (resource, node)
        return node

    def model(self, name: str) -> Node:
        """The schema of a model of the Python client."""
        return Node({"$ref": builtin.PREFIX + builtin.component_name(name)}, builtin.resolve)

    def check_body(self, resource: Resource, obj: JsonObject, duplicates: list[str], mode: str) -> list[str]:
        """Check what was sent: unknown and duplicate fields by ``fieldValidation``; returns warnings.

        Raises 400 for unknown or duplicate fields when ``Strict``, and for wrong types in built-in kinds always.
        """
        if mode not in ("", "Strict", "Warn", "Ignore"):
            raise bad_request(
                f'fieldValidation: Unsupported value: "{mode}": supported values: "Ignore", "Warn", "Strict"'
            )
        node = self.node(resource)
        problems = [f'duplicate field "{path}"' for path in duplicates]
        unknown = prune(node, copy_json(obj))
        problems += [f'unknown field "{path}"' for path in (sorted(unknown) if resource.custom else unknown)]
        cannot = f"{resource.kind} in version {resource.version!r} cannot be handled as a {resource.kind}: ".replace(
            "'", '"'
        )
        if not resource.custom:
            wrong = [cause for cause in validate(node, obj) if cause.reason == TYPE_INVALID or cause.field == NOWHERE]
            if wrong:
                raise bad_request(f"{cannot}json: {wrong[0].message}")
        if problems and mode == "Strict":
            raise bad_request(f"{cannot}strict decoding error: {', '.join(problems)}")
        return [] if mode == "Ignore" else problems


def _custom(schema: JsonObject) -> Node:
    properties = {
        **(schema.get("properties") or {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": OBJECT_META,
    }
    return Node({"type": "object", **schema, "properties": properties}, builtin.resolve)
