"""A store that knows nothing particular of any kind: it neither defaults, validates nor tracks ownership."""

from __future__ import annotations

from typing import Any

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.objects.store import Store
from localkube.apiserver.resources import Registry, Resource


def plain_store(registry: Registry | None = None, **options: Any) -> Store:
    """Returns an empty store without particulars of kinds."""
    return Store(registry, strategy=PlainStrategy(), **options)


class PlainStrategy:
    """No particulars: used by tests of the store alone."""

    def prepare(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:
        """Nothing."""

    def complete(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:
        """Nothing."""

    def deleting(self, resource: Resource, obj: JsonObject) -> None:
        """Nothing."""

    def validate(
        self,
        resource: Resource,
        obj: JsonObject,
        old: JsonObject | None,
        *,
        subresource: str = "",
        warnings: list[str] | None = None,
    ) -> list[Cause]:
        """Nothing is wrong."""
        del resource, obj, old, subresource, warnings
        return []

    def track(
        self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, manager: str, subresource: str
    ) -> None:
        """Nothing is recorded."""
