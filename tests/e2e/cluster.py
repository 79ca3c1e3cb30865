"""The cluster that the end-to-end tests run on: the embedded one, or an existing one that a kubeconfig names.

``make e2e CLUSTER=existing KUBECONFIG=… [IMAGE_PREFIX=…]`` chooses the latter: its own kubelets run the pods, from
images below the prefix. Tests marked ``runner`` need what only the embedded cluster has (relays between regions,
processes to stop, a count of writes, files of volumes) and are left out there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from e2e.forwarding import ServiceForwards, answers
from rstore_cli.helm import Helm, ToolError
from rstore_testkit.demo import dev_cluster
from rstore_testkit.tools import Kubectl, find_tool

_CHOICE = os.environ.get("RSTORE_E2E_CLUSTER", "embedded")
assert _CHOICE in ("embedded", "existing"), f"CLUSTER={_CHOICE}: embedded or existing"
EXISTING = _CHOICE == "existing"
IMAGE_PREFIX = os.environ.get("RSTORE_IMAGE_PREFIX", "")
STORES_NAMESPACE = "rstore-e2e"
"""The namespace of the stores on an existing cluster; the tests make it and delete it."""
OPERATOR_NAMESPACE = "rstore-system"
CRD = "replicatedstores.replicatedstore.io"
BACKUP_CRD = "replicatedstorebackups.replicatedstore.io"
REGIONS = ("us-east", "eu-west", "ap-south")
REGION_LABEL = "topology.kubernetes.io/region"
VALUES: dict[str, Any] = {"hashCheckSeconds": 15}
"""Values of the chart. Some tests wait until the regions' hashes were compared."""
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_DELETE_SECONDS = 180


@dataclass(frozen=True)
class ClusterUnderTest:
    """Where the tests install the operator and make their stores."""

    kubeconfig: Path
    namespace: str = "default"
    values: dict[str, Any] = field(default_factory=dict)
    """Values of the chart that differ from its defaults."""
    data_dir: Path | None = None
    """Directory of the embedded cluster's links, processes and volumes. None on an existing cluster."""
    reach: Callable[[str], str] | None = None
    """Returns the address at which this machine reaches a Service's client port; None means its ClusterIP."""

    def kubectl(self, namespace: str | None = None) -> Kubectl:
        """Returns kubectl in the stores' namespace, or another."""
        return Kubectl(self.kubeconfig, namespace or self.namespace, self.reach)

    def helm(self) -> Helm:
        """Returns the operator's Helm release."""
        return Helm(self.kubeconfig, "rstore", OPERATOR_NAMESPACE)


class Reach:
    """Finds out once whether ClusterIPs can be reached from here, and forwards to Services if not."""

    def __init__(self, kubectl: Kubectl, forwards: ServiceForwards) -> None:
        self._kubectl = kubectl
        self._forwards = forwards
        self._direct: bool | None = None

    def __call__(self, service: str) -> str:
        direct = f"{self._kubectl.get('service', service)['spec']['clusterIP']}:2379"
        if self._direct is None:
            self._direct = answers(direct)
        return direct if self._direct else self._forwards.address(service)


@contextmanager
def cluster_under_test(scratch: Path) -> Iterator[ClusterUnderTest]:
    """Runs, or checks, the cluster that the environment asks for around a block."""
    if EXISTING:
        with _existing(scratch) as cluster:
            yield cluster
    else:
        with dev_cluster(scratch / "cluster", scratch.name, "--faults") as path:
            yield ClusterUnderTest(path, values=dict(VALUES), data_dir=path.parent)


@contextmanager
def _existing(scratch: Path) -> Iterator[ClusterUnderTest]:
    """Makes a namespace for stores on the cluster of KUBECONFIG; removes it and what the tests installed afterwards."""
    kubeconfig = _own_kubeconfig(scratch)
    kubectl = Kubectl(kubeconfig, STORES_NAMESPACE)
    _check(kubectl)
    had_definition = kubectl.try_run("get", "crd", CRD).returncode == 0
    kubectl.run("create", "namespace", STORES_NAMESPACE)
    forwards = ServiceForwards(kubeconfig, STORES_NAMESPACE)

    values = {**VALUES, "imageRegistry": IMAGE_PREFIX} if IMAGE_PREFIX else dict(VALUES)
    cluster = ClusterUnderTest(kubeconfig, STORES_NAMESPACE, values, reach=Reach(kubectl, forwards))
    try:
        yield cluster
    finally:
        forwards.stop()
        _remove(kubectl, cluster.helm(), definition_too=not had_definition)


def _remove(kubectl: Kubectl, helm: Helm, *, definition_too: bool) -> None:
    """Deletes what the tests made, stores first: while the operator is there, it clears up behind them."""
    deleting = ("--ignore-not-found", f"--timeout={_DELETE_SECONDS}s")
    if kubectl.try_run("get", "crd", CRD).returncode == 0:
        kubectl.run("delete", "rstore", "--all", *deleting, timeout_seconds=_DELETE_SECONDS + 10)
    if kubectl.get("deployments", f"--namespace={OPERATOR_NAMESPACE}")["items"]:
        helm.uninstall()
    for namespace in (OPERATOR_NAMESPACE, STORES_NAMESPACE):
        kubectl.run("delete", "namespace", namespace, *deleting, timeout_seconds=_DELETE_SECONDS + 10)
    if definition_too:
        kubectl.run("delete", "crd", CRD, BACKUP_CRD, *deleting, timeout_seconds=_DELETE_SECONDS + 10)


def _own_kubeconfig(scratch: Path) -> Path:
    """Writes a kubeconfig of the current context, with the stores' namespace in it."""
    done = subprocess.run(
        [find_tool("kubectl"), "config", "view", "--raw", "--flatten", "--minify", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise ToolError(f"KUBECONFIG names no cluster: {done.stderr.strip()}")
    content = json.loads(done.stdout)
    content["contexts"][0]["context"]["namespace"] = STORES_NAMESPACE
    path = scratch / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(content))
    return path


def _check(kubectl: Kubectl) -> None:
    """Ends the run with a list of what is missing, before anything is made."""
    missing = []
    nodes = kubectl.get("nodes")["items"]
    regions = {node["metadata"].get("labels", {}).get(REGION_LABEL) for node in nodes}
    for region in REGIONS:
        if region not in regions:
            missing.append(f"no node of region {region}: kubectl label node NODE {REGION_LABEL}={region}")
    classes = kubectl.get("storageclasses")["items"]
    if not any(item["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true" for item in classes):
        missing.append("no default StorageClass, from which volumes are made")
    for namespace in (STORES_NAMESPACE, OPERATOR_NAMESPACE):
        if kubectl.try_run("get", "namespace", namespace).returncode == 0:
            missing.append(f"there is a namespace {namespace} already: the tests make it and delete it")
    if missing:
        pytest.exit("this cluster cannot be used:\n  " + "\n  ".join(missing), returncode=2)
