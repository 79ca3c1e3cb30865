"""The Lease service over a real state machine: who may do what with a lease, its streams, and its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rstore_api.errors import NoPrimary, PermissionDenied, ShuttingDown, StoreError, TooManyRequests
from rstore_api.proto import rpc_pb2
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, PutRequest, RequestOp, TxnRequest
from rstore_api.proto.rstore_pb2 import Deletion, LogEntry, WriteBatch, WriteRequest
from rstore_replica.api.access.grants import FULL, Grant
from rstore_replica.api.identity import Identity
from rstore_replica.api.leases.keeper import LeaseKeeper
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services import lease as lease_module
from rstore_replica.api.services.lease import LeaseService, submit_with
from unit.api.client_servers import until
from unit.api.replica_fakes import FakeGroup
from unit.mvcc.replicas import Replica

SHOP = Grant.of(["shop/"], writes=True)
READER = Grant.of([], writes=False)


class Aborted(Exception):  # noqa: N818 - it is how abort() leaves a servicer
    pass


class Store:
    """The service on the primary's leader, whose log is applied at once."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.replica = Replica(path / "data")
        self.refusal: StoreError | None = None
        batcher = cast(Any, SimpleNamespace(submit=self._submit))
        group = FakeGroup()
        machine = self.replica.machine
        self.keeper = LeaseKeeper(
            machine=machine, group=group, tenure_held=lambda _epoch: True, submit=submit_with(batcher, machine)
        )
        self.renewals: list[int] = []
        self.service = LeaseService(
            calls=cast(Any, None),
            router=cast(Any, SimpleNamespace(serve=self._serve)),
            batcher=batcher,
            machine=machine,
            identity=Identity(region="us-east", replica="orders-us-east-0", machine=machine, group=group),
            keeper=self.keeper,
            **options,
        )

    async def _serve(
        self, method: Any, request: Callable[[], Any], local: Callable[[], Awaitable[Any]], *, call: CallInfo
    ) -> Any:
        if method.path.endswith("Renew"):
            self.renewals.append(len(request().ids))
        if self.refusal is not None:
            raise self.refusal
        return await local()

    async def _submit(self, request: WriteRequest, _response: Any, **_options: Any) -> Any:
        answer = self.replica.apply(lease_write=WriteBatch(epoch=1, requests=[request]))[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def grant(self, lease: int = 0, seconds: int = 60) -> int:
        request = rpc_pb2.LeaseGrantRequest(ID=lease, TTL=seconds)
        return (await self.service.grant(request, info())).ID

    def put(self, key: bytes, lease: int) -> None:
        self.replica.write(PutRequest(key=key, lease=lease))


def info(grant: Grant = FULL) -> CallInfo:
    return CallInfo(deadline=asyncio.get_running_loop().time() + 5, forwarded=False, grant=grant)


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    await store.keeper.look()
    return store


async def test_the_keys_of_a_lease_are_listed_before_a_deletion_or_after_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, lease = store.replica.machine, await store.grant()
    for number in range(6):
        store.put(b"shop/%d" % number, lease)
    request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True)
    assert len((await store.service.time_to_live(request, info())).keys) == 6
    monkeypatch.setattr(machine, "_deletion_step_keys", 2)
    write = WriteRequest(delete_range=DeleteRangeRequest(key=b"shop/", range_end=b"shop/5"))
    entry = LogEntry(deletion=Deletion(epoch=1, request=write)).SerializeToString()
    index, steps = machine.applied_index + 1, []

    async def barrier(*, timeout_seconds: float) -> None:
        machine.apply(index, 1, entry)
        steps.append(machine.amid_deletion)

    monkeypatch.setattr(store.keeper._group, "barrier", barrier)
    answer = await store.service.time_to_live(request, info())
    assert (list(answer.keys), steps[-1], machine.applied_index) == ([b"shop/5"], False, index)
    assert steps.count(True) >= 2


class Stream:
    """A client's stream of renewals, as the service sees it."""

    def __init__(self, leases: list[int], grant: Grant = FULL) -> None:
        self.leases = leases
        self.caller = SimpleNamespace(
            kinds=frozenset({"client"}), grant=grant, client="", may_hand_on=False, refusal=""
        )
        self.answers: list[rpc_pb2.LeaseKeepAliveResponse] = []
        self.aborted = ""

    def time_remaining(self) -> float | None:
        return None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1"

    async def requests(self) -> AsyncIterator[rpc_pb2.LeaseKeepAliveRequest]:
        for lease in self.leases:
            yield rpc_pb2.LeaseKeepAliveRequest(ID=lease)

    async def write(self, message: rpc_pb2.LeaseKeepAliveResponse) -> None:
        self.answers.append(message)

    async def abort(self, _code: Any, details: str = "", _trailing: Any = ()) -> None:
        self.aborted = details
        raise Aborted


async def test_renewals_of_a_stream_are_answered_in_their_order_and_asked_for_together(store: Store) -> None:
    lease = await store.grant()
    store.renewals.clear()
    leases = [lease, lease + 1] * 500
    stream = Stream(leases)
    await store.service.keep_alive(stream.requests(), stream)
    assert [(answer.ID, answer.TTL) for answer in stream.answers] == [(lease, 60), (lease + 1, 0)] * 500
    assert sum(store.renewals) == 1000
    assert max(store.renewals) <= lease_module.MAX_RENEWALS
    assert len(store.renewals) < 20


