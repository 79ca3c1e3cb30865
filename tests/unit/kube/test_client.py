"""What the client sends, and how it says what came back."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from rstore_api.domain.kubernetes import CHILD_KINDS, EVENT, STORE
from rstore_kube.client import MAX_REQUESTS, parse_document, verb_and_kind
from rstore_kube.errors import ApiError

CONFIG_MAP = CHILD_KINDS["ConfigMap"]


class Recorder:
    """Answers with ``status`` and ``body``, and keeps the last request."""

    def __init__(self, body: object = None, status: int = 200) -> None:
        self.body = {} if body is None else body
        self.status = status
        self.sent: object = None
        self.request: web.Request

    async def __call__(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.sent, self.request = json.loads(text) if text else None, request
        return web.json_response(self.body, status=self.status)


async def test_selectors_arrive_as_they_were_meant(serve) -> None:
    recorder = Recorder({"items": [{"metadata": {"name": "a"}}]})
    async with serve(recorder) as client:
        events = await client.list(EVENT, "team", labels="a/b=c,d!=é", fields="x=y,z!=1&2", limit=7)
    assert events == [{"metadata": {"name": "a"}}]
    assert recorder.request.path == "/api/v1/namespaces/team/events"
    assert dict(recorder.request.query) == {"labelSelector": "a/b=c,d!=é", "fieldSelector": "x=y,z!=1&2", "limit": "7"}
    assert recorder.request.headers["Authorization"] == "Bearer secret"
    assert recorder.request.headers["User-Agent"] == "tests"


async def test_a_list_without_items_is_empty(serve) -> None:
    async with serve(Recorder({"items": None})) as client:
        assert await client.list(EVENT, "team") == []


async def test_a_few_requests_are_made_at_a_time(serve) -> None:
    under_way = most = 0

    async def answer(_request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.json_response({"items": []})

    async with serve(answer) as client:
        await asyncio.gather(*(client.list(EVENT, "team") for _ in range(4 * MAX_REQUESTS)))
    assert most == MAX_REQUESTS


async def test_apply_names_the_field_manager_and_forces(serve) -> None:
    manifest = {"kind": "ConfigMap", "metadata": {"namespace": "team", "name": "x"}, "data": {}}
    recorder = Recorder()
    async with serve(recorder) as client:
        await client.apply(CONFIG_MAP, manifest)
    assert recorder.request.method == "PATCH"
    assert recorder.request.path == "/api/v1/namespaces/team/configmaps/x"
    assert recorder.request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert dict(recorder.request.query) == {"fieldManager": "tests", "force": "true"}
    assert recorder.sent == manifest


async def test_a_merge_on_a_condition_carries_the_version_beside_other_metadata(serve) -> None:
    recorder = Recorder()
    async with serve(recorder) as client:
        patch = {"metadata": {"labels": {"a": "b"}}, "status": {}}
        await client.merge(STORE, "team", "orders", patch, resource_version="7", subresource="status")
    assert recorder.request.path.endswith("/replicatedstores/orders/status")
    assert recorder.request.headers["Content-Type"] == "application/merge-patch+json"
    assert recorder.sent == {"metadata": {"labels": {"a": "b"}, "resourceVersion": "7"}, "status": {}}


async def test_json_patches_stay_json_patches(serve) -> None:
    recorder = Recorder()
    async with serve(recorder) as client:
        await client.json_patch(STORE, "team", "orders", [{"op": "remove", "path": "/x"}])
    assert recorder.request.headers["Content-Type"] == "application/json-patch+json"
    assert recorder.sent == [{"op": "remove", "path": "/x"}]


async def test_an_object_that_is_gone_is_none_and_deleted(serve) -> None:
    recorder = Recorder({"message": "not found", "reason": "NotFound"}, 404)
    async with serve(recorder) as client:
        assert await client.find(CONFIG_MAP, "team", "x") is None
        await client.delete(CONFIG_MAP, "team", "x", uid="u", propagation="Orphan")
        assert recorder.sent["preconditions"] == {"uid": "u"}
        await client.delete(CONFIG_MAP, "team", "x", uid="u", propagation="Background", resource_version="7")
        assert recorder.sent["preconditions"] == {"uid": "u", "resourceVersion": "7"}
        with pytest.raises(ApiError) as refusal:
            await client.get(CONFIG_MAP, "team", "x")
    assert refusal.value.not_found
    assert (str(refusal.value), refusal.value.reason) == ("not found", "NotFound")


async def test_another_refusal_of_a_deletion_is_raised(serve) -> None:
    async with serve(Recorder({"message": "the uid is another's"}, 409)) as client:
        with pytest.raises(ApiError, match="the uid is another's") as refusal:
            await client.delete(CONFIG_MAP, "team", "x", uid="u", propagation="Background")
    assert refusal.value.conflict


@pytest.mark.parametrize(
    ("data", "document"),
    [
        (b"", {}),
        (b'{"message": "no"}', {"message": "no"}),
        (b"404 page not found\n", {"message": "404 page not found"}),
        (b"[1]", {}),
    ],
)
def test_an_answer_is_a_dictionary(data: bytes, document: dict) -> None:
    assert parse_document(data) == document


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", STORE.path("team", "orders"), ("get", "replicatedstores")),
        ("GET", STORE.path("team"), ("list", "replicatedstores")),
        ("GET", STORE.path(""), ("list", "replicatedstores")),
        ("PATCH", STORE.path("team", "orders") + "/status", ("patch", "replicatedstores/status")),
        ("POST", EVENT.path("team"), ("create", "events")),
        ("DELETE", CONFIG_MAP.path("team", "x"), ("delete", "configmaps")),
        ("GET", "/api/v1/namespaces/team", ("get", "namespaces")),
    ],
)
def test_verbs_and_kinds_are_those_of_rbac(method: str, path: str, expected: tuple[str, str]) -> None:
    assert verb_and_kind(method, path) == expected


async def test_each_request_is_reported_with_its_status(serve) -> None:
    requests: list[tuple[str, str, int]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"message": "no"}, status=409)

    async with serve(handle) as client:
        client._requested = lambda verb, kind, status, _seconds: requests.append((verb, kind, status))
        with pytest.raises(ApiError):
            await client.create(CONFIG_MAP, "team", {})
        with pytest.raises(ConnectionError):
            await client.get(CONFIG_MAP, "team", "x")
    assert requests == [("create", "configmaps", 409), ("get", "configmaps", 0)]


async def test_logs_are_read_as_text_whole_or_line_by_line(serve) -> None:
    queries: list[dict[str, str]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        queries.append(dict(request.query))
        assert request.path == "/api/v1/namespaces/team/pods/x/log"
        assert request.headers["Accept"] == "*/*"
        return web.Response(text="one\ntwo {\n")

    async with serve(handle) as client:
        assert await client.log("team", "x", tail=5, previous=True) == "one\ntwo {\n"
        assert [line async for line in client.follow_log("team", "x", tail=7)] == ["one", "two {"]
    assert queries == [{"tailLines": "5", "previous": "true"}, {"tailLines": "7", "follow": "true"}]


async def test_a_log_that_is_refused_says_why(serve) -> None:
    async with serve(Recorder({"message": "previous terminated container not found"}, 400)) as client:
        with pytest.raises(ApiError, match="previous terminated container not found"):
            await client.log("team", "x", tail=5)
        with pytest.raises(ApiError, match="not found"):
            _ = [line async for line in client.follow_log("team", "x", tail=5)]
