"""Controllers and runner over the HTTP API, as they would run against any API server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from localkube.apiserver.http.options import ApiServerOptions
from localkube.apiserver.http.server import ApiServer
from localkube.controllers.api import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, ApiError
from localkube.controllers.deployment import DeploymentController
from localkube.controllers.engine import Context, Manager
from localkube.controllers.garbage import GarbageCollector
from localkube.controllers.http_api import HttpApi, path
from localkube.controllers.namespaces import NamespaceController
from localkube.controllers.nodes import NodeSpec, ensure_nodes
from localkube.controllers.replicaset import ReplicaSetController
from localkube.controllers.root_ca import RootCaPublisher
from localkube.controllers.scheduler import Scheduler
from localkube.network import ClusterNetwork
from localkube.runner.access import ClusterAccess
from localkube.runner.runner import Runner, RunnerOptions


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    running = ApiServer(ApiServerOptions(data_dir=tmp_path / "api"))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path) -> AsyncIterator[HttpApi]:
    connected = await HttpApi.connect(str(server.kubeconfig(tmp_path / "kubeconfig")))
    yield connected
    await connected.close()


def test_paths() -> None:
    assert path(PODS, "n", "p", "status") == "/api/v1/namespaces/n/pods/p/status"
    assert path(PODS, None) == "/api/v1/pods"
    assert path(NAMESPACES, None, "n") == "/api/v1/namespaces/n"
    assert path(DEPLOYMENTS, "n") == "/apis/apps/v1/namespaces/n/deployments"


async def test_refusals_carry_their_reason(api: HttpApi) -> None:
    with pytest.raises(ApiError) as missing:
        await api.get(CONFIG_MAPS, "default", "none")
    assert missing.value.not_found
    made = await api.create(CONFIG_MAPS, "default", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    with pytest.raises(ApiError) as again:
        await api.create(CONFIG_MAPS, "default", {"metadata": {"name": "c"}})
    assert again.value.already_exists
    await api.update(CONFIG_MAPS, "default", {**made, "data": {"a": "2"}})
    with pytest.raises(ApiError) as stale:
        await api.update(CONFIG_MAPS, "default", {**made, "data": {"a": "3"}})
    assert stale.value.conflict
    with pytest.raises(ApiError) as other:
        await api.delete(CONFIG_MAPS, "default", "c", uid="someone-else")
    assert other.value.conflict


async def test_a_watch_begins_after_the_list(api: HttpApi) -> None:
    _, version = await api.list(CONFIG_MAPS)
    await api.create(CONFIG_MAPS, "default", {"metadata": {"name": "c"}})
    await api.delete(CONFIG_MAPS, "default", "c")
    seen = []
    async with asyncio.timeout(10):
        async for event in api.watch(CONFIG_MAPS, version):
            if event.object["metadata"].get("name") == "c":
                seen.append(event.type)
            if len(seen) == 2:
                break
    assert seen == ["ADDED", "DELETED"]


async def test_a_deployment_runs_as_a_process(server: ApiServer, api: HttpApi, tmp_path: Path) -> None:
    context = Context(api)
    manager = Manager(
        context,
        [
            *(Scheduler, ReplicaSetController, DeploymentController, GarbageCollector, NamespaceController),
            lambda shared: RootCaPublisher(shared, server.ca_pem.decode()),
        ],
    )
    network = ClusterNetwork.take()
    runner = Runner(
        context,
        RunnerOptions(
            directory=tmp_path,
            volumes_dir=tmp_path / "volumes",
            dns_file=tmp_path / "dns.json",
            access=ClusterAccess(server.url, server.ca_pem),
            nodes=frozenset({"n1"}),
            host_ip="127.0.0.1",
            images={"tiny": (sys.executable, "-c")},
        ),
        network.pods.allocate,
        network.pods.release,
    )
    script = (
        "import os, signal, sys, yaml\n"
        "token = yaml.safe_load(open(os.environ['KUBECONFIG']))['users'][0]['user']['token']\n"
        "print(token.count('.'), flush=True)\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); signal.pause()\n"
    )
    deployment: dict[str, Any] = {
        "metadata": {"name": "op"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "main", "image": "tiny", "args": [script]}]},
            },
        },
    }
    try:
        await manager.start()
        await ensure_nodes(context, [NodeSpec("n1", "r1")], "127.0.0.1")
        await runner.start()
        await api.create(DEPLOYMENTS, "default", deployment)
        deadline = time.monotonic() + 20
        while True:
            status = (await api.get(DEPLOYMENTS, "default", "op")).get("status") or {}
            if status.get("availableReplicas") == 1:
                break
            assert time.monotonic() < deadline, status
            await asyncio.sleep(0.05)
        (pid,) = runner.processes()
        await api.delete(DEPLOYMENTS, "default", "op", propagation="Background")
        while (await api.list(PODS))[0]:
            assert time.monotonic() < deadline + 10, "the pod goes with its deployment"
            await asyncio.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
    finally:
        await runner.stop()
        await manager.stop()
        network.release()
