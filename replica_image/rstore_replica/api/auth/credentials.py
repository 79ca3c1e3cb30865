"""By what a request says for whom it is, for etcd's auth."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, unquote

import msgspec

from rstore_replica.api.access.callers import RESTORERS, TRUSTED, Caller

TOKEN_KEYS = ("token", "authorization")
"""Metadata with the token of ``Authenticate``: that of etcd's clients, and that of its JSON gateway."""
ON_BEHALF_KEY = "rstore-forwarded-as"
"""Metadata of a request that a replica hands on: ``replica`` where it is its own, else ``certificate:`` and the name in
the certificate of its client, quoted. A token goes along as it is."""
_OF_REPLICA, _OF_CERTIFICATE = "replica", "certificate:"

FORWARDED_KEY = "rstore-forwarded-by"
"""Metadata of a request that was handed on: the name of the replica that did. Such a request goes no further."""

Metadata = tuple[tuple[str, str], ...]


class Credentials(msgspec.Struct, frozen=True):
    """What came with a request. The token has not been checked yet."""

    token: str | None = None
    certificate_user: str = ""
    """The name in the client's own certificate, which counts where there is no token."""
    system: bool = False
    """Whether the store itself asks, which needs no user."""
    began_at: float = 0.0
    """When they came, in seconds since 1970: the token must have been valid then. What they came with may go on longer
    than a token lives."""

    def metadata(self, token: str | None) -> Metadata:
        """Returns what is to go with the request when it is handed on, with this token; see :func:`credentials_of`."""
        if self.system:
            return ((ON_BEHALF_KEY, _OF_REPLICA),)
        tokens = () if token is None else ((TOKEN_KEYS[0], token),)
        if not self.certificate_user:
            return tokens
        return (*tokens, (ON_BEHALF_KEY, _OF_CERTIFICATE + quote(self.certificate_user)))


NOBODY = Credentials()
SYSTEM = Credentials(system=True)


def credentials_of(caller: Caller, metadata: Iterable[tuple[str, str | bytes]], now: float) -> Credentials:
    """Returns the credentials that came with a request, or with a stream, at ``now``."""
    if caller.kinds == RESTORERS:
        return SYSTEM  # users and roles come with what it restores
    pairs = dict(metadata)
    token = next((str(pairs[key]) for key in TOKEN_KEYS if key in pairs), None)
    if caller.kinds & TRUSTED:
        on_behalf = str(pairs.get(ON_BEHALF_KEY, ""))
        if not caller.may_hand_on or FORWARDED_KEY not in pairs or on_behalf == _OF_REPLICA:
            return SYSTEM
        named = on_behalf.startswith(_OF_CERTIFICATE)
        user = unquote(on_behalf.removeprefix(_OF_CERTIFICATE)) if named else ""
    else:
        user = caller.client
    return NOBODY if token is None and not user else Credentials(token, user, began_at=now)
