"""Events: their defaults, and what is wrong with them; there are more rules for one with an ``eventTime``."""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import Table, always_named, check, invalid, needed
from localkube.apiserver.schema import formats


def default_event(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of an Event."""
    child(obj, "involvedObject")
    child(obj, "source")
    set_defaults(obj, reportingComponent="", reportingInstance="")


def complete_event(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Times that an Event does not have are shown as null."""
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(name, None)


def validate_event(obj: JsonObject, old: JsonObject | None, subresource: str) -> list[Cause]:
    """Returns what is wrong with an Event."""
    del old, subresource
    causes = list(_place(obj))
    if obj.get("eventTime") is not None:
        causes += check(_REPORTED, obj)
        causes += _reporter(obj.get("reportingComponent") or "", "reportingComponent")
        causes += [too_many for name, limit in _LIMITS if (too_many := _longer(obj, name, limit)) is not None]
    return causes


_REPORTED: Table = (("reportingInstance", needed()), ("action", needed()), ("reason", needed()))
_LIMITS = (("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024))


def _place(obj: JsonObject) -> Iterator[Cause]:
    """Yields an Event is in the namespace of what it is about; a newer one may be about something elsewhere."""
    space = obj["involvedObject"].get("namespace") or ""
    own, timed = obj["metadata"]["namespace"], obj.get("eventTime") is not None
    homes = ("default", "kube-system") if timed else ("default",)
    if (own not in homes) if not space else (space != own and not timed):
        yield invalid("involvedObject.namespace", space, "does not match event.namespace")


def _reporter(name: str, path: str) -> Iterator[Cause]:
    yield from needed()(name, path)
    yield from always_named(formats.qualified_name)(name, path)


def _longer(obj: JsonObject, name: str, limit: int) -> Cause | None:
    return invalid(name, "", f"can have at most {limit} characters") if len(obj.get(name) or "") > limit else None
