"""The formats of strings that a schema can ask for, each with its check.

They are from ``k8s.io/kube-openapi/pkg/validation/strfmt``, under names without dashes; a format that is unknown there
says nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date
from urllib.parse import urlsplit

import re2

from localkube.apiserver.schema.formats import dns_label, dns_subdomain

_DAY = r"\d{4}-\d{2}-\d{2}"
_DATE_TIME = re.compile(
    rf"({_DAY})t(\d{{2}}):(\d{{2}}):(\d{{2}})(.\d+)?(z|[+-]\d{{2}}:\d{{2}})", re.ASCII | re.IGNORECASE
)
_GO_DURATION = re.compile(r"[+-]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_SCALA_DURATION = re.compile(r"(\d+)\s*([A-Za-zµ]+)", re.ASCII)
_UNITS = (
    {"ns", "us", "µs", "ms", "s", "m", "h", "d", "w"},
    ("nano", "micro", "milli", "sec", "min", "hr", "hour", "day", "week"),
)
_ATOM = r"[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
_ADDRESS = rf"(?:{_DOT_ATOM}|{_QUOTED})@(?:{_DOT_ATOM}|\[[0-9A-Fa-f.:]+\])"
_EMAIL = re.compile(rf"\s*(?:{_ADDRESS}|(?:(?:{_ATOM}|{_QUOTED}|[.\s])*)<{_ADDRESS}>)\s*")
_HOSTNAME = re2.compile(
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)"
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAC = re.compile(
    r"[0-9A-F]{2}(([:-])[0-9A-F]{2}(\2[0-9A-F]{2}){4}((\2[0-9A-F]{2}){2}|(\2[0-9A-F]{2}){14})?)"
    r"|[0-9A-F]{4}(\.[0-9A-F]{4}){2}((\.[0-9A-F]{4})|(\.[0-9A-F]{4}){7})?",
    re.IGNORECASE,
)


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _date(text: str) -> bool:
    try:
        return re.fullmatch(_DAY, text, re.ASCII) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _date_time(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    return match is not None and _date(match[1]) and match[2] <= "23" and match[3] <= "59" and match[4] <= "59"


def _duration(text: str) -> bool:
    """Returns whether Go parses it (``1h30m``), or a number and a unit are somewhere in it (``3 days``)."""
    if _GO_DURATION.fullmatch(text):
        return True
    exact, beginnings = _UNITS
    units = [match[2].lower() for match in _SCALA_DURATION.finditer(text)]
    return any(unit in exact or unit.startswith(beginnings) for unit in units)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def _cidr(text: str) -> bool:
    address, slash, bits = text.partition("/")
    parsed = _ip(address)
    if parsed is None or not slash or not re.fullmatch(r"0|[1-9][0-9]{0,2}", bits):
        return False
    return int(bits) <= parsed.max_prefixlen


def _hostname(text: str) -> bool:
    labels = text.split(".")
    return bool(_HOSTNAME.search(text)) and len(text) <= 255 and all(len(label.encode()) <= 63 for label in labels)


def _uri(text: str) -> bool:
    """Returns whether a text is a URL with a scheme, or an absolute path."""
    if not text or any(character < " " or character == "\x7f" for character in text):
        return False
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if not rest.startswith("/"):
        return scheme is not None or text == "*"
    path = rest.partition("?")[0]
    if _BAD_ESCAPE.search(path):
        return False
    if not scheme or not rest.startswith("//"):
        return True
    try:
        url = urlsplit(text)
        return (url.port or 0) >= 0 and not re.search(r"[\s<>\"^`{}|\\]", url.netloc)
    except ValueError:
        return False


def _uuid(version: str) -> Callable[[str], bool]:
    third = f"{version}[0-9a-f]{{3}}" if version else "[0-9a-f]{4}"
    fourth = "[89ab][0-9a-f]{3}" if version in ("4", "5") else "[0-9a-f]{4}"
    return _matches(rf"[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{third}-?{fourth}-?[0-9a-f]{{12}}")


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "byte": re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})").fullmatch,
    "cidr": _cidr,
    "date": _date,
    "datetime": _date_time,
    "duration": _duration,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "hostname": _hostname,
    "ipv4": lambda text: _ip(text) is not None and "." in text,
    "ipv6": lambda text: _ip(text) is not None and ":" in text,
    "k8slongname": lambda text: not dns_subdomain(text),
    "k8sshortname": lambda text: not dns_label(text),
    "mac": lambda text: _MAC.fullmatch(text) is not None,
    "password": lambda _: True,
    "uri": _uri,
    "uuid": _uuid(""),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
}


UNSUPPORTED_FORMATS = frozenset(
    {"bsonobjectid", "creditcard", "hexcolor", "isbn", "isbn10", "isbn13", "rgbcolor", "ssn"}
)
"""Formats, without dashes, that a real server checks and this one does not: definitions with them are refused."""


def checks_strings(name: str) -> bool:
    """Returns whether a format says anything about strings."""
    return name.replace("-", "") in _CHECKS


def fits_format(name: str, text: str) -> bool:
    """Returns whether a text is of a format; every text is of one that says nothing."""
    check = _CHECKS.get(name.replace("-", ""))
    return check is None or bool(check(text))
