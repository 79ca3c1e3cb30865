"""Where objects are kept across restarts: nowhere, or an SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from localkube.apiserver.jsonobj import JsonObject


class Persistence(Protocol):
    """Durable side of the store; called synchronously for every write, before watches see it."""

    def load(self) -> Iterator[tuple[str, JsonObject]]:
        """Returns every (resource key, object) saved."""
        ...

    def counter(self) -> int:
        """Returns the highest resourceVersion ever saved, 0 when new."""
        ...

    def save(self, key: str, namespace: str, name: str, resource_version: int, encoded: bytes) -> None:
        """Write one object."""
        ...

    def remove(self, key: str, namespace: str, name: str, resource_version: int) -> None:
        """Remove one object; ``resource_version`` is that of the deletion."""
        ...

    def close(self) -> None:
        """Flush and release the file."""
        ...


class Memory:
    """Keeps nothing."""

    def load(self) -> Iterator[tuple[str, JsonObject]]:
        """Nothing."""
        return iter(())

    def counter(self) -> int:
        """Always new."""
        return 0

    def save(self, key: str, namespace: str, name: str, resource_version: int, encoded: bytes) -> None:
        """Nothing to do."""

    def remove(self, key: str, namespace: str, name: str, resource_version: int) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class SqliteFile:
    """One SQLite database in WAL mode; survives a crash of the process (not fsynced for each write)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS objects (resource TEXT, namespace TEXT, name TEXT, data BLOB NOT NULL,"
            " PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID"
        )
        self._db.execute("CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")

    def load(self) -> Iterator[tuple[str, JsonObject]]:
        """Yields every saved object."""
        for key, data in self._db.execute("SELECT resource, data FROM objects"):
            yield key, json.loads(data)

    def counter(self) -> int:
        """Returns the highest resourceVersion saved."""
        row = self._db.execute("SELECT value FROM counters WHERE name = 'resourceVersion'").fetchone()
        return int(row[0]) if row else 0

    def save(self, key: str, namespace: str, name: str, resource_version: int, encoded: bytes) -> None:
        """Write one object and the counter in one transaction."""
        self._db.execute("BEGIN")
        self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (key, namespace, name, encoded))
        self._count(resource_version)

    def remove(self, key: str, namespace: str, name: str, resource_version: int) -> None:
        """Remove one object and save the counter in one transaction."""
        self._db.execute("BEGIN")
        self._db.execute(
            "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", (key, namespace, name)
        )
        self._count(resource_version)

    def _count(self, resource_version: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO counters VALUES ('resourceVersion', ?)", (resource_version,))
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the database."""
        self._db.close()
