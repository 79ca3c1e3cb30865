"""YAML bodies: values as Kubernetes reads them, and keys that are there twice."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.http.body import decode_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("0", 0),
        ("-3", -3),
        ("010", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("y", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("v1", "v1"),
        ("12h", "12h"),
    ],
)
def test_a_plain_value(text: str, value: Any) -> None:
    decoded = decode_yaml(f"a: {text}\n".encode()).value
    assert decoded == {"a": value}
    assert type(decoded["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("a: 1\nb: {c: 1}\n", []),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", ['line 4: key "c" already set in map']),
        ('{"a": 1, "a": 2}', ['line 1: key "a" already set in map']),
        ("a: 1\na: 2\na: 3\n", ['line 2: key "a" already set in map', 'line 3: key "a" already set in map']),
    ],
)
def test_keys_that_are_there_twice(text: str, repeated: list[str]) -> None:
    assert decode_yaml(text.encode()).repeated == repeated
