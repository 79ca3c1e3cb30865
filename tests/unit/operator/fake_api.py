"""The Kubernetes API as a reconciler under test sees it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rstore_api.domain.kubernetes import CLAIM, Kind
from rstore_kube.errors import ApiError
from stored_client import StoredClient
from stored_objects import Body, StoredObjects
from unit.operator.world import REF, SPEC

T = TypeVar("T")


class FakeApi(StoredClient):
    """An API server with one store and its children; remembers every write in order.

    ``refusal``: why it takes no status; ``beaten``: somebody else writes the status first; ``overtaken``: somebody
    else changes the annotations first; ``deaf``: it takes no events; ``unwelcome``: events that it
    refuses, by reason; ``broken``: children that it refuses.
    """

    def __init__(self) -> None:
        super().__init__(StoredObjects(REF.namespace, REF.name))
        self.stored.create(REF.uid, SPEC)
        self.claim_objects: dict[str, Body] = {}
        self.pod_objects: list[Body] = []
        self.failed: dict[str, list[Body]] = {}
        self.event_lists: list[str] = []
        self.events_refused: Exception | None = None
        self.writes: list[str] = []
        self.events: list[str] = []
        self.messages: list[str] = []
        self.refusal = ""
        self.deaf = False
        self.unwelcome: set[str] = set()
        self.beaten = False
        self.overtaken = False
        self.broken: set[tuple[str, str]] = set()

    @property
    def store(self) -> Body | None:
        return self.stored.store

    @store.setter
    def store(self, store: Body | None) -> None:
        self.stored.store = store

    @property
    def objects(self) -> dict[tuple[str, str], Body]:
        return self.stored.objects

    async def answer(self, request: str, work: Callable[[], T]) -> T:
        verb, _, what = request.partition(" ")
        if self.refusal and request == "patch status":
            raise ApiError(422, "Invalid", self.refusal)
        if self.beaten and request == "patch status":
            raise ApiError(409, "Conflict", "the object has been modified")
        if self.overtaken and request == "patch annotations":
            raise ApiError(422, "Invalid", "the value to test is another")
        if self.deaf and request == "create event":
            raise ApiError(500, "InternalError", "no events now")
        if verb == "apply" and tuple(what.split("/")) in self.broken:
            raise ApiError(422, "Invalid", f"{what} is invalid")
        result = await super().answer(request, work)
        if verb in ("apply", "patch"):
            self.writes.append(f"adopt {what}" if verb == "patch" and "/" in what else what)
        return result

    async def find(self, kind: Kind, namespace: str, name: str) -> Body | None:
        if kind == CLAIM:
            return copy.deepcopy(self.claim_objects.get(name))
        return await super().find(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, *, fields: str = "", **_: Any) -> list[Body]:
        stateful_set = dict(item.split("=") for item in fields.split(","))["involvedObject.name"]
        self.event_lists.append(stateful_set)
        if self.events_refused is not None:
            raise self.events_refused
        return copy.deepcopy(self.failed.get(stateful_set, []))

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Body:
        if body.get("reason") in self.unwelcome:
            raise ApiError(403, "Forbidden", "no such events here")
        made = await super().create(kind, namespace, body)
        self.events.append(made["reason"])
        self.messages.append(made["message"])
        return made

    def children(self) -> list[Body]:
        return list(self.objects.values())

    def pods(self) -> list[Body]:
        return copy.deepcopy(self.pod_objects)

    def requested_bases(self) -> list[Body]:
        return []

    def claims(self) -> list[Body]:
        return copy.deepcopy(list(self.claim_objects.values()))
