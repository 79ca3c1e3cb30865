"""Whatever is asked, in whatever order, the store answers as the model does, here and in the region that follows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.errors import StoreError
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from sim.model import Model, Refused
from unit.mvcc.replicas import Replica, deletes, ranges, writes

MAX_OPS = 6

Step = tuple[str, Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("write"), st.lists(writes(), min_size=1, max_size=4)),
    st.tuples(st.just("write"), st.lists(writes(), min_size=1, max_size=4)),
    st.tuples(st.just("ranges"), st.lists(ranges(), min_size=1, max_size=6)),
    st.tuples(st.just("delete in steps"), deletes()),
    st.tuples(st.just("ranges"), st.lists(ranges(), min_size=1, max_size=6)),
    st.tuples(st.just("compact"), st.integers(0, 20)),
    st.tuples(st.just("sweep"), st.integers(1, 3)),
    st.tuples(st.just("follow"), st.tuples(st.integers(1, 200), st.integers(1, 4))),
    st.tuples(st.just("reopen"), st.none()),
)


def answer_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (StoreError, Refused) as error:
        return error.code


def model_answer(model: Model, request: Message) -> Any:
    if isinstance(request, PutRequest):
        return answer_of(lambda: model.put(request))
    if isinstance(request, DeleteRangeRequest):
        return answer_of(lambda: model.delete_range(request))
    return answer_of(lambda: model.txn(request))  # type: ignore[arg-type]


def codes(answers: list[Any]) -> list[Any]:
    return [answer.code if isinstance(answer, StoreError) else answer for answer in answers]


def same_at_every_revision(replica: Replica, model: Model) -> None:
    assert replica.machine.revision == model.revision
    for revision, items in model.items.items():
        if revision < replica.machine.compact_revision:
            continue
        found = {
            kv.key: (kv.value, kv.create_revision, kv.mod_revision, kv.version)
            for kv in replica.range(revision=revision).kvs
        }
        assert found == {key: item[:4] for key, item in items.items()}
        for key in items:
            assert replica.get(key, revision) == items[key].value


@settings(max_examples=60)
@given(steps=st.lists(STEPS, max_size=14))
def test_any_sequence_of_requests(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        primary = Replica(Path(directory) / "us", max_txn_ops=MAX_OPS, deletion_step_keys=1, slice_keys=2)
        secondary = Replica(Path(directory) / "eu", "eu", deletion_step_keys=2)
        model = Model(MAX_OPS)
        for kind, detail in steps:
            if kind == "write":
                expected = [model_answer(model, request) for request in detail]
                assert codes(primary.write(*detail)) == expected
            elif kind == "delete in steps":
                if not detail.range_end:
                    detail.range_end = b"\0"
                detail.prev_kv = False
                before = primary.range()

                def between() -> None:
                    primary.machine.compact_step(1)
                    assert primary.range() == before  # noqa: B023

                assert codes([primary.delete_in_steps(detail, between)]) == [model_answer(model, detail)]
            elif kind == "ranges":
                for request in detail:
                    ours, expected = (answer_of(partial(side.range, request)) for side in (primary.machine, model))
                    assert ours == expected
            elif kind == "compact":
                answer = primary.compact(detail)
                assert (answer and answer.code) == answer_of(lambda: model.compact(detail))  # noqa: B023
            elif kind == "sweep":
                primary.machine.compact_step(detail)
            elif kind == "reopen":
                primary.reopen()
            elif secondary.machine.revision >= primary.machine.compact_revision:
                secondary.follow(primary, max_bytes=detail[0], max_rows=detail[1])
            assert primary.machine.revision == model.revision
        same_at_every_revision(primary, model)
        while primary.machine.compact_step(3):
            pass
        same_at_every_revision(primary, model)
        if secondary.machine.revision >= primary.machine.compact_revision:
            secondary.follow(primary)
            same_at_every_revision(secondary, model)
            for revision in model.items:
                assert secondary.hash(revision).hash == primary.hash(revision).hash
        primary.machine.close()
        secondary.machine.close()


@settings(max_examples=25)
@given(requests=st.lists(writes(), min_size=1, max_size=12), grouped=st.integers(1, 5))
def test_grouping_requests_into_entries_changes_nothing(requests: list[Message], grouped: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        one, other = Replica(Path(directory) / "one"), Replica(Path(directory) / "other")
        alone = [answer for request in requests for answer in one.write(request)]
        together = [
            answer
            for start in range(0, len(requests), grouped)
            for answer in other.write(*requests[start : start + grouped])
        ]
        assert codes(alone) == codes(together)
        assert one.hash() == other.hash()
        one.machine.close()
        other.machine.close()


@settings(max_examples=25)
@given(
    requests=st.lists(writes(), min_size=1, max_size=15),
    compact=st.integers(0, 10),
    back=st.integers(0, 10),
    again=st.lists(writes(), max_size=5),
)
def test_rewind_then_other_writes(requests: list[Message], compact: int, back: int, again: list[Message]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        replica, model = Replica(Path(directory)), Model()
        for request in requests:
            replica.write(request)
            model_answer(model, request)
        answer_of(lambda: model.compact(compact))
        replica.compact(compact)
        while replica.machine.compact_step(2):
            pass
        target = max(model.revision - back, model.compact_revision, 1)
        replica.machine.rewind(target)
        model.rewind(target)
        same_at_every_revision(replica, model)
        for request in again:
            assert codes(replica.write(request)) == [model_answer(model, request)]
        same_at_every_revision(replica, model)
        replica.machine.close()


def test_a_range_with_unknown_sort_is_refused_by_both(tmp_path: Path) -> None:
    request = RangeRequest(key=b"a", sort_target=7)  # type: ignore[arg-type]
    replica = Replica(tmp_path)
    assert answer_of(lambda: replica.machine.range(request)) == "invalid-sort"
    assert answer_of(lambda: Model().range(request)) == "invalid-sort"
