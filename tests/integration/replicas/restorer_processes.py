"""A real restorer, an operating-system process beside the replicas of a region."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import (
    HTTP_PORT,
    STORE_ID,
    RegionProcesses,
    eventually,
    free_loopback_address,
)
from rstore_api.domain.access import RESTORER
from rstore_backup.report import PATH
from rstore_backup.restore_report import RECORDED, RestoreReport, decode


class RestorerProcess:
    """Fills a region from a destination. The test is its operator: it says what is recorded."""

    def __init__(self, directory: Path, authority: Authority, region: RegionProcesses, destination: str) -> None:
        self.directory = directory
        self.files = authority.issue(directory / "tls", RESTORER)
        self.recorded = ""
        """What the operator has recorded, and says with each request."""
        self._host = free_loopback_address()
        self._process: subprocess.Popen[bytes] | None = None
        self._logs: list[Path] = []
        self._settings = {
            "namespace": "default",
            "name": "copy",
            "storeId": STORE_ID,
            "replicas": [replica.client_address for replica in region.replicas],
            "destination": destination,
        }
        (directory / "scratch").mkdir()
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Writes the configuration, which a running restorer reads again."""
        self._settings |= settings
        written = self.directory / "restore.json.new"
        written.write_text(json.dumps(self._settings))
        written.replace(self.directory / "restore.json")

    def start(self) -> None:
        self._logs.append(self.directory / f"log-{len(self._logs)}.jsonl")
        with self._logs[-1].open("wb") as out:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "rstore_backup", "restore"),
                    f"--config={self.directory / 'restore.json'}",
                    f"--tls-dir={self.directory / 'tls'}",
                    f"--listen-host={self._host}",
                    f"--scratch-folder={self.directory / 'scratch'}",
                    f"--scratch-bytes={1 << 30}",
                ],
                stdout=out,
                stderr=out,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log_text(self) -> str:
        return "".join(path.read_text() for path in self._logs)

    async def report(self) -> RestoreReport | None:
        """Asks as the operator does; None while nobody answers."""
        assert self._process is not None
        assert self._process.poll() is None, self.log_text()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session,
                session.get(f"http://{self._host}:{HTTP_PORT}{PATH}", params={RECORDED: self.recorded}) as answer,
            ):
                return decode(await answer.read())
        except aiohttp.ClientError:
            return None

    async def reports(self, accept: Callable[[RestoreReport], bool]) -> RestoreReport:
        """Returns the first report that is accepted."""
        report = await eventually(self.report, accept=lambda report: report is not None and accept(report))
        assert report is not None
        return report
