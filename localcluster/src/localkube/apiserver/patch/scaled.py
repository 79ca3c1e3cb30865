"""Who manages the replicas of an object, seen from its Scale, and back."""

from __future__ import annotations

from dataclasses import replace

from localkube.apiserver.patch.fields import Path
from localkube.apiserver.patch.managed import Entry

_IN_SCALE: Path = ("f:spec", "f:replicas")


def replicas_field(path: str) -> Path:
    """Returns the field at a path such as ``.spec.replicas``."""
    return tuple(f"f:{step}" for step in path.removeprefix(".").split("."))


def entries_of_scale(entries: list[Entry], replicas: Path) -> list[Entry]:
    """Of the managers of an object those of its replicas, as managers of its Scale."""
    return [replace(entry, fields=frozenset({_IN_SCALE})) for entry in entries if replicas in entry.fields]


def entries_of_object(entries: list[Entry], scale: list[Entry], replicas: Path) -> list[Entry]:
    """Returns the managers of an object after those of its Scale have changed."""
    owners = {entry.identity: entry for entry in scale if _IN_SCALE in entry.fields}
    kept = []
    for entry in entries:
        owner = owners.pop(entry.identity, None)
        fields = entry.fields - {replicas} if owner is None else entry.fields | {replicas}
        kept.append(replace(entry, fields=fields, time=entry.time if owner is None else owner.time))
    return [*kept, *(replace(entry, fields=frozenset({replicas})) for entry in owners.values())]
