"""Which field manager set an annotation, as the API server records it in ``metadata.managedFields``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rstore_api.domain.kubernetes import CLI_FIELD_MANAGER

_APPLIERS = re.compile("apply|argo|flux|kustomize|helm|terraform|pulumi|ansible|fleet|replace", re.IGNORECASE)
"""Parts of the names of managers that apply manifests without server-side apply."""


@dataclass(frozen=True)
class Setter:
    """A field manager, and whether it writes by server-side apply."""

    manager: str
    by_apply: bool = False

    @property
    def applies_manifests(self) -> bool:
        """Whether what it sets is part of a manifest, and so is set again and again."""
        return self.manager != CLI_FIELD_MANAGER and (self.by_apply or _APPLIERS.search(self.manager) is not None)

    @property
    def is_person(self) -> bool:
        """Whether it is certain that somebody asks each time."""
        return self.manager == CLI_FIELD_MANAGER


def annotation_setters(metadata: Mapping[str, Any]) -> dict[str, Setter]:
    """Return the manager that set each annotation, as far as that is recorded; the latest where there are several."""
    latest: dict[str, tuple[str, Setter]] = {}
    for entry in metadata.get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:metadata", {})
        annotations = fields.get("f:annotations", {}) if isinstance(fields, Mapping) else {}
        setter = Setter(str(entry.get("manager") or ""), entry.get("operation") == "Apply")
        stamp = str(entry.get("time") or "")
        for name in annotations:
            key = name.removeprefix("f:")
            if key not in latest or latest[key][0] <= stamp:
                latest[key] = (stamp, setter)
    return {key: setter for key, (_, setter) in latest.items() if setter.manager}
