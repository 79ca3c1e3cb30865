"""A process of a pod: started without a fork of this one, ended with it, refused with its name."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from localkube.runner.process import Command, Process, Stream, run_once

RUNNER = """
import asyncio, sys
from pathlib import Path
from localkube.runner.process import Command, Process

async def run():
    sleeper = Command((sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"), {}, Path("/"))
    up = asyncio.Event()
    process = Process.start(sleeper, lambda *_: up.set())
    await up.wait()
    print(process.pid, flush=True)
    await process.wait()

asyncio.run(run())
"""


async def _output(command: Command) -> list[tuple[Stream, bytes]]:
    lines: list[tuple[Stream, bytes]] = []
    await Process.start(command, lambda stream, line, _: lines.append((stream, line))).wait()
    return lines


async def test_nothing_of_this_process_runs_in_the_one_that_is_started():
    """Libraries that are loaded here, as gRPC, have threads to begin anew after a fork, and say so."""
    forks: list[bool] = []
    os.register_at_fork(before=lambda: forks.append(True))
    elsewhere = {"PATH": "/nowhere"}
    assert await _output(Command((sys.executable, "-c", "print(1)"), elsewhere, Path("/"))) == [("stdout", b"1")]
    assert forks == []


async def test_a_process_ends_with_the_one_that_started_it():
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNNER, stdout=subprocess.PIPE)
    assert runner.stdout is not None
    pid = int(await runner.stdout.readline())
    ended = asyncio.get_running_loop().create_future()
    pidfd = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(pidfd, lambda: ended.done() or ended.set_result(None))
    try:
        runner.send_signal(signal.SIGKILL)
        await runner.wait()
        async with asyncio.timeout(60):
            await ended
    finally:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


@pytest.mark.parametrize("program", ["/no/such/program", "no-such-program", "./here", str(Path(__file__))])
async def test_what_cannot_be_executed_is_named(program: str, tmp_path: Path):
    with pytest.raises(OSError, match="no such program"):
        Process.start(Command((program,), {"PATH": os.environ["PATH"]}, tmp_path), lambda *_: None)


async def test_a_program_is_looked_for_from_its_own_directory(tmp_path: Path):
    (tmp_path / "here").write_text("#!/bin/sh\necho $0 $1\n")
    (tmp_path / "here").chmod(0o700)
    command = Command(("./here", "-x"), {"PATH": os.environ["PATH"]}, tmp_path)
    assert await run_once(command, timeout_seconds=60.0) == (0, "./here -x\n")
