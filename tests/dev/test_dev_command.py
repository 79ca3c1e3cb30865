"""`rstore dev`: the cluster as a background process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from localkube.daemon import read_state, started_ticks
from rstore_cli.dev.place import directory_of

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper"},
    "spec": {"containers": [{"name": "main", "image": "python:3", "args": ["-c", "import signal; signal.pause()"]}]},
}


class Dev:
    """Runs `rstore dev COMMAND` for one data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rstore_cli", "dev", *args, "--data-dir", str(self.directory)]
        if args[0] == "up":
            command.append(f"--end-with={os.getpid()}")
        done = subprocess.run(command, text=True, capture_output=True, timeout=400, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        kubectl = Path(sys.executable).parent / "kubectl"
        command = [str(kubectl) if kubectl.exists() else "kubectl", f"--kubeconfig={self.directory}/kubeconfig", *args]
        return subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=400, check=True).stdout


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    command = Dev(tmp_path / "cluster")
    yield command
    command("down")


def until(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds}s: {what}"
        time.sleep(0.05)
    return value


def children(pid: int) -> list[int]:
    """Returns the processes whose parent is `pid`."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                pids.append(int(entry.name))
    return pids


def test_up_status_kubeconfig_down(dev: Dev) -> None:
    first = dev("up").stdout
    assert "export KUBECONFIG=" in first
    assert "was running already" in dev("up").stdout
    assert dev("kubeconfig").stdout.strip() == str(dev.directory / "kubeconfig")
    dev.kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    dev.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=240s")
    status = json.loads(dev("status", "-o", "json").stdout)
    assert {n["region"] for n in status["nodes"]} == {"us-east", "eu-west", "ap-south"}
    (pod,) = status["pods"]
    assert (pod["name"], pod["ready"], pod["phase"]) == ("sleeper", True, "Running")
    assert pod["address"] in dev("status").stdout
    (child,) = children(status["pid"])
    dev("down")
    assert read_state(dev.directory) is None
    assert started_ticks(child) is None
    assert started_ticks(status["pid"]) is None
    refused = dev("kubeconfig", check=False)
    assert refused.returncode == 1
    assert "rstore dev up" in refused.stderr


def test_the_operator_is_installed_without_helm_and_what_cannot_be_done_says_what_to_do(dev: Dev) -> None:
    dev("up")
    nowhere = dev("install", "--chart=nowhere", check=False)
    assert nowhere.returncode == 1
    assert "--chart" in nowhere.stderr
    chart = Path(__file__).resolve().parents[2] / "charts" / "replicated-store-operator"
    assert "rstore-system" in dev("install", f"--chart={chart}").stdout
    deployments = dev.kubectl("get", "deployments", "-n", "rstore-system", "-o", "name")
    assert "rstore-replicated-store-operator" in deployments
    again = dev("install", f"--chart={chart}", check=False)
    assert again.returncode == 1
    assert "kubectl get deployment -n rstore-system" in again.stderr
    relays = dev("up", "--faults", check=False)
    assert relays.returncode == 1
    assert "rstore dev down" in relays.stderr


def test_pods_end_with_a_daemon_that_was_killed_and_it_can_be_started_again(dev: Dev) -> None:
    dev("up")
    dev.kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    dev.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=240s")
    state = read_state(dev.directory)
    assert state is not None
    (child,) = children(state.pid)
    os.kill(state.pid, signal.SIGKILL)
    until(lambda: started_ticks(child) is None, "the pod's process ends with the daemon")
    assert "was not running" in dev("down").stderr
    dev("up")
    dev.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=240s")


def test_nodes_can_be_chosen_and_those_of_before_go(dev: Dev) -> None:
    assert dev("up", "--node=lonely", check=False).returncode == 2
    dev("up", "--node=a=mars", "--node=b=venus")
    dev.kubectl("apply", "-f", "-", stdin=json.dumps({**POD, "spec": {**POD["spec"], "nodeName": "b"}}))
    dev.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=240s")
    dev("down")
    dev("up", "--node=a=mars")
    status = json.loads(dev("status", "-o", "json").stdout)
    assert status["nodes"] == [{"name": "a", "region": "mars"}]
    assert status["pods"] == []


def test_a_start_that_fails_shows_the_log(dev: Dev) -> None:
    dev.directory.mkdir()
    (dev.directory / "network.json").write_text('{"secondOctet": 999}')
    failed = dev("up", check=False)
    assert failed.returncode == 1
    assert "could not start" in failed.stderr
    assert "999" in failed.stderr


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert directory_of("x", None) == tmp_path / "rstore" / "dev" / "x"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert directory_of("x", None) == Path("/home/somebody/.local/state/rstore/dev/x")
