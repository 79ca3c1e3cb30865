"""One watch, step by step: whatever ends it, the objects are listed anew, and nothing that was missed is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import kopf
import pytest
from kopf._cogs.clients import errors, fetching
from kopf._cogs.clients import watching as kopf_watching
from kopf._cogs.structs.references import Resource
from rstore_api.domain.kubernetes import STORE_LABEL
from rstore_operator import watching
from rstore_operator.cluster.seen_objects import SeenObjects
from rstore_operator.watching import GRACE_SECONDS, NoMemories, Watches

OTHERS = Resource("example.com", "v1", "others", namespaced=True)
SECRETS = Resource("", "v1", "secrets", namespaced=True)


def item(name: str, version: str = "1") -> dict[str, Any]:
    labels = {STORE_LABEL: "orders"}
    meta = {"name": name, "namespace": "n", "uid": name, "labels": labels, "resourceVersion": version}
    return {"metadata": {**meta, "managedFields": []}, "data": {"k": "v"}}


def refused(status: int) -> errors.APIError:
    kind = {403: errors.APIForbiddenError, 404: errors.APINotFoundError, 500: errors.APIServerError}[status]
    return kind({"message": f"refused with {status}", "code": status}, status=status, headers={})


class Script:
    """What lists and watches answer, one after the other; an exception is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lists: list[Any] = []
        self.events: list[Any] = []
        self.now = 0.0
        self.slept: list[float] = []
        self.changed: list[tuple[str, str]] = []
        self.seen = SeenObjects(lambda *store: self.changed.append(store))
        self.watches = Watches(self.seen, lambda: self.now)
        monkeypatch.setattr(fetching, "fetch_objs", self._fetch)
        monkeypatch.setattr(kopf_watching, "watch_objs", self._watch)
        monkeypatch.setattr(watching.asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def _fetch(self, **_: Any) -> AsyncIterator[tuple[list[Any], str]]:
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield answer, "7"

    async def _watch(self, **_: Any) -> AsyncIterator[Any]:
        for event in self.events.pop(0) if self.events else []:
            if isinstance(event, Exception):
                raise event
            yield event

    def secrets(self) -> list[str]:
        return sorted(body["metadata"]["name"] for body in self.seen.of(("n", "orders"), ["Secret"]))

    async def run(self, namespace: str = "n", *, resource: Resource = OTHERS) -> list[str]:
        """One listing and the watch after it, as kopf sees them."""
        seen = []
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stream = self.watches.stream(
            settings=kopf.OperatorSettings(), resource=resource, namespace=namespace, operator_pause_waiter=waiter
        )
        async for event in stream:
            if event is kopf_watching.Bookmark.LISTED:
                seen.append("listed")
            else:
                seen.append(f"{event['type'] or 'there'} {event['object'].get('metadata', {}).get('name', '')}".strip())
        return seen


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    return Script(monkeypatch)


ENDS = [
    refused(403),
    refused(404),
    refused(500),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ClientConnectionError("gone"),
    ConnectionResetError("reset"),
    TimeoutError(),
    ValueError("not JSON"),
    KeyError("metadata"),
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: f"{type(end).__name__}-{end}"[:40])
@pytest.mark.parametrize("where", ["list", "watch"])
async def test_a_watch_begins_anew_whatever_ended_it(script: Script, end: Exception, where: str) -> None:
    script.lists = [[item("a"), item("b")], *([end] if where == "list" else []), [item("b")]]
    script.events = [[{"type": "ADDED", "object": item("c")}, *([end] if where == "watch" else [])], []]
    seen = await script.run()
    assert seen[:3] == ["there a", "there b", "listed"]
    assert "ADDED c" in seen
    if where == "list":
        seen += await script.run()
    script.now += GRACE_SECONDS
    assert script.watches.problems(), "it is not healthy meanwhile"
    assert script.slept, "and does not spin"
    seen += await script.run()
    assert {"DELETED a", "DELETED c"} <= set(seen), "what was deleted meanwhile is reported"
    assert script.watches.never_seen("n") == ""


@pytest.mark.parametrize(
    "error",
    [{"code": 500, "message": "etcd is away"}, {"code": 403, "message": "no"}, {"message": "odd"}, {}],
)
async def test_an_error_event_ends_the_watch_too(script: Script, error: dict[str, Any]) -> None:
    script.lists = [[item("a")], [item("a")]]
    script.events = [[{"type": "ERROR", "object": error}]]
    await script.run()
    script.now += GRACE_SECONDS
    assert script.watches.problems()
    assert await script.run() == ["there a", "listed"]


async def test_a_history_that_is_too_old_is_no_failure(script: Script) -> None:
    script.lists = [[item("a")], [item("a")]]
    script.events = [[{"type": "ERROR", "object": {"code": 410, "message": "too old"}}], []]
    await script.run()
    assert script.slept == []
    script.now += GRACE_SECONDS - 1
    assert script.watches.problems() == ()
    assert await script.run() == ["there a", "listed"]


async def test_a_watch_that_brings_nothing_is_listed_again_and_one_that_does_goes_on(script: Script) -> None:
    script.lists = [[]]
    script.events = [
        [{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}],
        [{"type": "MODIFIED", "object": item("a")}, {"type": "STRANGE", "object": {}}],
        [{"type": "DELETED", "object": item("a")}],
        [],
    ]
    assert await script.run() == ["listed", "MODIFIED a", "DELETED a"]
    assert script.events == []


async def test_a_namespace_that_is_refused_is_named_and_the_other_is_not(script: Script) -> None:
    script.lists = [refused(403), [item("a")]]
    assert await script.run("closed") == ["listed"], "nobody waits for it"
    await script.run("open")
    assert "others.example.com in namespace closed: refused with 403" in script.watches.never_seen("closed")
    assert script.watches.never_seen("open") == ""
    script.lists = [[item("a")]]
    await script.run("closed")
    assert script.watches.never_seen("closed") == ""


async def test_the_waits_grow_and_are_bounded(script: Script) -> None:
    script.lists = [refused(403) for _ in range(20)]
    for _ in range(20):
        await script.run()
    assert script.slept == sorted(script.slept)
    assert (script.slept[0], script.slept[-1]) == (1.0, 10.0)


async def test_when_the_kind_is_gone_all_its_objects_are(script: Script) -> None:
    script.lists = [[item("a")], refused(404)]
    await script.run()
    assert await script.run() == ["DELETED a", "listed"]


async def test_kopf_is_shown_a_store_in_brief(script: Script) -> None:
    script.lists = [[item("a")]]
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stream = script.watches.stream(
        settings=kopf.OperatorSettings(), resource=OTHERS, namespace="n", operator_pause_waiter=waiter
    )
    first = await anext(stream)
    assert first["object"].keys() == {"apiVersion", "kind", "metadata"}
    assert first["object"]["metadata"].keys() == {"name", "namespace", "uid", "labels", "resourceVersion"}
    await stream.aclose()


async def test_kopf_is_shown_no_object_of_a_store_and_ours_have_what_is_there(script: Script) -> None:
    script.lists = [[item("a"), item("b")], [item("b"), item("d")], refused(404)]
    script.events = [[{"type": "ADDED", "object": item("c")}, {"type": "DELETED", "object": item("a", "2")}], []]
    assert await script.run(resource=SECRETS) == ["listed"]
    assert script.secrets() == ["b", "c"]
    assert await script.run(resource=SECRETS) == ["listed"]
    assert script.secrets() == ["b", "d"]
    assert script.changed == [("n", "orders")] * 6, "a, b, c, without a, d, without c; b is as it was"
    assert await script.run(resource=SECRETS) == ["listed"]
    assert script.secrets() == [], "the kind is gone"


def test_kopf_asks_for_the_stream_where_it_is_put(script: Script) -> None:
    """It is looked up at each call, so that ours is taken; a version of kopf that does it otherwise fails here."""
    restore = script.watches.install()
    assert kopf_watching.infinite_watch.__globals__["continuous_watch"] == script.watches.stream
    assert "continuous_watch" in kopf_watching.infinite_watch.__code__.co_names
    restore()
    assert kopf_watching.continuous_watch != script.watches.stream


async def test_kopf_keeps_nothing_about_an_object() -> None:
    memories = NoMemories()
    body = {"metadata": {"uid": "a"}}
    first = await memories.recall(body, noticed_by_listing=True)
    assert first.noticed_by_listing
    assert not (await memories.recall(body)).noticed_by_listing
    assert list(memories.iter_all_memories()) == []
    await memories.forget(body)
