"""`rstore`, as a person types it, does what it says on a running store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import zipfile

from rstore_cli.helm import clean_environment
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.tools import ETCDCTL_PATIENCE, find_tool


async def test_put_get_del_and_verify(store, rstore):
    assert rstore("put", store.name, "cli/a", "1").stdout.startswith("OK")
    answer = json.loads(rstore("get", store.name, "cli/a", "-o", "json").stdout)
    assert [(item["key"], item["value"]) for item in answer["kvs"]] == [("cli/a", "1")]
    verdict = rstore("verify", store.name)
    replicas = sum(region["replicas"] for region in (await store.object())["spec"]["regions"])
    assert sum(f"{store.name}-" in line for line in verdict.stdout.splitlines()) == replicas
    assert "equal at revision" in verdict.stdout + verdict.stderr
    assert rstore("del", store.name, "cli/a").stdout.startswith("deleted 1")
    assert "does not exist" in rstore("get", store.name, "cli/a", code=1).stderr


async def test_failover_is_followed_until_its_receipt(store, rstore):
    source = (await store.status())["primaryRegion"]
    target = next(region for region in await store.regions() if region != source)
    moved = rstore("failover", store.name, "--to", target)
    assert f"{target} is primary" in moved.stdout + moved.stderr
    status = json.loads(rstore("status", store.name, "-o", "json").stdout)
    assert status["primaryRegion"] == target
    shown = rstore("status", store.name).stdout
    assert f"{source} → {target}" in shown
    refused = rstore("failover", store.name, "--to", target, code=1)
    assert "is the primary" in refused.stderr
    assert "it could move to" in refused.stderr
    unknown = rstore("failover", store.name, "--to", "mars", code=1)
    assert 'no region "mars"' in unknown.stderr


async def test_certificates_let_etcdctl_in(store, rstore, tmp_path):
    printed = rstore("certs", store.name, "--out", str(tmp_path / "certs")).stdout
    environment = dict(
        line.removeprefix("export ").split("=", 1) for line in printed.splitlines() if line.startswith("export ")
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [find_tool("etcdctl"), *ETCDCTL_PATIENCE, f"--endpoints={store.endpoint()}", "put", "cli/etcdctl", "1"],
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "OK"), done.stderr


async def test_logs_and_a_report_without_secrets(store, rstore, tmp_path):
    pods = await store.kube_get("pods", f"-l=replicatedstore.io/store={store.name}")
    names = {pod["metadata"]["name"] for pod in pods["items"]}
    printed = rstore("logs", store.name, "--tail=3").stdout.splitlines()
    assert {line.partition("  ")[0] for line in printed} == names
    rstore("report", store.name, "--out", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {f"rstore-report/logs/{name}.log" for name in names} < files.keys()
    assert any(name.startswith("rstore-report/operator/") and name.endswith(".log") for name in files)
    secrets = (await store.kube_get("secrets"))["items"]
    contents = [value for secret in secrets for value in (secret.get("data") or {}).values() if value]
    assert len(contents) >= 6
    for name, text in files.items():
        assert "PRIVATE KEY" not in text, name
        assert not [value for value in contents if value in text], name


async def test_a_store_that_is_not_there(store, rstore):
    for command in (["status", "nowhere"], ["get", "nowhere", "k"], ["failover", "nowhere", "--to", "us-east"]):
        refused = rstore(*command, code=1)
        assert "nowhere" in refused.stderr
        assert "hint:" in refused.stderr
