"""Server-side apply: merge what a manager wants into what there is, with ownership and conflicts. Pure.

After the design of Kubernetes' server-side apply (KEP-555): three-way merge by field ownership instead of by a
recorded last request.
"""

from __future__ import annotations

from dataclasses import replace

from rstore_devcluster.apiserver.http.errors import Cause, apply_conflict, bad_request
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, copy_json
from rstore_devcluster.apiserver.patch.fields import Path, compact, display, item_key, leaves, remove
from rstore_devcluster.apiserver.patch.managed import APPLY, Entry, read_entries, write_entries
from rstore_devcluster.apiserver.schema.node import Node


def server_side_apply(
    node: Node | None,
    live: JsonObject | None,
    wanted: JsonObject,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    has_status: bool,
    force: bool,
    now: str,
) -> JsonObject:
    """The object after ``manager`` applied ``wanted``; raises 409 naming what other managers own, unless forced."""
    if (wanted.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    wanted = _without_nulls(node, wanted)
    if subresource == "status":
        wanted = {key: wanted[key] for key in ("apiVersion", "kind", "metadata", "status") if key in wanted}
        wanted["metadata"] = {
            key: wanted["metadata"][key] for key in ("name", "namespace") if key in wanted["metadata"]
        }
    elif has_status:
        wanted.pop("status", None)
    fields = frozenset(leaves(node, wanted))
    mine = Entry(manager, APPLY, api_version, subresource, now, fields)
    if live is None:
        made: JsonObject = copy_json(wanted)
        write_entries(made, [mine])
        return made
    merged: JsonObject = _merge(node, live, wanted)
    before, after = leaves(node, live), leaves(node, merged)
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    entries = read_entries(live)
    last = next((entry for entry in entries if entry.identity == mine.identity), None)
    others = [entry for entry in entries if entry.identity != mine.identity]
    conflicts = [(entry, entry.fields & changed & fields) for entry in others]
    if not force and any(paths for _, paths in conflicts):
        raise apply_conflict(
            [
                Cause(display(path), f"conflict with {entry.describe()}", "FieldManagerConflict")
                for entry, paths in conflicts
                for path in sorted(paths)
            ]
        )
    others = [replace(entry, fields=entry.fields - paths) for entry, paths in conflicts]
    if last is not None:
        _prune(node, merged, last.fields - fields, others)
    _write_if_changed(merged, live, [*others, mine], entries)
    return merged


def _write_if_changed(merged: JsonObject, live: JsonObject, entries: list[Entry], before: list[Entry]) -> None:
    """Keep the recorded times where neither content nor ownership changed, so that applying again writes nothing."""
    kept = {entry.identity: entry for entry in before}
    same_content = _content(merged) == _content(live)
    final = []
    for entry in entries:
        old = kept.get(entry.identity)
        unchanged = old is not None and old.fields == entry.fields and (same_content or entry is not entries[-1])
        final.append(replace(entry, time=old.time) if unchanged and old is not None else entry)
    same_entries = {entry.identity: entry.fields for entry in final if entry.fields} == {
        entry.identity: entry.fields for entry in before
    }
    if same_content and same_entries:
        merged["metadata"]["managedFields"] = copy_json(live["metadata"].get("managedFields") or [])
        return
    write_entries(merged, final)


def _content(obj: JsonObject) -> JsonObject:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _prune(node: Node | None, merged: JsonObject, dropped: frozenset[Path], others: list[Entry]) -> None:
    """Remove what this manager applied before and does not want now, unless another manager owns it (or inside it)."""
    owned: set[Path] = set()
    for entry in others:
        for path in entry.fields:
            owned.update(path[:length] for length in range(1, len(path) + 1))
    for path in sorted(dropped, key=len):
        if path not in owned:
            remove(node, merged, path)


def _without_nulls(node: Node | None, value: Json) -> Json:
    if isinstance(value, dict):
        kept = {}
        for name, item in value.items():
            child = node.child(name) if node is not None else None
            if item is None and not (child is not None and child.raw.get("nullable")):
                continue
            kept[name] = _without_nulls(child, item)
        return kept
    if isinstance(value, list):
        items = node.items if node is not None else None
        return [_without_nulls(items, item) for item in value]
    return value


def _merge(node: Node | None, live: Json, wanted: Json) -> Json:
    if isinstance(wanted, dict) and isinstance(live, dict) and not (node is not None and node.atomic_map):
        merged = {name: copy_json(item) for name, item in live.items()}
        for name, item in wanted.items():
            child = node.child(name) if node is not None else None
            merged[name] = _merge(child, live[name], item) if name in live else copy_json(item)
        return merged
    if isinstance(wanted, list) and isinstance(live, list) and node is not None and node.list_type in ("map", "set"):
        return _merge_lists(node, live, wanted)
    return copy_json(wanted)


def _merge_lists(node: Node, live: list[Json], wanted: list[Json]) -> list[Json]:
    """Merge keyed lists or sets: the order wanted, with items only the live list has kept where they stand."""

    def key(item: Json) -> str:
        return item_key(node, item) if node.list_type == "map" else compact(item)

    theirs = {key(item): item for item in live}
    ours = {key(item): item for item in wanted}
    merged: list[Json] = []
    emitted: set[str] = set()
    left, right = list(theirs), list(ours)
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left) and (left[at_left] in emitted or left[at_left] not in ours):
            if left[at_left] not in emitted:
                merged.append(copy_json(theirs[left[at_left]]))
            at_left += 1
            continue
        name = right[at_right]
        at_right += 1
        emitted.add(name)
        merged.append(_merge(node.items, theirs[name], ours[name]) if name in theirs else copy_json(ours[name]))
    return merged
