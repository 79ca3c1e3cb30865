"""Volumes of pods: configuration that follows its object, directories that outlive their pod, credentials."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from localkube.controllers.resources import CONFIG_MAPS, PVCS, SECRETS

WATCH = """
import sys, time
seen = None
while True:
    try:
        now = open(sys.argv[1]).read()
    except FileNotFoundError:
        now = None
    if now != seen:
        print(now, flush=True)
        seen = now
    time.sleep(0.02)
"""


def _log(harness: Any, name: str) -> list[str]:
    worker = harness.runner.worker("default", name)
    path = worker.log_directory / "main" / f"{worker.container(None).run_number}.log"
    return [line.split(" ", 3)[3] for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_mounted_config_map_follows_its_object(harness: Any) -> None:
    await harness.create_pod(
        "web",
        "",
        args=[WATCH, "/etc/app/greeting"],
        volumeMounts=[{"name": "conf", "mountPath": "/etc/app"}],
        pod={"volumes": [{"name": "conf", "configMap": {"name": "settings"}}]},
    )
    await harness.until(lambda: any('configmap "settings" not found' in e for e in harness.events("web")), "event")
    assert not harness.runner.processes()
    await harness.api.create(CONFIG_MAPS, "default", {"metadata": {"name": "settings"}, "data": {"greeting": "hello"}})
    await harness.until(lambda: _log(harness, "web") == ["hello"], "mounted")
    live = await harness.api.get(CONFIG_MAPS, "default", "settings")
    live["data"]["greeting"] = "bye"
    await harness.api.update(CONFIG_MAPS, "default", live)
    await harness.until(lambda: _log(harness, "web") == ["hello", "bye"], "updated")


async def test_a_claim_keeps_its_files_from_pod_to_pod(harness: Any) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    await harness.api.create(PVCS, "default", claim)
    script = "import sys\nwith open(sys.argv[1], 'a+') as f: f.write('x'); f.seek(0); print(f.read(), flush=True)"
    for expected in ("x", "xx"):
        await harness.create_pod(
            "job",
            "",
            args=[script, "/data/file"],
            volumeMounts=[{"name": "d", "mountPath": "/data"}],
            pod={
                "restartPolicy": "Never",
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}],
            },
        )
        await harness.until(lambda: harness.status("job").get("phase") == "Succeeded", "ran")
        assert _log(harness, "job") == [expected]
        await harness.delete_pod("job")
        await harness.until_gone("job")
    volume = harness.store.list("persistentvolumes").items[0]["spec"]["hostPath"]["path"]
    assert (Path(volume) / "file").read_text() == "xx"
    await harness.api.delete(PVCS, "default", "data")
    await harness.until(lambda: not Path(volume).exists(), "the directory goes with the claim")


async def test_secrets_projections_and_the_service_account_are_files(harness: Any) -> None:
    secret = {"metadata": {"name": "tls"}, "data": {"tls.key": base64.b64encode(b"key").decode()}}
    await harness.api.create(SECRETS, "default", secret)
    script = """
import os, sys
for path in sys.argv[1:]:
    print(open(path).read(), oct(os.stat(path).st_mode & 0o777))
print("token-of-default-default" in open(os.environ["KUBECONFIG"]).read())
print(open(os.environ["TMPDIR"] + "/scratch", "w").write("1"))
"""
    await harness.create_pod(
        "web",
        "",
        args=[script, "/all/key", "/all/name", "/var/run/secrets/kubernetes.io/serviceaccount/namespace"],
        volumeMounts=[{"name": "all", "mountPath": "/all"}, {"name": "tmp", "mountPath": "/tmp"}],
        pod={
            "restartPolicy": "Never",
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {
                    "name": "all",
                    "projected": {
                        "defaultMode": 0o440,
                        "sources": [
                            {"secret": {"name": "tls", "items": [{"key": "tls.key", "path": "key", "mode": 0o400}]}},
                            {
                                "downwardAPI": {
                                    "items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}],
                                }
                            },
                        ],
                    },
                },
            ],
        },
    )
    await harness.until(lambda: harness.status("web").get("phase") in ("Succeeded", "Failed"), "ran")
    assert _log(harness, "web") == ["key 0o400", "web 0o440", "default 0o600", "True", "1"]


async def test_the_program_of_an_image_may_lie_below_a_mount_path(harness: Any) -> None:
    """A checkout in /tmp runs containers that have a volume of their own at /tmp."""
    above = str(Path(sys.executable).parent.parent)
    await harness.create_pod(
        "web",
        "",
        args=["import sys; print(sys.argv[1])", f"{above}/file"],
        volumeMounts=[{"name": "tmp", "mountPath": above}],
        pod={"restartPolicy": "Never", "volumes": [{"name": "tmp", "emptyDir": {}}]},
    )
    await harness.until(lambda: harness.status("web").get("phase") in ("Succeeded", "Failed"), "ran")
    (printed,) = _log(harness, "web")
    assert printed.endswith("/file")
    assert not printed.startswith(above)


async def test_a_pod_without_automount_gets_no_credentials(harness: Any) -> None:
    script = "import os; print('KUBECONFIG' in os.environ)"
    await harness.create_pod("web", script, pod={"restartPolicy": "Never", "automountServiceAccountToken": False})
    await harness.until(lambda: harness.status("web").get("phase") == "Succeeded", "ran")
    assert _log(harness, "web") == ["False"]
