"""Named formats: ``format.dns1123Label().validate('x')`` gives the complaints about a text, or none."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from localkube.apiserver.schema import formats
from localkube.apiserver.schema.expressions.declarations import FORMATS
from localkube.apiserver.schema.expressions.functions.addresses import url_problem
from localkube.apiserver.schema.expressions.functions.times import parse_timestamp
from localkube.apiserver.schema.expressions.values import NamedFormat, Optional

_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
Check = Callable[[str], list[str]]


def _prefix(check: Check) -> Check:
    """The beginning of a name may end with a dash."""
    return lambda text: check(f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text)


def _readable(read: Callable[[str], Any], complaint: str) -> Check:
    def check(text: str) -> list[str]:
        try:
            read(text)
        except (ValueError, binascii.Error):
            return [complaint]
        return []

    return check


def _uri(text: str) -> list[str]:
    problem = url_problem(text)
    return [f'parse "{text}": {problem}'] if problem else []


_CHECKS: dict[str, Check] = {
    "dns1123Label": formats.dns_label,
    "dns1123Subdomain": formats.dns_subdomain,
    "dns1035Label": formats.dns_1035_label,
    "qualifiedName": formats.qualified_name,
    "dns1123LabelPrefix": _prefix(formats.dns_label),
    "dns1123SubdomainPrefix": _prefix(formats.dns_subdomain),
    "dns1035LabelPrefix": _prefix(formats.dns_1035_label),
    "labelValue": formats.label_value,
    "uri": _uri,
    "uuid": lambda text: [] if _UUID.fullmatch(text) else ["does not match the UUID format"],
    "byte": _readable(lambda text: base64.b64decode(text, validate=True), "invalid base64"),
    "date": _readable(date.fromisoformat, "invalid date"),
    "datetime": _readable(parse_timestamp, "invalid datetime"),
}


def _validate(of: NamedFormat, text: str) -> Optional:
    problems = _CHECKS[of.name](text)
    return Optional((problems,) if problems else ())


def _maker(name: str) -> Callable[[], NamedFormat]:
    return lambda: NamedFormat(name)


GLOBALS: dict[str, Callable[..., Any]] = {
    "format.named": lambda name: Optional((NamedFormat(name),) if name in _CHECKS else ()),
    **{f"format.{name}": _maker(name) for name in FORMATS},
}
METHODS: dict[str, Callable[..., Any]] = {"validate": _validate}
