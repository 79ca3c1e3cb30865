"""What a user may do, by its roles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rstore_api.proto.auth_pb2 import Permission
from rstore_api.proto.rstore_pb2 import AuthRole

from rstore_replica.api.access.grants import KeyRange, asked, covered, merged
from rstore_replica.mvcc.requests.permissions import ROOT

_READS = (Permission.READ, Permission.READWRITE)
_WRITES = (Permission.WRITE, Permission.READWRITE)


@dataclass(frozen=True)
class Rights:
    """What one user may do; as for :class:`~rstore_replica.api.access.grants.Grant`, but reading and writing apart."""

    user: str
    roles: frozenset[str]
    readable: tuple[KeyRange, ...]
    writable: tuple[KeyRange, ...]

    @property
    def is_root(self) -> bool:
        """Whether the user may do everything."""
        return ROOT in self.roles

    def reads(self, key: bytes, range_end: bytes) -> bool:
        """Whether the user may read these keys, as in a RangeRequest."""
        return self.is_root or covered(self.readable, *asked(key, range_end))

    def changes(self, key: bytes, range_end: bytes) -> bool:
        """Whether the user may change these keys, as in a DeleteRangeRequest."""
        return self.is_root or covered(self.writable, *asked(key, range_end))


def rights_of(user: str, names: Iterable[str], roles: Iterable[AuthRole]) -> Rights:
    """Returns the rights of a user that has roles of these names, of which these exist; several permissions together
    allow a range that none of them allows alone.
    """
    permissions = [permission for role in roles for permission in role.permissions]
    return Rights(user, frozenset(names), _ranges(permissions, _READS), _ranges(permissions, _WRITES))


def _ranges(permissions: Iterable[Permission], types: tuple[Permission.Type, ...]) -> tuple[KeyRange, ...]:
    return merged(asked(each.key, each.range_end) for each in permissions if each.permType in types)
