"""ReplicatedStoreBackups of stores that are not there say so, and fail after a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rstore_kube.errors import ApiError
from rstore_operator.cluster.seen_objects import SeenObjects
from rstore_operator.unclaimed_bases import UnclaimedBases

ASKED = datetime(2026, 3, 10, tzinfo=UTC)


class Api:
    """What the API server has."""

    def __init__(self) -> None:
        self.stores: set[tuple[str, str]] = set()
        self.written: list[tuple[str, str, dict[str, Any]]] = []
        self.refuses = False

    async def find(self, _kind: Any, namespace: str, name: str) -> dict[str, Any] | None:
        return {} if (namespace, name) in self.stores else None

    async def merge(self, _kind: Any, namespace: str, name: str, patch: dict[str, Any], **_: Any) -> dict[str, Any]:
        if self.refuses:
            raise ApiError(409, "Conflict", "changed")
        self.written.append((namespace, name, patch["status"]))
        return {"metadata": {}}


class Scene:
    """One base of the store ``orders``."""

    def __init__(self) -> None:
        self.api = Api()
        self.known: set[tuple[str, str]] = set()
        self.now = ASKED
        self.seen = SeenObjects(lambda _namespace, _store: None)
        self.bases = UnclaimedBases(
            self.seen,
            self.api,  # type: ignore[arg-type]
            lambda *store: store in self.known,
            lambda: self.now,
        )
        self.put({})

    def put(self, status: dict[str, Any], version: str = "1") -> None:
        meta = {"name": "b", "namespace": "n", "uid": "u", "resourceVersion": version}
        created = {"creationTimestamp": "2026-03-10T00:00:00Z"}
        self.seen.put(
            "ReplicatedStoreBackup", {"metadata": meta | created, "spec": {"store": "orders"}, "status": status}
        )

    async def look(self) -> list[tuple[str, str]]:
        """Returns phase and error of what was written, which is seen then."""
        self.api.written.clear()
        await self.bases.look()
        for number, (_, _, status) in enumerate(self.api.written):
            given = {name: value for name, value in status.items() if value is not None}
            self.put(given, version=f"{self.now}{number}")
        return [(status["phase"], status["error"]) for _, _, status in self.api.written]


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_store_that_is_not_there_is_said_and_then_it_fails(scene: Scene) -> None:
    missing = "there is no ReplicatedStore orders in this namespace"
    assert await scene.look() == [("Pending", missing)]
    assert await scene.look() == [], "nothing is written twice"
    scene.now += timedelta(seconds=120)
    assert await scene.look() == [("Failed", missing)]
    scene.now += timedelta(days=9)
    assert await scene.look() == []


async def test_a_store_that_is_there_looks_after_its_own(scene: Scene) -> None:
    scene.now += timedelta(days=9)
    scene.known.add(("n", "orders"))
    assert await scene.look() == []
    scene.known.clear()
    scene.api.stores.add(("n", "orders"))
    assert await scene.look() == [], "it is there, and was not seen yet"


async def test_what_cannot_be_written_is_written_later(scene: Scene) -> None:
    scene.api.refuses = True
    assert await scene.look() == []
    scene.api.refuses = False
    assert [phase for phase, _ in await scene.look()] == ["Pending"]
