"""The part of Kubernetes' JSONPath that printer columns use."""

from __future__ import annotations

import functools
import re

from localkube.apiserver.jsonobj import Json

_TOKEN = re.compile(
    r"\.(?P<key>(?:[A-Za-z0-9_$@/-]|\\\.)+|\*)"
    r"|\[\?\(@(?P<filter>[^=!<>]*?)\s*(?P<operator>==|!=)\s*(?P<value>\"[^\"]*\"|'[^']*'|[^)]*?)\s*\)\]"
    r"|\[(?P<index>-?\d+|\*)\]"
    r"|\[(?P<quoted>'[^']*'|\"[^\"]*\")\]"
)


@functools.lru_cache(maxsize=4096)
def _parse(path: str) -> tuple[re.Match[str], ...]:
    tokens, position = [], 0
    text = path.strip().removeprefix("{").removesuffix("}")
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"unsupported JSONPath {path!r} at {text[position:]!r}")
        tokens.append(match)
        position = match.end()
    return tuple(tokens)


def check(path: str) -> str | None:
    """Returns what is wrong with a path, None when nothing."""
    try:
        _parse(path)
    except ValueError as error:
        return str(error)
    return None


def find(path: str, value: Json) -> list[Json]:
    """Returns all values at a path; raises ValueError for a path that is not supported."""
    values: list[Json] = [value]
    for token in _parse(path):
        following: list[Json] = []
        for item in values:
            following.extend(_step(token, item))
        values = following
    return values


def _step(token: re.Match[str], item: Json) -> list[Json]:
    key, index, quoted = token["key"], token["index"], token["quoted"]
    if key == "*" or index == "*":
        return list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list) else []
    if key is not None or quoted is not None:
        name = quoted[1:-1] if quoted is not None else str(key).replace("\\.", ".")
        return [item[name]] if isinstance(item, dict) and name in item else []
    if index is not None:
        at = int(index)
        return [item[at]] if isinstance(item, list) and -len(item) <= at < len(item) else []
    if not isinstance(item, list):
        return []
    wanted = token["value"].strip("\"'")
    kept = []
    for entry in item:
        selected = find(token["filter"], entry) if token["filter"] else [entry]
        text = _text(selected[0]) if selected else None
        if (text == wanted) == (token["operator"] == "=="):
            kept.append(entry)
    return kept


def _text(value: Json) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
