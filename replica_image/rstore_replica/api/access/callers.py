"""Who a caller is, by its certificate, and what the rules grant it.

TLS has already refused everybody without a certificate of the store's CA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rstore_api import methods
from rstore_api.domain.access import APPLICATION, COMMON_NAME, NOT_BEFORE, ORGANIZATION, RESTORER, AccessRules
from rstore_api.errors import NotReady, PermissionDenied, StoreError

from rstore_replica.api.access.grants import FULL, Grant

PEER = "peer"
OPERATOR = "operator"
CLIENT = "client"
SHARED = frozenset({CLIENT})
RESTORERS = frozenset({RESTORER})
TRUSTED = frozenset({PEER, OPERATOR})

Certificate = Mapping[str, Sequence[bytes]]
"""What the connection's certificate says, by the names in :mod:`rstore_api.domain.access`; empty without one."""


@dataclass(frozen=True)
class Caller:
    """The other end of a connection. ``grant`` is None where the caller is shut out, and ``refusal`` says why."""

    kinds: frozenset[str]
    """What its certificate is for: ``peer``, ``operator`` or ``client``; empty without a certificate."""
    client: str = ""
    """The name of the client whose own certificate it is."""
    grant: Grant | None = FULL
    refusal: str = ""
    max_requests: int = 0
    """Requests and streams that it may have under way on all of its connections; 0: no bound of its own."""
    methods: frozenset[str] | None = None
    """The only ones that it may call; None: all that its grant allows."""
    shut_out_for_now: bool = False
    """Whether it is shut out for a while only."""

    @property
    def may_hand_on(self) -> bool:
        """Whether it may say for whom it calls."""
        return PEER in self.kinds

    @property
    def shut_out(self) -> StoreError:
        """What a caller without a grant is answered."""
        return (NotReady if self.shut_out_for_now else PermissionDenied)(self.refusal)


ANYBODY = Caller(frozenset())
"""A caller where no certificates are asked for."""
FILLING = frozenset({methods.IMPORT_STEP.path, methods.RANGE.path})
"""What a restorer may call."""


def kinds_of(certificate: Certificate) -> frozenset[str]:
    """Returns what the certificate is for. A client's own is for a client, whatever its name is."""
    if APPLICATION in _texts(certificate, ORGANIZATION):
        return SHARED
    return frozenset(_texts(certificate, COMMON_NAME))


def identify(certificate: Certificate, rules: AccessRules) -> Caller:
    """Returns the caller of the client port that has this certificate."""
    kinds = kinds_of(certificate)
    if kinds & TRUSTED:
        return Caller(kinds)
    if rules.restoring:
        if kinds == RESTORERS:
            return Caller(kinds, methods=FILLING)
        return Caller(kinds, grant=None, refusal="the store is being restored", shut_out_for_now=True)
    if not certificate:
        return ANYBODY
    begins = _begins(certificate)
    if APPLICATION not in _texts(certificate, ORGANIZATION):
        shared = rules.shared_client
        if kinds != SHARED:
            names = ", ".join(sorted(kinds)) or "none"
            return Caller(kinds, grant=None, refusal=f"there is no access for certificates of the common name {names}")
        if not shared.enabled:
            return Caller(kinds, grant=None, refusal="the certificate that clients share is not accepted any more")
        if begins < shared.revoked_before:
            return Caller(kinds, grant=None, refusal="the certificate that clients share was revoked, get the new one")
        return Caller(kinds)
    name = "".join(_texts(certificate, COMMON_NAME))
    rule = next((rule for rule in rules.clients if rule.name == name), None)
    if rule is None:
        return Caller(kinds, name, None, f"the store has no client {name!r}")
    if begins < rule.revoked_before:
        return Caller(kinds, name, None, f"the certificate of client {name!r} was revoked, get the new one")
    return Caller(kinds, name, Grant.of(rule.prefixes, writes=rule.access.writes), max_requests=rule.max_requests)


def has_lost(before: Caller, now: Caller) -> bool:
    """Whether the caller may do less now than before."""
    if now.grant is None:
        return True
    return before.grant is not None and not now.grant.covers(before.grant)


def _texts(certificate: Certificate, name: str) -> tuple[str, ...]:
    return tuple(value.decode(errors="replace") for value in certificate.get(name, ()))


def _begins(certificate: Certificate) -> int:
    """Returns when the certificate begins to be valid, in seconds since 1970; 0 if it does not say."""
    return next((int(value) for value in certificate.get(NOT_BEFORE, ())), 0)
