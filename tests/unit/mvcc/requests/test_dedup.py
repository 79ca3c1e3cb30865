"""A write that carries an id is carried out at most once, and recognised for as long as it is remembered."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import AlreadyDone, InvalidRequest, KeyNotFound, RequestForgotten, StoreError
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import LogEntry, RequestId, WriteBatch, WriteRequest
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.requests import dedup
from unit.mvcc.replicas import FIELDS, Replica, operations

BOUNDS = dedup.Bounds(clients=2, requests_per_client=3, answer_bytes=64)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path / "us")
    yield replica
    replica.machine.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup, "BOUNDS", BOUNDS)


def name(client: int, sequence: int, revision: int) -> RequestId:
    return RequestId(client=bytes([client]) * 16, sequence=sequence, revision=revision)


def write(replica: Replica, *named: tuple[RequestId, Message]) -> list[Any]:
    requests = [WriteRequest(request_id=id_, **{FIELDS[type(request)]: request}) for id_, request in named]  # type: ignore[arg-type]
    return list(replica.apply(write=WriteBatch(epoch=replica.machine.state.epoch, requests=requests)))


def put(replica: Replica, id_: RequestId, key: bytes, value: bytes = b"v", **fields: Any) -> Any:
    return write(replica, (id_, PutRequest(key=key, value=value, **fields)))[0]


def test_a_repeated_write_is_answered_as_it_was_and_changes_nothing(replica: Replica) -> None:
    first = put(replica, name(1, 1, 1), b"k", prev_kv=True)
    replica.put(b"k", b"later")
    assert put(replica, name(1, 1, 1), b"k", prev_kv=True) == first
    assert put(replica, name(1, 1, 1), b"another", b"x") == first, "the id counts, not the request"
    assert (replica.get(b"k"), replica.get(b"another"), replica.machine.revision) == (b"later", None, 3)


def test_it_is_recognised_in_the_same_entry_after_a_restart_and_in_a_checkpoint(
    replica: Replica, tmp_path: Path
) -> None:
    request = TxnRequest(success=operations([PutRequest(key=b"a"), DeleteRangeRequest(key=b"b")]))
    first, again = write(replica, (name(1, 7, 1), request), (name(1, 7, 1), request))
    assert first == again
    assert replica.machine.revision == 2
    replica.machine.checkpoint(tmp_path / "copy")
    replica.reopen()
    assert write(replica, (name(1, 7, 1), request)) == [first]
    other = Replica(tmp_path / "other", bootstrap=None)
    other.machine.restore(tmp_path / "copy")
    assert write(other, (name(1, 7, 1), request)) == [first]
    other.machine.close()


def test_what_was_refused_or_changed_nothing_may_be_tried_again_with_the_same_id(replica: Replica) -> None:
    assert isinstance(put(replica, name(1, 1, 1), b"k", b"", ignore_value=True), KeyNotFound)
    assert write(replica, (name(1, 2, 1), DeleteRangeRequest(key=b"k")))[0].deleted == 0
    replica.put(b"k")
    assert put(replica, name(1, 1, 1), b"k", b"", ignore_value=True).header.revision == 3
    assert write(replica, (name(1, 2, 1), DeleteRangeRequest(key=b"k")))[0].deleted == 1


def test_a_large_answer_is_not_kept_but_the_request_is(replica: Replica) -> None:
    replica.put(b"large", b"x" * 2000)
    request = TxnRequest(success=operations([PutRequest(key=b"k"), RangeRequest(key=b"large")]))
    [answer] = write(replica, (name(1, 1, 2), request))
    assert answer.responses[1].response_range.count == 1
    [again] = write(replica, (name(1, 1, 2), request))
    assert isinstance(again, AlreadyDone)
    assert replica.machine.revision == 3


def test_a_region_that_becomes_primary_does_not_pretend_to_know(replica: Replica) -> None:
    put(replica, name(1, 1, 1), b"k")
    replica.promise(2)
    assert replica.promote(2) == 3
    assert isinstance(put(replica, name(1, 1, 1), b"k"), RequestForgotten)
    assert isinstance(put(replica, name(2, 1, 1), b"k"), RequestForgotten), "it may have been carried out elsewhere"
    assert isinstance(put(replica, name(1, 2, 9), b"k"), RequestForgotten), "revision 9 is of another history"
    assert put(replica, name(1, 2, 2), b"k").header.revision == 3


@pytest.mark.parametrize("id_", [RequestId(client=b"short", sequence=1), name(1, 0, 1), name(1, 1, -1)])
def test_an_id_that_is_none_is_refused(replica: Replica, id_: RequestId) -> None:
    assert isinstance(put(replica, id_, b"k"), InvalidRequest)
    assert replica.machine.revision == 1


@pytest.mark.usefixtures("small")
def test_the_client_whose_last_write_is_oldest_goes_first(replica: Replica) -> None:
    put(replica, name(1, 1, 1), b"a")  # 2
    put(replica, name(2, 1, 1), b"b")  # 3
    put(replica, name(1, 2, 3), b"c")  # 4
    put(replica, name(3, 1, 4), b"d")  # 5, in the place of client 2
    assert put(replica, name(1, 1, 1), b"a").header.revision == 2
    assert isinstance(put(replica, name(2, 1, 1), b"b"), RequestForgotten)
    assert isinstance(put(replica, name(4, 1, 2), b"e"), RequestForgotten)
    assert put(replica, name(4, 1, 3), b"e").header.revision == 6


# ---------------------------------------------------------------------------------------------- against a model


@dataclass
class Remembered:
    """What must be remembered, said with Python's own containers."""

    forgotten: int = 0
    clients: OrderedDict[int, dict[int, Any]] = field(default_factory=OrderedDict)
    dropped: dict[int, int] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)

    def known(self, client: int, sequence: int, since: int) -> Any:
        held = self.clients.get(client, {})
        if sequence in held:
            return held[sequence]
        if sequence <= self.dropped.get(client, 0) or since < self.forgotten:
            return RequestForgotten
        return None

    def done(self, client: int, sequence: int, answer: Any) -> None:
        if client not in self.clients and len(self.clients) == BOUNDS.clients:
            gone, _ = self.clients.popitem(last=False)
            self.dropped.pop(gone, None)
            self.forgotten = max(self.forgotten, self.newest.pop(gone))
        held = self.clients.setdefault(client, {})
        self.clients.move_to_end(client)
        held[sequence] = answer
        self.newest[client] = answer.header.revision
        if len(held) > BOUNDS.requests_per_client:
            lowest = min(held)
            del held[lowest]
            self.dropped[client] = max(self.dropped.get(client, 0), lowest)

    def promoted(self, revision: int) -> None:
        self.__init__(forgotten=max(self.forgotten, revision))  # type: ignore[misc]


