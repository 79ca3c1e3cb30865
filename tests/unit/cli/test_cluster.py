"""What the commands say when the Kubernetes API refuses, or does not answer."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from rstore_api.domain.kubernetes import FAILOVER_TO, PAUSED
from rstore_cli.cluster import Cluster, Target
from rstore_cli.errors import CliError


class Api(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the test set, and remembers it."""

    answer: ClassVar[tuple[int, str]] = (200, "{}")
    requests: ClassVar[list[tuple[str, str, Any]]] = []

    def _reply(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        Api.requests.append((self.command, self.path, body))
        status, text = Api.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = _reply  # noqa: N815 - http.server's names
    do_PATCH = _reply  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def api() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    Api.requests.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def kubeconfig(directory: Path, server: str) -> Path:
    path = directory / "config"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
            {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
        ],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@asynccontextmanager
async def cluster_at(directory: Path, server: str) -> AsyncIterator[Cluster]:
    cluster = Cluster(Target(kubeconfig(directory, server)))
    try:
        yield cluster
    finally:
        await cluster.close()


def status(code: int, message: str) -> tuple[int, str]:
    return code, json.dumps({"kind": "Status", "message": message})


async def test_the_namespace_is_the_options_then_the_contexts_then_default(api: str, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, api)
    assert await Cluster(Target(path)).namespace() == "default"
    assert await Cluster(Target(path, context="there")).namespace() == "team"
    assert await Cluster(Target(path, context="there", namespace="mine")).namespace() == "mine"


async def test_annotations_are_a_merge_patch_under_our_group(api: str, tmp_path: Path) -> None:
    Api.answer = (200, "{}")
    async with cluster_at(tmp_path, api) as cluster:
        await cluster.annotate("orders", {FAILOVER_TO: "eu-west", PAUSED: None})
    method, path, body = Api.requests[-1]
    assert method == "PATCH"
    assert path.startswith("/apis/replicatedstore.io/v1alpha1/namespaces/default/replicatedstores/orders?")
    assert body == {
        "metadata": {"annotations": {"replicatedstore.io/failover-to": "eu-west", "replicatedstore.io/paused": None}}
    }


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (
            status(404, "not found"),
            'replicatedstore "orders" in namespace "default" was not found',
            "kubectl get rstore -A",
        ),
        ((404, "404 page not found"), "does not know ReplicatedStores", "helm install"),
        (
            (404, '{"message": "the server could not find the requested resource"}'),
            "does not know ReplicatedStores",
            "helm install",
        ),
        (status(401, "Unauthorized"), "does not accept these credentials", "log in"),
        (status(403, 'user "u" cannot get it'), 'not allowed: user "u" cannot get it', "permission"),
        (status(500, "etcd is sad"), "etcd is sad (HTTP 500)", ""),
    ],
)
async def test_refusals_are_explained(
    api: str, tmp_path: Path, answer: tuple[int, str], message: str, hint: str
) -> None:
    Api.answer = answer
    async with cluster_at(tmp_path, api) as cluster:
        with pytest.raises(CliError) as refusal:
            await cluster.store("orders")
    assert message in refusal.value.message
    assert hint in refusal.value.hint


async def test_an_api_that_does_not_answer_is_reported_with_its_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    async with cluster_at(tmp_path, address) as cluster:
        with pytest.raises(CliError, match="does not answer") as refusal:
            await cluster.store("orders")
    assert address in refusal.value.message


async def test_a_missing_kubeconfig_and_a_missing_context_are_reported(api: str, tmp_path: Path) -> None:
    with pytest.raises(CliError, match="there is no kubeconfig"):
        await Cluster(Target(tmp_path / "nothing")).namespace()
    with pytest.raises(CliError, match="nowhere"):
        await Cluster(Target(kubeconfig(tmp_path, api), context="nowhere")).namespace()
