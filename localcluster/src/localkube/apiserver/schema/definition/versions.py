"""The versions of a definition: names, exactly one that is stored, warnings of deprecation."""

from __future__ import annotations

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema.definition.causes import invalid, required
from localkube.apiserver.schema.definition.names import label_problem
from localkube.apiserver.schema.definition.sections import shared_parts

_MAX_WARNING_BYTES = 256


def versions_causes(spec: JsonObject) -> list[Cause]:
    """Returns what is wrong with the versions as such; their schemas are looked at elsewhere."""
    versions = spec.get("versions") or []
    causes = []
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        problem = label_problem(version["name"])
        if problem:
            causes.append(invalid(f"{path}.name", version["name"], problem))
            if index == 0:
                causes.append(invalid("spec.version", version["name"], problem))
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            causes.append(required(f"{path}.schema.openAPIV3Schema"))
        causes += [
            invalid(f"{path}.deprecationWarning", version.get("deprecationWarning"), problem)
            for problem in _warning_problems(version)
        ]
    if len({version["name"] for version in versions}) < len(versions):
        causes.append(invalid("spec.versions", _as_go(spec), "must contain unique version names"))
    if sum(bool(version["storage"]) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        causes.append(invalid("spec.versions", _as_go(spec), why))
    return causes


def _warning_problems(version: JsonObject) -> list[str]:
    text = version.get("deprecationWarning")
    if text is None:
        return []
    if not version.get("deprecated"):
        return ["can only be set for deprecated versions"]
    problems = []
    if len(text.encode()) > _MAX_WARNING_BYTES:
        problems.append(f"must be <= {_MAX_WARNING_BYTES} characters long")
    if not text:
        problems.append("must not be an empty string")
    odd = next((index for index, char in enumerate(text) if not (char.isprintable() or char == " ")), None)
    if odd is not None:
        at = len(text[:odd].encode())
        problems.append(f"must only contain printable UTF-8 characters; non-printable character found at index {at}")
    return problems


def stored_versions_causes(stored: list[str] | None, spec: JsonObject) -> list[Cause]:
    """``status.storedVersions`` holds the stored version, and only versions that there are."""
    path = "status.storedVersions"
    if not stored:
        return [invalid(path, None, "must have at least one stored version")]
    versions = spec.get("versions") or []
    causes = [
        invalid(path, stored, f"must have the storage version {version['name']}")
        for version in versions
        if version["storage"] and version["name"] not in stored
    ]
    names = {version["name"] for version in versions}
    for index, name in enumerate(stored):
        if name not in names:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions"
                f" until a storage migration ensures no data remains persisted in {name} and removes {name} from"
                " status.storedVersions"
            )
            causes.append(invalid(f"{path}[{index}]", name, why))
    return causes


def _as_go(spec: JsonObject) -> Json:
    versions = spec.get("versions")
    if versions is None:
        return None
    shared = shared_parts(spec)

    def part(version: JsonObject, name: str) -> Json:
        return None if name in shared else version.get(name)

    return [
        {
            "Name": version["name"],
            "Served": version["served"],
            "Storage": version["storage"],
            "Deprecated": bool(version.get("deprecated")),
            "DeprecationWarning": version.get("deprecationWarning"),
            "Schema": part(version, "schema"),
            "Subresources": part(version, "subresources"),
            "AdditionalPrinterColumns": part(version, "additionalPrinterColumns"),
            "SelectableFields": part(version, "selectableFields"),
        }
        for version in versions
    ]
