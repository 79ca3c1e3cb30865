"""A real Kubernetes API server keeps its objects in a store, through a switchover and a failover.

``RSTORE_KUBE_APISERVER`` names its program; no package that a test may install has it, so without it this is skipped.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from clients.test_libraries import running_regions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from integration.replicas.server_processes import RegionProcesses, eventually, topology

PROGRAM = os.environ.get("RSTORE_KUBE_APISERVER", "")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NAMES = 20
SOME = 100
WAIT_SECONDS = 180.0
TOKEN = "administrator"
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PROGRAM, reason="RSTORE_KUBE_APISERVER names no program of a Kubernetes API server"),
]


class ApiServer:
    """A client of it, with all rights."""

    def __init__(self, session: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
        self.session = session
        self.process = process

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Returns the status code and the object."""
        async with self.session.request(method, path, json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def is_ready(self) -> bool:
        assert self.process.poll() is None, "the API server has ended"
        try:
            async with self.session.get("/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def listed(self, **query: str) -> Any:
        """Lists ConfigMaps. Raises AssertionError when that is refused."""
        async with self.session.get(CONFIG_MAPS, params=query) as answer:
            body = await answer.json(content_type=None)
            assert answer.status == 200, body
            return body


@asynccontextmanager
async def running_api_server(directory: Path, regions: list[RegionProcesses]) -> AsyncIterator[ApiServer]:
    """One that knows the addresses of all regions, and compacts every ten seconds."""
    process, port = _started(directory, regions)
    try:
        async with aiohttp.ClientSession(
            f"https://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            connector=aiohttp.TCPConnector(ssl=False),
            timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS),
        ) as session:
            server = ApiServer(session, process)
            await eventually(server.is_ready, timeout_seconds=WAIT_SECONDS)
            yield server
    finally:
        process.kill()
        process.wait()


def _started(directory: Path, regions: list[RegionProcesses]) -> tuple[subprocess.Popen[bytes], int]:
    directory.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (directory / "sa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    (directory / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    files = regions[0].directory / "client"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = {
        "etcd-servers": ",".join(f"https://{region.replicas[0].client_address}" for region in regions),
        "etcd-cafile": files / "ca.crt",
        "etcd-certfile": files / "tls.crt",
        "etcd-keyfile": files / "tls.key",
        "etcd-compaction-interval": "10s",
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "endpoint-reconciler-type": "none",
        "external-hostname": "localhost",
        "secure-port": port,
        "cert-dir": directory / "certificates",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": directory / "sa.key",
        "service-account-signing-key-file": directory / "sa.key",
        "service-cluster-ip-range": "10.0.0.0/24",
        "authorization-mode": "RBAC",
        "token-auth-file": directory / "tokens.csv",
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, *(f"--{name}={value}" for name, value in flags.items())], stdout=log, stderr=log
        )
    return process, port


