"""HTTP/1.1 on the client port, as of an etcd."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from etcd.etcd_process import PIP
from etcd.servers import Server

ETCD_PROGRAMS = PIP  # Debian builds etcd with another JSON gateway than etcd's own releases of 3.5 have
ANSWER_SECONDS = 20.0
CURL = shutil.which("curl")


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


@pytest.mark.skipif(CURL is None, reason="there is no curl")
@pytest.mark.parametrize("options", [(), ("--http1.1",), ("--no-alpn",)])
def test_curl(servers: tuple[Server, Server], options: tuple[str, ...]) -> None:
    """By itself curl names HTTP/2 and HTTP/1.1, and takes what the server chooses."""
    assert CURL is not None
    ours = servers[1]
    assert ours.files is not None
    address = urlsplit(ours.address)
    files = ["--cacert", str(ours.files.ca), "--cert", str(ours.files.cert), "--key", str(ours.files.key)]
    there = ["--connect-to", f"localhost:{address.port}:{address.hostname}:{address.port}"]
    for path, more, begin in (
        ("health", (), '{"health":"true"'),
        ("v3/kv/range", ("--data", '{"key":"Zm9v"}'), '{"header":{"cluster_id":'),
    ):
        command = [CURL, "--silent", "--fail", "--max-time", "20", *options, *files, *there, *more]
        answer = subprocess.run(
            [*command, f"https://localhost:{address.port}/{path}"], capture_output=True, text=True, check=True
        )
        assert answer.stdout.startswith(begin)


def _json(response: Response) -> dict[str, str]:
    decoded: dict[str, str] = json.loads(response.body)
    return decoded
