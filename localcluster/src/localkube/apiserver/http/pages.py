"""Pages of a list: the continue token says at which version and after which object a list goes on."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

from localkube.apiserver.errors import ApiError, bad_request
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.storage.history import Matcher, Stored

_FORMAT = "meta.k8s.io/v1"
_NEWEST = -1
"""The version of a token that goes on with the newest objects."""
_AFTER = "\0"


@dataclass(frozen=True)
class Position:
    """Where a list goes on; ``version`` is None for the newest."""

    version: int | None
    start: str
    """The first key that is wanted: ``name``, or ``namespace/name`` in lists of all namespaces."""


def decode(token: str) -> Position:
    """Read a continue token; raises a 400."""
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error):
        raise _refused("invalid character in what should be JSON in base64") from None
    if not isinstance(content, dict) or content.get("v") != _FORMAT:
        given = content.get("v", "") if isinstance(content, dict) else ""
        raise _refused(f'server does not recognize this encoded version "{given}"')
    version, start = content.get("rv"), content.get("start")
    if not isinstance(version, int) or version == 0:
        raise _refused(f"incorrect encoded start resourceVersion (version {_FORMAT})")
    if not isinstance(start, str) or not start:
        raise _refused(f"encoded start key empty (version {_FORMAT})")
    key = start.removeprefix("/")
    if "." in key.split("/") or ".." in key.split("/") or "" in key.split("/"):
        raise _refused(start)
    return Position(None if version == _NEWEST else version, key)


def encode(position: Position) -> str:
    """Returns a continue token."""
    version = _NEWEST if position.version is None else position.version
    text = json.dumps({"v": _FORMAT, "rv": version, "start": position.start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def too_old(position: Position) -> ApiError:
    """410: the version of a token is no longer kept; it comes with a token that goes on with the newest."""
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    error = ApiError(410, "Expired", message)
    error.metadata = {"continue": encode(Position(None, position.start))}
    return error


def _refused(why: str) -> ApiError:
    return bad_request(f"invalid continue token: continue key is not valid: {why}")


def cut(
    items: Sequence[Stored], matcher: Matcher | None, *, namespace: str, start: str, limit: int, version: int
) -> tuple[list[Stored], JsonObject]:
    """Returns the next page of the items, which are in order of their keys, and the metadata of the list.

    A page ends when it is full and more objects follow, whether or not these match. Without a matcher the metadata
    say how many follow.
    """
    page: list[Stored] = []
    metadata: JsonObject = {"resourceVersion": str(version)}
    candidates = [item for item in items if not start or _key(item, namespace) >= start]
    for index, item in enumerate(candidates):
        if limit and len(page) == limit:
            metadata["continue"] = encode(Position(version, _key(candidates[index - 1], namespace) + _AFTER))
            if matcher is None:
                metadata["remainingItemCount"] = len(candidates) - index
            break
        if matcher is None or matcher(item.obj):
            page.append(item)
    return page, metadata


def _key(item: Stored, namespace: str) -> str:
    return item.name if namespace or not item.namespace else f"{item.namespace}/{item.name}"
