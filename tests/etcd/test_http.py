"""HTTP/1.1 on the client port, as of an etcd."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from etcd.servers import Server

ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def connection_to(server: Server, *, with_certificate: bool = True) -> http.client.HTTPConnection:
    """Returns a connection as any client of HTTP/1.1 opens it."""
    address = urlsplit(server.address)
    assert address.hostname is not None
    if server.files is None:
        return http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_SECONDS)
    context = ssl.create_default_context(cafile=str(server.files.ca))
    context.check_hostname = False
    if with_certificate:
        context.load_cert_chain(server.files.cert, server.files.key)
    return http.client.HTTPSConnection(address.hostname, address.port, timeout=ANSWER_SECONDS, context=context)


def ask(server: Server, method: str, target: str, body: bytes | None = None, **headers: str) -> Response:
    """Makes one request."""
    connection = connection_to(server)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/health"),
        ("GET", "/health?serializable=true"),
        ("GET", "/health?exclude=NOSPACE"),
        ("POST", "/health"),
        ("HEAD", "/health"),
        ("DELETE", "/version"),
        ("HEAD", "/version"),
        ("GET", "/version/"),
        ("GET", "/"),
        ("GET", "/nowhere"),
    ],
)
def test_health_and_unknown_paths(servers: tuple[Server, Server], method: str, target: str) -> None:
    etcd, ours = (ask(server, method, target) for server in servers)
    assert (ours.status, ours.body) == (etcd.status, etcd.body)
    for name in ("content-type", "allow", "x-content-type-options", "content-length"):
        assert ours.headers.get(name) == etcd.headers.get(name), name


def test_version(servers: tuple[Server, Server]) -> None:
    etcd, ours = (ask(server, "GET", "/version") for server in servers)
    assert ours.headers["content-type"] == etcd.headers["content-type"]
    assert set(_json(ours)) == set(_json(etcd)) == {"etcdserver", "etcdcluster"}
    assert _json(ours)["etcdcluster"] == _json(etcd)["etcdcluster"]


def test_metrics(servers: tuple[Server, Server]) -> None:
    etcd, ours = (ask(server, "GET", "/metrics") for server in servers)
    assert ours.headers["content-type"] == etcd.headers["content-type"]
    assert b"\netcd_server_has_leader 1" in etcd.body
    assert b"\netcd_server_has_leader 1" in ours.body


def test_a_connection_is_used_again_and_grpc_goes_on_beside_it(servers: tuple[Server, Server]) -> None:
    for server in servers:
        connection = connection_to(server)
        for _ in range(3):
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"health":"true","reason":""}'
            assert server.put(b"beside")
        connection.close()


def test_a_client_without_a_certificate_is_refused(servers: tuple[Server, Server]) -> None:
    connection = connection_to(servers[1], with_certificate=False)
    connection.request("GET", "/health")  # in TLS 1.3 the client is refused after its own handshake
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        connection.getresponse()


def _json(response: Response) -> dict[str, str]:
    decoded: dict[str, str] = json.loads(response.body)
    return decoded