async def test_a_stream_ends_with_what_went_wrong(store: Store) -> None:
    store.refusal = NoPrimary()
    stream = Stream([1])
    with pytest.raises(Aborted):
        await store.service.keep_alive(stream.requests(), stream)
    assert stream.aborted == NoPrimary.text


async def test_streams_end_when_the_replica_stops(store: Store) -> None:
    """So that their clients go on at another one, and the stop waits for none of them."""
    lease = await store.grant()

    async def for_ever() -> AsyncIterator[rpc_pb2.LeaseKeepAliveRequest]:
        yield rpc_pb2.LeaseKeepAliveRequest(ID=lease)
        await asyncio.Event().wait()

    stream = Stream([])
    serving = asyncio.create_task(store.service.keep_alive(for_ever(), stream))
    await until(lambda: bool(stream.answers))
    store.service.close()
    with pytest.raises(Aborted):
        await asyncio.wait_for(serving, 10)
    late = Stream([lease])
    with pytest.raises(Aborted):
        await store.service.keep_alive(late.requests(), late)
    assert stream.aborted == late.aborted == ShuttingDown.text


async def test_a_stream_whose_client_breaks_off_ends(store: Store) -> None:
    async def broken() -> AsyncIterator[rpc_pb2.LeaseKeepAliveRequest]:
        yield rpc_pb2.LeaseKeepAliveRequest(ID=1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(store.service.keep_alive(broken(), Stream([])), 10)


async def test_who_may_not_write_may_not_renew(store: Store) -> None:
    lease = await store.grant()
    for grant, answered in ((READER, False), (SHOP, True)):
        stream = Stream([lease], grant)
        if answered:
            await store.service.keep_alive(stream.requests(), stream)
        else:
            with pytest.raises(Aborted):
                await store.service.keep_alive(stream.requests(), stream)
            assert stream.aborted == PermissionDenied.text
        assert len(stream.answers) == answered


def _put(key: bytes, lease: int) -> WriteRequest:
    return WriteRequest(put=PutRequest(key=key, lease=lease))


def _nested(key: bytes, lease: int) -> WriteRequest:
    inner = TxnRequest(failure=[RequestOp(request_put=PutRequest(key=key, lease=lease))])
    return WriteRequest(txn=TxnRequest(success=[RequestOp(request_txn=inner)]))


@pytest.mark.parametrize("request_of", [_put, _nested])
async def test_a_client_changes_a_lease_only_when_it_may_change_all_keys_of_it(
    store: Store, request_of: Callable[[bytes, int], WriteRequest]
) -> None:
    own, shared = await store.grant(), await store.grant()
    store.put(b"shop/1", own)
    store.put(b"shop/2", shared)
    store.put(b"cart/1", shared)
    shop = info(SHOP)
    await store.service.check_attaching(request_of(b"shop/3", own), shop)
    await store.service.check_attaching(request_of(b"shop/3", 0), shop)
    await store.service.check_attaching(request_of(b"shop/3", shared), info())
    with pytest.raises(PermissionDenied):
        await store.service.check_attaching(request_of(b"shop/3", shared), shop)
    with pytest.raises(PermissionDenied):
        await store.service.revoke(rpc_pb2.LeaseRevokeRequest(ID=shared), shop)
    await store.service.revoke(rpc_pb2.LeaseRevokeRequest(ID=own), shop)
    assert store.replica.range().count == 2


async def test_keys_of_a_lease_are_shown_to_those_who_may_read_all_of_them(store: Store) -> None:
    lease = await store.grant()
    store.put(b"shop/2", lease)
    store.put(b"cart/1", lease)
    request = rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True)
    assert list((await store.service.time_to_live(request, info(READER))).keys) == [b"cart/1", b"shop/2"]
    with pytest.raises(PermissionDenied):
        await store.service.time_to_live(request, info(SHOP))
    request.keys = False
    assert (await store.service.time_to_live(request, info(SHOP))).grantedTTL == 60


async def test_what_is_shown_of_leases_is_confirmed_by_other_regions(tmp_path: Path) -> None:
    """In SemiSync, where what they have not confirmed a failover may lose."""
    asked: list[tuple[int, int]] = []
    confirmed = asyncio.Event()

    async def read_point(epoch: int, at_least: int, _timeout_seconds: float) -> int | None:
        asked.append((epoch, at_least))
        await confirmed.wait()
        return at_least

    store = Store(tmp_path, read_point=read_point)
    await store.keeper.look()
    lease = await store.grant()
    store.put(b"k", lease)
    revision = store.replica.machine.revision
    shown = asyncio.create_task(store.service.time_to_live(rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True), info()))
    listed = asyncio.create_task(store.service.leases(rpc_pb2.LeaseLeasesRequest(), info()))
    await until(lambda: len(asked) == 2)
    store.put(b"later", lease)
    assert not shown.done()
    assert not listed.done()
    confirmed.set()
    assert ((await shown).header.revision, list((await shown).keys)) == (revision, [b"k"])
    assert (await listed).header.revision == revision
    assert asked == [(1, revision)] * 2


async def test_there_are_no_more_leases_than_the_limit(tmp_path: Path) -> None:
    store = Store(tmp_path, max_leases=3)
    await store.keeper.look()
    for _ in range(3):
        lease = await store.grant()
    with pytest.raises(TooManyRequests):
        await store.grant()
    await store.service.revoke(rpc_pb2.LeaseRevokeRequest(ID=lease), info())
    await store.grant()
