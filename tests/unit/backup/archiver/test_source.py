"""Which replica of the region is asked, and when rows that one has compacted are given up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from rstore_api.proto.rstore_pb2 import FollowBegin, FollowRequest, FollowResponse
from rstore_backup.archiver.source import RegionSource, SourceError

ADDRESSES = ("r0:2380", "r1:2380", "r2:2380")


class Scripted(RegionSource):
    """A region whose replicas answer as ``compacted`` says; ``asked`` are those that were."""

    def __init__(self, *addresses: str) -> None:
        super().__init__(lambda: addresses, None)
        self.compacted: set[str] = set()
        self.asked: list[str] = []

    async def _stream(self, *_call: Any) -> AsyncGenerator[Any]:
        addresses = self._addresses()
        address = addresses[self._next % len(addresses)]
        self.asked.append(address)
        yield FollowResponse(begin=FollowBegin(replica=address, compacted=address in self.compacted))


async def begin(source: RegionSource) -> FollowBegin:
    async for response in source.follow(FollowRequest()):
        return response.begin
    raise AssertionError


async def test_what_one_replica_has_compacted_is_asked_of_the_others() -> None:
    source = Scripted(*ADDRESSES)
    source.compacted = {"r0:2380"}
    with pytest.raises(SourceError, match="r0:2380 has compacted what follows"):
        await begin(source)
    assert not (await begin(source)).compacted
    assert source.asked == ["r0:2380", "r1:2380"]
    assert not (await begin(source)).compacted
    assert source.asked[-1] == "r1:2380"


async def test_what_all_have_compacted_is_given_up() -> None:
    source = Scripted(*ADDRESSES)
    source.compacted = set(ADDRESSES)
    for _ in range(2):
        with pytest.raises(SourceError):
            await begin(source)
    assert (await begin(source)).compacted
    assert source.asked == list(ADDRESSES)
    with pytest.raises(SourceError):  # all are asked again the next time
        await begin(source)


async def test_a_single_replica_has_the_last_word() -> None:
    source = Scripted("r0:2380")
    source.compacted = {"r0:2380"}
    assert (await begin(source)).compacted


async def test_an_address_that_does_not_answer_is_left_for_the_next() -> None:
    source = RegionSource(lambda: ("127.0.0.1:1", "no address", "127.0.0.1:2"), None)
    for expected in ("127.0.0.1:1", "no address", "127.0.0.1:2", "127.0.0.1:1"):
        with pytest.raises(SourceError, match=expected):
            await begin(source)
