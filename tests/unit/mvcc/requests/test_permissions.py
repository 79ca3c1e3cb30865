"""The permissions of a role."""

from __future__ import annotations

import pytest
from rstore_api.proto.auth_pb2 import Permission
from rstore_replica.mvcc.requests.permissions import is_range, with_permission, without_permission


def permission(key: bytes, range_end: bytes = b"", kind: Permission.Type = Permission.READ) -> Permission:
    return Permission(permType=kind, key=key, range_end=range_end)


@pytest.mark.parametrize(
    ("key", "range_end", "expected"),
    [
        (b"a", b"", True),
        (b"a", b"b", True),
        (b"a", b"a\0", True),
        (b"a", b"\0", True),
        (b"\0", b"\0", True),
        (b"a", b"a", False),
        (b"b", b"a", False),
        (b"", b"", False),
        (b"", b"a", False),
        (b"", b"\0", False),
    ],
)
def test_a_permission_is_about_a_key_or_a_range_that_is_not_empty(key: bytes, range_end: bytes, expected: bool) -> None:
    assert is_range(key, range_end) is expected


def test_a_permission_takes_the_place_of_that_for_the_same_range_alone() -> None:
    permissions = with_permission([permission(b"b"), permission(b"b", b"c")], permission(b"b", kind=Permission.WRITE))
    assert permissions == [permission(b"b", kind=Permission.WRITE), permission(b"b", b"c")]
    assert with_permission(permissions, permission(b"a")) == [permission(b"a"), *permissions]


def test_only_the_permission_for_this_very_range_is_taken_away() -> None:
    permissions = [permission(b"a", b"c"), permission(b"b")]
    assert without_permission(permissions, b"a", b"") == permissions
    assert without_permission(permissions, b"a", b"c") == [permission(b"b")]
