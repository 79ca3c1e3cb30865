"""Events, of core/v1 and of events.k8s.io/v1: their defaults, what is wrong with them, what of them may change. Pure.

Both are stored in the shape of core/v1. The newer one's rules hold for whatever is written through the newer API, and
mostly for core Events with an ``eventTime``, which only newer clients set.
"""

from __future__ import annotations

from collections.abc import Iterator

from rstore_devcluster.apiserver.http.errors import Cause
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject
from rstore_devcluster.apiserver.kinds.common import child, set_defaults
from rstore_devcluster.apiserver.kinds.rules import always_named, check, immutable, invalid, needed
from rstore_devcluster.apiserver.schema import formats

_MAX_NOTE = 1024
_MAX_SHORT = 128
_ZERO: tuple[tuple[str, Json], ...] = (
    ("count", "needs to be unset"),
    ("firstTimestamp", "needs to be unset"),
    ("lastTimestamp", "needs to be unset"),
    ("source", "needs to be unset"),
)
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
    """What is wrong with an Event; ``newer``: written as events.k8s.io/v1."""
    if not newer and (old is not None or obj.get("eventTime") is None):
        return list(_place(obj))
    causes = [
        *_place(obj, cluster_may_differ=True),
        *_newer(obj, "reportingController" if newer else "reportingComponent"),
    ]
    if newer and old is None:
        causes += [invalid(name, "", why) for name, why in _ZERO if obj.get(name)]
    if newer and old is not None:
        return _changed(obj, old)
    return causes


def _place(obj: JsonObject, *, cluster_may_differ: bool = False) -> Iterator[Cause]:
    space = obj["involvedObject"].get("namespace") or ""
    own = obj["metadata"]["namespace"]
    if not space and own in ("default", "kube-system"):
        return
    if space != own and not (cluster_may_differ and space):
        yield invalid("involvedObject.namespace", space, "does not match event.namespace")


def _newer(obj: JsonObject, controller: str) -> Iterator[Cause]:
    reporter = obj.get("reportingComponent") or ""
    yield from needed()(obj.get("eventTime"), "eventTime")
    yield from needed()(reporter, controller)
    yield from always_named(formats.qualified_name)(reporter, controller)
    yield from check((("reportingInstance", needed()), ("action", needed()), ("reason", needed())), obj)
    for name, limit in (("reportingInstance", _MAX_SHORT), ("action", _MAX_SHORT), ("reason", _MAX_SHORT)):
        if len(obj.get(name) or "") > limit:
            yield invalid(name, "", f"can have at most {limit} characters")
    if len(obj.get("message") or "") > _MAX_NOTE:
        yield invalid("message", "", f"can have at most {_MAX_NOTE} characters")
    if obj.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {obj.get('type') or ''}")


def _changed(obj: JsonObject, old: JsonObject) -> list[Cause]:
    """Of an Event of the newer kind only its series may change."""
    return [immutable(name, obj.get(name)) for name in _FIXED if obj.get(name) != old.get(name)]
