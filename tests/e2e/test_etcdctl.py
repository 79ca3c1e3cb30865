"""The real etcdctl with the store's certificates, against every region."""

from __future__ import annotations

import os
import subprocess

import pytest
from rstore_cli.helm import clean_environment
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import ETCDCTL_PATIENCE, find_tool

REGIONS = ["us-east", "eu-west", "ap-south"]


def etcdctl(
    store: Store, region: str, *args: str, stdin: str | None = None, certificate: bool = True
) -> subprocess.CompletedProcess[str]:
    tls = store.write_certificates()
    identity = [f"--cert={tls.cert}", f"--key={tls.key}"] if certificate else []
    return subprocess.run(
        [
            find_tool("etcdctl"),
            *ETCDCTL_PATIENCE,
            f"--endpoints=https://{store.endpoint(region)}",
            f"--cacert={tls.ca}",
            *identity,
            *args,
        ],
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
        env={**clean_environment(), "ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
    )


def expect(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("region", REGIONS)
async def test_put_get_del_txn_status_in(store, region):
    key = f"etcdctl/{region}"
    assert expect(etcdctl(store, region, "put", key, "one")).strip() == "OK"
    assert expect(etcdctl(store, region, "get", key)).split() == [key, "one"]
    txn = expect(
        etcdctl(store, region, "txn", stdin=f'value("{key}") = "one"\n\nput {key} two\nget {key}\n\nget {key}\n\n')
    )
    assert "SUCCESS" in txn
    assert txn.split()[-2:] == [key, "two"]
    table = expect(etcdctl(store, region, "endpoint", "status", "-w", "table"))
    assert "RAFT TERM" in table
    assert "true" in table or "false" in table
    assert expect(etcdctl(store, region, "del", key)).strip() == "1"
    assert expect(etcdctl(store, region, "get", key)) == ""
    assert region in expect(etcdctl(store, region, "member", "list"))
    assert "is healthy" in (lambda done: done.stdout + done.stderr)(etcdctl(store, region, "endpoint", "health"))


async def test_serializable_and_linearizable_reads_agree_once_converged(store):
    expect(etcdctl(store, REGIONS[0], "put", "etcdctl/everywhere", "here"))
    await store.wait_converged()
    for region in REGIONS:
        for consistency in ("s", "l"):
            shown = expect(etcdctl(store, region, "get", f"--consistency={consistency}", "etcdctl/everywhere"))
            assert shown.split() == ["etcdctl/everywhere", "here"]


async def test_hashkv_is_equal_in_every_region(store):
    revision = await store.wait_converged()
    shown = {
        expect(etcdctl(store, region, "endpoint", "hashkv", f"--rev={revision}")).rsplit(",", 1)[1].strip()
        for region in REGIONS
    }
    assert len(shown) == 1


async def test_no_certificate_no_entry(store):
    done = etcdctl(store, "us-east", "--command-timeout=3s", "--dial-timeout=3s", "put", "a", "b", certificate=False)
    assert done.returncode != 0
