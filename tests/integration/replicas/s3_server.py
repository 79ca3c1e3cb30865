"""moto, an S3 server of others, installed below ``build``: what it needs clashes with what we need."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from clients.libraries import Library

MOTO = Library("moto", ("moto[server]==5.2.5",), "")
PORT = 9000
START_SECONDS = 90.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


class S3Server:
    """Runs between :meth:`start` and :meth:`stop`; what it holds is in memory."""

    def __init__(self, host: str, directory: Path) -> None:
        self.endpoint = f"http://{host}:{PORT}"
        self._host = host
        self._log = directory / "moto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, open_requests: int | None = None) -> None:
        """After ``open_requests``, if given, it refuses credentials that it does not know; it knows none."""
        MOTO.install()
        environment = {**os.environ, "PYTHONPATH": str(MOTO.directory)}
        if open_requests is not None:
            environment["INITIAL_NO_AUTH_ACTION_COUNT"] = str(open_requests)
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-m", "moto.server", "-H", self._host, "-p", str(PORT)],
                env=environment,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "moto does not answer"
            time.sleep(0.1)

    def make_bucket(self, name: str) -> None:
        """Makes an empty bucket."""
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True
