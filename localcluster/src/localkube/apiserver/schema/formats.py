"""Formats of names, keys and numbers that many kinds share: each check returns the list of what is wrong with a text.

The rules and their wording are those of ``k8s.io/apimachinery/pkg/util/validation``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

Check = Callable[[str], list[str]]

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_DNS_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_PERCENT = "[0-9]+%"
_HEADER_NAME = "[-A-Za-z0-9]+"

MAX_ANNOTATION_BYTES = 256 * 1024
"""What the annotations of an object may take, keys and values."""
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"
IMMUTABLE = "field is immutable"
PORT_RANGE = "must be between 1 and 65535, inclusive"
NO_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def too_long(limit: int, unit: str = "characters") -> str:
    """Returns the complaint about a text of more than ``limit`` characters (or bytes)."""
    return f"must be no more than {limit} {unit}"


def mismatch(rule: str, pattern: str, *examples: str) -> str:
    """Returns the complaint about a text that does not match a pattern."""
    shown = " or ".join(f"'{example}', " for example in examples)
    lead = f"e.g. {shown}" if examples else ""
    return f"{rule} ({lead}regex used for validation is '{pattern}')"


def _check(pattern: str, complaint: str, limit: int = 0, unit: str = "characters") -> Check:
    compiled = re.compile(pattern)

    def check(text: str) -> list[str]:
        problems = [too_long(limit, unit)] if limit and len(text) > limit else []
        return problems if compiled.fullmatch(text) else [*problems, complaint]

    return check


_dns_label = _check(
    _DNS_LABEL,
    mismatch(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
        "and must start and end with an alphanumeric character",
        _DNS_LABEL,
        "my-name",
        "123-abc",
    ),
    63,
)
dns_subdomain = _check(
    _DNS_SUBDOMAIN,
    mismatch(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        "and must start and end with an alphanumeric character",
        _DNS_SUBDOMAIN,
        "example.com",
    ),
    253,
)


def dns_label(text: str) -> list[str]:
    """Returns what is wrong with a DNS label; the dots of what is a DNS subdomain are named as such."""
    problems = _dns_label(text)
    dotted = len(problems) > 0 and "." in text and re.fullmatch(_DNS_SUBDOMAIN, text) is not None
    return [*problems[:-1], "must not contain dots"] if dotted else problems


dns_1035_label = _check(
    _DNS_1035,
    mismatch(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character",
        _DNS_1035,
        "my-name",
        "abc-123",
    ),
    63,
)
label_value = _check(
    _LABEL_VALUE,
    mismatch(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character",
        _LABEL_VALUE,
        "MyValue",
        "my_value",
        "12345",
    ),
    63,
    "bytes",
)
percentage = _check(
    _PERCENT,
    mismatch("a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%"),
)
header_name = _check(
    _HEADER_NAME,
    mismatch("a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER_NAME, "X-Header-Name"),
)
environment_name = _check(
    "[ -<>-~]+", "a valid environment variable name must consist only of printable ASCII characters other than '='"
)
_config_key = _check(
    _CONFIG_KEY,
    mismatch(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        _CONFIG_KEY,
        "key.name",
        "KEY_NAME",
        "key-name",
    ),
    253,
)
_name_part = _check(
    _QUALIFIED,
    mismatch(
        "must consist of alphanumeric characters, '-', '_' or '.', "
        "and must start and end with an alphanumeric character",
        _QUALIFIED,
        "MyName",
        "my.name",
        "123-abc",
    ),
    63,
)


def qualified_name(text: str) -> list[str]:
    """Returns what is wrong with a name that may have a DNS prefix, such as ``example.com/name``."""
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    if "/" in name:
        rule = (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        optional = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [mismatch(rule, _QUALIFIED, "MyName", "my.name", "123-abc") + optional]
    problems = []
    if slash:
        problems = ["must be non-empty"] if not prefix else dns_subdomain(prefix)
    empty = ["name part must be non-empty"] if not name else []
    return [
        *(f"prefix part {problem}" for problem in problems),
        *empty,
        *(f"name part {problem}" for problem in _name_part(name)),
    ]


def label_key(text: str) -> list[str]:
    """Returns what is wrong with the key of a label, which is a qualified name."""
    return [
        problem.replace("a qualified name", "a valid label key").replace(too_long(63), too_long(63, "bytes"))
        for problem in qualified_name(text)
    ]


def config_key(text: str) -> list[str]:
    """Returns what is wrong with a key of a ConfigMap or Secret."""
    problems = _config_key(text)
    if text in (".", ".."):
        return [*problems, f"must not be '{text}'"]
    return [*problems, "must not start with '..'"] if text.startswith("..") else problems


def port_name(text: str) -> list[str]:
    """Returns what is wrong with the name of a container's port."""
    rules = (
        (len(text) > 15, too_long(15)),
        (
            not re.fullmatch("[-a-z0-9]+", text),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (not re.search("[a-z]", text), "must contain at least one letter (a-z)"),
        ("--" in text, "must not contain consecutive hyphens"),
        (text.startswith("-") or text.endswith("-"), "must not begin or end with a hyphen"),
    )
    return [problem for broken, problem in rules if broken]


def ip_address(text: str) -> list[str]:
    """Returns what is wrong with an IP address of either family."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return [NO_IP]
    return []


def path_segment(text: str) -> list[str]:
    """Returns what is wrong with a name that may hold whatever a part of a path may."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in text]
