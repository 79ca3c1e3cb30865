"""A table that is closed while a thread uses it: the thread ends what it does first, and begins nothing any more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from rstore_api import key_hash
from rstore_api.proto.rstore_pb2 import DeletedRange
from rstore_backup.restoring.key_table import KeyTable, TableUnusable

WAIT_SECONDS = 30.0


def test_a_table_is_closed_when_the_thread_that_writes_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a restore is cancelled: nobody waits for its thread but the table itself."""
    within, go_on = Event(), Event()
    extend_names = key_hash.extend_names

    def slow(*arguments: Any) -> int:
        within.set()
        assert go_on.wait(WAIT_SECONDS)
        return extend_names(*arguments)

    monkeypatch.setattr(key_hash, "extend_names", slow)
    table = KeyTable(tmp_path)
    table._database.execute("INSERT INTO newest VALUES (0, x'61', 2, 0, 2, 1, 0, x'62')")
    with ThreadPoolExecutor(2) as threads:
        checksum = extend_names(0, [b"a"])
        deleted = DeletedRange(revision=3, key=b"a", range_end=b"b", count=1, checksum=checksum)
        writing = threads.submit(table.delete_range, deleted)
        assert within.wait(WAIT_SECONDS)
        closing = threads.submit(table.close)
        with pytest.raises(TimeoutError):
            closing.result(timeout=0.05)
        assert list(tmp_path.iterdir())
        go_on.set()
        writing.result(WAIT_SECONDS)
        closing.result(WAIT_SECONDS)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TableUnusable):
        table.delete_range(deleted)
