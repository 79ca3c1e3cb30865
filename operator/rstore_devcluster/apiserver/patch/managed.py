"""Who manages which field: reading, updating and writing ``metadata.managedFields``. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rstore_devcluster.apiserver.http.errors import bad_request
from rstore_devcluster.apiserver.jsonobj import JsonObject, copy_json
from rstore_devcluster.apiserver.patch.fields import Path, from_fields_v1, leaves, to_fields_v1
from rstore_devcluster.apiserver.schema.node import Node

APPLY = "Apply"
UPDATE = "Update"


@dataclass(frozen=True)
class Entry:
    """What one manager owns."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: frozenset[Path]

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What tells entries apart."""
        return (self.manager, self.operation, self.api_version, self.subresource)

    def describe(self) -> str:
        """The manager as conflict messages name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == UPDATE:
            text += f" using {self.api_version}"
        return text


def read_entries(obj: JsonObject) -> list[Entry]:
    """The entries of an object; raises 400 for a malformed one."""
    entries = []
    for raw in obj["metadata"].get("managedFields") or []:
        if not raw:
            continue
        if raw.get("operation") not in (APPLY, UPDATE) or raw.get("fieldsType", "FieldsV1") != "FieldsV1":
            raise bad_request(
                "metadata.managedFields: an entry needs operation Apply or Update and fieldsType FieldsV1"
            )
        entries.append(
            Entry(
                raw.get("manager", ""),
                raw["operation"],
                raw.get("apiVersion", ""),
                raw.get("subresource", ""),
                raw.get("time", ""),
                from_fields_v1(raw.get("fieldsV1") or {}),
            )
        )
    return entries


def write_entries(obj: JsonObject, entries: list[Entry]) -> None:
    """Set the object's managedFields; entries that own nothing are dropped."""
    written = []
    for entry in sorted(entries, key=lambda item: (item.operation, item.time, item.manager)):
        if not entry.fields:
            continue
        raw: JsonObject = {
            "manager": entry.manager,
            "operation": entry.operation,
            "apiVersion": entry.api_version,
            "time": entry.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(entry.fields),
        }
        if entry.subresource:
            raw["subresource"] = entry.subresource
        written.append(raw)
    if written:
        obj["metadata"]["managedFields"] = written
    else:
        obj["metadata"].pop("managedFields", None)


def keep_times(obj: JsonObject, old: JsonObject) -> None:
    """Where nothing differs but the times in managedFields, put the old ones back, so that nothing is written.

    Applying what defaulting completes (inside an atomic list, say) differs from the live object until it is defaulted.
    """
    if _timeless(obj) == _timeless(old) and "managedFields" in old["metadata"]:
        obj["metadata"]["managedFields"] = copy_json(old["metadata"]["managedFields"])


def _timeless(obj: JsonObject) -> JsonObject:
    entries = [{**entry, "time": ""} for entry in obj["metadata"].get("managedFields") or []]
    entries.sort(key=lambda entry: (entry.get("operation", ""), entry.get("manager", ""), entry.get("subresource", "")))
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def track_update(
    node: Node | None,
    obj: JsonObject,
    old: JsonObject | None,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
    reset_status: bool,
) -> None:
    """Record in place that ``manager`` changed ``old`` into ``obj`` by something else than server-side apply.

    ``reset_status``: the status of a new object is the server's, not the manager's.
    """
    before = old or {}
    differing = {key for key in {*obj, *before} if obj.get(key) != before.get(key)}
    new_leaves = leaves(node, {key: value for key, value in obj.items() if key in differing})
    old_leaves = leaves(node, {key: value for key, value in before.items() if key in differing})
    if old is None and reset_status:
        new_leaves = {path: value for path, value in new_leaves.items() if path[0] != "f:status"}
    changed = frozenset(
        path for path, value in new_leaves.items() if path not in old_leaves or old_leaves[path] != value
    )
    removed = frozenset(path for path in old_leaves if path not in new_leaves)
    entries = read_entries(obj)
    if not changed and not removed:
        return
    mine = Entry(manager, UPDATE, api_version, subresource, now, frozenset())
    others = []
    for entry in entries:
        if entry.identity == mine.identity:
            mine = replace(mine, fields=entry.fields)
        else:
            others.append(replace(entry, fields=entry.fields - changed - removed))
    write_entries(obj, [*others, replace(mine, fields=(mine.fields | changed) - removed)])
