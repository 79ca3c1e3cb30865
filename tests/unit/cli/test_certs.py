"""rstore certs: files that etcdctl can use, readable by their owner only."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from unit.cli.conftest import Run
from unit.cli.fakes import FakeCluster

PEM = {"ca.crt": b"CA", "tls.crt": b"CERT", "tls.key": b"KEY"}


def test_the_files_are_written_and_the_exports_printed(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.secrets["orders-client-tls"] = PEM
    out = tmp_path / "with a space" / "orders"
    ran = run("certs", "orders", f"--out={out}")
    assert ran.code == 0, ran.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == PEM
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    exported = dict(shlex.split(line)[1].split("=", 1) for line in ran.out.splitlines())
    assert exported == {
        "ETCDCTL_API": "3",
        "ETCDCTL_CACERT": str(out / "ca.crt"),
        "ETCDCTL_CERT": str(out / "tls.crt"),
        "ETCDCTL_KEY": str(out / "tls.key"),
    }


def test_files_that_are_there_are_replaced(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.secrets["orders-client-tls"] = PEM
    (tmp_path / "tls.key").write_text("old")
    assert run("certs", "orders", f"--out={tmp_path}").code == 0
    assert (tmp_path / "tls.key").read_bytes() == b"KEY"
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600


def test_a_client_has_a_certificate_of_its_own(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.secrets["orders-client-tls"] = PEM
    cluster.secrets["orders-client-shop-tls"] = {**PEM, "tls.crt": b"SHOP"}
    assert run("certs", "orders", f"--out={tmp_path}", "--client=shop").code == 0
    assert (tmp_path / "tls.crt").read_bytes() == b"SHOP"


def test_as_json(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.secrets["orders-client-tls"] = PEM
    parsed = json.loads(run("certs", "orders", f"--out={tmp_path}", "-o", "json").out)
    assert parsed["files"]["ca.crt"] == str(tmp_path / "ca.crt")


def test_an_unfinished_secret_is_named(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.secrets["orders-client-tls"] = {"ca.crt": b"CA"}
    ran = run("certs", "orders", f"--out={tmp_path}")
    assert ran.code == 1
    assert "lacks tls.crt, tls.key" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_an_error(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.secrets["orders-client-tls"] = PEM
    (tmp_path / "file").write_text("")
    ran = run("certs", "orders", f"--out={tmp_path / 'file'}")
    assert ran.code == 1
    assert "choose another directory" in ran.err
