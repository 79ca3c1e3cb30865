"""Events, of core/v1 and of events.k8s.io/v1: their defaults, what is wrong with them, what of them may change. Pure.

Both are stored in the shape of core/v1. The newer one's rules hold for whatever is written through the newer API, and
some of them for core Events with an ``eventTime``, which only newer clients set.
"""

from __future__ import annotations

from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.rules import Table, always_named, check, immutable, invalid, needed
from localkube.apiserver.schema import formats

_FIXED = (
    *("involvedObject", "related", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count"),
    *("type", "eventTime", "action", "reportingComponent", "reportingInstance"),
)


def default_event(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Defaults of an Event."""
    child(obj, "involvedObject")
    child(obj, "source")
    set_defaults(obj, reportingComponent="", reportingInstance="")


def complete_event(obj: JsonObject, old: JsonObject | None) -> None:  # noqa: ARG001
    """Times that an Event does not have are shown as null."""
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(name, None)


def validate_event(obj: JsonObject, old: JsonObject | None, *, newer: bool) -> list[Cause]:
    """What is wrong with an Event, or with how it changed; ``newer``: written as events.k8s.io/v1."""
    causes = list(_place(obj))
    if obj.get("eventTime") is not None:
        causes += check(_REPORTED, obj)
        causes += _reporter(
            obj.get("reportingComponent") or "", "reportingController" if newer else "reportingComponent"
        )
        causes += [too_many for name, limit in _LIMITS if (too_many := _longer(obj, name, limit)) is not None]
    if not newer:
        return causes
    if old is None:
        return [*causes, *_strict(obj), *_series(obj.get("series"))]
    series = obj.get("series")
    return [*causes, *(_series(series) if series != old.get("series") else ()), *_changed(obj, old)]


_REPORTED: Table = (("reportingInstance", needed()), ("action", needed()), ("reason", needed()))
_LIMITS = (("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024))


def _place(obj: JsonObject) -> Iterator[Cause]:
    """An Event is in the namespace of what it is about; a newer one may be about something elsewhere."""
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


def _strict(obj: JsonObject) -> Iterator[Cause]:
    """What only the newer API asks of a new Event."""
    yield from always_named(formats.dns_subdomain)(obj["metadata"].get("name") or "", "metadata.name")
    yield from needed()(obj.get("eventTime"), "eventTime")
    if obj.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {obj.get('type') or ''}")
    for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if obj.get(name):
            yield invalid(name, "", "needs to be unset")


def _series(value: Json) -> Iterator[Cause]:
    if value is None:
        return
    if (value.get("count") or 0) < 2:
        yield invalid("series.count", "", "should be at least 2")
    yield from needed()(value.get("lastObservedTime"), "series.lastObservedTime")


def _changed(obj: JsonObject, old: JsonObject) -> list[Cause]:
    """Of an Event of the newer kind only its series may change."""
    return [immutable(name, obj.get(name)) for name in _FIXED if obj.get(name) != old.get(name)]
