"""etcdctl against either server, and what it prints without what two servers cannot have in common."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etcd import etcd_process
from etcd.servers import Server

RUN_SECONDS = 60
_HOLES = (
    (re.compile(r'^\{"level":.*"msg":"([^"]*)".*\}$', re.MULTILINE), r"log: \1"),
    (re.compile(r"https?://127\.[\d.]+:\d+|127\.[\d.]+:\d+"), "ADDRESS"),
    (re.compile(r'"(ClusterID|MemberID|Leader|Raft\w+|DBSize\w*)" : \d+'), r"\1: NUMBER"),
    (re.compile(r"\b3\.\d+\.\d+\b"), "VERSION"),
    (re.compile(r"(true|false), \d+, \d+, \d+"), r"\1, TERM, INDEX, INDEX"),
    (re.compile(r"\| +\d+ +(?=\|)"), "| NUMBER "),
    (
        re.compile(r'"(cluster_id|member_id|ID|lease|id|leader|raft\w*|dbSize\w*)" ?: ?\d+', re.IGNORECASE),
        r'"\1": NUMBER',
    ),
    (re.compile(r"\b[0-9a-f]{12,16}\b"), "ID"),
    (re.compile(r"\b\d{16,}\b"), "NUMBER"),
    (re.compile(r"\b\d+(\.\d+)? ?(B|kB|MB|GB)\b"), "SIZE"),
    (re.compile(r"\b\d+\.\d+(µs|ms|s)\b"), "TIME"),
    (re.compile(r" {2,}|-{4,}"), " "),  # the width of columns
)


@dataclass(frozen=True)
class Printed:
    """What a command came to."""

    code: int
    output: str
    error: str


class Running:
    """A command under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def line(self) -> str:
        """Waits for the next line that it prints, and returns it."""
        assert self._process.stdout is not None
        return _normal(self._process.stdout.readline())

    def end(self) -> None:
        """Ends it as Ctrl-C does, in good order."""
        self._process.terminate()
        self._process.wait(RUN_SECONDS)


class EtcdCtl:
    """Runs etcdctl against a server, in an empty directory of its own."""

    def __init__(self, server: Server) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="etcdctl-"))
        self._flags = [f"--endpoints={server.address}", "--command-timeout=20s"]
        if server.files is not None:
            self._flags += [
                f"--cacert={server.files.ca}",
                f"--cert={server.files.cert}",
                f"--key={server.files.key}",
            ]

    def run(self, *arguments: str, stdin: str = "") -> Printed:
        """Runs a command to its end."""
        done = subprocess.run(
            [etcd_process.directory() / "etcdctl", *self._flags, *arguments],
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=RUN_SECONDS,
            cwd=self._directory,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        return Printed(done.returncode, _normal(done.stdout), _normal(done.stderr))

    def lines(self, count: int, *arguments: str) -> list[str]:
        """Runs a command that does not end by itself; returns the first lines that it prints."""
        with self.running(*arguments) as running:
            return [running.line() for _ in range(count)]

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Running]:
        """Runs a command until the context is left, if it does not end before."""
        process = subprocess.Popen(
            [etcd_process.directory() / "etcdctl", *self._flags, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            env={**os.environ, "ETCDCTL_API": "3"},
        )
        with process:
            running = Running(process)
            try:
                yield running
            finally:
                running.end()


def _normal(text: str) -> str:
    for pattern, instead in _HOLES:
        text = pattern.sub(instead, text)
    return text
