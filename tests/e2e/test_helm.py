"""The operator by Helm: its rights and no others, an upgrade, an uninstall that leaves stores and data alone."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.cluster import CRD, OPERATOR_NAMESPACE, ClusterUnderTest
from e2e.conftest import CHART
from rstore_cli.helm import Helm, ToolError, clean_environment
from rstore_testkit.load import wait_until

HELM = shutil.which("helm")
TEST_SECONDS = 600
OWNER_LABEL = "app.kubernetes.io/managed-by"
OWNER_ANNOTATIONS = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")


@pytest.fixture
def helm(cluster: ClusterUnderTest) -> Helm:
    return cluster.helm()


def account(operator) -> str:
    spec = operator.get("deployments")["items"][0]["spec"]["template"]["spec"]
    return f"system:serviceaccount:{OPERATOR_NAMESPACE}:{spec['serviceAccountName']}"


async def test_the_chart_gives_the_operator_what_it_needs_and_no_more(store, operator):
    """It ran this far as this account, whose rights are enforced; nothing was refused."""

    def can(verb: str, resource: str, account_name: str) -> bool:
        return store.kubectl.try_run("auth", "can-i", verb, resource, f"--as={account_name}").stdout.strip() == "yes"

    account_name = account(operator)
    assert can("patch", "statefulsets.apps", account_name)
    for verb, resource in [
        ("create", "pods"),
        ("patch", "pods"),
        ("deletecollection", "pods"),
        ("create", "clusterroles"),
        ("get", "nodes"),
    ]:
        assert not can(verb, resource, account_name), (verb, resource)
    assert "forbidden" not in operator.run("logs", "deployment/rstore-replicated-store-operator").lower()


async def test_replicas_have_no_rights_and_no_token(store):
    account_name = f"system:serviceaccount:{store.kubectl.namespace}:{store.name}"
    for verb, resource in [("get", "secrets"), ("list", "pods"), ("get", "replicatedstores.replicatedstore.io")]:
        done = store.kubectl.try_run("auth", "can-i", verb, resource, f"--as={account_name}")
        assert done.stdout.strip() == "no", (verb, resource)
    pods = await store.kube_get("pods", f"-l=replicatedstore.io/store={store.name}")
    assert pods["items"]
    for pod in pods["items"]:
        assert pod["spec"]["serviceAccountName"] == store.name
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        assert not any(mount["mountPath"].startswith("/var/run/secrets") for mount in mounts)


async def test_an_upgrade_replaces_the_operator_and_disturbs_no_store(store, load, operator, helm, cluster):
    before = {pod["metadata"]["uid"] for pod in operator.get("pods")["items"]}
    replicas = await replica_pods(store)
    async with load.running() as running:
        await asyncio.to_thread(helm.upgrade, CHART, {**cluster.values, "logLevel": "warning"})

        async def replaced() -> bool:
            pods = operator.get("pods")["items"]
            fresh = [pod for pod in pods if pod["metadata"]["uid"] not in before]
            return len(pods) == len(fresh) == 2 and all(pod["status"].get("phase") == "Running" for pod in fresh)

        await wait_until(replaced, what="new operator pods only", poll_seconds=0.3)
        await running.wait_acknowledged(50)
    environment = operator.get("deployments")["items"][0]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "RSTORE_LOG_LEVEL", "value": "warning"} in environment
    await store.wait_steady()
    assert await replica_pods(store) == replicas


async def test_after_an_uninstall_stores_run_on_and_an_install_takes_them_up(store, load, operator, helm, cluster):
    replicas = await replica_pods(store)
    epoch = (await store.status())["epoch"]
    async with load.running() as running:
        await asyncio.to_thread(helm.uninstall)

        async def gone() -> bool:
            return not operator.get("pods")["items"]

        try:
            await wait_until(gone, what="no operator", poll_seconds=0.3)
            left = await asyncio.to_thread(store.kubectl.run, "get", "clusterroles,clusterrolebindings", "-o", "json")
            names = [item["metadata"]["name"] for item in json.loads(left)["items"]]
            assert not [name for name in names if name.startswith("rstore-")]
            assert (await store.object())["metadata"]["name"] == store.name  # the CRD stays, and with it every store
            await running.wait_acknowledged(50)
        finally:
            await asyncio.to_thread(helm.install, CHART, cluster.values)
    await store.wait_steady()
    assert await replica_pods(store) == replicas
    assert (await store.status())["epoch"] == epoch


@pytest.mark.skipif(HELM is None, reason="`helm test` needs a helm binary; the library of the wheel does not have it")
async def test_helm_test_passes(operator, cluster):
    assert HELM is not None
    await operators_available(operator)
    command = [HELM, "test", "rstore", f"--namespace={OPERATOR_NAMESPACE}", f"--timeout={TEST_SECONDS}s"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, f"--kubeconfig={cluster.kubeconfig}"],
        text=True,
        capture_output=True,
        check=False,
        timeout=TEST_SECONDS + 30,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Succeeded" in done.stdout
    assert not [pod for pod in operator.get("pods")["items"] if pod["metadata"]["name"].endswith("-test")]


async def test_a_chart_that_had_the_definition_in_crds_is_upgraded(operator, helm, cluster, tmp_path):
    """As operations.md says: Helm takes the definition over once it is labelled as the release's."""
    await asyncio.to_thread(helm.uninstall)
    kubectl = cluster.kubectl()
    kubectl.run("label", "crd", CRD, f"{OWNER_LABEL}-")
    kubectl.run("annotate", "crd", CRD, *(f"{name}-" for name in OWNER_ANNOTATIONS))
    try:
        await asyncio.to_thread(helm.install, earlier_chart(tmp_path), cluster.values)
        with pytest.raises(ToolError, match="ownership metadata"):
            await asyncio.to_thread(helm.upgrade, CHART, cluster.values)
    finally:
        kubectl.run("label", "crd", CRD, f"{OWNER_LABEL}=Helm")
        owner = zip(OWNER_ANNOTATIONS, ("rstore", OPERATOR_NAMESPACE), strict=True)
        kubectl.run("annotate", "crd", CRD, *(f"{name}={value}" for name, value in owner))
        await asyncio.to_thread(helm.upgrade, CHART, cluster.values)
    await operators_available(operator)
    definition = kubectl.get("crd", CRD)
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def earlier_chart(directory: Path) -> Path:
    """Returns this chart as it was before 0.2: the definition is in ``crds``, and so is no part of the release."""
    chart = directory / CHART.name
    shutil.copytree(CHART, chart)
    (chart / "templates" / "crds.yaml").unlink()
    (chart / "crds").mkdir()
    (chart / "files" / "replicatedstores.yaml").rename(chart / "crds" / "replicatedstores.yaml")
    return chart


async def operators_available(operator) -> None:
    async def available() -> bool:
        deployments = operator.get("deployments")["items"]
        return bool(deployments) and deployments[0].get("status", {}).get("availableReplicas", 0) > 0

    await wait_until(available, what="an operator that is available", poll_seconds=0.3)


async def replica_pods(store) -> set[str]:
    pods = await store.kube_get("pods", f"-l=replicatedstore.io/store={store.name}")
    return {pod["metadata"]["uid"] for pod in pods["items"]}