class Writer:
    """Creates, changes and deletes ConfigMaps; each change is conditional on the version that was read."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.present: dict[str, str] = {}
        self.acknowledged = 0

    async def run(self) -> None:
        for number in itertools.count():
            name = f"map-{number % NAMES}"
            path = f"{CONFIG_MAPS}/{name}"
            if name not in self.present:
                body = {"metadata": {"name": name}, "data": {"number": str(number)}}
                code, answer = await self._server.ask("POST", CONFIG_MAPS, body)
                self.present[name] = str(number)
            elif number % 7 == 0:
                code, answer = await self._server.ask("DELETE", path)
                del self.present[name]
            else:
                _, body = await self._server.ask("GET", path)
                code, answer = await self._server.ask("PUT", path, {**body, "data": {"number": str(number)}})
                self.present[name] = str(number)
            assert code in (200, 201), answer
            self.acknowledged += 1

    async def writes(self, changes: int) -> None:
        """Waits until so many changes were acknowledged from here on."""
        before = self.acknowledged

        async def count() -> int:
            return self.acknowledged - before

        await eventually(count, accept=lambda more: more >= changes, timeout_seconds=WAIT_SECONDS)


class Watcher:
    """Follows the ConfigMaps as a controller does: a list, then a watch from there, and again where that is too old."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.present: dict[str, str] = {}
        self.versions: list[int] = []
        self.lists = 0

    async def run(self) -> None:
        version = ""
        while True:
            if not version:
                listed = await self._server.listed()
                version, self.present = listed["metadata"]["resourceVersion"], numbers(listed)
                self.lists += 1
            query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "10"}
            async with self._server.session.get(CONFIG_MAPS, params=query) as answer:
                async for line in answer.content:
                    version = self._take(json.loads(line))
                    if not version:
                        break

    def _take(self, event: dict[str, Any]) -> str:
        kind, body = event["type"], event["object"]
        if kind == "ERROR":
            return ""
        version: str = body["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return version
        self.versions.append(int(version))
        if kind == "DELETED":
            self.present.pop(body["metadata"]["name"], None)
        elif "number" in body.get("data", {}):
            self.present[body["metadata"]["name"]] = body["data"]["number"]
        return version


def numbers(listed: Any) -> dict[str, str]:
    """What the writer's ConfigMaps hold, by name."""
    held = ((item["metadata"]["name"], item.get("data", {}).get("number")) for item in listed["items"])
    return {name: number for name, number in held if number is not None}


def test_a_kubernetes_api_server_goes_on_through_a_switchover_and_a_failover(tmp_path: Path) -> None:
    with running_regions(tmp_path, "us-east", "eu-west", "ap-south") as regions:
        asyncio.run(_use(tmp_path / "api-server", regions))


async def _use(directory: Path, regions: list[RegionProcesses]) -> None:
    first, second, third = regions
    async with running_api_server(directory, regions) as server:
        writer, watcher = Writer(server), Watcher(server)
        async with asyncio.TaskGroup() as tasks:
            writing, watching = tasks.create_task(writer.run()), tasks.create_task(watcher.run())
            await writer.writes(SOME)
            await _pages_are_of_one_version(server, writer)
            await _move(2, first, second, third)
            await writer.writes(SOME)
            await _pages_are_of_one_version(server, writer)
            await _move(3, second, third, first, lost=True)
            await writer.writes(SOME)
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            await _agree(server, watcher)
            watching.cancel()
    assert writer.acknowledged >= 3 * SOME
    assert watcher.versions == sorted(set(watcher.versions))


async def _pages_are_of_one_version(server: ApiServer, writer: Writer) -> None:
    """The pages of a list, and a list of exactly that version, do not see what is written between them."""
    page = await server.listed(limit="3")
    version, pages = page["metadata"]["resourceVersion"], numbers(page)
    while page["metadata"].get("continue"):
        await writer.writes(1)
        page = await server.listed(limit="3", **{"continue": page["metadata"]["continue"]})
        pages |= numbers(page)
    assert pages == numbers(await server.listed(resourceVersion=version, resourceVersionMatch="Exact"))


async def _move(
    epoch: int, old: RegionProcesses, new: RegionProcesses, other: RegionProcesses, *, lost: bool = False
) -> None:
    where = topology(new.region, new, old, other, epoch=epoch)
    demoted = await old.demote(epoch)  # the new one then has everything that was acknowledged

    async def promoted() -> object:
        return await new.promote(epoch, demoted.final_revision, where, revision_jump=10**9 if lost else 0)

    await eventually(promoted)
    if lost:
        old.replicas[0].kill()
    else:
        await old.set_topology(where)
    await other.set_topology(where)


async def _agree(server: ApiServer, watcher: Watcher) -> None:
    """What the store holds is what the API server has in memory, and what the watch came to."""
    quorum = await server.listed()
    version = quorum["metadata"]["resourceVersion"]
    cached = await server.listed(resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert numbers(cached) == numbers(quorum)

    async def watched() -> dict[str, str]:
        return watcher.present

    await eventually(watched, accept=lambda present: present == numbers(quorum))
