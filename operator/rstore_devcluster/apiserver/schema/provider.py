"""The schema of each served resource, and the checks of a request's body against it."""

from __future__ import annotations

from rstore_devcluster.apiserver.http.errors import bad_request
from rstore_devcluster.apiserver.jsonobj import JsonObject, copy_json
from rstore_devcluster.apiserver.objects.resources import Resource
from rstore_devcluster.apiserver.schema import builtin
from rstore_devcluster.apiserver.schema.decoding import DecodingError, normalise, nulls_dropped
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
        error, problems = self.examine(resource, obj, duplicates)
        if problems and mode == "Strict":
            error = error or f"strict decoding error: {', '.join(problems)}"
        if error:
            kind = resource.kind
            raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {error}')
        return [] if mode == "Ignore" else problems

    def examine(self, resource: Resource, obj: JsonObject, duplicates: list[str]) -> tuple[str, list[str]]:
        """Why an object cannot be read at all ("" where it can be), and its unknown and duplicate fields."""
        node = self.node(resource)
        problems = [f'duplicate field "{path}"' for path in duplicates]
        unknown = prune(node, copy_json(obj))
        problems += [f'unknown field "{path}"' for path in (sorted(unknown) if resource.custom else unknown)]
        metadata_node = node.field("metadata")
        checked = obj if not resource.custom else obj.get("metadata")
        checked_node = node if not resource.custom else metadata_node
        if checked_node is not None and checked is not None:
            given = nulls_dropped(checked_node, checked)
            try:
                normalise(checked_node, given)
            except DecodingError as error:
                return str(error), problems
            causes = validate(checked_node, given)
            wrong = [cause for cause in causes if cause.reason == TYPE_INVALID or cause.field == NOWHERE]
            if wrong:
                return f"json: {wrong[0].message}", problems
        return "", problems


def _custom(schema: JsonObject) -> Node:
    properties = {
        **(schema.get("properties") or {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": OBJECT_META,
    }
    return Node({"type": "object", **schema, "properties": properties}, builtin.resolve)
