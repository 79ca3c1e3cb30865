"""From an etcd into a store by `rstore restore` and `rstore migrate`, and back into an etcd by etcd's own tools."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from e2e.manifests import small_store
from etcd.etcd_process import is_installed
from etcd.servers import running_etcd
from etcd.test_snapshot import everything, restored, save, write_at_random
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc
from rstore_cli.helm import clean_environment
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import ETCDCTL_PATIENCE, Kubectl, find_tool

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason="etcd is not installed in this environment"),
    pytest.mark.timeout(300),
]
NAME = "from-etcd"
ALL = rpc.RangeRequest(key=b"\0", range_end=b"\0")


def _source(directory: Path) -> list[bytes]:
    """Makes a snapshot of an etcd with some data in the directory; returns its keys, encoded."""
    directory.mkdir()
    with running_etcd(directory) as etcd:
        write_at_random(etcd, 3, 300)
        save(etcd, directory / "snapshot.db")
        return everything(etcd, 0)


def _again(directory: Path) -> list[bytes]:
    """Returns the keys of an etcd that is made from the snapshot in the directory."""
    restored(directory / "saved.db", directory)
    with running_etcd(directory) as etcd:
        return everything(etcd, 0)


async def test_etcd_to_a_store_and_back(kubectl: Kubectl, operator, scratch: Path, rstore, tmp_path: Path):
    del operator
    keys = await asyncio.to_thread(_source, tmp_path / "etcd")
    snapshot = tmp_path / "etcd" / "snapshot.db"
    async with Store(kubectl, NAME, scratch / NAME) as store:
        kubectl.run("apply", "-f", "-", input_text=small_store(NAME, ["us-east", "eu-west"]))
        await store.wait_steady()
        printed = rstore("restore", NAME, "--from-etcd", str(snapshot), "--bump-revision", "1000").stdout
        assert f"{len(keys)} keys" in printed
        assert "compared key by key" in printed

        async def same_in_the_other_region() -> bool:
            return await store.revision("eu-west") == await store.revision("us-east") > 1000

        await wait_until(same_in_the_other_region, what="eu-west has it", poll_seconds=0.2)
        assert "equal at revision" in (lambda done: done.stdout + done.stderr)(rstore("verify", NAME))
        refused = rstore("restore", NAME, "--from-etcd", str(snapshot), code=1).stderr
        assert "nothing was written" in refused

        (tmp_path / "again").mkdir()
        tls = store.write_certificates()
        done = await asyncio.to_thread(
            subprocess.run,
            [
                find_tool("etcdctl"), *ETCDCTL_PATIENCE, f"--endpoints=https://{store.endpoint('eu-west')}",
                f"--cacert={tls.ca}", f"--cert={tls.cert}", f"--key={tls.key}",
                "snapshot", "save", tmp_path / "again" / "saved.db",
            ],
            env={**clean_environment(), "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert await asyncio.to_thread(_again, tmp_path / "again") == keys
    kubectl.run("delete", "rstore", NAME)


async def test_a_running_etcd_becomes_a_store(kubectl: Kubectl, operator, scratch: Path, rstore, tmp_path: Path):
    del operator
    name = "migrated"
    async with Store(kubectl, name, scratch / name) as store:
        kubectl.run("apply", "-f", "-", input_text=small_store(name, ["us-east", "eu-west"]))
        await store.wait_steady()
        with running_etcd(tmp_path) as etcd:
            await asyncio.to_thread(write_at_random, etcd, 3, 100)
            source = etcd.address.removeprefix("http://")
            migrating = asyncio.create_task(asyncio.to_thread(rstore, "migrate", name, "--from", source, "--switch"))
            refused = ""
            for number in range(100_000):
                put = rpc.PutRequest(key=b"live/%d" % (number % 50), value=b"%d" % number)
                answer = await asyncio.to_thread(etcd.call, methods.PUT, put)
                if answer.code != "OK":
                    refused = answer.text
                    break
            assert "database space exceeded" in refused
            printed = (await migrating).stdout
            assert "compared key by key" in printed
            wanted = {kv.key: kv.value for kv in etcd.call(methods.RANGE, ALL).message.kvs}
        stored = await store.read_all("us-east", b"key/") | await store.read_all("us-east", b"live/")
        assert {key: written.value for key, written in stored.items()} == wanted
    kubectl.run("delete", "rstore", name)
