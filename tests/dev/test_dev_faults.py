"""`rstore dev fault` on a cluster of two pods in two regions that talk to each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localkube.links.control import FaultError, LinkFaults
from localkube.links.rules import LinkRule

ECHO = """
import asyncio, os
async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
async def main():
    await asyncio.start_server(echo, os.environ["RSTORE_LISTEN_HOST"], 7000)
    await asyncio.Event().wait()
asyncio.run(main())
"""
ASK = """
import socket, time
while True:
    began = time.monotonic()
    try:
        address = socket.getaddrinfo("echo-0.echo", 7000)[0][4]
        with socket.create_connection(address, timeout=3) as link:
            link.sendall(b"x")
            took = time.monotonic() - began if link.recv(1) else -1
    except OSError as error:
        took = -1
    print(f"{took:.3f}", flush=True)
    time.sleep(0.05)
"""


def objects() -> list[dict[str, Any]]:
    def pod(name: str, region: str, program: str, **spec: Any) -> dict[str, Any]:
        container = {"name": "main", "image": "python:3", "args": ["-c", program], "ports": [{"containerPort": 7000}]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [container], "nodeSelector": {"topology.kubernetes.io/region": region}, **spec},
        }

    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"clusterIP": "None", "selector": {"app": "echo-0"}, "ports": [{"port": 7000}]},
    }
    return [service, pod("echo-0", "us-east", ECHO, hostname="echo-0", subdomain="echo"), pod("ask", "eu-west", ASK)]


class Dev:
    """Runs `rstore dev` and kubectl for one data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rstore_cli", "dev", *args, "--data-dir", str(self.directory)]
        if args[0] == "up":
            command.append(f"--end-with={os.getpid()}")
        done = subprocess.run(command, text=True, capture_output=True, timeout=400, check=False)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        command = [str(Path(sys.executable).parent / "kubectl"), f"--kubeconfig={self.directory}/kubeconfig", *args]
        return subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=400, check=True).stdout

    def took(self) -> float:
        """Returns the seconds that the last request took; below zero if it was not answered."""
        lines = self.kubectl("logs", "ask", "--tail=1").split()
        return float(lines[-1]) if lines else -1

    def until(self, what: str, low: float, high: float) -> None:
        deadline = time.monotonic() + 120
        while not low <= (took := self.took()) <= high:
            assert time.monotonic() < deadline, f"{what}: {took} s"
            time.sleep(0.1)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    command = Dev(tmp_path / "cluster")
    yield command
    command("down")


def test_links_are_slowed_down_cut_and_made_whole(dev: Dev) -> None:
    dev("up", "--faults")
    for item in objects():
        dev.kubectl("apply", "-f", "-", stdin=json.dumps(item))
    dev.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=240s")
    dev.until("a whole link", 0, 0.2)
    dev("fault", "set", "us-east", "eu-west", "--delay-ms", "60")
    dev.until("a connection and a question take two round trips of 120 ms", 0.24, 2)
    listed = json.loads(dev("fault", "list", "-o", "json").stdout)
    assert listed["places"] == ["ap-south", "api", "eu-west", "operator", "us-east"]
    assert [(fault["from"], fault["to"], fault["delay_ms"]) for fault in listed["faults"]] == [
        ("us-east", "eu-west", 60),
        ("eu-west", "us-east", 60),
    ]
    dev("fault", "set", "us-east", "eu-west", "--cut", "--one-way")
    dev.until("nothing comes back", -1, -1)
    dev("fault", "set", "ap-south", "*", "--cut")
    dev("fault", "clear")
    dev.until("whole again", 0, 0.2)
    assert "there is no place 'mars'" in dev("fault", "set", "us-east", "mars", "--cut", code=2).stderr
    assert "directly" in dev("fault", "set", "us-east", "us-east", "--cut", code=2).stderr
    assert "either" in dev("fault", "set", "us-east", "eu-west", "--cut", "--reset", code=2).stderr


def test_a_cluster_without_relays_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"without relays .*--faults"):
        LinkFaults(tmp_path).set("us-east", "eu-west", LinkRule(delay_ms=1))
