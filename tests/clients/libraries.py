"""Client libraries of others, each in a directory of its own below ``build``: they clash with ours."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rstore_api.tls import TlsFiles

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAMS = Path(__file__).parent / "programs"
_CLEAN = {name: value for name, value in os.environ.items() if name not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
"""Python's requests would take these certificates in place of those that a program names."""
_INSTALL_SECONDS = 600
_RUN_SECONDS = 240


@dataclass(frozen=True)
class Library:
    """A library: the packages that are installed, and the program that uses it, a file of ``programs``."""

    name: str
    packages: tuple[str, ...]
    program: str

    @property
    def is_javascript(self) -> bool:
        return self.program.endswith(".js")

    @property
    def directory(self) -> Path:
        """Returns where it is installed. The name changes with the packages."""
        digest = hashlib.sha256(" ".join((sys.version, *self.packages)).encode()).hexdigest()[:12]
        return _REPOSITORY / "build" / "client-libraries" / f"{self.name}-{digest}"

    def install(self) -> None:
        """Installs it, once. Skips the test where node is missing."""
        if self.is_javascript and not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("node and npm are not installed: this library is one for JavaScript")
        if self.directory.exists():
            return
        made = self.directory.with_name(f"{self.directory.name}.{os.getpid()}")
        made.mkdir(parents=True)
        if self.is_javascript:
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"--prefix={made}"]
        else:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command.append(f"--target={made}")
        done = subprocess.run(
            [*command, *self.packages], capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            made.rename(self.directory)
        except OSError:
            assert self.directory.exists()  # another process was first
            shutil.rmtree(made)

    def start(self, *arguments: str, files: TlsFiles | None, mode: str = "operations") -> subprocess.Popen[str]:
        """Starts the program: a mode, arguments, and the files of CA, certificate and key."""
        tls = [] if files is None else [str(files.ca), str(files.cert), str(files.key)]
        if self.is_javascript:
            command = ["node"]
            environment = {"NODE_PATH": str(self.directory / "node_modules")}
        else:
            command = [sys.executable, "-S"]  # without the packages of this environment
            environment = {"PYTHONPATH": str(self.directory), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
        return subprocess.Popen(
            [*command, str(_PROGRAMS / self.program), mode, *arguments, *tls],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**_CLEAN, **environment},
        )

    def outcomes(self, address: str, prefix: str, files: TlsFiles | None) -> dict[str, Any]:
        """Does the operations at ``address`` (``host:port``); returns what each came to, without the prefix in it."""
        program = self.start(address, prefix, files=files)
        try:
            output, error = program.communicate(timeout=_RUN_SECONDS)
        finally:
            program.kill()
        assert program.returncode == 0, error
        made: dict[str, Any] = json.loads(output.replace(f"{prefix}/", ""))
        return made


LIBRARIES = (
    Library(
        "python-etcd3", ("etcd3==0.12.0", "protobuf==3.20.3", "grpcio==1.80.0", "tenacity==6.3.1"), "python_etcd3.py"
    ),
    Library("python-etcd3gw", ("etcd3gw==2.7.0",), "python_etcd3gw.py"),  # by the JSON gateway
    Library("javascript-etcd3", ("etcd3@1.1.2",), "javascript_etcd3.js"),
)
