"""The schema of each served resource, and the checks of a request's body against it."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import bad_request
from localkube.apiserver.jsonobj import Json, JsonObject, copy_json
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema import builtin
from localkube.apiserver.schema.decoding import DecodingError, normalise, nulls_dropped
from localkube.apiserver.schema.node import OBJECT_META, Node
from localkube.apiserver.schema.pruning import prune
from localkube.apiserver.schema.rendering import shown
from localkube.apiserver.schema.structural import NOWHERE, TYPE_INVALID, validate


class Schemas:
    """Nodes by resource, made once."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], tuple[Resource, Node]] = {}

    def node(self, resource: Resource) -> Node:
        """Returns the schema of whole objects of a resource, metadata included."""
        at = (resource.key, resource.version)
        cached = self._nodes.get(at)
        if cached is not None and cached[0] is resource:
            return cached[1]
        node = _custom(resource.schema) if resource.schema is not None else self.model(resource.model)
        self._nodes[at] = (resource, node)
        return node

    def model(self, name: str) -> Node:
        """Returns the schema of a model of the Python client."""
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
        """Returns why an object cannot be read at all ("" where it can be), and its unknown and duplicate fields."""
        node = self.node(resource)
        problems = [f'duplicate field "{path}"' for path in duplicates]
        unknown = prune(node, copy_json(obj))
        problems += [f'unknown field "{path}"' for path in (sorted(unknown) if resource.custom else unknown)]
        if not resource.custom:
            return _decoding_problem(node, obj), problems
        metadata, metadata_node = obj.get("metadata"), node.field("metadata")
        if metadata is not None and metadata_node is not None:
            problem = _decoding_problem(metadata_node, metadata)
            if problem:
                return problem, problems
        return _embedded_problem(node, obj), problems


def _decoding_problem(node: Node, value: Json) -> str:
    """Returns why a value cannot be read as one of a built-in type, "" where it can be."""
    given = nulls_dropped(node, value)
    try:
        normalise(node, given)
    except DecodingError as error:
        return str(error)
    wrong = [cause for cause in validate(node, given) if cause.reason == TYPE_INVALID or cause.field == NOWHERE]
    return f"json: {wrong[0].message}" if wrong else ""


def _embedded_problem(node: Node, value: Json, path: str = "") -> str:
    """Returns why one of the objects inside a custom resource cannot be read as an object, "" where all can be."""
    inside: Iterator[tuple[Node | None, Json, str]] = iter(())
    if isinstance(value, dict):
        if node.embedded:
            for name in ("apiVersion", "kind", "metadata"):
                problem = _problem_of_part(node, name, value.get(name))
                if problem:
                    return f"{path}.{name}: Invalid value: {shown(value[name])}: {problem}"
        inside = ((node.child(name), item, f"{path}.{name}" if path else name) for name, item in value.items())
    elif isinstance(value, list):
        inside = ((node.items, item, f"{path}[{index}]") for index, item in enumerate(value))
    problems = (_embedded_problem(child, item, at) for child, item, at in inside if child is not None)
    return next(filter(None, problems), "")


def _problem_of_part(node: Node, name: str, value: Json) -> str:
    if value is None:
        return ""
    if name != "metadata":
        return "" if isinstance(value, str) else "must be a string"
    metadata_node = node.field(name)
    return _decoding_problem(metadata_node, value) if metadata_node is not None else ""


def _custom(schema: JsonObject) -> Node:
    properties = {
        **(schema.get("properties") or {}),
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": OBJECT_META,
    }
    return Node({"type": "object", **schema, "properties": properties}, builtin.resolve)
