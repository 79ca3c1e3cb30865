"""The last change of each key of a tail, in a temporary file: a tail may have more keys than fit into memory."""

from __future__ import annotations

import sqlite3

from rstore_api.proto.rstore_pb2 import QuarantinedRow

from rstore_cli.quarantine.changes import KeyChange

CACHE_BYTES = 16 << 20


class TailKeys:
    """The last change of each key, without its value. The file has no name, and is deleted with this object."""

    def __init__(self) -> None:
        # Used by one thread at a time; the last may be the one that collects the garbage.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_BYTES >> 10}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE keys (key BLOB PRIMARY KEY, revision INT, sub INT, deletion INT, existed INT, count INT)"
            " WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def __del__(self) -> None:
        self._database.close()

    def add(self, row: QuarantinedRow, fork_revision: int) -> None:
        """Add the next row, in their order."""
        existed = row.deletion or row.create_revision <= fork_revision
        self._database.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (key) DO UPDATE SET revision = excluded.revision,"
            " sub = excluded.sub, deletion = excluded.deletion, count = count + 1",
            (row.key, row.revision, row.sub, row.deletion, existed),
        )

    def get(self, key: bytes) -> KeyChange | None:
        """Returns the last change of a key, None if the tail has none."""
        row = self._database.execute(
            "SELECT revision, sub, deletion, existed, count FROM keys WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        revision, sub, deletion, existed, count = row
        return KeyChange(revision, sub, bool(deletion), bool(existed), count)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and self.get(key) is not None

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM keys").fetchone()[0])
