"""Which callers are admitted to which service of the peer port, by the kind of certificate: its common name.

TLS has already refused everybody without a certificate of the store's CA. The client port admits any of those.
"""

from __future__ import annotations

from collections.abc import Mapping

from rstore_api.errors import PermissionDenied
from rstore_api.logs import get_logger
from rstore_wire.call import AuthContext, Refusal

_log = get_logger(__name__)

PEER = "peer"
OPERATOR = "operator"
CLIENT = "client"

PEER_PORT_RULES: Mapping[str, frozenset[str]] = {
    "rstore.v1.Admin": frozenset({PEER, OPERATOR}),
    "rstore.v1.Quarantine": frozenset({PEER, OPERATOR}),
    "rstore.v1.Raft": frozenset({PEER}),
    "rstore.v1.Replication": frozenset({PEER}),
    "grpc.health.v1.Health": frozenset({PEER, OPERATOR}),
}
"""Kinds of certificate that may call each service of the peer port; a service that is not here is for peers only."""


def common_names(auth: AuthContext) -> frozenset[str]:
    """Returns the common names in the caller's certificate; empty without one."""
    return frozenset(name.decode(errors="replace") for name in auth.get("x509_common_name", ()))


def allowed_kinds(method: str, rules: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Returns the kinds of certificate that may call ``/package.Service/Method``."""
    service = method.strip("/").partition("/")[0]
    return rules.get(service, frozenset({PEER}))


def may_call_anything(auth: AuthContext) -> bool:
    """Whether there is a service of the peer port that this caller may call."""
    return bool(common_names(auth) & frozenset().union(*PEER_PORT_RULES.values()))


def admit_by_kind(
    method: str, auth: AuthContext, *, rules: Mapping[str, frozenset[str]] = PEER_PORT_RULES
) -> Refusal | None:
    """Refuses callers whose certificate is of a kind that may not call the service."""
    kinds = common_names(auth)
    if kinds & allowed_kinds(method, rules):
        return None
    _log.warning("call_refused", method=method, kinds=sorted(kinds))
    error = PermissionDenied(f"a certificate of kind {', '.join(sorted(kinds)) or 'none'} may not call {method}")
    return error.status, str(error), error.trailing_metadata()
