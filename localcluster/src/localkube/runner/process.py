"""One operating system process of a pod: its own session, its output read as lines, gone when the runner is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MAX_LINE_BYTES = 16 * 1024
DRAIN_SECONDS = 1.0
ENDS_WITH_RUNNER = (shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--")
"""Of util-linux. Not a function between fork and exec: with it would run what libraries do at a fork, as gRPC does."""

Stream = Literal["stdout", "stderr"]
LineSink = Callable[[Stream, bytes, bool], None]
"""Receives (stream, line without its end, whether the line is complete)."""


@dataclass(frozen=True)
class Command:
    """What to execute: arguments, environment, working directory."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True)
class Exit:
    """How a process ended: as a shell reports it, 128 + signal when a signal ended it."""

    code: int
    signal: int = 0


class Process:
    """A running process and everything it starts, as one process group."""

    def __init__(self, popen: subprocess.Popen[bytes], sink: LineSink) -> None:
        self.pid = popen.pid
        self._popen = popen
        self._exited = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)
        self._readers = [
            asyncio.create_task(_read_lines(pipe, name, sink))
            for pipe, name in ((popen.stdout, "stdout"), (popen.stderr, "stderr"))
        ]

    @classmethod
    def start(cls, command: Command, sink: LineSink) -> Process:
        """Start a process; raises OSError when it cannot be executed."""
        program = command.argv[0]
        if shutil.which(command.cwd / program if "/" in program else program, path=command.env.get("PATH")) is None:
            raise FileNotFoundError(f"{program}: no such program, or it may not be executed")
        popen = subprocess.Popen(
            (*ENDS_WITH_RUNNER, *command.argv),
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        return cls(popen, sink)

    async def wait(self) -> Exit:
        """Wait for the end of the process and of its output; what it left behind in its group is killed."""
        ended: Exit = await asyncio.shield(self._exited)
        done, late = await asyncio.wait(self._readers, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*done, *late, return_exceptions=True)
        return ended

    @property
    def running(self) -> bool:
        """Returns whether the process has not ended."""
        return not self._exited.done()

    def signal(self, number: int) -> None:
        """Signal the main process; nothing when it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the whole group at once."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        # The group's id stays taken until its leader is reaped: kill what is left before that.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._popen.wait()
        self._exited.set_result(Exit(code) if code >= 0 else Exit(128 - code, -code))


async def _read_lines(pipe: object, name: str, sink: LineSink) -> None:
    """Pass on lines until the end of the pipe; a line longer than the limit is passed on in parts."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    stream: Stream = "stdout" if name == "stdout" else "stderr"
    rest = b""
    try:
        while chunk := await reader.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                sink(stream, line, True)
            while len(rest) > MAX_LINE_BYTES:
                sink(stream, rest[:MAX_LINE_BYTES], False)
                rest = rest[MAX_LINE_BYTES:]
    finally:
        if rest:
            sink(stream, rest, True)
        transport.close()


async def run_once(command: Command, *, timeout_seconds: float, max_output_bytes: int = 4096) -> tuple[int | None, str]:
    """Run a command to its end (exec probes and hooks): exit code (None: timed out and killed) and its output."""
    output = bytearray()

    def sink(_stream: Stream, line: bytes, complete: bool) -> None:
        if len(output) < max_output_bytes:
            output.extend(line + (b"\n" if complete else b""))

    process = Process.start(command, sink)
    code: int | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            code = (await process.wait()).code
    except TimeoutError:
        process.kill()
        await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise
    return code, output[:max_output_bytes].decode(errors="replace")
