"""What an archive has is read into a temporary file, which is removed whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from rstore_backup.card import Card
from rstore_backup.errors import Damaged
from rstore_backup.restoring.key_table import KeyTable
from rstore_backup.restoring.plan import Latest, Plan
from rstore_backup.restoring.restore import Restorable
from rstore_cli.archives import Archive
from rstore_cli.restore import from_archive
from rstore_cli.restore.from_archive import Past, read_past
from unit.backup.memory_store import MemoryStore


async def test_a_warning_that_nobody_reads_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def restored(*_given: Any, **_named: Any) -> Restorable:
        return Restorable(KeyTable(tmp_path), Plan(None, (), 1, 1, ()), 0, (Damaged("a", 0, "it is cut off"),))

    def closed() -> Any:
        raise BrokenPipeError

    monkeypatch.setattr(from_archive, "restorable", restored)
    monkeypatch.setattr(from_archive, "stderr", closed)
    past = Past(Archive(MemoryStore(), Card("id", "n", "s")), Latest(), None, tmp_path)
    with pytest.raises(BrokenPipeError) as raised:
        async with read_past(past, Progress(disable=True)):
            raise AssertionError("nothing is yielded")
    assert list(tmp_path.iterdir()) == [], "it is removed, though the traceback still has the table"
    assert raised.value.__traceback__ is not None
