"""Which callers are admitted to which service, on either port."""

from __future__ import annotations

from collections.abc import Mapping

from rstore_api.domain.access import ARCHIVER
from rstore_api.errors import PermissionDenied
from rstore_wire.service import AuthContext, Refusal

from rstore_replica.api.access.callers import OPERATOR, PEER, Caller, kinds_of
from rstore_replica.api.access.requirements import may_call

PEER_PORT_RULES: Mapping[str, frozenset[str]] = {
    "rstore.v1.Admin": frozenset({PEER, OPERATOR}),
    "rstore.v1.Quarantine": frozenset({PEER, OPERATOR}),
    "rstore.v1.Archive": frozenset({PEER, OPERATOR, ARCHIVER}),
    "rstore.v1.Raft": frozenset({PEER}),
    "rstore.v1.Replication": frozenset({PEER}),
    "grpc.health.v1.Health": frozenset({PEER, OPERATOR}),
}
"""Kinds of certificate that may call each service of the peer port; a service that is not here is for peers only."""


def identify_by_kind(auth: AuthContext) -> Caller:
    """Returns the caller of the peer port that has this certificate."""
    return Caller(kinds_of(auth))


def allowed_kinds(method: str, rules: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Returns the kinds of certificate that may call ``/package.Service/Method``."""
    service = method.strip("/").partition("/")[0]
    return rules.get(service, frozenset({PEER}))


def may_call_anything(caller: Caller) -> bool:
    """Whether there is a service of the peer port that this caller may call."""
    return bool(caller.kinds & frozenset().union(*PEER_PORT_RULES.values()))


def admit_by_kind(
    method: str, caller: Caller, *, rules: Mapping[str, frozenset[str]] = PEER_PORT_RULES
) -> Refusal | None:
    """Refuses callers whose certificate is of a kind that may not call the service."""
    if caller.kinds & allowed_kinds(method, rules):
        return None
    kinds = ", ".join(sorted(caller.kinds)) or "none"
    return _refusal(f"a certificate of kind {kinds} may not call {method}")


def is_let_in(caller: Caller) -> bool:
    """Whether there is anything on the client port that this caller may call."""
    return caller.grant is not None


def share_of(caller: Caller) -> tuple[str, int] | None:
    """The name of the caller's share of the client port, and how many requests it may have under way."""
    return (caller.client, caller.max_requests) if caller.max_requests else None


def admit_by_grant(method: str, caller: Caller) -> Refusal | None:
    """Refuses callers of the client port who are shut out, or may call nothing of the kind. Which keys a request may
    use is asked later, of each request.
    """
    if caller.grant is None:
        return caller.shut_out.answer()
    if caller.methods is not None and method not in caller.methods:
        return _refusal(f"a certificate of kind {', '.join(sorted(caller.kinds))} may not call {method}")
    if not may_call(caller.grant, method):
        return _refusal(f"{method} is for clients that may use every key")
    return None


def _refusal(reason: str) -> Refusal:
    return PermissionDenied(reason).answer()
