"""Where the parts of a definition stand for its checks: what all versions share counts once, at the top.

The server moves a schema, subresources, columns and selectable fields that are the same in all versions (so always
those of a single version) up to ``spec`` before it looks at them; the fields in its answers are those places.
"""

from __future__ import annotations

from dataclasses import dataclass

from localkube.apiserver.jsonobj import Json, JsonObject, lookup

_PARTS = ("schema", "subresources", "additionalPrinterColumns", "selectableFields")


@dataclass(frozen=True)
class Section:
    """What all versions share, or what one version has for itself."""

    path: str
    schema_path: str
    shared: bool
    version: str
    schema: JsonObject | None
    subresources: JsonObject | None
    columns: tuple[JsonObject, ...]
    selectable_fields: tuple[JsonObject, ...]
    has_status: bool
    """Whether the status subresource is enabled in any version (shared) or in this one."""


def shared_parts(spec: JsonObject) -> dict[str, Json]:
    """Returns the parts that are the same in all versions, by name."""
    versions = spec.get("versions") or []
    if not versions:
        return {}
    return {
        part: versions[0].get(part)
        for part in _PARTS
        if all(version.get(part) == versions[0].get(part) for version in versions)
    }


def sections_of(spec: JsonObject) -> list[Section]:
    """Returns one section for each version, in order, then the shared one."""
    versions = spec.get("versions") or []
    shared = shared_parts(spec)
    sections = []
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        own = {part: version.get(part) for part in _PARTS if part not in shared}
        sections.append(_section(path, f"{path}.schema", own, version, [version]))
    sections.append(_section("spec", "spec.validation", shared, None, versions))
    return sections


def _section(
    path: str, schema_path: str, parts: dict[str, Json], version: JsonObject | None, versions: list[JsonObject]
) -> Section:
    return Section(
        path=path,
        schema_path=schema_path,
        shared=version is None,
        version="" if version is None else str(version.get("name")),
        schema=parts.get("schema"),
        subresources=parts.get("subresources"),
        columns=tuple(parts.get("additionalPrinterColumns") or ()),
        selectable_fields=tuple(parts.get("selectableFields") or ()),
        has_status=any(lookup(item, "subresources", "status") is not None for item in versions),
    )
