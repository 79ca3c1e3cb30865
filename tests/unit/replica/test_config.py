"""The configuration file, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rstore_replica.__main__ import EXIT_USAGE, parse_arguments
from rstore_replica.config import ConfigError, load_config, parse_config

DESIGNED = {
    "store": "orders",
    "namespace": "default",
    "region": "us-east",
    "members": [
        {"name": "orders-us-east-0", "peerAddress": "orders-us-east-0.orders-us-east-peers.default.svc:2380"},
        {"name": "orders-us-east-1", "peerAddress": "orders-us-east-1.orders-us-east-peers.default.svc:2380"},
    ],
    "clientPort": 2379,
    "peerPort": 2380,
    "httpPort": 9090,
    "clientAuth": "mTLS",
    "raft": {"electionTimeoutMinMs": 1000, "electionTimeoutMaxMs": 2000, "heartbeatMs": 100},
    "replication": {
        "batchIntervalMs": 10,
        "maxBatchBytes": 1048576,
        "windowBytes": 8388608,
        "retentionRevisions": 100000,
    },
    "limits": {"maxRequestBytes": 1572864, "maxTxnOps": 128, "quotaBytes": 8589934592},
    "routing": {"forward": True},
}
REQUIRED = {key: DESIGNED[key] for key in ("store", "namespace", "region", "members")}


def _changed(path: str, value: Any) -> bytes:
    document = json.loads(json.dumps(DESIGNED))
    *parents, last = path.split(".")
    here = document
    for parent in parents:
        here = here[int(parent)] if isinstance(here, list) else here[parent]
    here[last] = value
    return json.dumps(document).encode()


def test_the_file_of_the_design_is_what_the_defaults_are() -> None:
    assert parse_config(json.dumps(DESIGNED).encode()) == parse_config(json.dumps(REQUIRED).encode())


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("store", "Orders", "store"),
        ("members", [], "members"),
        ("members.0.peerAddress", "nowhere", r"members\[0\].peerAddress"),
        ("members.1.name", "orders-us-east-0", "members: names"),
        ("members.1.peerAddress", DESIGNED["members"][0]["peerAddress"], "members: peerAddress"),
        ("clientPort", 0, "clientPort"),
        ("clientPort", 70000, "clientPort"),
        ("clientPort", 2380, "must differ"),
        ("clientAuth", "Basic", "clientAuth"),
        ("limits.quotaBytes", "8Gi", "limits.quotaBytes: expected `int`, got `str`"),
        ("limits.maxTxnOps", 0, "limits.maxTxnOps"),
        ("raft.heartbeatMs", 400, "raft.heartbeatMs"),
        ("raft.electionTimeoutMaxMs", 1000, "raft.electionTimeoutMaxMs"),
        ("replication.windowBytes", 1024, "replication.windowBytes"),
        ("replication.batchIntervall", 5, "batchIntervall"),
        ("dataDir", "/data", "dataDir"),
    ],
)
def test_a_mistake_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(_changed(path, value))


def test_a_replica_must_be_among_the_members(tmp_path: Path) -> None:
    path = tmp_path / "replica.json"
    path.write_text(json.dumps(DESIGNED))
    assert load_config(path, name="orders-us-east-1").region == "us-east"
    with pytest.raises(ConfigError, match="'orders-us-east-7'"):
        load_config(path, name="orders-us-east-7")


def test_a_file_that_is_not_there_or_not_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json"):
        load_config(tmp_path / "absent.json", name="x")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_config(tmp_path / "broken.json", name="x")


def test_listen_host_comes_from_the_environment_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["--config=/c", "--data-dir=/d", "--tls-dir=/t", "--name=n"]
    monkeypatch.delenv("RSTORE_LISTEN_HOST", raising=False)
    assert parse_arguments(needed).listen_host == "::"
    monkeypatch.setenv("RSTORE_LISTEN_HOST", "127.3.4.5")
    assert parse_arguments(needed).listen_host == "127.3.4.5"
    assert parse_arguments([*needed, "--listen-host=127.9.9.9"]).listen_host == "127.9.9.9"


def test_bad_configuration_ends_with_the_usage_code(tmp_path: Path) -> None:
    path = tmp_path / "replica.json"
    path.write_bytes(_changed("clientPort", 0))
    arguments = [f"--config={path}", f"--data-dir={tmp_path}", f"--tls-dir={tmp_path}", "--name=orders-us-east-0"]
    command = [sys.executable, "-m", "rstore_replica", *arguments]
    ended = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert ended.returncode == EXIT_USAGE
    line = json.loads(ended.stderr)
    assert line["event"] == "configuration_refused"
    assert "clientPort" in line["reason"]
