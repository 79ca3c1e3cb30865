"""A bucket as S3 serves it, as far as an archive needs one: objects that are made once, lists, and one key that may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import md5
from xml.sax.saxutils import escape

from aiohttp import web

BUCKET = "backups"
PAGE_KEYS = 1000


class Bucket:
    """The bucket ``backups``. Requests that are not signed with ``access_key`` are refused; signatures themselves are
    not checked."""

    def __init__(self, access_key: str) -> None:
        self.access_key = access_key
        self.objects: dict[str, bytes] = {}
        self.endpoint = ""
        """Its address, while it is served."""
        self.waiting = 0
        """Requests for stalled objects that wait."""
        self._stalled = ""
        self._go_on = asyncio.Event()

    def stall(self, part: str) -> None:
        """Objects whose names have this part are not handed out, until :meth:`go_on`."""
        self._stalled = part
        self._go_on.clear()

    def go_on(self) -> None:
        """Everything is handed out again, also to those that wait."""
        self._stalled = ""
        self._go_on.set()

    async def answer(self, request: web.Request) -> web.Response:
        """Answers one request of the S3 API."""
        if f"Credential={self.access_key}/" not in request.headers.get("Authorization", ""):
            return _refused(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist")
        bucket, _, key = request.path.lstrip("/").partition("/")
        if bucket != BUCKET:
            return _refused(404, "NoSuchBucket", "The specified bucket does not exist")
        if not key:
            return self._listed(request)
        if request.method == "PUT":
            if request.headers.get("If-None-Match") == "*" and key in self.objects:
                return _refused(412, "PreconditionFailed", "At least one of the preconditions did not hold")
            self.objects[key] = await request.read()
            return web.Response(headers={"ETag": _etag(self.objects[key])})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        if key not in self.objects:
            return _refused(404, "NoSuchKey", "The specified key does not exist")
        if self._stalled and self._stalled in key:
            self.waiting += 1
            try:
                await self._go_on.wait()
            finally:
                self.waiting -= 1
        return self._read(request, self.objects[key])

    def _read(self, request: web.Request, data: bytes) -> web.Response:
        headers = {"ETag": _etag(data), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        wanted = request.http_range
        if wanted.start is None and wanted.stop is None:
            return web.Response(body=data, headers=headers)
        start = wanted.start or 0
        part = data[start : wanted.stop]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        return web.Response(status=206, body=part, headers=headers)

    def _listed(self, request: web.Request) -> web.Response:
        """ListObjectsV2."""
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        after = max(request.query.get("start-after", ""), request.query.get("continuation-token", ""))
        matching = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        page, folders = matching[:PAGE_KEYS], set()
        parts = []
        for key in page:
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            data = self.objects[key]
            parts.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>{escape(_etag(data))}</ETag><Size>{len(data)}</Size></Contents>"
            )
        parts += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
        truncated = len(matching) > len(page)
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if truncated else ""
        parts += [f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{more}"]
        return web.Response(
            text=f"<ListBucketResult>{''.join(parts)}</ListBucketResult>", content_type="application/xml"
        )


def _etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


def _refused(status: int, code: str, message: str) -> web.Response:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


@asynccontextmanager
async def served(access_key: str) -> AsyncIterator[Bucket]:
    """Serves an empty bucket on the loopback interface around a block."""
    bucket = Bucket(access_key)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", bucket.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        bucket.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield bucket
    finally:
        await runner.cleanup()
