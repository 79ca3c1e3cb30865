"""What server-side apply demands of an applied object: declared fields, list items told apart by keys. Pure."""

from __future__ import annotations

import json

from rstore_devcluster.apiserver.http.errors import ApiError
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, copy_json
from rstore_devcluster.apiserver.patch.fields import compact, display, item_key
from rstore_devcluster.apiserver.schema.node import Node
from rstore_devcluster.apiserver.schema.pruning import prune


def check_typed(node: Node, obj: JsonObject) -> None:
    """Raise what Kubernetes answers (a 500) when an applied object does not fit its schema."""
    problems = [f".{path}: field not declared in schema" for path in prune(node, copy_json(obj))]
    problems += _list_problems(node, obj, "")
    if not problems:
        return
    metadata = obj.get("metadata") or {}
    what = (
        f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; {obj.get('apiVersion')}, Kind={obj.get('kind')}"
    )
    text = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems)
    raise ApiError(500, "InternalError", f"failed to create typed patch object ({what}): {text}")


def _list_problems(node: Node, value: Json, path: str) -> list[str]:
    problems: list[str] = []
    if isinstance(value, dict):
        for name, item in value.items():
            child = node.child(name)
            if child is not None:
                problems += _list_problems(child, item, f"{path}.{name}")
    elif isinstance(value, list) and node.items is not None:
        problems += _key_problems(node, value, path)
        for item in value:
            problems += _list_problems(node.items, item, path)
    return problems


def _key_problems(node: Node, items: list[Json], path: str) -> list[str]:
    if node.list_type not in ("map", "set"):
        return []
    problems: list[str] = []
    seen: set[str] = set()
    for item in items:
        if node.list_type == "map":
            element = item_key(node, item)
            missing = [key for key in node.map_keys if key not in json.loads(element[2:])]
            if missing:
                problems.append(
                    f'{path}: associative list with keys has an element that omits key field "{missing[0]}"'
                )
                continue
        else:
            element = "v:" + compact(item)
        if element in seen:
            problems.append(f"{path}: duplicate entries for key {display((element,))}")
        seen.add(element)
    return problems
