"""A store with `spec.backup`: its archive has all that it acknowledged, and its status says when it has not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.archiving import DESTINATION, SECRET, backup_to, credentials, use_credentials, wait_archived
from e2e.bucket import served
from e2e.manifests import small_store
from rstore_testkit.load import wait_until
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import Store
from rstore_testkit.tools import Kubectl

pytestmark = [pytest.mark.runner, pytest.mark.timeout(600)]
NAME, RESTORED = "archived", "from-archive"
IN_FOLDER, CLAIM = "in-folder", "archive-folder"


async def healthy(store: Store) -> tuple[str, str]:
    """Status and reason of the condition BackupHealthy."""
    conditions = (await store.status()).get("conditions", [])
    found = [(item["status"], item["reason"]) for item in conditions if item["type"] == "BackupHealthy"]
    return found[0] if found else ("", "")


async def wait_healthy(store: Store, status: str, reason: str) -> None:
    async def reached() -> bool:
        return await healthy(store) == (status, reason)

    await wait_until(reached, what=f"BackupHealthy={status} {reason}", poll_seconds=0.5)


async def put(store: Store, prefix: str, count: int) -> int:
    """Writes keys; returns the last revision."""
    client = store.new_client()
    try:
        write = store.writer(client)
        return max([await write(f"{prefix}/{number}".encode(), b"value") for number in range(count)])
    finally:
        await client.close()


async def test_an_archive_of_a_store(
    kubectl: Kubectl, operator, scratch: Path, rstore: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    del operator
    async with served("right") as bucket, Store(kubectl, NAME, scratch / NAME) as store:
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=credentials("wrong"))
        manifest = small_store(NAME, ["us-east", "eu-west"], backup=backup_to(bucket))
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        await wait_healthy(store, "False", "AccessRefused")
        await store.wait_steady()
        first = await put(store, "before", 20)
        assert not bucket.objects
        refused = await asyncio.to_thread(rstore, "backup", "now", NAME, f"--wait={WAIT_SECONDS / 2:g}", code=1)
        assert "has failed" in refused.stderr
        failed = (await store.kube_get("rstorebackup"))["items"][0]["status"]
        assert (failed["phase"], failed["error"] in refused.stderr) == ("Failed", True)

        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=credentials("right"))
        await wait_healthy(store, "True", "Archiving")
        shown = await wait_archived(store, first)
        assert shown["region"] == "eu-west"
        assert shown["lastBase"]["revision"] <= first
        assert shown["firstRecoverable"] <= shown["lastRecoverable"]
        pod = await archiver_pod(store)

        await store.kube("annotate", "rstore", NAME, "replicatedstore.io/failover-to=eu-west")
        await store.wait_steady(primary="eu-west")
        last = await put(store, "after", 20)
        shown = await wait_archived(store, last)
        assert await archiver_pod(store) == pod, "a change of primary restarts nothing"
        await wait_healthy(store, "True", "Archiving")
        assert "archived up to revision" in (await asyncio.to_thread(rstore, "status", NAME)).stdout

        printed = (await asyncio.to_thread(rstore, "backup", "now", NAME, f"--wait={WAIT_SECONDS / 2:g}")).stdout
        assert f"base at revision {last}" in printed
        asked = await store.kube_get("rstorebackup", printed.partition(":")[0])
        assert (asked["status"]["phase"], asked["status"]["revision"]) == ("Completed", last)
        assert asked["metadata"]["ownerReferences"][0]["name"] == NAME

        use_credentials(monkeypatch, "right")
        at = ("--endpoint-url", bucket.endpoint, "--at", str(last))
        verified = await asyncio.to_thread(rstore, "backup", "verify", DESTINATION, *at, "--against", NAME)
        assert f"{NAME} has the same at that revision" in verified.stdout
        drilled = (await asyncio.to_thread(rstore, "backup", "drill", NAME, "--wait=90")).stdout
        assert f"at revision {last}, as in region" in drilled
        shown = (await store.status())["backup"]["lastDrill"]
        assert (shown["result"], shown["revision"]) == ("Succeeded", last)
        await restored_elsewhere(kubectl, scratch, rstore, at)

        kept = dict(bucket.objects)
        gone = json.dumps([{"op": "remove", "path": "/spec/backup"}])
        await store.kube("patch", "rstore", NAME, "--type=json", "-p", gone)
        await wait_until(lambda: without_archiver(store), what="no archiver", poll_seconds=0.5)
        assert kept.items() <= bucket.objects.items(), "what is archived stays"
    kubectl.run("delete", "rstore", NAME, RESTORED)
    kubectl.run("delete", "secret", SECRET)


async def test_a_base_of_a_store_that_is_not_there_fails(kubectl: Kubectl, operator):
    del operator
    for name, deadline in (("of-nothing", 3), ("of-nothing-yet", 3600)):
        asked = {
            "apiVersion": "replicatedstore.io/v1alpha1",
            "kind": "ReplicatedStoreBackup",
            "metadata": {"name": name},
            "spec": {"store": "nothing", "deadlineSeconds": deadline},
        }
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=yaml.safe_dump(asked))
    for name, phase in (("of-nothing-yet", "Pending"), ("of-nothing", "Failed")):
        wait = (
            "wait",
            f"rstorebackup/{name}",
            f"--for=jsonpath={{.status.phase}}={phase}",
            f"--timeout={WAIT_SECONDS:g}s",
        )
        await asyncio.to_thread(kubectl.run, *wait)
        shown = json.loads(kubectl.run("get", "rstorebackup", name, "-o", "json"))["status"]
        assert "there is no ReplicatedStore nothing in this namespace" in shown["error"]
    kubectl.run("delete", "rstorebackup", "of-nothing", "of-nothing-yet")


async def archiver_pod(store: Store) -> str:
    """The uid of the archiver's pod."""
    selector = f"-l=replicatedstore.io/store={store.name},app.kubernetes.io/component=archiver"
    pods = (await store.kube_get("pods", selector))["items"]
    [uid] = [pod["metadata"]["uid"] for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return str(uid)


async def restored_elsewhere(kubectl: Kubectl, scratch: Path, rstore: Callable[..., Any], at: tuple[str, ...]) -> None:
    """Makes another store of the archive."""
    async with Store(kubectl, RESTORED, scratch / RESTORED) as store:
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=small_store(RESTORED, ["ap-south"]))
        await store.wait_steady()
        await asyncio.to_thread(rstore, "restore", RESTORED, "--from-archive", DESTINATION, *at)
        assert len(await store.read_all("ap-south", b"a")) + len(await store.read_all("ap-south", b"b")) == 40


