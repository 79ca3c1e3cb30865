"""Group commit: writes that arrive while an entry is in flight share the next one.

Bounded in requests and bytes, waiting and in flight. A request whose deadline passed, or whose caller went away, is not
proposed. Errors say whether anything was proposed: only OutcomeUnknown means that it may have been.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from rstore_api.errors import (
    DeadlineExceeded,
    FeatureNotActive,
    KeyTooLong,
    NoPrimary,
    NoSpace,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    ShuttingDown,
    StoreError,
    TooManyRequests,
)
from rstore_api.logs import get_logger
from rstore_api.proto import rpc_pb2, rstore_pb2

from rstore_replica.api.encoding import LONG_KEY_WRITE, encode_deletion, encode_entry, entry_kind
from rstore_replica.api.ports import Group, WriteGate
from rstore_replica.api.validate import LONG_KEYS_NOT_ACTIVE
from rstore_replica.mvcc.requests.validate import adds_data, goes_in_steps, is_wide, puts_long_key

_log = get_logger(__name__)

WriteResponse = (
    rpc_pb2.PutResponse
    | rpc_pb2.DeleteRangeResponse
    | rpc_pb2.TxnResponse
    | rpc_pb2.LeaseGrantResponse
    | rpc_pb2.LeaseRevokeResponse
    | rstore_pb2.LeaseCheckpointsResponse
    | rstore_pb2.AuthChanged
)
WriteResponseT = TypeVar(
    "WriteResponseT",
    rpc_pb2.PutResponse,
    rpc_pb2.DeleteRangeResponse,
    rpc_pb2.TxnResponse,
    rpc_pb2.LeaseGrantResponse,
    rpc_pb2.LeaseRevokeResponse,
    rstore_pb2.LeaseCheckpointsResponse,
    rstore_pb2.AuthChanged,
)


LONG_DELETION_SECONDS = 1.0
"""A deletion that held up other writes for so long is logged."""

Settle = Callable[[int, int | None, Callable[[StoreError | None], None]], None]


@dataclass(frozen=True)
class BatchLimits:
    """Bounds of the queue and of one entry."""

    max_waiting_requests: int = 8192
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_entry_requests: int = 512
    max_entry_bytes: int = 1024 * 1024
    """An entry takes no further request once it holds this much; one request alone may be larger."""
    max_entry_operations: int = 1536
    """As above: applying an entry holds up the event loop for some microseconds per operation."""
    max_in_flight_entries: int = 2
    """The second and later ones only while more waits than one entry takes: full entries cost less than early ones."""
    propose_timeout_seconds: float = 10.0


@dataclass(slots=True)
class _Waiting:
    request: rstore_pb2.WriteRequest
    data: bytes
    size_bytes: int
    operations: int
    wide: bool
    in_steps: bool
    kind: bytes
    only_in: tuple[int, int] | None
    deadline: float
    answer: asyncio.Future[WriteResponse]


class Batcher:
    """Turns single writes into entries of the region's log."""

    def __init__(
        self,
        *,
        group: Group,
        gate: WriteGate,
        write_limits: Callable[[int], rstore_pb2.WriteLimits],
        limits: BatchLimits | None = None,
        on_batch: Callable[[int], None] = lambda _count: None,
        tenure_held: Callable[[int], bool] = lambda _epoch: True,
        settle: Settle | None = None,
    ) -> None:
        """``write_limits`` gives this leader's limits for an entry, from the bytes that it will add.

        ``on_batch`` gets how many requests share an entry; ``tenure_held`` says whether something of an epoch may be
        acknowledged at this moment. ``settle`` is asked with epoch and revision of what was committed, and answers
        when it may be acknowledged, or what to answer instead; meanwhile further entries are proposed.
        """
        self._group = group
        self._gate = gate
        self._write_limits = write_limits
        self._limits = limits or BatchLimits()
        self._on_batch = on_batch
        self._tenure_held = tenure_held
        self._settle = settle or self._settle_by_tenure
        self._unsettled = self._unsettled_bytes = 0
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._waiting_operations = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._deleting: asyncio.Task[None] | None = None
        """The commit of a deletion that may take long: until it has ended, others wait here, each for its own time."""
        self._deleted_last = False
        """Whether the last entry was such a deletion."""
        self._pump_planned = False
        self._closed = False
        self.failed_entries = 0
        """Entries that were proposed and failed, or whose outcome is unknown."""

    @property
    def pending(self) -> int:
        """How many requests wait for an entry, or for it to be acknowledged."""
        return len(self._waiting) + self._unsettled

    @property
    def queued(self) -> int:
        """How many requests wait for an entry."""
        return len(self._waiting)

    async def submit(
        self,
        request: rstore_pb2.WriteRequest,
        response: type[WriteResponseT],
        *,
        deadline: float,
        data: bytes | None = None,
        wide: bool | None = None,
        plain: bool = False,
        only_in: tuple[int, int] | None = None,
    ) -> WriteResponseT:
        """Returns the request's own ``response`` once it is committed and applied here; ``header.revision`` is filled.

        ``deadline`` is on the event loop's clock and covers waiting for an entry. Raises a StoreError: the request's
        own, or ShuttingDown, TooManyRequests, DeadlineExceeded, NoPrimary, NotLeader, NoLeader (nothing proposed), or
        OutcomeUnknown. Cancelling the caller drops the request if it is still waiting, and nothing else.

        ``data`` is the request encoded, and ``wide`` what ``is_wide`` says of it, where the caller has them already;
        ``plain`` that it does nothing but put short keys.
        ``only_in`` is the epoch and the term in which alone it may be put into the log; else it is answered NotLeader.
        """
        if self._closed:
            raise ShuttingDown
        data = request.SerializeToString() if data is None else data
        size_bytes = len(data)
        if (
            len(self._waiting) + self._unsettled >= self._limits.max_waiting_requests
            or self._waiting_bytes + self._unsettled_bytes + size_bytes > self._limits.max_waiting_bytes
        ):
            raise TooManyRequests
        loop = asyncio.get_running_loop()
        operations = _operations_in(request)
        wide = is_wide(request) if wide is None else wide
        in_steps = goes_in_steps(request)
        kind = LONG_KEY_WRITE if not plain and puts_long_key(request) else entry_kind(request)
        later: asyncio.Future[WriteResponse] = loop.create_future()
        waiting = _Waiting(request, data, size_bytes, operations, wide, in_steps, kind, only_in, deadline, later)
        self._waiting.append(waiting)
        self._waiting_bytes += size_bytes
        self._waiting_operations += operations
        if not self._pump_planned:
            # At the end of this round of the loop, so that requests that arrived together share an entry.
            self._pump_planned = True
            loop.call_soon(self._pump)
        answer = await waiting.answer
        if not isinstance(answer, response):
            raise TypeError(f"{response.__name__} expected, the state machine answered {type(answer).__name__}")
        return answer

    async def close(self) -> None:
        """Refuses what waits and what comes; waits for what is in flight (bounded by the proposal's timeout)."""
        self._closed = True
        while self._waiting:
            _fail(self._take(), ShuttingDown())
        if self._in_flight:
            await asyncio.gather(*self._in_flight)

    def _pump(self) -> None:
        self._pump_planned = False
        while self._waiting and len(self._in_flight) < self._limits.max_in_flight_entries and not self._deleting:
            if self._in_flight and not self._fills_an_entry():
                return
            passed = self._set_deletions_aside() if self._deleted_last else []
            batch = self._next_batch()
            self._waiting.extendleft(reversed(passed))
            self._deleted_last = bool(batch) and batch[0].in_steps
            if not batch:
                continue
            task = asyncio.get_running_loop().create_task(self._commit(batch))
            if batch[0].in_steps:
                self._deleting = task
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    def _set_deletions_aside(self) -> list[_Waiting]:
        """Takes out the deletions in steps that come next, where something else waits behind them: others wait for one
        at a time, however many there are.
        """
        first = next((at for at, waiting in enumerate(self._waiting) if not waiting.in_steps), 0)
        return [self._waiting.popleft() for _ in range(first)]

    def _fills_an_entry(self) -> bool:
        """Returns whether what waits is more than one entry takes."""
        return (
            self._waiting[0].wide
            or len(self._waiting) >= self._limits.max_entry_requests
            or self._waiting_bytes >= self._limits.max_entry_bytes
            or self._waiting_operations >= self._limits.max_entry_operations
        )

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if task is self._deleting:
            self._deleting = None
        self._pump()

    def _take(self) -> _Waiting:
        waiting = self._waiting.popleft()
        self._waiting_bytes -= waiting.size_bytes
        self._waiting_operations -= waiting.operations
        return waiting

    def _next_batch(self) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        batch: list[_Waiting] = []
        size_bytes = operations = 0
        while self._waiting and len(batch) < self._limits.max_entry_requests:
            following = self._waiting[0]
            if batch and (
                following.in_steps
                or size_bytes + following.size_bytes > self._limits.max_entry_bytes
                or operations + following.operations > self._limits.max_entry_operations
            ):
                break
            if batch and following.kind != batch[0].kind:
                break  # an entry of a newer kind is refused as long as some replica does not know it
            waiting = self._take()
            if waiting.answer.done():
                continue
            if waiting.deadline <= now:
                _fail(waiting, DeadlineExceeded())
                continue
            size_bytes += waiting.size_bytes
            operations += waiting.operations
            batch.append(waiting)
            if waiting.wide:
                break  # two that may each take as long as an entry may would make one that takes longer
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Has a batch committed. Whatever raises, each of its requests is answered."""
        proposed = False
        try:
            if not self._gate.open:
                raise NoPrimary(self._gate.refusal)
            epoch = self._gate.epoch
            if not self._tenure_held(epoch):
                raise NoPrimary("the tenure has run out: too few regions can be reached")
            standing = (epoch, self._group.term)
            if any(waiting.only_in not in (None, standing) for waiting in batch):
                _fail_all([waiting for waiting in batch if waiting.only_in not in (None, standing)], NotLeader())
                batch = [waiting for waiting in batch if waiting.only_in in (None, standing)]
                if not batch:
                    return
            limits = self._write_limits(sum(waiting.size_bytes for waiting in batch))
            if limits.no_space:
                # Refused before it is in the log, which takes room as well; the state machine would refuse it, too.
                _fail_all([waiting for waiting in batch if adds_data(waiting.request)], NoSpace())
                batch = [waiting for waiting in batch if not adds_data(waiting.request)]
                if not batch:
                    return
            self._on_batch(len(batch))
            proposed = True
            results = await self._propose(batch, epoch, limits)
        except StoreError as error:
            self.failed_entries += proposed
            _fail_all(batch, error)
        except asyncio.CancelledError:
            self.failed_entries += proposed
            _fail_all(batch, OutcomeUnknown("the replica is stopping") if proposed else ShuttingDown())
            raise
        except Exception as error:
            self.failed_entries += proposed
            _log.exception("entry_failed", proposed=proposed)
            name = type(error).__name__
            _fail_all(batch, OutcomeUnknown(name) if proposed else NotReady(f"no entry could be made: {name}"))
        else:
            self._acknowledge(batch, epoch, results)

    async def _propose(self, batch: list[_Waiting], epoch: int, limits: rstore_pb2.WriteLimits) -> object:
        """Proposes a batch; returns what it was answered. Raises what the group raises."""
        seconds = self._limits.propose_timeout_seconds
        if batch[0].in_steps:
            # Of any size, so that it has as long as its caller waits.
            began = asyncio.get_running_loop().time()
            patience = max(seconds, batch[0].deadline - began)
            with suppress(FeatureNotActive):  # then it is applied at once, within the limits for that
                answer = await self._group.propose(encode_deletion(epoch, batch[0].data), timeout_seconds=patience)
                took = asyncio.get_running_loop().time() - began
                if took >= LONG_DELETION_SECONDS:
                    _log.info("writes_waited_for_deletion", seconds=round(took, 3))
                return answer
        requests = [waiting.data for waiting in batch]
        entry = encode_entry(epoch, limits, requests, batch[0].kind)
        try:
            return await self._group.propose(entry, timeout_seconds=seconds)
        except FeatureNotActive:
            if batch[0].kind != LONG_KEY_WRITE:
                raise
            raise KeyTooLong(LONG_KEYS_NOT_ACTIVE) from None

    def _acknowledge(self, batch: list[_Waiting], epoch: int, results: object) -> None:
        """Answers a batch that was committed, once that may be acknowledged."""
        size_bytes = sum(waiting.size_bytes for waiting in batch)
        self._unsettled += len(batch)
        self._unsettled_bytes += size_bytes
        answered = False

        def answer(refusal: StoreError | None) -> None:
            nonlocal answered
            if not answered:
                answered = True
                self._unsettled -= len(batch)
                self._unsettled_bytes -= size_bytes
                _answer(batch, results if refusal is None else _withheld(results, refusal))

        try:
            self._settle(epoch, _revision_shown(results), answer)
        except Exception as error:
            _log.exception("settling_failed")
            answer(OutcomeUnknown(type(error).__name__))

    def _settle_by_tenure(self, epoch: int, _revision: int | None, answer: Callable[[StoreError | None], None]) -> None:
        answer(None if self._tenure_held(epoch) else OutcomeUnknown("the tenure has run out"))


def _shows(result: object) -> bool:
    """Returns whether a result shows a client that something has happened, or what is in the store."""
    return not isinstance(result, StoreError) or result.outcome == "done"


def _revision_shown(results: object) -> int | None:
    """Returns the newest revision that the results show; None when one does not say which."""
    if not isinstance(results, list | tuple):
        return 0
    showing = [result for result in results if _shows(result)]
    if any(isinstance(result, StoreError) for result in showing):
        return None
    return max((result.header.revision for result in showing), default=0)


def _withheld(results: object, refusal: StoreError) -> object:
    """Replaces what may not be shown by ``refusal``: another region may be primary by now."""
    if not isinstance(results, list | tuple):
        return results
    return [refusal if _shows(result) else result for result in results]


def _operations_in(request: rstore_pb2.WriteRequest) -> int:
    """Returns about how much there is to apply. What is in inner transactions is not counted: those are wide."""
    if request.HasField("lease_checkpoints"):
        return len(request.lease_checkpoints.leases)
    if request.HasField("txn"):
        return len(request.txn.compare) + max(len(request.txn.success), len(request.txn.failure), 1)
    return 1


def _answer(batch: list[_Waiting], results: object) -> None:
    if isinstance(results, StoreError):
        _fail_all(batch, results)
    elif not isinstance(results, list | tuple) or len(results) != len(batch):
        _log.error("apply_result_malformed", kind=type(results).__name__)
        _fail_all(batch, OutcomeUnknown("internal error: the result of the entry is malformed"))
    else:
        for waiting, result in zip(batch, results, strict=True):
            if isinstance(result, StoreError):
                _fail(waiting, result)
            elif not waiting.answer.done():
                waiting.answer.set_result(result)


def _fail_all(batch: list[_Waiting], error: StoreError) -> None:
    for waiting in batch:
        _fail(waiting, error)


def _fail(waiting: _Waiting, error: StoreError) -> None:
    """Each caller gets an exception of its own: a shared one would gather all their tracebacks."""
    if not waiting.answer.done():
        waiting.answer.set_exception(type(error)(error.detail, leader=error.leader))
