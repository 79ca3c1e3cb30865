"""Server-side apply: merge what a manager wants into what there is, with ownership and conflicts.

After the design of Kubernetes' server-side apply (KEP-555) and its library structured-merge-diff: three-way merge by
field ownership instead of by a recorded last request.
"""

from __future__ import annotations

from dataclasses import replace

from localkube.apiserver.errors import Cause, apply_conflict
from localkube.apiserver.jsonobj import Json, JsonObject, copy_json, same
from localkube.apiserver.patch.fields import (
    SYSTEM_FIELDS,
    Fields,
    compare,
    display,
    element_of,
    field_set,
    in_order,
    merges_as,
    remove_fields,
    with_parents,
    without,
)
from localkube.apiserver.patch.last_applied import MANAGER as KUBECTL
from localkube.apiserver.patch.last_applied import fields_last_applied, update_annotation
from localkube.apiserver.patch.managed import (
    APPLY,
    Entry,
    Writer,
    entries_before_apply,
    without_fields,
    write_entries,
)
from localkube.apiserver.schema.node import Node


def server_side_apply(
    node: Node | None, live: JsonObject | None, wanted: JsonObject, writer: Writer, *, force: bool
) -> JsonObject:
    """Returns the object after the writer applied ``wanted``; raises 409 naming what other managers own, unless
    forced."""
    fields = without(field_set(node, wanted), writer.ignored)
    mine = writer.entry(APPLY, fields)
    if live is None:
        made: JsonObject = copy_json(wanted)
        write_entries(made, [replace(mine, fields=mine.fields - SYSTEM_FIELDS, time=writer.now)])
        return made
    entries = entries_before_apply(node, live, writer)
    last = next((entry for entry in entries if entry.identity == mine.identity), None)
    others = [entry for entry in entries if entry.identity != mine.identity]
    merged: JsonObject = _merge(node, live, wanted)
    if last is not None and last.fields:
        merged = _prune(node, merged, last.fields, [*others, mine])
    comparison = compare(node, live, merged).without(writer.ignored)
    taken = frozenset(comparison.added | comparison.modified)
    if not force:
        allowed = fields_last_applied(node, live) if writer.manager == KUBECTL else frozenset()
        _refuse_conflicts([(entry, (entry.fields & taken) - allowed) for entry in others])
    if writer.manager == KUBECTL:
        update_annotation(merged, wanted)
    content = {name: value for name, value in merged["metadata"].items() if name != "managedFields"}
    before = {name: value for name, value in live["metadata"].items() if name != "managedFields"}
    unchanged = same({**merged, "metadata": content}, {**live, "metadata": before})
    time = (last.time if last is not None else "") if unchanged else writer.now
    mine = replace(mine, fields=mine.fields - SYSTEM_FIELDS, time=time)
    write_entries(merged, [*(without_fields(entry, comparison) for entry in others), mine])
    return merged


def _refuse_conflicts(conflicts: list[tuple[Entry, Fields]]) -> None:
    causes = [
        Cause(display(path), f"conflict with {entry.describe()}", "FieldManagerConflict")
        for entry, paths in conflicts
        for path in in_order(paths)
    ]
    if causes:
        raise apply_conflict(causes)


def _prune(node: Node | None, merged: JsonObject, last: Fields, owners: list[Entry]) -> JsonObject:
    """Remove what this manager applied before and does not want now, unless somebody owns it (or inside it)."""
    last = with_parents(node, last)
    owned = with_parents(node, frozenset().union(*(entry.fields for entry in owners)))
    all_fields = with_parents(node, field_set(node, merged))
    without_last = with_parents(node, field_set(node, remove_fields(node, merged, last)))
    pruned = remove_fields(node, merged, all_fields - without_last - owned)
    remaining = with_parents(node, field_set(node, pruned))
    result: JsonObject = remove_fields(node, merged, (all_fields - remaining) & last)
    return result


# ---- merging


def _merge(node: Node | None, live: Json, wanted: Json) -> Json:
    shape = merges_as(node, live if wanted is None else wanted)
    if shape == "map" and isinstance(live, dict):
        merged = {name: copy_json(item) for name, item in live.items()}
        for name, item in (wanted or {}).items():
            child = node.child(name) if node is not None else None
            merged[name] = _merge(child, live[name], item) if name in live else copy_json(item)
        return merged
    if shape == "list" and isinstance(live, list) and node is not None:
        return _merge_lists(node, live, wanted or [])
    return copy_json(wanted)


def _merge_lists(node: Node, live: list[Json], wanted: list[Json]) -> list[Json]:
    """Merge keyed lists or sets: wanted items in the order wanted, items only the live list has where they stand."""
    left, right = [element_of(node, item) for item in live], [element_of(node, item) for item in wanted]
    theirs = {element: item for element, item in zip(left, live, strict=True) if left.count(element) == 1}
    shared = [element for element in right if element in left]
    merged: list[Json] = []
    done: set[str] = set()
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left):
            element = left[at_left]
            if element not in right:
                merged.append(live[at_left])
                at_left += 1
                continue
            if at_right < len(right) and element != right[at_right] and shared and element != shared[0]:
                at_left += 1
                continue
            if element in done or (at_right < len(right) and element == right[at_right]):
                at_left += 1
        if at_right < len(right):
            element, item = right[at_right], wanted[at_right]
            merged.append(_merge(node.items, theirs[element], item) if element in theirs else item)
            done.add(element)
            at_right += 1
            if shared and shared[0] == element:
                shared.pop(0)
    return copy_json(merged)  # type: ignore[no-any-return]
