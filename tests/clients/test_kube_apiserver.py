"""A real Kubernetes API server keeps its objects in a store, through a switchover and a failover.

``RSTORE_KUBE_APISERVER`` names its program; no package that a test may install has it, so without it this is skipped.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from clients.test_libraries import running_regions
from integration.replicas.moves import fail_over, switch_over
from integration.replicas.server_processes import RegionProcesses, eventually, free_loopback_address, topology
from rstore_api.domain.epochs import REVISION_JUMP

PROGRAM = os.environ.get("RSTORE_KUBE_APISERVER", "")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PORT = 6443
NAMES = 20
SOME = 100
SOME_LOST = 10
WAIT_SECONDS = 180.0
TOKEN = "administrator"
Use = Callable[[Path, list[RegionProcesses]], Coroutine[Any, Any, None]]
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

    @asynccontextmanager
    async def looking(self, **query: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Lists or watches ConfigMaps, once the API server has them in memory; it asks its clients to wait for that.
        Raises AssertionError when it is refused."""
        while True:
            async with self.session.get(CONFIG_MAPS, params=query) as answer:
                if answer.status != 429:
                    assert answer.status == 200, await answer.text()
                    yield answer
                    return
                seconds = float(answer.headers["Retry-After"])
            await asyncio.sleep(seconds)

    async def listed(self, **query: str) -> Any:
        """Lists ConfigMaps."""
        async with self.looking(**query) as answer:
            return await answer.json(content_type=None)


