"""Writes that are sent again when their outcome is unknown: the same name each time, and no more said than is known."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rstore_api.client import Client
from rstore_api.client.identity import format_request_id, parse_request_id
from rstore_api.errors import (
    REQUEST_ID_KEY,
    AlreadyDone,
    InvalidRequest,
    NotPrimary,
    OutcomeUnknown,
    RequestForgotten,
    StoreError,
)
from rstore_api.proto.rpc_pb2 import PutRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import RequestId

CLIENT = "4c1c6f2e-0000-4000-8000-000000000001"


def _names(server) -> list[RequestId]:
    """Of the writes, in order."""
    return [
        parse_request_id(metadata[REQUEST_ID_KEY])
        for request, metadata in zip(server.requests, server.metadata, strict=True)
        if isinstance(request, PutRequest | TxnRequest)
    ]


async def test_a_write_with_unknown_outcome_is_sent_again_under_the_same_name(scripted) -> None:
    server = await scripted(None, OutcomeUnknown(), OutcomeUnknown())  # the first request reads the revision
    async with Client([server.address]) as client:
        assert (await client.put("k", "v", retry_unknown=True)).header.revision == 2
        assert (await client.txn(TxnRequest(), retry_unknown=True)).succeeded
    first, again, last, other = _names(server)
    assert first == again == last
    assert (first.sequence, first.revision) == (1, 1)
    assert (other.client, other.sequence, other.revision) == (first.client, 2, 2)


async def test_unless_asked_to_the_client_names_nothing_and_sends_nothing_again(scripted) -> None:
    server = await scripted(OutcomeUnknown())
    async with Client([server.address]) as client:
        with pytest.raises(OutcomeUnknown):
            await client.put("k", "v")
    assert [REQUEST_ID_KEY in metadata for metadata in server.metadata] == [False]


async def test_a_write_that_was_never_sent_before_gets_another_name_when_the_store_cannot_place_it(scripted) -> None:
    server = await scripted(None, RequestForgotten())
    async with Client([server.address]) as client:
        await client.put("k", "v", retry_unknown=True)
    first, second = _names(server)
    assert second.sequence == first.sequence + 1
    assert not server.requests[2].serializable, "what the store has reached is read anew"


async def test_a_write_that_may_have_happened_stays_unknown_when_the_store_cannot_place_it(scripted) -> None:
    server = await scripted(None, OutcomeUnknown(), RequestForgotten())
    async with Client([server.address]) as client:
        with pytest.raises(OutcomeUnknown):
            await client.put("k", "v", retry_unknown=True)
    assert len(_names(server)) == 2


@pytest.mark.parametrize("refusal", [InvalidRequest("no"), NotPrimary()])
async def test_a_refusal_of_the_second_attempt_says_nothing_of_the_first(scripted, refusal: StoreError) -> None:
    server = await scripted(None, OutcomeUnknown("first"), refusal)
    async with Client([server.address]) as client:
        with pytest.raises(OutcomeUnknown, match="first"):
            await client.put("k", "v", retry_unknown=True, timeout_seconds=1)


async def test_that_it_was_done_is_said_when_the_answer_is_gone(scripted) -> None:
    server = await scripted(None, OutcomeUnknown(), AlreadyDone("at revision 7"))
    async with Client([server.address]) as client:
        with pytest.raises(AlreadyDone, match="revision 7"):
            await client.put("k", "v", retry_unknown=True)


async def test_the_outcome_is_unknown_when_the_time_is_over(scripted) -> None:
    server = await scripted(None, *[OutcomeUnknown()] * 1000)
    async with Client([server.address]) as client:
        with pytest.raises(OutcomeUnknown):
            await client.put("k", "v", retry_unknown=True, timeout_seconds=0.3)
    assert 2 <= len(server.requests) < 30


@given(st.uuids(), st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_name_reads_as_it_was_written(client: uuid.UUID, sequence: int, revision: int) -> None:
    name = RequestId(client=client.bytes, sequence=sequence, revision=revision)
    assert parse_request_id(format_request_id(name)) == name


@pytest.mark.parametrize("text", ["", "x", f"{CLIENT}/1", f"{CLIENT}/0/1", f"{CLIENT}/1/-1", "x/1/1"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"UUID|range|badly"):
        parse_request_id(text)
