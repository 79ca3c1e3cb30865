"""Who set an annotation, as the API server records it in ``metadata.managedFields``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BY_HAND = frozenset({"kubectl-annotate", "kubectl-edit", "kubectl-patch", "rstore-cli"})
"""Field managers behind which somebody sits; all others apply manifests, again and again."""


def annotation_managers(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The field manager of each annotation that has one, the latest where there are several."""
    latest: dict[str, tuple[str, str]] = {}
    for entry in metadata.get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:metadata", {})
        annotations = fields.get("f:annotations", {}) if isinstance(fields, Mapping) else {}
        stamp = (str(entry.get("time") or ""), str(entry.get("manager") or ""))
        for name in annotations:
            key = name.removeprefix("f:")
            latest[key] = max(latest.get(key, ("", "")), stamp)
    return {key: manager for key, (_, manager) in latest.items() if manager}


def is_repeated_by_machine(manager: str | None) -> bool:
    """Whether the annotation is part of a manifest that something keeps applying."""
    return bool(manager) and manager not in BY_HAND
