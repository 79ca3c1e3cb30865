"""Clients of a region: they ask whoever may lead, wait for a while, and note the answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from rstore_api import errors
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rstore_pb2
from rstore_replica.api.batcher import WriteResponseT
from sim.history import Operation, Outcome
from sim.region import Host
from sim.trace import Trace

PATIENCE_SECONDS = 2.0
SHORT_PATIENCE_SECONDS = 0.25
_LONG = b"." * 600


class Clients:
    """All clients of a run; each has at most one operation under way."""

    def __init__(self, hosts: list[Host], rng: random.Random, trace: Trace, *, keys: int, pause_seconds: float) -> None:
        self._hosts = hosts
        self._rng = rng
        self._trace = trace
        self._keys = [_key(number) for number in range(keys)]
        self._pause_seconds = pause_seconds
        self._hints: dict[int, Host | None] = {}
        self._values = 0
        self.refused_for_room = 0
        self.operations: list[Operation] = []
        self.stopping = False

    async def run(self, count: int) -> None:
        """Until :attr:`stopping`."""
        async with asyncio.TaskGroup() as group:
            for client in range(count):
                group.create_task(self._one(client))

    async def _one(self, client: int) -> None:
        while not self.stopping:
            await asyncio.sleep(self._rng.expovariate(1 / self._pause_seconds))
            await self.operate(client)

    async def operate(self, client: int) -> Operation:
        """One operation, of a random kind; every other client reads most of the time.

        A client stays with the replica that served it, also when others have gone to another one.
        """
        rng = self._rng
        draw = 0.5 if client % 2 and rng.random() < 0.8 else rng.random()
        if draw < 0.40:
            operation, work = self._put()
        elif draw < 0.65:
            operation, work = self._get()
        elif draw < 0.80:
            operation, work = self._delete()
        else:
            operation, work = self._txn()
        self.operations.append(operation)
        hint = self._hints.get(client)
        host = hint if hint is not None and rng.random() < 0.95 else rng.choice(self._hosts)
        self._trace.add(f"op {operation.number} {operation.text} at {host.name}")
        await self._call(host, operation, work)
        operation.returned = asyncio.get_running_loop().time()
        if operation.outcome is Outcome.UNKNOWN:
            operation.returned = float("inf")
        self._hints[client] = host if operation.outcome is Outcome.DONE else None
        self._trace.add(f"op {operation.number} {operation.outcome.value} r{operation.revision}")
        return operation

    async def _call(self, host: Host, operation: Operation, work: Callable[[Host], Awaitable[None]]) -> None:
        """A request and its answer take their time on the way; a process that dies answers nothing."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._rng.uniform(0.0002, 0.003))
        process = host.process
        if process is None or not host.ready:
            operation.outcome = Outcome.NOTHING
            return
        answer: asyncio.Future[Outcome] = loop.create_future()
        delay = self._rng.uniform(0.0002, 0.003)

        def arrived(outcome: Outcome) -> None:
            if not answer.done():
                answer.set_result(outcome)

        async def handle() -> None:
            try:
                await work(host)
                outcome = Outcome.DONE
            except errors.StoreError as error:
                self.refused_for_room += isinstance(error, errors.NoSpace)
                outcome = Outcome.UNKNOWN if error.outcome == "unknown" else Outcome.NOTHING
            loop.call_later(delay, arrived, outcome)

        process.spawn(handle())
        patience = SHORT_PATIENCE_SECONDS if self._rng.random() < 0.5 else PATIENCE_SECONDS
        done, _ = await asyncio.wait([answer], timeout=patience)
        operation.outcome = answer.result() if done else Outcome.UNKNOWN
        answer.cancel()

    # ------------------------------------------------------------------ kinds of operations

    def _new(self, text: str, *marks: tuple[bytes, bytes], changes: bool = True) -> Operation:
        now = asyncio.get_running_loop().time()
        return Operation(len(self.operations), text, changes, marks, now)

    def _value(self) -> bytes:
        self._values += 1
        return b"v%d" % self._values + b"." * (self._rng.randrange(200) if self._rng.random() < 0.2 else 0)

    def _put(self) -> tuple[Operation, Callable[[Host], Awaitable[None]]]:
        key, value = self._rng.choice(self._keys), self._value()
        operation = self._new(f"put {key.decode()}={value.rstrip(b'.').decode()}", (key, value))
        want_before = self._rng.random() < 0.3

        async def work(host: Host) -> None:
            request = rpc.PutRequest(key=key, value=value, prev_kv=want_before)
            response = await _submit(host, rstore_pb2.WriteRequest(put=request), rpc.PutResponse)
            operation.revision, operation.changed = response.header.revision, True
            if want_before:
                before = response.prev_kv.value if response.HasField("prev_kv") else None
                operation.seen_before = ((key, before),)

        return operation, work

    def _delete(self) -> tuple[Operation, Callable[[Host], Awaitable[None]]]:
        """One in three deletes all keys from one on, which replicas do in steps."""
        key = self._rng.choice(self._keys)
        if len(self.operations) % 3 == 0:
            return self._delete_from(key)
        operation = self._new(f"delete {key.decode()}")

        async def work(host: Host) -> None:
            request = rpc.DeleteRangeRequest(key=key, prev_kv=True)
            response = await _submit(host, rstore_pb2.WriteRequest(delete_range=request), rpc.DeleteRangeResponse)
            operation.revision, operation.changed = response.header.revision, response.deleted > 0
            operation.seen = ((key, None),)
            if response.deleted:
                operation.gone = (key,)
                operation.seen_before = ((key, response.prev_kvs[0].value),)

        return operation, work

    def _delete_from(self, first: bytes) -> tuple[Operation, Callable[[Host], Awaitable[None]]]:
        operation = self._new(f"delete from {first.decode()}")

        async def work(host: Host) -> None:
            request = rpc.DeleteRangeRequest(key=first, range_end=b"\0")
            response = await _submit(host, rstore_pb2.WriteRequest(delete_range=request), rpc.DeleteRangeResponse)
            operation.revision, operation.changed = response.header.revision, response.deleted > 0
            operation.seen = tuple((key, None) for key in self._keys if key >= first)

        return operation, work

    def _txn(self) -> tuple[Operation, Callable[[Host], Awaitable[None]]]:
        """Puts two keys if the first has (or has not) been created; reads both else.

        It looks at all keys, too: in slices, where they are deleted.
        """
        first, second = self._rng.sample(self._keys, 2)
        value = self._value()
        operation = self._new(
            f"txn {first.decode()} {second.decode()}={value.rstrip(b'.').decode()}", (first, value), (second, value)
        )
        relation = self._rng.choice([rpc.Compare.EQUAL, rpc.Compare.GREATER])
        compare = rpc.Compare(key=first, target=rpc.Compare.CREATE, result=relation, create_revision=0)
        all_keys = rpc.Compare(
            key=b"\0", range_end=b"\0", target=rpc.Compare.VERSION, result=rpc.Compare.GREATER, version=-1
        )
        puts = [rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value)) for key in (first, second)]
        gets = [rpc.RequestOp(request_range=rpc.RangeRequest(key=key)) for key in (first, second)]

        async def work(host: Host) -> None:
            request = rpc.TxnRequest(compare=[compare, all_keys], success=puts, failure=gets)
            response = await _submit(host, rstore_pb2.WriteRequest(txn=request), rpc.TxnResponse)
            operation.revision, operation.changed = response.header.revision, response.succeeded
            if response.succeeded:
                operation.seen = ((first, value), (second, value))
            else:
                operation.seen = tuple(
                    (key, answer.response_range.kvs[0].value if answer.response_range.kvs else None)
                    for key, answer in zip((first, second), response.responses, strict=True)
                )

        return operation, work

    def _get(self) -> tuple[Operation, Callable[[Host], Awaitable[None]]]:
        keys = self._rng.sample(self._keys, 2)
        operation = self._new(f"get {b' '.join(keys).decode()}", changes=False)

        async def work(host: Host) -> None:
            group, machine = host.group, host.machine
            assert group is not None
            assert machine is not None
            await group.barrier(timeout_seconds=PATIENCE_SECONDS)
            operation.revision = machine.revision
            found = [machine.range(rpc.RangeRequest(key=key)).kvs for key in keys]
            operation.seen = tuple((key, kvs[0].value if kvs else None) for key, kvs in zip(keys, found, strict=True))

        return operation, work


def _key(number: int) -> bytes:
    """Returns a key; some are longer than a key of LMDB may be, and have a beginning in common."""
    return b"k1" + _LONG + b"%d" % number if number in (1, 3) else b"k%d" % number


async def _submit(host: Host, request: rstore_pb2.WriteRequest, response: type[WriteResponseT]) -> WriteResponseT:
    assert host.batcher is not None
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    return await host.batcher.submit(request, response, deadline=deadline)
