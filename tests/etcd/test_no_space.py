"""What etcdctl and /health say while there is no space: of a real etcd and of a store, each with a small quota."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from etcd import etcd_process
from etcd.etcdctl import EtcdCtl
from etcd.etcdctl_rows import Command, run
from etcd.servers import Server, running_etcd, running_store
from etcd.test_http import ask
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc

QUOTA_BYTES = (1 << 20) + 1000
MOST_PUTS = 600
REFUSED = "etcdserver: mvcc: database space exceeded"

pytestmark = pytest.mark.skipif(not etcd_process.is_installed(), reason="etcd is not installed in this environment")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Both full, so that there is no room for a single byte."""
    directory = tmp_path_factory.mktemp("etcd")
    with (
        running_etcd(directory, f"--quota-backend-bytes={QUOTA_BYTES}") as etcd,
        running_store(tmp_path_factory.mktemp("store"), limits={"quotaBytes": QUOTA_BYTES}) as ours,
    ):
        for server in (etcd, ours):
            for size in (200_000, 20_000, 2_000, 1):
                _fill(server, size)
        yield etcd, ours


def _fill(server: Server, size: int) -> None:
    for number in range(MOST_PUTS):
        answer = server.call(methods.PUT, rpc.PutRequest(key=f"{size}-{number}".encode(), value=b"v" * size))
        if answer.text == REFUSED:
            return
        assert answer.code == "OK", answer
    raise AssertionError(f"{server.name} always has room for {size} bytes")


@pytest.mark.parametrize(
    "command",
    [
        run("put k 1"),
        run("txn", stdin="\n\nput k 1\n\n\n"),
        run("lease grant 100"),
        run("lease list"),
        run("lock l echo mine"),
        run("get 200000-0 --keys-only"),
        run("del 200000-1"),
        run("endpoint status -w table"),
        run("endpoint health"),
        run("endpoint health -w json"),
        run("endpoint health -w table"),
        run("alarm list"),
        run("alarm list -w table"),
        run("defrag"),
    ],
    ids=lambda command: " ".join(command.arguments),
)
def test_etcdctl_prints_the_same(servers: tuple[Server, Server], command: Command) -> None:
    expected, found = (EtcdCtl(server).run(*command.arguments, stdin=command.stdin) for server in servers)
    assert found == expected


@pytest.mark.parametrize("target", ["/health", "/health?exclude=NOSPACE", "/health?serializable=true"])
def test_health_is_answered_alike(servers: tuple[Server, Server], target: str) -> None:
    expected, found = (ask(server, "GET", target) for server in servers)
    assert (found.status, found.body) == (expected.status, expected.body)


@pytest.mark.parametrize("arguments", ["user add ann:secret", "role add shop"])
def test_users_and_roles_are_data_here(servers: tuple[Server, Server], arguments: str) -> None:
    etcd, ours = (EtcdCtl(server).run(*arguments.split()) for server in servers)
    assert etcd.code == 0
    assert REFUSED in ours.error