async def without_archiver(store: Store) -> bool:
    status = await store.status()
    made = [
        item["metadata"]["name"]
        for item in (await store.kube_get("deployments,configmaps,secrets,networkpolicies"))["items"]
        if item["metadata"]["name"].startswith(f"{NAME}-archiver")
    ]
    return not made and "backup" not in status and await healthy(store) == ("", "")


async def test_a_folder_of_a_volume(
    kubectl: Kubectl, operator, scratch: Path, rstore: Callable[..., Any], data_dir: Path
):
    del operator
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    async with Store(kubectl, IN_FOLDER, scratch / IN_FOLDER) as store:
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=yaml.safe_dump(claim))
        backup = {"destination": "file:///stores", "volumeClaim": CLAIM, "logInterval": "1s"}
        manifest = small_store(IN_FOLDER, ["us-east"], backup=backup)
        await asyncio.to_thread(kubectl.run, "apply", "-f", "-", input_text=manifest)
        await store.wait_steady()
        revision = await put(store, "key", 10)
        await wait_archived(store, revision)
        await wait_healthy(store, "True", "Archiving")
        [card] = await asyncio.to_thread(lambda: list(data_dir.rglob("stores/*/store.json")))
        folder = card.parent.parent
        listed = await asyncio.to_thread(rstore, "backup", "list", folder.as_uri(), "-o", "json")
        assert (await store.status())["storeId"] in listed.stdout
    kubectl.run("delete", "rstore", IN_FOLDER)
    kubectl.run("delete", "pvc", CLAIM)
