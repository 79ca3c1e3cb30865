"""GET: one object, lists with paging, watches."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import secrets
from collections import OrderedDict
from dataclasses import dataclass

import msgspec
from aiohttp import web

from rstore_devcluster.apiserver.describe.tables import partial_metadata, table
from rstore_devcluster.apiserver.http.errors import ApiError, bad_request, expired, not_found
from rstore_devcluster.apiserver.http.negotiation import Form
from rstore_devcluster.apiserver.http.request_info import flag
from rstore_devcluster.apiserver.http.responses import (
    add_warnings,
    in_version,
    list_response,
    object_response,
    representation,
    table_row,
)
from rstore_devcluster.apiserver.jsonobj import JsonObject
from rstore_devcluster.apiserver.objects.resources import EVENTS_V1
from rstore_devcluster.apiserver.objects.selectors import compile_selector
from rstore_devcluster.apiserver.objects.services import Call
from rstore_devcluster.apiserver.storage.history import BOOKMARK, Stored, Watch, WatchEvent

_encode = msgspec.json.Encoder().encode
MAX_SNAPSHOTS = 64


@dataclass(frozen=True)
class _Snapshot:
    items: list[Stored]
    resource_version: str


class Pager:
    """Consistent paging: the rest of a list is kept (a bounded number of lists) until its last page was read."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[str, _Snapshot] = OrderedDict()

    def first(self, items: list[Stored], resource_version: str, limit: int) -> tuple[list[Stored], JsonObject]:
        """The first page and the list's metadata."""
        if not limit or len(items) <= limit:
            return items, {"resourceVersion": resource_version}
        name = secrets.token_hex(8)
        self._snapshots[name] = _Snapshot(items, resource_version)
        while len(self._snapshots) > MAX_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return self._page(name, 0, limit)

    def following(self, token: str, limit: int) -> tuple[list[Stored], JsonObject]:
        """The page a continue token stands for; raises 410 when the list is no longer kept."""
        try:
            decoded = json.loads(base64.urlsafe_b64decode(token))
            name, start = str(decoded["list"]), int(decoded["start"])
        except (ValueError, KeyError, TypeError):
            raise bad_request("continue key is not valid") from None
        if name not in self._snapshots:
            raise expired("The provided continue parameter is too old to display a consistent list result.")
        return self._page(name, start, limit)

    def _page(self, name: str, start: int, limit: int) -> tuple[list[Stored], JsonObject]:
        snapshot = self._snapshots[name]
        end = min(start + limit, len(snapshot.items)) if limit else len(snapshot.items)
        metadata: JsonObject = {"resourceVersion": snapshot.resource_version}
        if end < len(snapshot.items):
            token = json.dumps({"list": name, "start": end}).encode()
            metadata["continue"] = base64.urlsafe_b64encode(token).decode()
            metadata["remainingItemCount"] = len(snapshot.items) - end
        else:
            del self._snapshots[name]
        return snapshot.items[start:end], metadata


def get_object(call: Call) -> web.Response:
    """GET of one object."""
    stored = call.store.peek(call.resource.key, call.namespace, call.info.name)
    if stored is None:
        raise not_found(call.resource.group, call.resource.plural, call.info.name)
    return object_response(call, stored.obj)


def _number(call: Call, name: str) -> int:
    text = call.query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f"{name}: Invalid value: {text!r}: must be a whole number")
    return int(text)


def list_objects(call: Call, pager: Pager) -> web.Response:
    """GET of a collection."""
    limit = _number(call, "limit")
    token = call.query.get("continue")
    if token:
        return list_response(call, *pager.following(token, limit))
    _check_list_version(call)
    resource = call.resource
    matcher = compile_selector(
        call.query.get("labelSelector", ""),
        call.query.get("fieldSelector", ""),
        resource.selectable_fields,
        resource.kind,
    )
    found = call.store.peek_all(resource.key, call.namespace)
    if matcher is not None:
        found = [stored for stored in found if matcher(stored.obj)]
    return list_response(call, *pager.first(found, str(call.store.resource_version), limit))


