"""The shared formats of names and keys: what is right passes, and each fault has its complaint."""

from __future__ import annotations

import pytest
from localkube.apiserver.schema import formats


@pytest.mark.parametrize(
    ("check", "texts"),
    [
        (formats.dns_label, ["a", "a-1", "1", "a" * 63]),
        (formats.dns_subdomain, ["a", "a.b-c", "a" * 253]),
        (formats.dns_1035_label, ["a", "a-1"]),
        (formats.qualified_name, ["a", "A_b.c", "example.com/a", "a" * 63]),
        (formats.label_value, ["", "A_b.c"]),
        (formats.config_key, ["a.b", "_", ".a", "a..b"]),
        (formats.port_name, ["web", "8080-x"]),
        (formats.percentage, ["0%", "250%"]),
        (formats.environment_name, ["a b", "1", "x-y"]),
        (formats.ip_address, ["10.0.0.1", "::1"]),
    ],
)
def test_what_is_right_passes(check: formats.Check, texts: list[str]) -> None:
    assert {text: check(text) for text in texts} == {text: [] for text in texts}


@pytest.mark.parametrize(
    ("check", "text", "complaints"),
    [
        (formats.dns_label, "a\n", ["a lowercase RFC 1123 label"]),
        (formats.dns_label, "A" * 64, ["must be no more than 63 characters", "a lowercase RFC 1123 label"]),
        (formats.dns_subdomain, "a..b", ["a lowercase RFC 1123 subdomain"]),
        (formats.dns_1035_label, "1a", ["a DNS-1035 label"]),
        (formats.qualified_name, "", ["name part must be non-empty", "name part must consist of"]),
        (formats.qualified_name, "/a", ["prefix part must be non-empty"]),
        (formats.qualified_name, "Up/a b", ["prefix part a lowercase", "name part must consist of"]),
        (formats.qualified_name, "a/b/c", ["a qualified name must consist of"]),
        (formats.config_key, "..", ["must not be '..'"]),
        (formats.config_key, "..a", ["must not start with '..'"]),
        (formats.port_name, "-" * 16, ["must be no more", "must contain at least one", "must not contain", "must not"]),
        (formats.percentage, "5", ["a valid percent string"]),
        (formats.environment_name, "a=b", ["a valid environment variable name"]),
        (formats.ip_address, "10.0.0", ["must be a valid IP address"]),
    ],
)
def test_each_fault_has_its_complaint(check: formats.Check, text: str, complaints: list[str]) -> None:
    problems = check(text)
    assert len(problems) == len(complaints)
    assert all(problem.startswith(start) for problem, start in zip(problems, complaints, strict=True)), problems
