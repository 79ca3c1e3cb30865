"""The two gRPC servers: limits, credentials, admission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server
from rstore_api.listening import listening_socket
from rstore_wire.limits import Limits
from rstore_wire.server import Server

from rstore_replica.api.access.admission import (
    admit_by_grant,
    admit_by_kind,
    identify_by_kind,
    is_let_in,
    may_call_anything,
    share_of,
)
from rstore_replica.api.access.callers import Caller, Certificate
from rstore_replica.api.counting import CountedRegistry
from rstore_replica.call_metrics import CallMetrics
from rstore_replica.tls import CertificateStore
from rstore_replica.tls_contexts import HTTP1_AND_2, HTTP2

CLIENT_LIMITS = Limits(max_age_seconds=3_600.0)
BACKLOG = 512
PEER_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
REQUEST_OVERHEAD_BYTES = 512 * 1024
"""What gRPC lets through above the request limit, so that our own error, with its text, is what the client sees."""

CLIENT_SERVICES = (
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "etcdserverpb.Auth",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Cluster",
    "grpc.health.v1.Health",
)

Register = Callable[[Any], None]


class ListenError(Exception):
    """An address cannot be listened on."""


def client_server(
    *,
    max_request_bytes: int,
    services: Sequence[Register],
    identify: Callable[[Certificate], Caller],
    metrics: CallMetrics,
    on_refusal: Callable[[str], object] = lambda _reason: None,
) -> Server:
    """Returns the server of the client port, with its services and reflection; not listening yet.

    ``identify`` says who a caller is and what it may do; ``metrics`` counts bytes, and calls of streams.
    """
    server = Server(
        max_message_bytes=max_request_bytes + REQUEST_OVERHEAD_BYTES,
        limits=CLIENT_LIMITS,
        identify=identify,
        share_of=share_of,
        admit=admit_by_grant,
        welcome=is_let_in,
        on_refusal=on_refusal,
    )
    registry = CountedRegistry(server, metrics)
    for register in services:
        register(registry)
    names = (*CLIENT_SERVICES, reflection.SERVICE_NAME)
    servicer = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]  # not declared as exported
    add_ServerReflectionServicer_to_server(servicer, server)
    return server


def peer_server(
    *,
    services: Sequence[Register],
    replication_window_bytes: int,
    on_refusal: Callable[[str], object] = lambda _reason: None,
) -> Server:
    """Returns the server of the peer port; callers are admitted by the kind of their certificate.

    Twice the window of replication may come of a stream ahead of its reader: HTTP/2 credits what was read in halves,
    and a source must be able to have a whole window on its way.
    """
    server = Server(
        max_message_bytes=PEER_MAX_MESSAGE_BYTES,
        identify=identify_by_kind,
        admit=admit_by_kind,
        welcome=may_call_anything,
        on_refusal=on_refusal,
        stream_window_bytes=2 * replication_window_bytes,
    )
    for register in services:
        register(server)
    return server


def listen(
    server: Server, *, host: str, port: int, certificates: CertificateStore, require_client_certificate: bool
) -> None:
    """Listens there for the server. Raises ListenError."""
    try:
        listener = listening_socket(host, port, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    protocols = HTTP2 if server.http is None else HTTP1_AND_2
    contexts = certificates.server_contexts(require_client=require_client_certificate, protocols=protocols)
    server.add_listener(listener, contexts)
