"""The two gRPC servers: options, credentials, admission."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpc import aio
from grpc_reflection.v1alpha import reflection

from rstore_replica.api.security import KindInterceptor
from rstore_replica.tls import CertificateStore

MAX_CONCURRENT_CALLS = 16_384
PEER_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
REQUEST_OVERHEAD_BYTES = 512 * 1024
"""What gRPC lets through above the request limit, so that our own error, with its text, is what the client sees."""

_COMMON: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # a second replica on the same address is an error, not a silent rival
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.http2.max_pings_without_data", 0),
)

CLIENT_SERVICES = ("etcdserverpb.KV", "etcdserverpb.Maintenance", "etcdserverpb.Cluster", "grpc.health.v1.Health")

Register = Callable[[aio.Server], None]


class ListenError(Exception):
    """An address cannot be listened on."""


def client_server(*, max_request_bytes: int, services: Sequence[Register]) -> aio.Server:
    """The server of the client port, with its services and reflection; not listening yet."""
    options = (*_COMMON, ("grpc.max_receive_message_length", max_request_bytes + REQUEST_OVERHEAD_BYTES))
    server = aio.server(options=options, maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS)
    for register in services:
        register(server)
    reflection.enable_server_reflection((*CLIENT_SERVICES, reflection.SERVICE_NAME), server)
    return server


def peer_server(*, services: Sequence[Register]) -> aio.Server:
    """The server of the peer port; callers are admitted by the kind of their certificate."""
    options = (*_COMMON, ("grpc.max_receive_message_length", PEER_MAX_MESSAGE_BYTES))
    server = aio.server(options=options, interceptors=(KindInterceptor(),))
    for register in services:
        register(server)
    return server


def listen(
    server: aio.Server, *, host: str, port: int, certificates: CertificateStore, require_client_certificate: bool
) -> None:
    """Bind the server. Raises ListenError."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credentials = certificates.server_credentials(require_client=require_client_certificate)
    try:
        bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ListenError(f"cannot listen on {address}: {error}") from error
    if bound != port:
        raise ListenError(f"cannot listen on {address}")
