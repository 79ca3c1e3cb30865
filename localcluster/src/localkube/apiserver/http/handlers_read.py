"""GET: one object, lists, watches."""

from __future__ import annotations

import asyncio
import random

import msgspec
from aiohttp import web

from localkube.apiserver.describe.tables import partial_metadata, table
from localkube.apiserver.errors import ApiError, bad_request, not_found, too_large_version
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.list_options import ListOptions, list_options, version_number
from localkube.apiserver.http.negotiation import JSON, Form, Representation
from localkube.apiserver.http.pages import Position, cut, decode, too_old
from localkube.apiserver.http.responses import (
    add_warnings,
    in_version,
    included,
    list_response,
    object_response,
    representation,
)
from localkube.apiserver.objects.field_selectors import selected_name
from localkube.apiserver.objects.selectors import compile_selector
from localkube.apiserver.storage.history import BOOKMARK, Stored, Watch, WatchEvent

_encode = msgspec.json.Encoder().encode


def get_object(call: Call) -> web.Response:
    """GET of one object; a resourceVersion is the oldest that will do."""
    try:
        asked = version_number(call.query.get("resourceVersion", ""))
    except ValueError as error:
        raise ApiError(500, "", str(error)) from None
    if asked > call.store.resource_version:
        raise too_large_version(asked, call.store.resource_version)
    stored = call.store.peek(call.resource.key, call.namespace, call.info.name)
    if stored is None:
        raise not_found(call.resource.group, call.resource.plural, call.info.name)
    return object_response(call, stored.obj)


def list_objects(call: Call) -> web.Response:
    """GET of a collection."""
    representation(call)
    options = list_options(call.query, watch=False)
    matcher = compile_selector(options.label_selector, options.field_selector, call.resource)
    version, start = _list_from(call, options)
    limit = 0 if options.resource_version == "0" else options.limit
    items = _listed(call, options, version, start)
    page, metadata = cut(
        items,
        matcher,
        namespace=call.namespace,
        start=start,
        limit=limit,
        version=version or call.store.resource_version,
    )
    return list_response(call, page, metadata)


def _list_from(call: Call, options: ListOptions) -> tuple[int | None, str]:
    """Returns the version that the list is wanted at, None for the newest, and the key that it begins with."""
    if options.continue_token:
        position = decode(options.continue_token)
        if options.resource_version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        return position.version, position.start
    try:
        asked = version_number(options.resource_version)
    except ValueError as error:
        raise bad_request(f"invalid resource version: {error}") from None
    if asked > call.store.resource_version:
        raise too_large_version(asked, call.store.resource_version)
    return asked if options.exact else None, ""


def _listed(call: Call, options: ListOptions, version: int | None, start: str) -> list[Stored]:
    if version is None:
        return call.store.peek_all(call.resource.key, call.namespace)
    try:
        return call.store.peek_all_at(call.resource.key, call.namespace, version)
    except ApiError as error:
        if error.code == 410 and options.continue_token:
            raise too_old(Position(version, start)) from None
        raise


async def watch_objects(call: Call) -> web.StreamResponse:
    """GET of a watch: a stream of JSON lines until the client leaves or the time is over."""
    wanted = representation(call)
    if wanted.form is Form.TABLE:
        included(call)
    options = list_options(call.query, watch=True)
    loop = asyncio.get_running_loop()
    seconds = options.timeout_seconds or random.uniform(1800, 3600)
    deadline = loop.time() + seconds
    watch = _start(call, options)
    response = web.StreamResponse()
    response.headers["Content-Type"] = JSON
    response.headers["Cache-Control"] = "no-cache, private"
    add_warnings(response, call.warnings)
    response.enable_chunked_encoding()
    writer = _Lines(call, response, wanted)
    if isinstance(watch, ApiError):
        await response.prepare(call.request)
        await writer.error(watch)
        await response.write_eof()
        return response
    async with watch:
        await response.prepare(call.request)
        interval = call.services.options.bookmark_interval_seconds
        next_bookmark = loop.time() + interval
        while not call.services.stopping and not watch.closed:
            until = min(deadline, next_bookmark) if options.bookmarks else deadline
            try:
                event = await watch.next(max(0.0, until - loop.time()))
            except ApiError as error:
                await writer.error(error)
                break
            if event is not None:
                await writer.event(event)
            elif loop.time() >= deadline:
                break
            if options.bookmarks and loop.time() >= next_bookmark:
                next_bookmark = loop.time() + interval
                if event is None:
                    await writer.event(WatchEvent(BOOKMARK, call.store.bookmark(call.resource)))
        await response.write_eof()
    return response


def _start(call: Call, options: ListOptions) -> Watch | ApiError:
    """Returns the watch, or the 410 that is its only event when it begins too long ago."""
    version = options.resource_version
    try:
        asked = version_number(version)
    except ValueError as error:
        raise ApiError(500, "", str(error)) from None
    if options.initial_events and asked > call.store.resource_version:
        raise too_large_version(asked, call.store.resource_version)
    if options.initial_events and not options.bookmarks:
        version = "0"
    if options.initial_events is False and not version:
        version = str(call.store.resource_version)
    try:
        return call.store.watch(
            call.resource.key,
            call.namespace or None,
            resource_version=version,
            label_selector=options.label_selector,
            field_selector=_watched_fields(call, options),
            send_initial_events=bool(options.initial_events) and options.bookmarks,
        )
    except ApiError as error:
        if error.code != 410:
            raise
        return error


def _watched_fields(call: Call, options: ListOptions) -> str:
    """Returns the field selector; a watch of one object's old path selects it by its name."""
    name = call.info.name
    if not name:
        return options.field_selector
    if options.field_selector and selected_name(options.field_selector) != name:
        raise bad_request("fieldSelector metadata.name doesn't match requested name")
    return ",".join(filter(None, (options.field_selector, f"metadata.name={name}")))


class _Lines:
    """Writes watch events in the form the client accepts."""

    def __init__(self, call: Call, response: web.StreamResponse, wanted: Representation) -> None:
        self._call = call
        self._response = response
        self._wanted = wanted
        self._headers = True

    async def event(self, event: WatchEvent) -> None:
        """One event."""
        await self._response.write(b'{"type":"%s","object":%s}\n' % (event.type.encode(), self._shown(event)))

    async def error(self, error: ApiError) -> None:
        """The last event of a watch that failed."""
        await self._response.write(_encode({"type": "ERROR", "object": error.to_status()}) + b"\n")

    def _shown(self, event: WatchEvent) -> bytes:
        stored, resource = event.stored, self._call.resource
        form, api_version = self._wanted.form, self._wanted.api_version
        if form in (Form.METADATA, Form.METADATA_LIST):
            return _encode(partial_metadata(stored.obj, api_version))
        if form is Form.TABLE:
            metadata = {"resourceVersion": stored.obj["metadata"]["resourceVersion"]}
            include = included(self._call)
            objects = [in_version(self._call, stored.obj)]
            value = table(
                resource,
                objects,
                self._call.store.now(),
                metadata=metadata,
                include=include,
                headers=self._headers,
                api_version=api_version,
            )
            self._headers = False
            return _encode(value)
        if stored.obj.get("apiVersion") != resource.api_version:
            return _encode(in_version(self._call, stored.obj))
        return stored.encoded
