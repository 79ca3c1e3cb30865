"""events.k8s.io/v1 Events are the stored core/v1 Events in another shape; this converts between the two. Pure."""

from __future__ import annotations

from localkube.apiserver.jsonobj import JsonObject

_RENAMED = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
)

_LEFT_OUT = ("reportingController", "reportingInstance")
"""What the newer shape does not show when it is empty."""


def from_core(obj: JsonObject) -> JsonObject:
    """A core/v1 Event as events.k8s.io/v1."""
    shown = dict(obj)
    for core, newer in _RENAMED:
        if core in shown:
            shown[newer] = shown.pop(core)
    for newer in _LEFT_OUT:
        if not shown.get(newer):
            shown.pop(newer, None)
    shown["apiVersion"] = "events.k8s.io/v1"
    return shown


def to_core(obj: JsonObject) -> JsonObject:
    """An events.k8s.io/v1 Event as core/v1."""
    stored = dict(obj)
    for core, newer in _RENAMED:
        if newer in stored:
            stored[core] = stored.pop(newer)
    stored["apiVersion"] = "v1"
    return stored
