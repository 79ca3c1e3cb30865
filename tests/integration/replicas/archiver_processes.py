"""A real archiver, an operating-system process beside the replicas of a region."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import HTTP_PORT, RegionProcesses, eventually, free_loopback_address
from rstore_api.domain.access import ARCHIVER
from rstore_backup.report import PATH, Report, decode


class ArchiverProcess:
    """Reads a region and writes to a destination."""

    def __init__(
        self,
        directory: Path,
        authority: Authority,
        region: RegionProcesses,
        destination: str,
        environment: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.host = free_loopback_address()
        self.files = authority.issue(directory / "tls", ARCHIVER)
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment or {}
        self._arguments = arguments
        self._settings = {"destination": destination, "logIntervalMs": 1000, **settings}
        self._logs: list[Path] = []
        self.configure(region)

    def configure(self, region: RegionProcesses, **settings: Any) -> None:
        """Writes the configuration, which a running archiver reads again."""
        self._settings.update(settings)
        config = {
            "namespace": "default",
            "name": "orders",
            "region": region.region,
            "replicas": [replica.peer_address for replica in region.replicas],
            **self._settings,
        }
        written = self.directory / "archive.json.new"
        written.write_text(json.dumps(config))
        written.replace(self.directory / "archive.json")

    def start(self) -> None:
        self._logs.append(self.directory / f"log-{len(self._logs)}.jsonl")
        with self._logs[-1].open("wb") as out:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "rstore_backup", "archive"),
                    f"--config={self.directory / 'archive.json'}",
                    f"--tls-dir={self.directory / 'tls'}",
                    f"--listen-host={self.host}",
                    *self._arguments,
                ],
                env={**os.environ, **self._environment},
                stdout=out,
                stderr=out,
            )

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal, waits for the end, and returns the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 20)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def log_text(self) -> str:
        return "".join(path.read_text() for path in self._logs)

    async def get(self, path: str) -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
            session.get(f"http://{self.host}:{HTTP_PORT}{path}") as answer,
        ):
            return answer.status, await answer.read()

    async def reports(self, accept: Callable[[Report], bool], *, timeout_seconds: float = 120.0) -> Report:
        """Returns the first report that is accepted."""

        async def probe() -> Report | None:
            assert self.process is not None
            assert self.process.poll() is None, self.log_text()
            try:
                return decode((await self.get(PATH))[1])
            except aiohttp.ClientError:
                return None

        report = await eventually(
            probe, accept=lambda report: report is not None and accept(report), timeout_seconds=timeout_seconds
        )
        assert report is not None
        return report
