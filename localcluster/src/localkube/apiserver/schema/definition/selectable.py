"""Selectable fields: at most eight paths to texts, booleans or integers outside of metadata. Pure."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.schema.definition import field_path
from localkube.apiserver.schema.definition.causes import duplicate, invalid, required
from localkube.apiserver.schema.definition.sections import Section

_MAX_FIELDS = 8
_TYPES = ("string", "boolean", "integer")


def selectable_causes(section: Section) -> list[Cause]:
    """What is wrong with the selectable fields of a section."""
    path = f"{section.path}.selectableFields"
    if not section.selectable_fields:
        return []
    schema = (section.schema or {}).get("openAPIV3Schema")
    if schema is None:
        why = (
            "may only be set when validations.schema is included"
            if section.shared
            else "may only be set when `version.schema.openAPIV3Schema` is not included"
        )
        return [invalid(path, "", why)]
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, item in enumerate(section.selectable_fields):
        at, text = f"{path}[{index}].jsonPath", item.get("jsonPath") or ""
        if not text:
            causes.append(required(at))
            continue
        try:
            shown, found = field_path.resolve(schema, text, brackets=False)
        except ValueError as error:
            causes.append(invalid(at, text, f"is an invalid path: {error}"))
            continue
        if shown.startswith(".metadata"):
            causes.append(invalid(at, text, "must not point to fields in metadata"))
        if found.get("type") not in _TYPES:
            why = (
                "must point to a field of type string, boolean or integer. "
                "Enum string fields and strings with formats are allowed."
            )
            causes.append(invalid(at, text, why))
        if shown in seen:
            causes.append(duplicate(at, text))
        seen.add(shown)
    if len(seen) > _MAX_FIELDS:
        causes.append(Cause(path, f"Too many: {len(seen)}: must have at most {_MAX_FIELDS} items", "FieldValueTooMany"))
    return causes