STEPS = st.lists(
    st.tuples(st.just("write"), st.integers(1, 4), st.integers(1, 6))
    | st.tuples(st.sampled_from(["reopen", "promote"]), st.just(0), st.just(0)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60)
@given(STEPS)
def test_nothing_is_carried_out_twice_and_what_must_be_known_is(steps: list[tuple[str, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(dedup, "BOUNDS", BOUNDS)
        replica = Replica(Path(directory) / "us")
        answers = _run(replica, steps)
        twin = Machine.open(Path(directory) / "twin", region="us")
        replayed = [twin.apply(index, 1, entry) for index, entry in enumerate(replica.log, 1)]
        kinds = [[_kind(answer) for answer in found] for found in replayed if isinstance(found, list)]
        assert kinds == [[_kind(answer)] for answer in answers]
        twin.close()
        replica.machine.close()


def _run(replica: Replica, steps: list[tuple[str, int, int]]) -> list[Any]:
    model, first_sent, answers = Remembered(), {}, []
    for step, client, sequence in steps:
        if step == "reopen":
            replica.reopen()
        elif step == "promote":
            epoch = replica.machine.state.epoch + 1
            replica.promise(epoch)
            assert replica.promote(epoch) == replica.machine.revision + 1
            model.promoted(replica.machine.revision)
        else:
            since = first_sent.setdefault((client, sequence), replica.machine.revision)
            before = replica.machine.revision
            expected = model.known(client, sequence, since)
            answer = put(replica, name(client, sequence, since), b"%d/%d" % (client, sequence))
            answers.append(answer)
            if expected is None:
                assert answer.header.revision == before + 1
                model.done(client, sequence, answer)
            else:
                assert replica.machine.revision == before
                assert isinstance(answer, RequestForgotten) if expected is RequestForgotten else answer == expected
    assert all(kv.version == 1 for kv in replica.range().kvs), "carried out twice"
    return answers


def _kind(answer: Any) -> Any:
    return type(answer) if isinstance(answer, StoreError) else answer.SerializeToString(deterministic=True)


def test_an_entry_without_ids_leaves_the_memory_alone(replica: Replica) -> None:
    replica.put(b"k")
    entry = LogEntry.FromString(replica.log[-1])
    assert not entry.write.requests[0].HasField("request_id")
    store = replica.machine._store
    with store.read() as transaction:
        assert transaction.stat(store.requests)["entries"] == 0
