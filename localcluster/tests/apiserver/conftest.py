"""Fixtures: a running API server, and the real kubectl against it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from localkube.apiserver import ApiServer
from widgets import WIDGETS


@dataclass(frozen=True)
class Result:
    """What a command printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The output as JSON."""
        return json.loads(self.out)


Kubectl = Callable[..., Awaitable[Result]]


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    """A fresh server in memory."""
    made = ApiServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def widgets(server: ApiServer) -> ApiServer:
    """A server that serves Widgets."""
    server.store.create("customresourcedefinitions.apiextensions.k8s.io", WIDGETS)
    server.definitions.settle()
    return server


@pytest.fixture
def kubectl_path() -> str:
    """The real kubectl."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "kubectl is needed for these tests"
    return found


@pytest.fixture
async def kubectl(server: ApiServer, tmp_path: Path, kubectl_path: str) -> Kubectl:
    """Run kubectl against the server; ``stdin`` is an object (or several) to feed it."""
    config = server.kubeconfig(tmp_path / "kubeconfig")

    async def run(*args: str, stdin: Any = None, ok: bool = True, kubeconfig: Path = config) -> Result:
        process = await asyncio.create_subprocess_exec(
            kubectl_path,
            f"--kubeconfig={kubeconfig}",
            f"--cache-dir={tmp_path / 'cache'}",
            *args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        text = (
            "\n---\n".join(json.dumps(item) for item in (stdin if isinstance(stdin, list) else [stdin]))
            if stdin
            else ""
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(text.encode())
        result = Result(process.returncode or 0, out.decode(), err.decode())
        if ok:
            assert result.code == 0, result.err
        return result

    return run
