"""Clients with certificates of their own: kept to their keys by every region, and shut out while others write."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e.faults.scene import UNNOTICED_SECONDS
from rstore_api.client import Client
from rstore_api.dialling.channels import Address, open_channel
from rstore_api.errors import PermissionDenied, StoreError
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc
from rstore_api.tls import TlsFiles
from rstore_cli.helm import clean_environment
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import ETCDCTL_PATIENCE, find_tool

REGIONS = ["us-east", "eu-west", "ap-south"]
CLIENTS: list[dict[str, Any]] = [{"name": "shop", "prefixes": ["shop/"]}, {"name": "report", "access": "Read"}]
Rstore = Callable[..., subprocess.CompletedProcess[str]]


async def secure(store: Store, **security: Any) -> None:
    """Changes spec.security and waits until every replica enforces it."""
    await store.kube(
        "patch", "rstore", store.name, "--type=merge", f"-p={json.dumps({'spec': {'security': security}})}"
    )
    generation = (await store.object())["metadata"]["generation"]

    async def in_force() -> bool:
        conditions = (await store.status()).get("conditions", [])
        found = next((one for one in conditions if one["type"] == "AccessInForce"), None)
        return found is not None and (found["status"], found["observedGeneration"]) == ("True", generation)

    await wait_until(in_force, what="the access rules in force", poll_seconds=0.1)


@asynccontextmanager
async def secured(store: Store) -> AsyncIterator[None]:
    """The store has the clients inside, and none behind."""
    await secure(store, clients=CLIENTS)
    try:
        yield
    finally:
        await secure(store, clients=[])


async def certificate(store: Store, rstore: Rstore, directory: Path, client: str) -> TlsFiles:
    async def made() -> bool:
        return bool(await store.kube("get", "secret", "--ignore-not-found", f"{store.name}-client-{client}-tls"))

    await wait_until(made, what=f"the certificate of {client}", poll_seconds=0.2)
    await asyncio.to_thread(rstore, "certs", store.name, f"--client={client}", f"--out={directory}")
    return TlsFiles.in_directory(directory)


def etcdctl(store: Store, region: str, tls: TlsFiles, *arguments: str) -> subprocess.CompletedProcess[str]:
    identity = [f"--cacert={tls.ca}", f"--cert={tls.cert}", f"--key={tls.key}"]
    return subprocess.run(
        [
            find_tool("etcdctl"),
            *ETCDCTL_PATIENCE,
            f"--endpoints=https://{store.endpoint(region)}",
            *identity,
            *arguments,
        ],
        text=True,
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
        env={**clean_environment(), "ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
    )


async def test_a_client_is_kept_to_its_keys_by_every_region(store, rstore, tmp_path):
    async with secured(store):
        shop = await certificate(store, rstore, tmp_path / "shop", "shop")
        report = await certificate(store, rstore, tmp_path / "report", "report")
        for region in REGIONS:
            assert etcdctl(store, region, shop, "put", f"shop/{region}", "1").stdout == "OK\n"
            assert etcdctl(store, region, report, "get", f"shop/{region}").stdout.split() == [f"shop/{region}", "1"]
            for tls, arguments in (
                (shop, ("put", "cart/1", "1")),
                (shop, ("get", "", "--prefix", "--consistency=s")),
                (shop, ("del", "", "--prefix")),
                (shop, ("compaction", "1")),
                (report, ("put", f"shop/{region}", "2")),
            ):
                done = etcdctl(store, region, tls, *arguments)
                assert done.returncode != 0
                assert "etcdserver: permission denied" in done.stderr


async def test_a_leaked_certificate_is_shut_out_while_others_write(store, load, rstore, tmp_path):
    async with secured(store), load.running() as running:
        leaked = await certificate(store, rstore, tmp_path / "leaked", "shop")
        address = Address.parse(store.endpoint("eu-west"))
        async with await open_channel(address, tls=leaked) as channel, Client([str(address)], tls=leaked) as client:
            await client.put("shop/1", "a")
            watch = rpc_pb2_grpc.WatchStub(channel).Watch()
            await watch.write(rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"shop/1")))
            assert (await asyncio.wait_for(watch.read(), WAIT_SECONDS)).created
            revoked_at, began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), time.monotonic()
            await secure(store, clients=[{**CLIENTS[0], "revokedBefore": revoked_at}, CLIENTS[1]])
            assert await asyncio.wait_for(watch.code(), WAIT_SECONDS) is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(PermissionDenied, match="was revoked"):
                await client.get("shop/1")
        renewed = tmp_path / "renewed"

        async def usable() -> bool:
            tls = await certificate(store, rstore, renewed, "shop")
            try:
                async with Client([store.endpoint("eu-west")], tls=tls) as client:
                    return bool((await client.get("shop/1", timeout_seconds=10)).kvs)
            except StoreError:
                return False

        await wait_until(usable, what="a certificate that is good again", poll_seconds=0.3)
        await running.wait_acknowledged(100)
        assert running.ledger.longest_gap_seconds(began, time.monotonic()) < UNNOTICED_SECONDS, "others notice nothing"
        assert not running.ledger.refused, running.ledger.last_refusal
