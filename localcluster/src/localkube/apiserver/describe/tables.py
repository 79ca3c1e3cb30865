"""``kubectl get`` as the server prints it: ``meta.k8s.io/v1`` Tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from localkube.apiserver import jsonpath
from localkube.apiserver.describe.ages import age
from localkube.apiserver.describe.pod_printer import pod_conditions
from localkube.apiserver.describe.printers import EVENT_COLUMNS, PRINTERS, event_cells, shown_name
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.resources import PrinterColumn, Resource

META_V1 = "meta.k8s.io/v1"
_NAME_HELP = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
_AGE_HELP = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_AGE = PrinterColumn("Age", "date", ".metadata.creationTimestamp", description=_AGE_HELP)
"""The column of a custom resource that declares none."""


@dataclass(frozen=True)
class Printer:
    """Columns of a kind, and the cells of one object."""

    columns: tuple[JsonObject, ...]
    cells: Callable[[JsonObject, datetime], list[Json]]


def printer_for(resource: Resource) -> Printer:
    """Returns how a resource is printed."""
    if resource.custom:
        return _custom(resource.columns)
    if resource.kind == "Event":
        *of_events, _ = EVENT_COLUMNS
        last = _column("Name", "string", "name", _NAME_HELP, 1)
        return Printer((*(_heading(heading) for heading in of_events), last), event_cells)
    printer = PRINTERS.get(resource.key)
    if printer is None:
        return _custom(())
    headings, cells = printer
    columns = [_column("Name", "string", "name", _NAME_HELP), *(_heading(heading) for heading in headings)]
    return Printer(tuple(columns), lambda obj, now: [shown_name(obj), *cells(obj, now)])


def _heading(text: str) -> JsonObject:
    name, _, kind = text.removeprefix("+").partition(":")
    return _column(name, kind or "string", "", name, 1 if text.startswith("+") else 0)


def _column(name: str, kind: str, form: str, description: str, priority: int = 0) -> JsonObject:
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


def _custom(declared: tuple[PrinterColumn, ...]) -> Printer:
    columns = [_column("Name", "string", "name", _NAME_HELP)]
    shown = declared or (_AGE,)
    columns += [_column(item.name, item.type, item.format, _help(item), item.priority) for item in shown]

    def cells(obj: JsonObject, now: datetime) -> list[Json]:
        return [shown_name(obj), *(_cell(item, obj, now) for item in shown)]

    return Printer(tuple(columns), cells)


def _help(column: PrinterColumn) -> str:
    return column.description or f"Custom resource definition column (in JSONPath format): {column.json_path}"


def _cell(column: PrinterColumn, obj: JsonObject, now: datetime) -> Json:
    try:
        values = jsonpath.find(column.json_path, obj)
    except ValueError:
        return None
    if not values or values[0] is None:
        return None
    value = values[0]
    if column.type == "string":
        return " ".join(_text(item) for item in values)
    if column.type == "date":
        if not isinstance(value, str):
            return None
        try:
            return age(value, now)
        except ValueError:
            return "<invalid>"
    if column.type == "integer":
        return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if column.type == "number":
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if column.type == "boolean":
        return value if isinstance(value, bool) else None
    return None


def _text(value: Json) -> str:
    """Returns a value as a column of texts shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def partial_metadata(obj: JsonObject, api_version: str = META_V1) -> JsonObject:
    """Returns the object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}


def table(
    resource: Resource,
    objects: Iterable[JsonObject],
    now: datetime,
    *,
    metadata: JsonObject | None = None,
    include: str = "Metadata",
    headers: bool = True,
    api_version: str = META_V1,
) -> JsonObject:
    """Returns a Table of objects; ``include`` is the query's ``includeObject`` (None, Metadata or Object)."""
    printer = printer_for(resource)
    rows = []
    for obj in objects:
        cells = printer.cells(obj, now)
        match include:
            case "None":
                shown = None
            case "Object":
                shown = obj
            case _:
                shown = partial_metadata(obj, api_version)
        row: JsonObject = {"cells": cells, "object": shown}
        conditions = pod_conditions(obj) if resource.key == "pods" else []
        if conditions:
            row["conditions"] = conditions
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata or {},
        "columnDefinitions": list(printer.columns) if headers else None,
        "rows": rows,
    }
