"""Asks, where a request is carried out, whether its user may do that; while auth is on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from rstore_api import methods
from rstore_api.errors import AuthOldRevision, InvalidAuthToken, PermissionDenied, StoreError, UserEmpty

from rstore_replica.api.auth.credentials import Credentials, Metadata
from rstore_replica.api.auth.expiry_clock import time_of_day
from rstore_replica.api.auth.needs import OPEN, is_routed, permits
from rstore_replica.api.auth.rights import Rights, rights_of
from rstore_replica.api.auth.tokens import LIFETIME_SECONDS, Claims, make_token, read_token
from rstore_replica.api.ports import Group
from rstore_replica.mvcc.data.auth import UNTOUCHED, AuthRecords, AuthState
from rstore_replica.replication.ports import RegionStateView

T = TypeVar("T")

RENEWED_AFTER_SECONDS = 1.0
"""Within so much of a call its token goes along as it came."""


class Machine(Protocol):
    """What is needed of the state machine."""

    @property
    def state(self) -> RegionStateView: ...
    @property
    def auth(self) -> AuthState: ...

    def read_auth(self, read: Callable[[AuthRecords], T], /) -> T: ...
    def lease_keys(self, lease: int, /) -> list[bytes]: ...


class Guard:
    """Knows the users of this replica's own data. On the primary's leader that is all that was acknowledged."""

    def __init__(self, *, machine: Machine, group: Group, now: Callable[[], float] = time_of_day) -> None:
        """``now`` is in seconds since 1970."""
        self._machine = machine
        self._group = group
        self._now = now
        self._complete_in_term = 0
        """The last term for which this replica is known to have applied what was committed before it."""
        self._seen = UNTOUCHED
        self._rights: dict[str, Rights] = {}
        """Of users that have asked, as of ``_seen``."""

    @property
    def state(self) -> AuthState:
        """Whether auth is on here; the same object as long as nothing has changed."""
        return self._machine.auth

    @property
    def is_needed(self) -> bool:
        """Whether :meth:`admit` has anything to do: with auth off it has not."""
        return self._machine.auth.enabled or self._group.term != self._complete_in_term

    def now(self) -> float:
        """Returns the time, in seconds since 1970."""
        return self._now()

    async def admit(self, path: str, request: Callable[[], Any], credentials: Credentials, *, deadline: float) -> None:
        """Asks for a request that this replica carries out as the primary's leader.

        A leader that is new may not have applied the last changes of users and roles. Raises UserEmpty,
        InvalidAuthToken, PermissionDenied; NotLeader, NoLeader, DeadlineExceeded.
        """
        term = self._group.term
        if term != self._complete_in_term:
            await self._group.barrier(timeout_seconds=max(0.0, deadline - asyncio.get_running_loop().time()))
            if self._group.term == term:
                self._complete_in_term = term
        if self._machine.auth.enabled:
            self.check(path, request(), credentials)

    def standing(self) -> tuple[int, int] | None:
        """Returns the epoch and the term in which alone a write that has been admitted just now may go into the log:
        behind another leader's entries users may have other rights. None while auth is off.
        """
        return (self._machine.state.epoch, self._group.term) if self._machine.auth.enabled else None

    def check_here(self, path: str, request: Any, credentials: Credentials) -> None:
        """Asks for a request that this replica has got, if it carries that out itself. Raises as :meth:`check`."""
        if self._machine.auth.enabled and not is_routed(path, request):
            self.check(path, request, credentials)

    def check(self, path: str, request: Any, credentials: Credentials) -> None:
        """Raises UserEmpty, InvalidAuthToken or PermissionDenied unless the request may be carried out."""
        if credentials.system or path in OPEN:
            return
        rights = self._rights_of(self._user_of(credentials))
        if not permits(rights, path, request, self._machine.lease_keys):
            raise PermissionDenied

    def check_unchanged(self, path: str, before: AuthState) -> None:
        """Raises AuthOldRevision when users or roles have changed since ``before``, while a Range was read: what it has
        read may be newer than the permissions by which it was allowed. A write is applied after those before it.
        """
        if path == methods.RANGE.path and self._machine.auth is not before:
            raise AuthOldRevision

    def refusal_of_watch(self, credentials: Credentials, key: bytes, range_end: bytes) -> str:
        """Returns why these keys may not be watched, in the form in which etcd gives it; "" where they may."""
        if not self._machine.auth.enabled or credentials.system:
            return ""
        try:
            if self._rights_of(self._user_of(credentials)).reads(key, range_end):
                return ""
            raise PermissionDenied
        except StoreError as error:
            code = "".join(part.capitalize() for part in error.status.name.split("_"))
            return f"rpc error: code = {code} desc = {error.message}"

    def token_of(self, user: str, password_revision: int) -> str:
        """Returns a new token of a user whose password has been checked."""
        expires_at = int(self._now()) + LIFETIME_SECONDS
        return make_token(Claims(user, password_revision, expires_at), self._machine.auth.token_key)

    def handed_on(self, credentials: Credentials) -> Metadata:
        """Returns what goes with a request to the primary's leader, with a token that has not expired: the request may
        be a part of a call that began before it did.
        """
        token = credentials.token
        if token and self._now() > credentials.began_at + RENEWED_AFTER_SECONDS:
            claims = read_token(token, self._machine.auth.token_key)
            if claims is not None and claims.expires_at > credentials.began_at:
                token = self.token_of(claims.user, claims.password_revision)
        return credentials.metadata(token)

    def _user_of(self, credentials: Credentials) -> str:
        """Returns the name of the user. Raises InvalidAuthToken, UserEmpty."""
        if credentials.token is None:
            if not credentials.certificate_user:
                raise UserEmpty
            return credentials.certificate_user
        claims = read_token(credentials.token, self._machine.auth.token_key)
        if claims is None or claims.expires_at <= credentials.began_at:
            raise InvalidAuthToken
        user = self._machine.read_auth(lambda records: records.user(claims.user))
        if user is None or user.password_revision != claims.password_revision:
            raise InvalidAuthToken
        return claims.user

    def _rights_of(self, name: str) -> Rights:
        """Returns what a user may do. Raises PermissionDenied when there is none of that name."""
        state = self._machine.auth
        if state is not self._seen:
            self._seen = state
            self._rights.clear()
        rights = self._rights.get(name)
        if rights is None:
            rights = self._machine.read_auth(lambda records: _read_rights(records, name))
            if rights is None:
                raise PermissionDenied
            self._rights[name] = rights
        return rights


def _read_rights(records: AuthRecords, name: str) -> Rights | None:
    user = records.user(name)
    if user is None:
        return None
    roles = (records.role(role) for role in user.roles)
    return rights_of(name, user.roles, [role for role in roles if role is not None])
