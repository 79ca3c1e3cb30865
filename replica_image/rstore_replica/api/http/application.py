"""Which path is answered by what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import grpc
from rstore_api.domain import etcd_version
from rstore_api.exposition import CONTENT_TYPE, Exposition
from rstore_wire.exchange import Exchange, Reply, RequestHead
from rstore_wire.service import Metadata

from rstore_replica.api.http import replies
from rstore_replica.api.http.checks import Checks
from rstore_replica.api.http.gateway import Gateway
from rstore_replica.api.http.routes import PREFIX

VERSIONS = {"etcdserver": etcd_version.SERVER_VERSION, "etcdcluster": etcd_version.CLUSTER_VERSION}


class ClientHttp:
    """Answers a client's requests over HTTP/1.1."""

    def __init__(self, *, checks: Checks, exposition: Exposition, gateway: Gateway) -> None:
        self._gateway = gateway
        self._checks = checks
        self._exposition = exposition
        self._questions: dict[str, Callable[[RequestHead], Awaitable[Reply]]] = {
            "/health": self._health,
            "/version": self._version,
        }
        for kind, names in checks.kinds.items():
            self._questions[f"/{kind}"] = partial(self._run, names)
            self._questions |= {f"/{kind}/{name}": partial(self._run, (name,)) for name in names}

    def takes_stream(self, head: RequestHead) -> bool:
        """Whether the request's body is read in parts, while it is answered."""
        return self._gateway.takes_stream(head)

    def failure(self, head: RequestHead, code: grpc.StatusCode, details: str, metadata: Metadata) -> Reply:  # noqa: ARG002
        """Returns what a request is answered with that has failed."""
        return replies.failure(code, details, metadata)

    def late_failure(self, head: RequestHead, code: grpc.StatusCode, details: str) -> bytes:  # noqa: ARG002
        """Returns the last line of a stream of answers that has failed."""
        return replies.late_failure(code, details)

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        if exchange.head.path.startswith(PREFIX):
            await self._gateway.answer(exchange)
            return
        exchange.respond(await self._reply(exchange.head))

    async def _reply(self, head: RequestHead) -> Reply:
        if head.path == "/metrics":
            return Reply(200, await self._exposition.text(), CONTENT_TYPE)
        question = self._questions.get(head.path)
        if question is None:
            return replies.not_found()
        return await question(head) if head.method == "GET" else replies.only_get()

    async def _version(self, _head: RequestHead) -> Reply:
        return Reply(200, replies.compact_json(VERSIONS), replies.JSON)

    async def _health(self, head: RequestHead) -> Reply:
        reason = await self._checks.health(
            excluded_alarms=head.query.get("exclude", ()),
            serializable=head.query.get("serializable", [""])[0] == "true",
        )
        body = replies.compact_json({"health": "false" if reason else "true", "reason": reason})
        return replies.text(503, body.decode()) if reason else Reply(200, body, replies.TEXT)

    async def _run(self, names: Sequence[str], head: RequestHead) -> Reply:
        excluded = head.query.get("exclude", ())
        results = await self._checks.run([name for name in names if name not in excluded])
        lines = [f"[-]{name} failed: {reason}" if reason else f"[+]{name} ok" for name, reason in results.items()]
        if any(results.values()):
            return replies.text(503, "\n".join([*lines, ""]))
        return replies.text(200, "\n".join([*lines, "ok"] if "verbose" in head.query else ["ok"]))
