"""rstore report: what is in the file, and that no secret is."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from rstore_cli.cluster import Pod
from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

CONTENT = "not for anybody's eyes"
ENCODED = base64.b64encode(CONTENT.encode()).decode()
SECRET: dict[str, Any] = {
    "kind": "Secret",
    "metadata": {
        "name": "orders-ca",
        "labels": {"replicatedstore.io/store": "orders"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"ca.key": ENCODED}})},
        "managedFields": [{"manager": "x"}],
    },
    "type": "Opaque",
    "data": {"ca.key": ENCODED},
    "stringData": {"plain": CONTENT},
}


@pytest.fixture
def reported(cluster: FakeCluster) -> FakeCluster:
    cluster.replicas = [Pod("orders-us-east-0", "us-east", True)]
    cluster.made = {
        "Secret": [SECRET],
        "StatefulSet": [{"metadata": {"name": "orders-us-east", "managedFields": [{"manager": "x"}]}}],
        "operator": [{"metadata": {"name": "operator-0", "namespace": "rstore-system"}}],
    }
    cluster.logs = {"orders-us-east-0": "hello\n", "operator-0": "steady\n"}
    return cluster


def files_of(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix("rstore-report/"): archive.read(name).decode() for name in archive.namelist()}


def test_it_holds_objects_events_and_logs_and_names_what_is_missing(
    run: Run, reported: FakeCluster, tmp_path: Path
) -> None:
    out = tmp_path / "report.zip"
    ran = run("report", "orders", "--out", str(out))
    assert ran.code == 0, ran.err
    files = files_of(out)
    assert yaml.safe_load(files["store.yaml"])["metadata"]["name"] == "orders"
    assert yaml.safe_load(files["objects/StatefulSet.yaml"]) == [{"metadata": {"name": "orders-us-east"}}]
    assert files["logs/orders-us-east-0.log"] == "hello\n"
    assert files["operator/operator-0.log"] == "steady\n"
    assert "logs/orders-us-east-0.previous.log: the log of pod" in files["missing.txt"]


def test_no_content_of_a_secret_is_in_it(run: Run, reported: FakeCluster, tmp_path: Path) -> None:
    out = tmp_path / "report.zip"
    assert run("report", "orders", "--out", str(out)).code == 0
    files = files_of(out)
    (secret,) = yaml.safe_load(files["objects/Secret.yaml"])
    assert secret["metadata"]["name"] == "orders-ca"
    assert secret["bytesOfBase64"] == {"ca.key": len(ENCODED)}
    for path, text in files.items():
        assert CONTENT not in text, path
        assert ENCODED not in text, path


def test_a_file_that_cannot_be_written_is_an_error(run: Run, reported: FakeCluster, tmp_path: Path) -> None:
    ran = run("report", "orders", "--out", str(tmp_path / "no" / "report.zip"))
    assert ran.code == 1
    assert "cannot write" in ran.err
