"""Memory, journal and database of a replica stay as they are while revisions pass with retention on.

``RSTORE_FLAT_REVISIONS`` (default 200,000) is their number.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from crash.one_replica import OneReplica
from rstore_replica.mvcc import machine as machine_module
from rstore_replica.raft import RaftConfig

REVISIONS = int(os.environ.get("RSTORE_FLAT_REVISIONS", "200000"))
RETENTION = 1000
BEHIND = 10_000
BYTES_PER_REVISION = 512
PER_ENTRY = 50
KEYS = 2000
MEBIBYTE = 1 << 20
CONFIG = RaftConfig(
    segment_bytes=MEBIBYTE,
    tail_cache_bytes=2 * MEBIBYTE,
    checkpoint_entries=400,
    checkpoint_bytes=MEBIBYTE,
    trailing_entries=200,
    trailing_bytes=MEBIBYTE,
)


@dataclass(frozen=True)
class Sample:
    """Sizes of a replica at one moment, in bytes."""

    revision: int
    memory: int
    journal: int
    checkpoints: int
    database: int

    @staticmethod
    def of(replica: OneReplica) -> Sample:
        gc.collect()
        return Sample(
            revision=replica.machine.revision,
            memory=anonymous_memory(),
            journal=size_of(replica.directory / "raft" / "journal"),
            checkpoints=size_of(replica.directory / "raft" / "checkpoints"),
            database=replica.machine.db_size_bytes,
        )

    def __str__(self) -> str:
        sizes = {"memory": self.memory, "journal": self.journal, "checkpoints": self.checkpoints, "db": self.database}
        return f"revision={self.revision} " + " ".join(f"{name}={size / 1e6:.1f}MB" for name, size in sizes.items())


def anonymous_memory() -> int:
    """Returns the bytes of the process's memory, without mapped files."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def size_of(directory: Path) -> int:
    """Returns the bytes in the files below; files that go away meanwhile do not count."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@pytest.mark.timeout(120 + REVISIONS // 1000)
async def test_nothing_grows_while_revisions_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rows that compaction may be behind with count as well; fewer of them, so that the test can be short.
    monkeypatch.setattr(machine_module, "BEHIND_REVISIONS", BEHIND)
    replica = OneReplica(tmp_path, CONFIG)
    await replica.start()
    samples: list[Sample] = []
    try:
        await replica.bootstrap()
        due = REVISIONS // 5
        while replica.machine.revision < REVISIONS:
            await _write(replica.put_many, replica)
            if replica.machine.revision >= due:
                samples.append(Sample.of(replica))
                due += REVISIONS // 5
    finally:
        await replica.stop()
    for sample in samples:
        print(sample)
    warm, *later = samples[1:]
    assert len(later) >= 3
    for sample in later:
        assert sample.memory <= warm.memory + 8 * MEBIBYTE, f"{warm}\n{sample}"
        assert sample.database <= warm.database + 8 * MEBIBYTE + BEHIND * BYTES_PER_REVISION, f"{warm}\n{sample}"
        assert sample.checkpoints <= 3 * sample.database + 16 * MEBIBYTE, f"{warm}\n{sample}"
        # Checkpoints are put off until the log is sixteen times the size that asks for one.
        bound = 16 * CONFIG.checkpoint_bytes + CONFIG.trailing_bytes + 4 * CONFIG.segment_bytes
        assert sample.journal <= bound, f"{warm}\n{sample}"


async def _write(put_many: Callable[[list[bytes], bytes], Awaitable[None]], replica: OneReplica) -> None:
    """Writes a few hundred revisions, then lets retention compact."""
    start = replica.machine.revision
    pieces = []
    for number in range(8):
        first = start + number * PER_ENTRY
        pieces.append(put_many([b"key-%d" % ((first + i) % KEYS) for i in range(PER_ENTRY)], b"v" * 100))
    await asyncio.gather(*pieces)
    await replica.compact(replica.machine.revision - RETENTION)
