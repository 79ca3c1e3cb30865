"""What a role permits: its list of permissions, as etcd keeps it."""

from __future__ import annotations

from collections.abc import Iterable

from rstore_api.proto.auth_pb2 import Permission

ROOT = "root"
"""The user and the role that there must be before auth is enabled; who has the role may do everything."""
TO_THE_END = b"\0"
"""As ``range_end``: all keys from the first one on."""


def is_range(key: bytes, range_end: bytes) -> bool:
    """Returns whether a permission may be about these keys: there has to be a key, and a range must not be empty."""
    return bool(key) and (not range_end or range_end == TO_THE_END or key < range_end)


def with_permission(permissions: Iterable[Permission], granted: Permission) -> list[Permission]:
    """Returns the permissions with one more, in order of their keys; it takes the place of one for the same range."""
    others = without_permission(permissions, granted.key, granted.range_end)
    return sorted([*others, granted], key=lambda each: (each.key, each.range_end))


def without_permission(permissions: Iterable[Permission], key: bytes, range_end: bytes) -> list[Permission]:
    """Returns the permissions without the one for this very range."""
    return [each for each in permissions if (each.key, each.range_end) != (key, range_end)]
