"""Many hashes at once: the data stays readable, since a hash has no reader while it pauses."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rstore_api.proto.rpc_pb2 import PutRequest
from rstore_replica.mvcc.data.store import MAX_READERS
from rstore_replica.mvcc.requests.hash_kv import CHUNK_KEYS
from unit.mvcc.replicas import Replica

HASHES = 200
"""More than LMDB has readers for by default."""


async def test_a_hash_has_no_reader_while_it_pauses(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "us")
    for start in range(0, 3 * CHUNK_KEYS, 128):
        replica.write(*(PutRequest(key=b"%06d" % key, value=b"v") for key in range(start, start + 128)))
    alone = await replica.machine.hash_kv(0)
    environment = replica.machine._store.environment
    assert environment.info()["max_readers"] == MAX_READERS
    tasks = [asyncio.create_task(replica.machine.hash_kv(0)) for _ in range(HASHES)]
    await asyncio.sleep(0)  # each has read its first chunk
    assert not any(task.done() for task in tasks)
    assert environment.info()["num_readers"] < 10
    assert replica.get(b"000001") == b"v"
    assert {result.hash for result in await asyncio.gather(*tasks)} == {alone.hash}
    assert environment.info()["num_readers"] < 10
    replica.machine.close()
