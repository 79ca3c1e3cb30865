"""The real etcdctl against a region."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, eventually
from rstore_api import methods
from rstore_api.domain import etcd_version
from rstore_api.domain.access import AccessRules, ClientRule
from rstore_api.proto.rstore_pb2 import SetAccessRequest
from rstore_api.tls import TlsFiles

ETCDCTL = Path(sys.executable).parent / "etcdctl"

pytestmark = pytest.mark.skipif(not ETCDCTL.exists(), reason="etcdctl is not installed in this environment")


class EtcdCtl:
    """Runs etcdctl with the store's client certificate, or another one."""

    def __init__(self, region: RegionProcesses, *replicas: ReplicaProcess, files: TlsFiles | None = None) -> None:
        chosen = replicas or tuple(region.replicas)
        files = files or region.client_files
        self._flags = [
            f"--endpoints={','.join(f'https://{one.client_address}' for one in chosen)}",
            f"--cacert={files.ca}",
            f"--cert={files.cert}",
            f"--key={files.key}",
        ]

    async def fails(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command that must fail; returns its error output."""
        code, _, error = await self._run(arguments, stdin)
        assert code != 0
        return error

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command that must succeed; returns its output."""
        code, output, error = await self._run(arguments, stdin)
        assert code == 0, error
        return output

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Starts a command that does not end by itself."""
        return await asyncio.create_subprocess_exec(
            ETCDCTL, *arguments, *self._flags, env={**os.environ, "ETCDCTL_API": "3"}, stdout=asyncio.subprocess.PIPE
        )

    async def _run(self, arguments: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            ETCDCTL,
            *arguments,
            *self._flags,
            env={**os.environ, "ETCDCTL_API": "3"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, error = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return process.returncode, output.decode(), error.decode()


async def test_etcdctl_reads_and_writes_through_any_replica(triple: RegionProcesses) -> None:
    region = triple
    for replica in region.replicas:
        etcdctl = EtcdCtl(region, replica)
        key = f"key-{replica.name}"
        assert await etcdctl("put", key, "one") == "OK\n"
        assert await etcdctl("put", key, "two", "--prev-kv") == f"OK\n{key}\none\n"
        assert await etcdctl("get", key) == f"{key}\ntwo\n"
    etcdctl = EtcdCtl(region)
    keys = await etcdctl("get", "key-", "--prefix", "--keys-only", "--order=DESCEND")
    assert keys.split() == sorted((f"key-{replica.name}" for replica in region.replicas), reverse=True)
    assert '"Count" : 3' in await etcdctl("get", "key-", "--prefix", "--count-only", "-w=fields")
    assert await etcdctl("del", "key-", "--prefix") == "3\n"
    assert await etcdctl("get", "key-", "--prefix") == ""


async def test_etcdctl_transactions_and_past_revisions(triple: RegionProcesses) -> None:
    region = triple
    etcdctl = EtcdCtl(region)
    before = json.loads(await etcdctl("put", "a", "1", "-w=json"))["header"]["revision"]
    await etcdctl("put", "a", "2")
    swap = 'value("a") = "2"\n\nput a 3\nget a\n\nget a\n\n'
    assert (await etcdctl("txn", stdin=swap)).split() == ["SUCCESS", "OK", "a", "3"]
    assert (await etcdctl("txn", stdin=swap)).split() == ["FAILURE", "a", "3"]
    assert await etcdctl("get", "a", f"--rev={before}") == "a\n1\n"
    assert f"compacted revision {before + 1}" in await etcdctl("compact", str(before + 1))
    assert "required revision has been compacted" in await etcdctl.fails("get", "a", f"--rev={before}")
    assert "future revision" in await etcdctl.fails("get", "a", "--rev=1000000")


async def test_etcdctl_status_members_and_hashes(triple: RegionProcesses) -> None:
    region = triple
    etcdctl = EtcdCtl(region)
    await etcdctl("put", "a", "1")
    table = await etcdctl("endpoint", "status", "-w", "table")
    assert all(replica.client_address in table for replica in region.replicas)
    assert f" {etcd_version.SERVER_VERSION} " in table
    statuses = json.loads(await etcdctl("endpoint", "status", "-w", "json"))
    leaders = {status["Status"]["leader"] for status in statuses}
    ids = {status["Status"]["header"]["member_id"] for status in statuses}
    assert len(ids) == 3
    assert len(leaders) == 1
    assert leaders < ids
    members = json.loads(await etcdctl("member", "list", "-w", "json"))["members"]
    assert {member["ID"] for member in members} == ids
    assert {member["clientURLs"][0] for member in members} == {
        f"https://{replica.client_address}" for replica in region.replicas
    }

    async def hashes() -> set[int]:
        answer = json.loads(await etcdctl("endpoint", "hashkv", "-w", "json"))
        return {entry["HashKV"]["hash"] for entry in answer}

    await eventually(hashes, accept=lambda hashes: len(hashes) == 1)
    for health in (await etcdctl("endpoint", "health"), await etcdctl("endpoint", "health", "--cluster")):
        assert health.count("is healthy") == 3


async def test_etcdctl_shows_etcds_error_to_a_client_beyond_its_keys(start_regions, authority, tmp_path: Path) -> None:
    [region] = await start_regions(("us-east", 1))
    rules = AccessRules(version=1, clients=(ClientRule(name="shop", prefixes=("shop/",)),))
    async with region.peer(region.replicas[0]) as peer:
        request = SetAccessRequest(rules=rules.encode())
        await peer.call(methods.ADMIN_SET_ACCESS, request, timeout_seconds=5)
    etcdctl = EtcdCtl(region, files=authority.issue(tmp_path / "shop", "shop", organization="client"))
    assert await etcdctl("put", "shop/1", "a") == "OK\n"
    assert await etcdctl("get", "shop/", "--prefix") == "shop/1\na\n"
    assert "etcdserver: permission denied" in await etcdctl.fails("get", "cart/1")
    assert "etcdserver: permission denied" in await etcdctl.fails("get", "", "--prefix")


async def test_etcdctl_watches_changes_of_now_and_of_the_past(triple: RegionProcesses) -> None:
    region = triple
    etcdctl = EtcdCtl(region, region.replicas[1])
    first = json.loads(await etcdctl("put", "watched", "1", "-w=json"))["header"]["revision"]
    flags = ("--prefix", f"--rev={first}", "--prev-kv", "--progress-notify")
    process = await etcdctl.start("watch", "watched", *flags)
    try:
        await etcdctl("put", "watched", "2")
        await etcdctl("del", "watched")
        await etcdctl("put", "watched-too", "3")
        expected = ["PUT", "watched", "1", "PUT", "watched", "1", "watched", "2"]
        expected += ["DELETE", "watched", "2", "watched", "", "PUT", "watched-too", "3"]
        assert process.stdout is not None
        async with asyncio.timeout(30):
            shown = [(await process.stdout.readline()).decode().rstrip("\n") for _ in expected]
        assert shown == expected
    finally:
        process.kill()
        await process.wait()
