"""A replica that makes a checkpoint all the time is killed at any moment, also while it starts or restores one.

``RSTORE_KILL_ROUNDS`` (default 12) is the number of kills.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from pathlib import Path

import pytest

ROUNDS = int(os.environ.get("RSTORE_KILL_ROUNDS", "12"))
WRITER = Path(__file__).with_name("writer_process.py")


async def one_life(directory: Path, acknowledged: int, rng: random.Random, *, early: bool) -> int:
    """Starts the writer and kills it; returns the highest revision that it acknowledged."""
    tests = str(WRITER.parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(WRITER),
        str(directory),
        env={**os.environ, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if early:
            await asyncio.sleep(rng.uniform(0.2, 0.8))
        else:
            writes = rng.randint(1, 200)
            async with asyncio.timeout(60):
                async for line in process.stdout:
                    what, revision, *_ = line.split()
                    if what == b"recovered":
                        assert int(revision) >= acknowledged, f"{acknowledged} was acknowledged, it has {int(revision)}"
                    else:
                        acknowledged = int(revision)
                        writes -= 1
                    if writes <= 0:
                        break
    finally:
        if process.returncode is None:
            process.kill()
        rest = await process.stdout.read()
        errors = await process.stderr.read()
        code = await process.wait()
    assert code == -9, errors.decode()[-2000:]
    for line in rest.splitlines(keepends=True):
        if line.startswith(b"acknowledged ") and line.endswith(b"\n"):  # the last one may have been cut by the kill
            acknowledged = max(acknowledged, int(line.split()[1]))
    return acknowledged


@pytest.mark.timeout(120 + 20 * ROUNDS)
async def test_nothing_acknowledged_is_lost_however_it_is_killed(tmp_path: Path) -> None:
    rng, acknowledged, checkpoints = random.Random(2), 1, set()
    for number in range(ROUNDS):
        acknowledged = await one_life(tmp_path, acknowledged, rng, early=number % 4 == 2)
        kept = tmp_path / "raft" / "checkpoints"
        checkpoints |= {path.name for path in kept.glob("*-*")} if kept.exists() else set()
        if number % 4 in (1, 2):
            # As after a loss of power: live data is dropped, the next start restores a checkpoint; it may not get far.
            shutil.rmtree(tmp_path / "mvcc", ignore_errors=True)
    await one_life(tmp_path, acknowledged, rng, early=False)
    assert acknowledged > 100
    assert len(checkpoints) >= 3
