"""A replica that writes for ever, made to be killed. ``python writer_process.py DIRECTORY``

Revision r puts ``r`` at the key ``r % 20``, so what has to be there follows from the revision alone. Prints
``recovered REVISION APPLIED_AGAIN`` at its start and ``acknowledged REVISION`` for each write.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from crash.one_replica import OneReplica
from rstore_api.proto.rpc_pb2 import RangeRequest
from rstore_replica.raft import RaftConfig

KEYS = 20
CONFIG = RaftConfig(segment_bytes=16 * 1024, checkpoint_entries=40, trailing_entries=15, tail_cache_bytes=4096)


async def run(directory: Path) -> None:
    replica = OneReplica(directory, CONFIG)
    await replica.start()
    while replica.group.status().leader_since is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await replica.group.barrier(timeout_seconds=30)
    if not replica.machine.state.store_id:
        await replica.bootstrap()
    revision = replica.machine.revision
    stored = {kv.key: int(kv.value) for kv in replica.machine.range(RangeRequest(key=b"\0", range_end=b"\0")).kvs}
    wanted = {b"%d" % (number % KEYS): number for number in range(max(2, revision - KEYS + 1), revision + 1)}
    if stored != wanted:
        sys.exit(f"at revision {revision} it holds {stored}")
    print("recovered", revision, len(replica.counting.given), flush=True)
    while not replica.failures:
        revision = replica.machine.revision + 1
        await replica.put_many([b"%d" % (revision % KEYS)], b"%d" % revision)
        print("acknowledged", revision, flush=True)
    raise replica.failures[0]


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
