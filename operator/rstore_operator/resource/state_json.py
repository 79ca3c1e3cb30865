"""``.status`` as JSON, both ways, and the merge patch between two of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from rstore_operator.resource.state import AUTOMATIC, FORCED, PLANNED, Condition, OperatorName, Stored, StoreStatus
from rstore_operator.resource.units import format_time, format_time_seconds

T = TypeVar("T")

_OF_SECONDARIES = ("ackedRevision", "lagRevisions", "lagBytes", "lagSeconds", "connected")
"""The fields that say where a region stands behind the primary; other regions have none."""
_IN_WHOLE_SECONDS = frozenset({
    "at", "since", "lastTransitionTime", "observedAt", "firstRecoverable", "lastRecoverable",
    "completedAt", "time",
})  # fmt: skip
_NOT_NEEDED = frozenset({
    "to", "askedFor", "aborted", "reason", "lastKnownRevision", "revisionsLost", "revisionsUnacknowledged",
    "acknowledgedKept", "cutOff",
})  # fmt: skip
"""The fields that an intent can be followed without."""
_DAMAGE = re.compile(r".* - at `\$(?P<path>[^`]*)`", re.DOTALL)
_PATH = re.compile(r"\.(\w+)|\[([0-9]+)\]")


class UnreadableIntentError(ValueError):
    """The change of primary in ``.status`` cannot be understood."""


class _Claim(Stored, frozen=True):
    operator: OperatorName | None = None


class _Conditions(Stored, frozen=True):
    conditions: tuple[Condition, ...] = ()


def status_to_json(status: StoreStatus) -> dict[str, Any]:
    """The status as the API server stores it; fields that say nothing are left out."""
    raw = stored_to_json(status)
    if not status.witness_tenure.change:
        raw.pop("witnessLease", None)
    for region in raw.get("regions", ()):
        if region["role"] != "Secondary":
            for name in _OF_SECONDARIES:
                del region[name]
        if not region.get("quarantine", {}).get("tails"):
            region.pop("quarantine", None)
    return raw


def conditions_to_json(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """The conditions as they are stored."""
    return [stored_to_json(condition) for condition in conditions]


def stored_to_json(value: Stored) -> dict[str, Any]:
    """The value as the API server stores it; fields that say nothing are left out."""
    plain: dict[str, Any] = _plain("", msgspec.to_builtins(value, builtin_types=(datetime,)))
    return plain


def _plain(name: str, value: Any) -> Any:
    """The value of a field, with its times as text, and without what is empty."""
    kind = type(value)  # exactly these: each status that is decided on comes through here
    if kind is dict:
        fields = {}
        for key, item in value.items():
            if item is not None and (item := _plain(key, item)) != {}:
                fields[key] = item
        return fields
    if kind is tuple:
        return [_plain(name, item) for item in value]
    if kind is datetime:
        return format_time_seconds(value) if name in _IN_WHOLE_SECONDS else format_time(value)
    return value


def status_from_json(raw: object) -> StoreStatus:
    """The status that was stored.

    Raises UnreadableIntentError when an intent is recorded that cannot be understood: acting as if there were none
    could promote a second region. Anything else that is missing or odd reads as unknown, and is rebuilt from the
    regions.
    """
    data = dict(raw) if isinstance(raw, Mapping) else {}
    if not data.get("failover"):
        data.pop("failover", None)
    status = _from_json(data, StoreStatus)
    if (intent := status.failover) is not None:
        if intent.mode not in (PLANNED, AUTOMATIC, FORCED):
            raise UnreadableIntentError(f"status.failover has a mode that this version does not know: {intent.mode!r}")
        if intent.mode == PLANNED and not intent.to_region:
            raise UnreadableIntentError("status.failover holds a switchover that names no region to switch to")
    return status


def operator_from_json(raw: object) -> OperatorName | None:
    """The installation that runs the store, whatever else is in the status; None when none is named."""
    claim = raw.get("operator") if isinstance(raw, Mapping) else None
    return _from_json({"operator": claim}, _Claim).operator if claim else None


def conditions_from_json(raw: object) -> tuple[Condition, ...]:
    """The conditions in a status, whatever else is in it."""
    return _from_json(dict(raw) if isinstance(raw, Mapping) else {}, _Conditions).conditions


def _from_json(data: dict[str, Any], kind: type[T]) -> T:
    """The object without what is damaged: a field that is left out has its default, one without a default takes the
    object with it. The loop is bounded, since each pass removes a value."""
    while True:
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            damage = _DAMAGE.fullmatch(str(error))
            path = [name or int(index) for name, index in _PATH.findall(damage["path"] if damage else "")]
            if path[:1] == ["failover"] and not (len(path) == 2 and path[1] in _NOT_NEEDED):
                text = f"status.failover holds an intent that this version cannot read: {error}"
                raise UnreadableIntentError(text) from error
            data = copy.deepcopy(data)
            holder: Any = data
            for step in path[:-1]:
                holder = holder[step]
            del holder[path[-1]]


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes ``new`` of ``old``; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch
