"""Who manages which field: reading, updating and writing ``metadata.managedFields``.

After Kubernetes' field managers: what an update changes becomes its manager's and nobody else's; a manager's time is
that of its last change; an object that nobody has ever been recorded for stays so until it is applied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from localkube.apiserver.jsonobj import JsonObject, copy_json
from localkube.apiserver.patch.fields import (
    SYSTEM_FIELDS,
    Comparison,
    Fields,
    Path,
    compare,
    from_fields_v1,
    owned_as_one,
    to_fields_v1,
)
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema.node import Node

APPLY = "Apply"
UPDATE = "Update"
MAX_UPDATERS = 10
_OLD_UPDATES = "ancient-changes"
_BEFORE_APPLY = "before-first-apply"


@dataclass(frozen=True)
class Entry:
    """What one manager owns; ``time`` is empty where it has not changed anything."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Returns what tells entries apart: an applier is the same in every version."""
        version = "" if self.operation == APPLY else self.api_version
        return (self.operation, self.manager, version, self.subresource)

    def describe(self) -> str:
        """Returns the manager as conflict messages name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == UPDATE:
            text += f" using {self.api_version}"
        return text


def read_entries(raw_entries: object) -> list[Entry]:
    """Returns the entries of ``metadata.managedFields``; raises ValueError where one is malformed."""
    if not isinstance(raw_entries, list):
        return []
    entries: dict[tuple[str, str, str, str], Entry] = {}
    for index, raw in enumerate(raw_entries):
        if not isinstance(raw, dict) or raw.get("operation") not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not raw.get("apiVersion"):
            raise ValueError("apiVersion must not be empty")
        if raw.get("fieldsType") != "FieldsV1":
            raise ValueError(f"invalid fieldsType in managed fields entry {index}")
        entry = Entry(
            manager=str(raw.get("manager") or ""),
            operation=raw["operation"],
            api_version=str(raw["apiVersion"]),
            subresource=str(raw.get("subresource") or ""),
            time=str(raw.get("time") or ""),
            fields=from_fields_v1(raw.get("fieldsV1") or {}),
        )
        entries[entry.identity] = entry
    return list(entries.values())


def write_entries(obj: JsonObject, entries: list[Entry]) -> None:
    """Set the object's managedFields, in order; entries that own nothing are dropped."""
    written = []
    for entry in sorted(
        entries, key=lambda item: (item.operation, item.time, item.manager, item.api_version, item.subresource)
    ):
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
        if not entry.time:
            del raw["time"]
        if entry.subresource:
            raw["subresource"] = entry.subresource
        written.append(raw)
    if written:
        obj["metadata"]["managedFields"] = written
    else:
        obj["metadata"].pop("managedFields", None)


def keep_times(obj: JsonObject, old: JsonObject) -> None:
    """Where nothing differs but the times in managedFields, put the old ones back, so that nothing is written."""
    if _timeless(obj) == _timeless(old) and "managedFields" in old["metadata"]:
        obj["metadata"]["managedFields"] = copy_json(old["metadata"]["managedFields"])


def _timeless(obj: JsonObject) -> JsonObject:
    entries = [{**entry, "time": ""} for entry in obj["metadata"].get("managedFields") or []]
    entries.sort(key=lambda entry: (entry.get("operation", ""), entry.get("manager", ""), entry.get("subresource", "")))
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


@dataclass(frozen=True)
class Writer:
    """Who writes, through what, and when."""

    manager: str
    api_version: str
    subresource: str = ""
    now: str = ""
    ignored: Fields = frozenset()
    """Fields that nobody owns through this endpoint, because what it is given for them is not kept."""

    @classmethod
    def through(cls, resource: Resource, subresource: str, manager: str, now: str) -> Writer:
        """Returns the writer of an object by one of its endpoints."""
        ignored: set[Path] = set()
        if subresource == "status":
            ignored.add(("f:spec",))
            if resource.custom:
                ignored.add(("f:metadata",))
        elif resource.has_status:
            ignored.add(("f:status",))
        return cls(manager or "unknown", resource.api_version, subresource, now, frozenset(ignored))

    def entry(self, operation: str, fields: Fields) -> Entry:
        """Returns an entry of this writer, without a time."""
        return Entry(self.manager, operation, self.api_version, self.subresource, "", fields)


