"""A range of any size is read in pages, all at one revision, smaller ones where values are large."""

from __future__ import annotations

from typing import Any

import pytest
from rstore_api.client.pages import PAGE_BYTES, PAGE_KEYS, next_limit, pages
from rstore_api.errors import AnswerTooLarge
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.kv_pb2 import KeyValue

REVISION = 70


class Server:
    """Has so many keys, and answers with no more than ``most`` at once."""

    def __init__(self, keys: int, most: int) -> None:
        self.keys = [b"%06d" % number for number in range(keys)]
        self.most = most
        self.revisions: list[int] = []

    async def range(self, request: rpc.RangeRequest, *, timeout_seconds: float) -> rpc.RangeResponse:
        self.revisions.append(request.revision)
        no_end = request.range_end == b"\0"
        selected = [key for key in self.keys if request.key <= key and (no_end or key < request.range_end)]
        taken = selected[: request.limit]
        if len(taken) > self.most:
            raise AnswerTooLarge
        answer = rpc.RangeResponse(kvs=[KeyValue(key=key) for key in taken], more=len(taken) < len(selected))
        answer.header.revision = REVISION + len(self.revisions)
        return answer


async def read(server: Server, **where: Any) -> list[bytes]:
    client: Any = server
    return [kv.key async for page in pages(client, timeout_seconds=1, **where) for kv in page.kvs]


@pytest.mark.parametrize("keys", [0, 1, PAGE_KEYS, 3 * PAGE_KEYS + 1])
@pytest.mark.parametrize("most", [1, 3, PAGE_KEYS])
async def test_all_keys_come_once_in_order(keys: int, most: int) -> None:
    server = Server(keys if most > 1 else min(keys, 5), most)
    assert await read(server) == server.keys
    assert len(set(server.revisions[1:])) <= 2, "0 until one is known, and that one from then on"


async def test_pages_are_at_the_revision_and_in_the_range_that_is_asked_for() -> None:
    server = Server(2 * PAGE_KEYS, PAGE_KEYS)
    assert await read(server, start=b"000010", range_end=b"000900", revision=5) == server.keys[10:900]
    assert set(server.revisions) == {5}


async def test_a_key_that_is_too_large_alone_is_an_error() -> None:
    with pytest.raises(AnswerTooLarge):
        await read(Server(1, 0))


@pytest.mark.parametrize(
    ("keys", "value_bytes", "wanted"),
    [
        (50, 0, 400),
        (400, 1000, PAGE_KEYS),
        (PAGE_KEYS, 10_000, PAGE_BYTES // 10_000),
        (50, 64 << 10, 32),
        (3, 1 << 20, 2),
        (1, 10 << 20, 1),
        (1, 10, 8),
    ],
)
def test_a_page_has_about_so_many_bytes(keys: int, value_bytes: int, wanted: int) -> None:
    assert next_limit(keys, keys * value_bytes) == wanted
