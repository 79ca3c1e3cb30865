"""``make generate``: writes docs/reference.md, every field of our kinds, from their definitions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "crds" / name for name in ("replicatedstores.yaml", "replicatedstorebackups.yaml")]
PAGE = ROOT / "docs" / "reference.md"
HEAD = """# Fields of a ReplicatedStore

Made from the definition by `make generate`; `kubectl explain rstore.spec` shows the same. A field with `[]` is a list
of what follows, one with `{}` a map.
"""


def page(store: dict[str, Any], *others: dict[str, Any]) -> str:
    """Returns the page for the CustomResourceDefinitions."""
    return "\n".join([HEAD, _section(store, ""), *(_section(each, each["spec"]["names"]["kind"]) for each in others)])


def _section(definition: dict[str, Any], title: str) -> str:
    """Returns what is about one kind; with a title its headings name the kind."""
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    names = definition["spec"]["names"]
    parts = [f"# {title}\n\n{_text(schema['description'])}\n"] if title else []
    parts += [f"`apiVersion: {definition['spec']['group']}/{version['name']}`, `kind: {names['kind']}`\n"]
    for part in ("spec", "status"):
        fields = schema["properties"][part]
        heading = f"{title} {part}".strip()
        parts.append(f"## {heading}\n\n{_text(fields['description'])}\n")
        parts.append("| field | type | default | what it is |\n|---|---|---|---|\n" + "".join(_rows(fields, "")))
    rules = list(schema["properties"]["spec"].get("x-kubernetes-validations", []))
    rules += schema.get("x-kubernetes-validations", [])
    if rules:
        parts.append("## Rules about several fields\n\n" + "".join(f"- {_text(rule['message'])}\n" for rule in rules))
    return "\n".join(parts)


def _rows(schema: dict[str, Any], path: str) -> list[str]:
    rows = []
    required = set(schema.get("required", []))
    for name, field in schema.get("properties", {}).items():
        place = f"{path}.{name}".lstrip(".")
        default = f"`{_json(field['default'])}`" if field.get("default") not in (None, {}) else ""
        default = "required" if name in required else default
        text = _text(field.get("description", "")) + _bounds(field)
        shown, inner = _kind(field)
        rows.append(f"| `{place}{inner}` | {shown} | {default} | {text} |\n")
        rows += _rows(_inside(field), place + inner)
    return rows


def _inside(field: dict[str, Any]) -> dict[str, Any]:
    inside = field.get("items") or field.get("additionalProperties")
    return inside if isinstance(inside, dict) and "properties" in inside else field if "properties" in field else {}


def _kind(field: dict[str, Any]) -> tuple[str, str]:
    """Returns the type of a field for people, and what follows its name."""
    if field.get("type") == "array":
        items = field.get("items", {})
        return f"list of {_kind(items)[0]}s", "[]" if "properties" in items else ""
    if isinstance(field.get("additionalProperties"), dict):
        return "map", "{}" if "properties" in field["additionalProperties"] else ""
    if "enum" in field:
        return " or ".join(f"`{_json(value)}`" for value in field["enum"]), ""
    return {"integer": "number", "number": "number", "boolean": "boolean"}.get(
        field.get("type", ""), field.get("type", "any")
    ), ""


def _bounds(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    texts = [f"From {low} to {high}."] if low is not None and high is not None else []
    messages = [_text(rule["message"]) for rule in field.get("x-kubernetes-validations", [])]
    texts += [f"Rule: {message}." for message in messages]
    return "".join(f" {text}" for text in texts)


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Writes the page; 0."""
    PAGE.write_text(page(*(yaml.safe_load(source.read_text()) for source in SOURCES)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