def track_update(node: Node | None, obj: JsonObject, old: JsonObject | None, writer: Writer) -> None:
    """Record in place that something else than server-side apply changed ``old`` into ``obj``.

    What ``obj`` says about managers counts where it is well-formed, so that a client can write managedFields; a list
    of one empty entry removes them all.
    """
    entries = _of_schema(node, _present_entries(obj, old, writer))
    if old is None or _counts(node, entries, obj, old, writer):
        entries = with_update(node, entries, old or {}, obj, writer)
    write_entries(obj, entries)


def _counts(node: Node | None, entries: list[Entry], obj: JsonObject, old: JsonObject, writer: Writer) -> bool:
    """Returns whether an update is recorded: where nobody owns anything it is not, nor is a scale that nobody has set
    yet."""
    if writer.subresource != "scale":
        return bool(entries)
    comparison = compare(node, old, obj)
    return any(entry.fields & (comparison.added | comparison.modified) for entry in entries)


def _present_entries(obj: JsonObject, old: JsonObject | None, writer: Writer) -> list[Entry]:
    given = obj["metadata"].get("managedFields")
    if old is not None and not writer.subresource:
        if given == [{}]:
            return []
        try:
            entries = read_entries(given)
        except ValueError:
            entries = []
        if entries:
            return entries
    try:
        return read_entries(old["metadata"].get("managedFields")) if old is not None else []
    except ValueError:
        return []


def entries_before_apply(node: Node | None, live: JsonObject, writer: Writer) -> list[Entry]:
    """Returns the entries of an object that is about to be applied: where there are none, all fields have one owner."""
    entries = read_entries(live["metadata"].get("managedFields"))
    if entries:
        return _of_schema(node, entries)
    return with_update(node, [], {}, live, replace(writer, manager=_BEFORE_APPLY))


def _of_schema(node: Node | None, entries: list[Entry]) -> list[Entry]:
    return [replace(entry, fields=owned_as_one(node, entry.fields)) for entry in entries]


def with_update(
    node: Node | None, entries: list[Entry], old: JsonObject, new: JsonObject, writer: Writer
) -> list[Entry]:
    """Returns the entries after an update: what it set is the writer's alone, what it removed is nobody's."""
    comparison = compare(node, old, new).without(writer.ignored)
    taken = frozenset(comparison.added | comparison.modified)
    kept = {entry.identity: without_fields(entry, comparison) for entry in entries}
    mine = writer.entry(UPDATE, taken - SYSTEM_FIELDS)
    if mine.fields:
        before = kept.get(mine.identity)
        joined = mine.fields | before.fields if before is not None else mine.fields
        kept[mine.identity] = replace(mine, fields=joined, time=writer.now)
    return _capped([entry for entry in kept.values() if entry.fields])


def without_fields(entry: Entry, comparison: Comparison) -> Entry:
    """Returns an entry without what somebody else has changed."""
    return replace(entry, fields=entry.fields - comparison.added - comparison.modified - comparison.removed)


def _capped(entries: list[Entry]) -> list[Entry]:
    """At most ``MAX_UPDATERS`` entries of updates: the oldest of the same version become one."""
    updaters = sorted(
        (entry for entry in entries if entry.operation == UPDATE), key=lambda entry: (entry.time, entry.manager)
    )
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return entries
    kept = {entry.identity: entry for entry in entries}
    first: dict[str, Entry] = {}
    for entry in updaters:
        if excess <= 0:
            break
        bucket = Entry(_OLD_UPDATES, UPDATE, entry.api_version, "", entry.time, entry.fields)
        if entry.api_version in first:
            if bucket.identity not in kept:
                kept[bucket.identity] = kept.pop(first[entry.api_version].identity)
            fields = kept[bucket.identity].fields | entry.fields
            kept.pop(entry.identity)
            kept[bucket.identity] = replace(bucket, fields=fields)
            excess -= 1
        else:
            first[entry.api_version] = entry
    return list(kept.values())
