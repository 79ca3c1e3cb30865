"""What another region is sent: whole revisions, in order, within the limits where a revision allows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rstore_api.errors import FutureRevision
from rstore_api.proto.rpc_pb2 import PutRequest, TxnRequest
from rstore_api.rows import unpack_batch
from unit.mvcc.replicas import Replica, operations


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    for number in range(10):
        keys = [PutRequest(key=b"k%d-%d" % (number, sub), value=b"v" * 10) for sub in range(3)]
        replica.write(TxnRequest(success=operations(list(keys))))
    yield replica
    replica.machine.close()


@pytest.mark.parametrize("max_bytes", [1, 100, 200, 400, 1000, 1 << 20])
@pytest.mark.parametrize("max_rows", [1, 4, 1000])
def test_every_revision_comes_once_and_whole(replica: Replica, max_bytes: int, max_rows: int) -> None:
    revision, places = 1, []
    while revision < replica.machine.revision:
        batch = replica.machine.rows_after(revision, max_bytes=max_bytes, max_rows=max_rows)
        rows = [row for row, _ in unpack_batch(batch.packed)]
        assert batch.first_revision == rows[0].revision == revision + 1
        assert batch.last_revision == rows[-1].revision
        assert batch.count == len(rows)
        if batch.first_revision != batch.last_revision:
            assert sum(len(row.key) + len(row.value) for row in rows) <= max_bytes
            assert len(rows) <= max_rows + 2
        places += [(row.revision, row.sub) for row in rows]
        revision = batch.last_revision
    assert places == [(revision, sub) for revision in range(2, 12) for sub in range(3)]


def test_at_the_end_there_is_an_empty_batch(replica: Replica) -> None:
    batch = replica.machine.rows_after(11, max_bytes=100, max_rows=10)
    assert (batch.count, batch.packed, batch.first_revision, batch.last_revision) == (0, b"", 12, 11)


def test_a_revision_that_is_not_there_yet_is_refused(replica: Replica) -> None:
    with pytest.raises(FutureRevision):
        replica.machine.rows_after(12, max_bytes=100, max_rows=10)
