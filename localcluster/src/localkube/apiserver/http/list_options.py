"""The query of a list, a watch or a deletion of a collection (``metav1.ListOptions``): read, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from localkube.apiserver.errors import Cause, bad_request, invalid

EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"
_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_INTEGER = re.compile(r"[+-]?\d+")


def flag(query: Mapping[str, str], name: str) -> bool:
    """Returns whether a boolean parameter: whatever is there means yes, but for ``0`` and ``false``."""
    return name in query and query[name].lower() not in ("0", "false")


def integer(query: Mapping[str, str], name: str) -> int | None:
    """Returns a whole number, None where the parameter is missing; raises a 400."""
    text = query.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def check_timeout(query: Mapping[str, str]) -> None:
    """Raise the 400 for a ``timeout`` that is no duration."""
    text = query.get("timeout", "")
    if text and not _DURATION.fullmatch(text):
        raise bad_request(f'invalid timeout specified in the request URL - time: invalid duration "{text}"')


def version_number(text: str) -> int:
    """Returns a resourceVersion as a number, 0 for none; raises ValueError with the complaint of a real server."""
    if text and not text.isdecimal():
        raise ValueError(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text or 0)


@dataclass(frozen=True)
class ListOptions:
    """The parameters that lists and watches share."""

    watch: bool
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    """0 for no limit."""
    continue_token: str = ""
    timeout_seconds: int | None = None
    bookmarks: bool = False
    initial_events: bool | None = None
    """None where the request says nothing about them."""

    @property
    def exact(self) -> bool:
        """Returns whether a list is wanted as it was at its resourceVersion, which is also what a limit means."""
        if self.match:
            return self.match == EXACT
        return self.limit > 0 and self.resource_version not in ("", "0")


def list_options(query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Read and check the query; raises a 400 or a 422."""
    options = ListOptions(
        watch=watch,
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        resource_version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        limit=max(0, integer(query, "limit") or 0),
        continue_token=query.get("continue", ""),
        timeout_seconds=integer(query, "timeoutSeconds"),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial_events=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    causes = _watch_causes(options) if watch else _list_causes(options)
    if causes:
        raise invalid("meta.k8s.io", "ListOptions", "", causes)
    return options


def _forbidden(field: str, why: str) -> Cause:
    return Cause(field, f"Forbidden: {why}", "FieldValueForbidden")


def _match_forbidden(why: str) -> Cause:
    return _forbidden("resourceVersionMatch", f"resourceVersionMatch {why}")


def _match_unsupported(match: str, *supported: str) -> Cause:
    listed = ", ".join(f'"{item}"' for item in supported)
    message = f'Unsupported value: "{match}": supported values: {listed}'
    return Cause("resourceVersionMatch", message, "FieldValueNotSupported")


def _list_causes(options: ListOptions) -> list[Cause]:
    causes = []
    if options.match:
        if not options.resource_version:
            causes.append(_match_forbidden("is forbidden unless resourceVersion is provided"))
        if options.continue_token:
            causes.append(_match_forbidden("is forbidden when continue is provided"))
        if options.match not in (EXACT, NOT_OLDER_THAN):
            causes.append(_match_unsupported(options.match, EXACT, NOT_OLDER_THAN, ""))
        if options.match == EXACT and options.resource_version == "0":
            causes.append(_match_forbidden('"exact" is forbidden for resourceVersion "0"'))
    if options.initial_events is not None:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return causes


def _watch_causes(options: ListOptions) -> list[Cause]:
    causes = []
    if options.initial_events is not None and options.match != NOT_OLDER_THAN:
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes.append(_forbidden("resourceVersionMatch", why))
    if options.match:
        if options.initial_events is None:
            causes.append(_match_forbidden("is forbidden for watch unless sendInitialEvents is provided"))
        if options.match != NOT_OLDER_THAN:
            causes.append(_match_unsupported(options.match, NOT_OLDER_THAN))
        if options.continue_token:
            causes.append(_match_forbidden("is forbidden when continue is provided"))
    return causes