@asynccontextmanager
async def running_api_server(directory: Path, regions: list[RegionProcesses]) -> AsyncIterator[ApiServer]:
    """One that knows the addresses of these regions, and compacts every ten seconds."""
    process, host = _started(directory, regions)
    try:
        async with aiohttp.ClientSession(
            f"https://{host}:{PORT}",
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


def _started(directory: Path, regions: list[RegionProcesses]) -> tuple[subprocess.Popen[bytes], str]:
    directory.mkdir()
    (directory / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    files = regions[0].directory / "client"
    host = free_loopback_address()
    flags = {
        "etcd-servers": ",".join(f"https://{region.replicas[0].client_address}" for region in regions),
        "etcd-cafile": files / "ca.crt",
        "etcd-certfile": files / "tls.crt",
        "etcd-keyfile": files / "tls.key",
        "etcd-compaction-interval": "10s",
        "bind-address": host,
        "advertise-address": host,
        "endpoint-reconciler-type": "none",
        "external-hostname": "localhost",
        "secure-port": PORT,
        "cert-dir": directory / "certificates",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": files / "tls.crt",
        "service-account-signing-key-file": files / "tls.key",
        "service-cluster-ip-range": "10.0.0.0/24",
        "authorization-mode": "RBAC",
        "token-auth-file": directory / "tokens.csv",
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, *(f"--{name}={value}" for name, value in flags.items())], stdout=log, stderr=log
        )
    return process, host


class Writer:
    """Creates, changes and deletes ConfigMaps; each change is conditional on the version that was read."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.present: dict[str, str] = {}
        self.acknowledged = 0
        self.ending = False

    async def run(self) -> None:
        """Writes until it is to end. Raises AssertionError when a write is refused."""
        numbers = itertools.count()
        while not self.ending:
            number = next(numbers)
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
            assert code in (200, 201), f"{code}: {answer}"
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
            async with self._server.looking(**query) as answer:
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
    every = ((item["metadata"]["name"], item.get("data", {}).get("number")) for item in listed["items"])
    return {name: number for name, number in every if number is not None}


async def _through_moves(directory: Path, regions: list[RegionProcesses]) -> None:
    """A switchover, and a failover that loses nothing: no request fails, no watch has to begin anew."""
    first, second, third = regions
    async with running_api_server(directory, regions) as server:
        writer, watcher = Writer(server), Watcher(server)
        async with asyncio.TaskGroup() as tasks:
            writing, watching = tasks.create_task(writer.run()), tasks.create_task(watcher.run())
            await writer.writes(SOME)
            await _pages_are_of_one_version(server, writer)
            await switch_over(first, second, third, epoch=2)
            await writer.writes(SOME)
            await _pages_are_of_one_version(server, writer)
            await fail_over(second, third, first, epoch=3)
            await writer.writes(SOME)
            writer.ending = True
            await writing
            await _agree(server, writer, watcher)
            watching.cancel()
    assert watcher.versions == sorted(set(watcher.versions))
    assert watcher.lists == 1, "nothing was lost, so no watch has to begin anew"


async def _through_a_lost_tail(directory: Path, regions: list[RegionProcesses]) -> None:
    """A failover to a region that hung while the last changes were made: whoever saw them lists again."""
    lost, target, other = regions
    async with running_api_server(directory, [lost, other]) as server:  # what asks a region that hangs waits for it
        writer, watcher = Writer(server), Watcher(server)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watcher.run())
            await _writes(tasks, writer, SOME)
            await _agree(server, writer, watcher)
            newest = await _received_by(target, lost)
            hanging = target.replicas[0].process
            assert hanging is not None
            hanging.send_signal(signal.SIGSTOP)
            await _writes(tasks, writer, SOME_LOST)
            await _agree(server, writer, watcher)
            assert watcher.lists == 1
            lost.replicas[0].kill()
            hanging.send_signal(signal.SIGCONT)
            where = topology(target.region, target, lost, other, epoch=2)

            async def promoted() -> object:
                return await target.promote(2, newest, where, revision_jump=REVISION_JUMP)

            await eventually(promoted)
            await other.set_topology(where)
            survivor = Writer(server)
            survivor.present = numbers(await server.listed())
            assert survivor.present != writer.present, "nothing was lost, so nothing is shown"
            await _writes(tasks, survivor, SOME)
            await _agree(server, survivor, watcher)
            watching.cancel()
    assert watcher.lists > 1


async def _received_by(target: RegionProcesses, primary: RegionProcesses) -> int:
    """The primary's newest revision, once the target has it."""
    async with primary.client() as there, target.client() as here:
        newest = (await there.status()).header.revision
        await eventually(here.status, accept=lambda status: status.header.revision >= newest)
    return newest


async def _writes(tasks: asyncio.TaskGroup, writer: Writer, changes: int) -> None:
    writer.ending = False
    writing = tasks.create_task(writer.run())
    await writer.writes(changes)
    writer.ending = True
    await writing


async def _pages_are_of_one_version(server: ApiServer, writer: Writer) -> None:
    """The pages of a list, and a list of exactly that version, do not see what is written between them."""
    page = await server.listed(limit="3")
    version, pages = page["metadata"]["resourceVersion"], numbers(page)
    while page["metadata"].get("continue"):
        await writer.writes(1)
        page = await server.listed(limit="3", **{"continue": page["metadata"]["continue"]})
        pages |= numbers(page)
    assert pages == numbers(await server.listed(resourceVersion=version, resourceVersionMatch="Exact"))


async def _agree(server: ApiServer, writer: Writer, watcher: Watcher) -> None:
    """What the store holds is what was written, what the API server has in memory, and what the watch came to."""
    quorum = await server.listed()
    assert numbers(quorum) == writer.present
    version = quorum["metadata"]["resourceVersion"]
    cached = await server.listed(resourceVersion=version, resourceVersionMatch="NotOlderThan")
    assert numbers(cached) == numbers(quorum)

    async def watched() -> dict[str, str]:
        return watcher.present

    await eventually(watched, accept=lambda present: present == numbers(quorum))


@pytest.mark.parametrize("use", [_through_moves, _through_a_lost_tail], ids=lambda use: use.__name__.strip("_"))
def test_a_kubernetes_api_server_goes_on(tmp_path: Path, use: Use) -> None:
    with running_regions(tmp_path, "us-east", "eu-west", "ap-south") as regions:
        asyncio.run(use(tmp_path / "api-server", regions))
