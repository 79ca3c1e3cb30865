"""A restore, as ``rstore restore --from-archive`` does it, in a process of its own: how long it takes, and its memory.

One JSON object on stdin says what is restored into what (see :class:`Plan`), one on stdout what was found.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rstore_api.client import Client
from rstore_api.client.importing import compare, fill
from rstore_api.tls import TlsFiles
from rstore_backup.restoring.plan import Latest
from rstore_backup.restoring.restore import restorable
from rstore_backup.stores import Below, open_store

TESTS = Path(__file__).resolve().parent.parent
REQUEST_SECONDS = 60.0
_PER_MIB = 1024 if sys.platform == "linux" else 1 << 20
"""``ru_maxrss`` is in KiB on Linux, in bytes elsewhere."""


@dataclass(frozen=True)
class Plan:
    """What is restored, and the empty store that it goes into."""

    destination: str
    store_id: str
    folder: str
    """For the file with the keys."""
    address: str
    tls_directory: str


@dataclass(frozen=True)
class Found:
    """Times in seconds: of reading the archive, filling the store, and comparing both; and the CPU time of all that, in
    this process."""

    keys: int
    reading: float
    filling: float
    comparing: float
    cpu: float
    peak_mib: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.reading + self.filling + self.comparing


def _nothing(_count: int) -> None:
    """Is called with the progress, which nobody looks at."""


async def run(plan: Plan) -> Found:
    """Restores. Raises SystemExit when the store is not what the archive has."""
    began, before = time.perf_counter(), time.process_time()
    archive = Below(open_store(plan.destination), plan.store_id)
    result = await restorable(
        archive, plan.store_id, Latest(), directory=Path(plan.folder), begin=_nothing, advance=_nothing
    )
    read = time.perf_counter()
    tls = TlsFiles.in_directory(Path(plan.tls_directory))
    with result.table as table:
        async with Client([plan.address], tls=tls) as client:
            revision = await fill(
                client, table, revision_jump=result.revision_jump, timeout_seconds=REQUEST_SECONDS, advance=_nothing
            )
            filled = time.perf_counter()
            different = await compare(client, table, revision, timeout_seconds=REQUEST_SECONDS, advance=_nothing)
            compared = time.perf_counter()
        if different is not None:
            raise SystemExit(f"the store is not what the archive has: {different}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PER_MIB
        used = time.process_time() - before
        return Found(len(table), read - began, filled - read, compared - filled, used, peak)


def run_apart(plan: Plan) -> Found:
    """Restores in a process of its own. Raises SystemExit when that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.restore_apart"],
        cwd=TESTS,
        input=json.dumps(asdict(plan)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return Found(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Plan(**json.load(sys.stdin)))))))
