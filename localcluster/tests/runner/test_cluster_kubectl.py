"""The whole cluster with the real kubectl: a StatefulSet with its services, claims, names, logs; and nothing left."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from localkube.cluster import Cluster, ClusterOptions
from localkube.network import NetworkError

SERVER = """
import os, socket, sys
data, host = sys.argv[1], os.environ["LOCALKUBE_POD_IP"]
with open(data + "/starts", "a") as f:
    f.write("x")
print("serving", os.environ["HOSTNAME"], flush=True)
server = socket.create_server((host, 7000))
while True:
    peer, _ = server.accept()
    with peer:
        peer.settimeout(2)
        try:
            asked = peer.recv(100).decode().strip()
            try:
                answer = socket.getaddrinfo(asked, 1, type=socket.SOCK_STREAM)[0][4][0]
            except socket.gaierror as error:
                answer = f"error {error.errno}"
            starts = len(open(data + "/starts").read())
            peer.sendall(f"{os.environ['HOSTNAME']} {starts} {answer}".encode())
        except OSError:
            pass
"""

MANIFEST: list[dict[str, Any]] = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "peers"},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app": "db"},
            "ports": [{"port": 7000}],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db"},
        "spec": {"selector": {"app": "db"}, "ports": [{"name": "tcp", "port": 17000, "targetPort": "tcp"}]},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 2,
            "serviceName": "peers",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "nodeSelector": {"topology.kubernetes.io/region": "eu-west"},
                    "containers": [
                        {
                            "name": "main",
                            "image": "example.org/tiny:1",
                            "args": [SERVER, "/data"],
                            "ports": [{"name": "tcp", "containerPort": 7000}],
                            "readinessProbe": {"tcpSocket": {"port": "tcp"}, "periodSeconds": 1},
                            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                        }
                    ],
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            ],
        },
    },
]


def options(data_dir: Path) -> ClusterOptions:
    return ClusterOptions(data_dir=data_dir, images={"tiny": (sys.executable, "-c")})


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(options(tmp_path / "dev")) as running:
        yield running


async def kubectl(cluster: Cluster, *args: str, stdin: str = "") -> str:
    beside = Path(sys.executable).parent / "kubectl"
    program = str(beside) if beside.exists() else shutil.which("kubectl")
    assert program, "kubectl comes with the dev extra"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--kubeconfig={cluster.kubeconfig_path}",
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin.encode())
    assert process.returncode == 0, f"kubectl {' '.join(args)}: {errors.decode()}"
    return output.decode()


async def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    await kubectl(cluster, "apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))


async def ask(host: str, port: int, name: str) -> list[str]:
    """What a pod answers: its name, how often its volume saw a start, and what it resolves a name to."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(name.encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.split(" ", 2)


async def until(condition: Callable[[], Any], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds}s: {what}"
        await asyncio.sleep(0.02)


async def test_a_stateful_set_lives_loses_a_pod_and_leaves_nothing(tmp_path: Path) -> None:
    async with Cluster(options(tmp_path / "dev")) as cluster:
        await apply(cluster, *MANIFEST)
        await kubectl(cluster, "rollout", "status", "statefulset/db", "--timeout=30s")
        before = {
            p["metadata"]["name"]: p for p in json.loads(await kubectl(cluster, "get", "pods", "-o", "json"))["items"]
        }
        assert {p["spec"]["nodeName"] for p in before.values()} == {"eu-west-node"}
        addresses = {name: p["status"]["podIP"] for name, p in before.items()}

        service_ip = (await kubectl(cluster, "get", "svc", "db", "-o", "jsonpath={.spec.clusterIP}")).strip()
        assert (await ask(addresses["db-0"], 7000, "db-1.peers.default.svc"))[2] == addresses["db-1"]
        assert (await ask(addresses["db-0"], 7000, "db.default"))[2] == service_ip
        assert (await ask(addresses["db-0"], 7000, "db-7.peers.default.svc"))[2] == f"error {socket.EAI_NONAME}"
        assert {(await ask(service_ip, 17000, "db"))[0] for _ in range(4)} == {"db-0", "db-1"}
        assert "serving db-1" in await kubectl(cluster, "logs", "db-1", "--tail=5")

        await kubectl(cluster, "delete", "pod", "db-1")
        await kubectl(cluster, "rollout", "status", "statefulset/db", "--timeout=30s")
        await kubectl(cluster, "wait", "--for=condition=Ready", "pod/db-1", "--timeout=30s")
        after = json.loads(await kubectl(cluster, "get", "pod", "db-1", "-o", "json"))
        assert after["metadata"]["uid"] != before["db-1"]["metadata"]["uid"]
        assert await ask(after["status"]["podIP"], 7000, "db-0.peers.default.svc") == ["db-1", "2", addresses["db-0"]]

        pids = list(cluster.runner.processes())
        assert len(pids) == 2
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists()
    for host, port in ((service_ip, 17000), (addresses["db-0"], 7000), (cluster.url.split("/")[2].split(":")[0], 6443)):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)


async def test_a_cluster_started_again_takes_up_its_objects_and_its_pods(tmp_path: Path) -> None:
    async with Cluster(options(tmp_path / "dev")) as cluster:
        await apply(cluster, *MANIFEST)
        await kubectl(cluster, "rollout", "status", "statefulset/db", "--timeout=30s")
        with pytest.raises(NetworkError, match="another cluster is running"):
            await Cluster(options(tmp_path / "dev")).__aenter__()
        url = cluster.url
    async with Cluster(options(tmp_path / "dev")) as cluster:
        assert cluster.url == url
        await until(lambda: len(cluster.runner.processes()) == 2, "pods run again")
        await kubectl(cluster, "wait", "--for=condition=Ready", "pod/db-0", "pod/db-1", "--timeout=30s")
        pod = json.loads(await kubectl(cluster, "get", "pod", "db-0", "-o", "json"))
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        assert (await ask(pod["status"]["podIP"], 7000, "db"))[:2] == ["db-0", "2"]


async def test_a_service_without_ready_endpoints_refuses_connections(cluster: Cluster) -> None:
    await apply(cluster, MANIFEST[1])
    service_ip = (await kubectl(cluster, "get", "svc", "db", "-o", "jsonpath={.spec.clusterIP}")).strip()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(service_ip, 17000)


async def test_two_clusters_have_addresses_of_their_own(cluster: Cluster, tmp_path: Path) -> None:
    async with Cluster(options(tmp_path / "other")) as other:
        assert other.service_cidr != cluster.service_cidr
        assert "us-east-node" in await kubectl(other, "get", "nodes")