def _check_list_version(call: Call) -> None:
    match = call.query.get("resourceVersionMatch", "")
    version = call.query.get("resourceVersion", "")
    if match and match not in ("Exact", "NotOlderThan"):
        raise bad_request(f"resourceVersionMatch: Unsupported value: {match!r}")
    if match and not version:
        raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
    asked, present = _number(call, "resourceVersion"), call.store.resource_version
    if match == "Exact" and 0 < asked < present:
        raise expired(f"The resourceVersion for the provided list is too old: {asked} (only {present} can be listed)")
    if asked > present:
        details = {"retryAfterSeconds": 1}
        raise ApiError(504, "Timeout", f"Too large resource version: {asked}, current: {present}", details=details)


async def watch_objects(call: Call) -> web.StreamResponse:
    """GET with ``watch=true``: a stream of JSON lines until the client leaves or the time is over."""
    wanted = representation(call)
    initial = flag(call.query, "sendInitialEvents")
    bookmarks = flag(call.query, "allowWatchBookmarks")
    match = call.query.get("resourceVersionMatch", "")
    if initial and match != "NotOlderThan":
        raise bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if "sendInitialEvents" not in call.query and match:
        raise bad_request("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    _number(call, "resourceVersion")
    loop = asyncio.get_running_loop()
    seconds = _number(call, "timeoutSeconds") or random.uniform(1800, 3600)
    deadline = loop.time() + seconds
    watch = _start(call, initial=initial, bookmarks=bookmarks)
    response = web.StreamResponse()
    response.headers["Content-Type"] = "application/json"
    response.headers["Cache-Control"] = "no-cache, private"
    add_warnings(response, call.warnings)
    response.enable_chunked_encoding()
    async with watch:
        await response.prepare(call.request)
        writer = _Lines(call, response, wanted.form)
        interval = call.services.options.bookmark_interval_seconds
        next_bookmark = loop.time() + interval
        while not call.services.stopping and not watch.closed:
            until = min(deadline, next_bookmark) if bookmarks else deadline
            try:
                event = await watch.next(max(0.0, until - loop.time()))
            except ApiError as error:
                await writer.error(error)
                break
            if event is not None:
                await writer.event(event)
            elif loop.time() >= deadline:
                break
            if bookmarks and loop.time() >= next_bookmark:
                next_bookmark = loop.time() + interval
                if event is None:
                    await writer.event(WatchEvent(BOOKMARK, call.store.bookmark(call.resource)))
        await response.write_eof()
    return response


def _start(call: Call, *, initial: bool, bookmarks: bool) -> Watch:
    version = call.query.get("resourceVersion")
    if initial and not bookmarks:
        version = "0"
    if call.query.get("sendInitialEvents") in ("false", "0") and not version:
        version = str(call.store.resource_version)
    return call.store.watch(
        call.resource.key,
        call.namespace or None,
        resource_version=version,
        label_selector=call.query.get("labelSelector", ""),
        field_selector=call.query.get("fieldSelector", ""),
        send_initial_events=initial and bookmarks,
    )


class _Lines:
    """Writes watch events in the form the client accepts."""

    def __init__(self, call: Call, response: web.StreamResponse, form: Form) -> None:
        self._call = call
        self._response = response
        self._form = form
        self._headers = True

    async def event(self, event: WatchEvent) -> None:
        """One event."""
        await self._response.write(b'{"type":"%s","object":%s}\n' % (event.type.encode(), self._shown(event)))

    async def error(self, error: ApiError) -> None:
        """The last event of a watch that failed."""
        await self._response.write(_encode({"type": "ERROR", "object": error.to_status()}) + b"\n")

    def _shown(self, event: WatchEvent) -> bytes:
        stored, resource = event.stored, self._call.resource
        if self._form is Form.METADATA:
            return _encode(partial_metadata(stored.obj))
        if self._form is Form.TABLE:
            bookmark = event.type == BOOKMARK
            metadata = {"resourceVersion": stored.obj["metadata"]["resourceVersion"]}
            include = self._call.query.get("includeObject", "Metadata")
            objects = [] if bookmark else [table_row(self._call, stored.obj)]
            value = table(
                resource, objects, self._call.store.now(), metadata=metadata, include=include, headers=self._headers
            )
            if bookmark:
                value["rows"] = [{"cells": [], "object": partial_metadata(stored.obj)}]
            self._headers = False
            return _encode(value)
        if resource is EVENTS_V1 or stored.obj.get("apiVersion") != resource.api_version:
            return _encode(in_version(self._call, stored.obj))
        return stored.encoded
