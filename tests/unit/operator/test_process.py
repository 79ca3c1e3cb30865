"""The operator's process, as a container runs it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
from pathlib import Path

import aiohttp
import pytest
import yaml
from rstore_operator.process import run
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.settings import Settings


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that nobody answers for."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{closed_port()}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


async def test_it_starts_as_a_user_without_a_name(unreachable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")  # what a container of uid 65532 answers

    monkeypatch.setattr(getpass, "getuser", nameless)
    port, stop = closed_port(), asyncio.Event()
    settings = Settings((), ReplicaImage("replica", "IfNotPresent"), "127.0.0.1", port, "info")
    running = asyncio.ensure_future(run(settings, stop))
    try:
        async with asyncio.timeout(20), aiohttp.ClientSession() as http:
            while not running.done():
                try:
                    async with http.get(f"http://127.0.0.1:{port}/healthz") as answer:
                        assert answer.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.02)
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
