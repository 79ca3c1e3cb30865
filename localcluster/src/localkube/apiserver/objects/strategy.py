"""The seam between the store, which knows no kinds, and what is particular to each kind."""

from __future__ import annotations

from typing import Protocol

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.resources import Resource


class Strategy(Protocol):
    """What is particular to kinds: defaults, immutable fields, validation, field ownership."""

    def prepare(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:
        """Default an object in place, as it is when its manager is recorded; ``old`` is None at creation."""
        ...

    def complete(self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, dry_run: bool) -> None:
        """Add in place what is nobody's: addresses and other things that the server itself fills in."""
        ...

    def deleting(self, resource: Resource, obj: JsonObject) -> None:
        """Change in place an object whose deletion is asked for, before it is marked."""
        ...

    def validate(
        self,
        resource: Resource,
        obj: JsonObject,
        old: JsonObject | None,
        *,
        subresource: str = "",
        warnings: list[str] | None = None,
    ) -> list[Cause]:
        """Returns everything wrong with an object; adds to ``warnings`` what is accepted, but worth a word."""
        ...

    def track(
        self, resource: Resource, obj: JsonObject, old: JsonObject | None, *, manager: str, subresource: str
    ) -> None:
        """Record in ``metadata.managedFields`` what this write, through this version of the resource, changed."""
        ...
