"""etcd's users and roles as they are kept: rows of their own, in the same order of revisions as the keys.

So whatever has the rows has them: other regions, snapshots, checkpoints, and a tail that is undone takes its changes
back. Their keys are ``s``, the switch with the revision of users and roles, ``u`` and a user's name, ``r`` and a role's
name; their values are ``AuthSwitch``, ``AuthUser`` and ``AuthRole`` of ``rstore.proto``. Each change of a user or role
writes the switch as well, so that its index entry says whether anything has changed.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from google.protobuf.message import DecodeError
from rstore_api import rows
from rstore_api.domain.limits import MAX_AUTH_NAME_BYTES, SHORT_KEY_BYTES
from rstore_api.proto.rstore_pb2 import AuthRole, AuthSwitch, AuthUser

from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.data.store import Store, Transaction

FEATURE_LEVEL = rows.LEVELS[rows.AUTH]
"""Of the first version that knows rows of users and roles."""
SWITCH_KEY = b"s"
_USER, _ROLE = b"u", b"r"
TOKEN_KEY_BYTES = 32
FIRST_REVISION = 1
"""Of users and roles, before the first change; as in etcd."""


class AuthState(msgspec.Struct, frozen=True):
    """Whether auth is on, at one state of users and roles."""

    mark: bytes | None = None
    """The switch's index entry, which is another one after each change; None where nothing was changed yet."""
    enabled: bool = False
    revision: int = FIRST_REVISION
    token_key: bytes = b""
    """Signs tokens, while auth is on."""


UNTOUCHED = AuthState()


def user_key(name: str) -> bytes:
    """Returns the key of a user."""
    return _USER + name.encode()


def role_key(name: str) -> bytes:
    """Returns the key of a role."""
    return _ROLE + name.encode()


def is_record(key: bytes, value: bytes) -> bool:
    """Whether a row may have this key and this value: of the switch, of a user, or of a role of the key's name."""
    try:
        if key == SWITCH_KEY:
            switch = AuthSwitch.FromString(value)
            return not switch.enabled or len(switch.token_key) == TOKEN_KEY_BYTES
        name = key[1:].decode()
        if not 0 < len(key[1:]) <= MAX_AUTH_NAME_BYTES:
            return False
        if key.startswith(_USER):
            return AuthUser.FromString(value).name == name
        return key.startswith(_ROLE) and AuthRole.FromString(value).name == name
    except (DecodeError, UnicodeDecodeError):
        return False


def with_token_key(key: bytes, value: bytes, token_key: bytes) -> bytes:
    """Returns the value of a row, which is the switch with another key of tokens, where it is the switch and on. So
    nobody who can read a backup can make tokens for what is restored from it.
    """
    if key != SWITCH_KEY or not is_record(key, value):
        return value
    switch = AuthSwitch.FromString(value)
    if switch.enabled:
        switch.token_key = token_key
    return switch.SerializeToString()


class AuthRecords:
    """Users and roles inside one transaction, at the newest revision or at ``revision``."""

    def __init__(self, store: Store, transaction: Transaction, revision: int | None = None) -> None:
        self._store = store
        self._transaction = transaction
        self._first = None if revision is None else layout.newest_at(revision)

    def state(self, before: AuthState = UNTOUCHED) -> AuthState:
        """Returns whether auth is on; ``before`` itself where nothing has changed since."""
        mark = self._entry(SWITCH_KEY)
        if mark == before.mark:
            return before
        switch = self.switch()
        return AuthState(mark, switch.enabled, switch.revision, switch.token_key)

    def switch(self) -> AuthSwitch:
        """Returns whether auth is on, the revision of users and roles, and the key of tokens."""
        value = self._value(SWITCH_KEY)
        return AuthSwitch(revision=FIRST_REVISION) if value is None else AuthSwitch.FromString(value)

    def user(self, name: str) -> AuthUser | None:
        """Returns the user of that name."""
        value = self._value(user_key(name))
        return None if value is None else AuthUser.FromString(value)

    def role(self, name: str) -> AuthRole | None:
        """Returns the role of that name."""
        value = self._value(role_key(name))
        return None if value is None else AuthRole.FromString(value)

    def users(self) -> list[str]:
        """Returns the names of all users, in order."""
        return list(self._names(_USER))

    def roles(self) -> list[str]:
        """Returns the names of all roles, in order."""
        return list(self._names(_ROLE))

    def _value(self, key: bytes) -> bytes | None:
        if len(key) > SHORT_KEY_BYTES:
            return None
        entry = self._entry(key)
        if entry is None or layout.is_deletion(entry):
            return None
        row_key = layout.row_key_of(entry)
        body: bytes | None = self._transaction.get(row_key, db=self._store.rows)
        if body is None:
            revision, sub = layout.ROW_KEY.unpack(row_key)
            raise rows.DamagedRows(f"row {revision}.{sub} is in the index of users and roles and not in the rows")
        return body[rows.BODY_HEADER_BYTES + len(key) :]

    def _entry(self, key: bytes) -> bytes | None:
        entry: bytes | None = self._transaction.get(key, db=self._store.auth)
        if entry is None or self._first is None or entry >= self._first:
            return entry
        with self._transaction.cursor(self._store.auth) as cursor:
            return bytes(cursor.value()) if cursor.set_range_dup(key, self._first) else None

    def _names(self, prefix: bytes) -> Iterator[str]:
        with self._transaction.cursor(self._store.auth) as cursor:
            if not cursor.set_range(prefix):
                return
            for key in cursor.iternext_nodup(keys=True, values=False):
                if not key.startswith(prefix):
                    return
                entry = self._entry(key)
                if entry is not None and not layout.is_deletion(entry):
                    yield key[len(prefix) :].decode()
