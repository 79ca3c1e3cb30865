"""Stands candidates for locks and elections, has them wait for their turn, and withdraws those whose client is gone."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
from rstore_api.dialling.endpoint import retry_delay_seconds
from rstore_api.errors import (
    Compacted,
    DeadlineExceeded,
    NoLeader,
    NoPrimary,
    NotReady,
    ShuttingDown,
    StoreError,
    TooManyRequests,
)
from rstore_api.logs import get_logger
from rstore_api.proto import rpc_pb2 as rpc

from rstore_replica.api.locks import rules
from rstore_replica.api.locks.changes import Changes
from rstore_replica.api.locks.key_values import KeyValues
from rstore_replica.api.locks.rules import Candidate
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.watch.pump import Pump
from rstore_replica.mvcc.watch.events import Want
from rstore_replica.mvcc.watch.ranges import Span

_log = get_logger(__name__)

MAX_WAITING = 8_192
"""Calls of a replica that wait for a lock or to lead, or observe who leads."""
MAX_WAITING_OF_CLIENT = 1_024
STEP_SECONDS = 10.0
"""For one request of a call that may last for as long as its client waits."""
WITHDRAW_SECONDS = 10.0
MAX_PAUSE_SECONDS = 2.0
_PASSING = (NoLeader, NoPrimary, NotReady, DeadlineExceeded)
"""Errors of reads, which are made again for as long as a candidate waits: its key and its lease are in the data, and
outlive a change of leader or of primary."""

Grant = Callable[[rpc.LeaseGrantRequest, CallInfo], Awaitable[rpc.LeaseGrantResponse]]


class Candidates:
    """The calls of a replica that wait for a lock, to lead, or for what a leader says."""

    def __init__(
        self,
        *,
        key_values: KeyValues,
        grant: Grant,
        pump: Pump,
        rng: random.Random,
        on_refusal: Callable[[str], object] = lambda _reason: None,
        max_waiting: int = MAX_WAITING,
        max_waiting_of_client: int = MAX_WAITING_OF_CLIENT,
    ) -> None:
        """``grant`` is the Lease service's LeaseGrant; ``on_refusal`` counts calls that are too many."""
        self.key_values = key_values
        self._grant = grant
        self._pump = pump
        self._rng = rng
        self._on_refusal = on_refusal
        self._max_waiting = max_waiting
        self._max_waiting_of_client = max_waiting_of_client
        self._waiting: Counter[str] = Counter()
        self._watches: set[Changes] = set()
        self._withdrawing: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiting.total()

    def close(self) -> None:
        """Ends all calls that wait: their clients go on at other replicas, where they keep their place in the order."""
        self._stopping = True
        for watch in self._watches:
            watch.stop(ShuttingDown())

    async def stand(
        self, name: bytes, lease: int, value: bytes, call: CallInfo
    ) -> tuple[Candidate, bool, rpc.TxnResponse]:
        """Returns a candidate, which stood before or stands now, whether it is the oldest one, and the answer that says
        so. A lease is granted where none is given. Raises a StoreError, such as LeaseNotFound.
        """
        if not lease:
            granted = await self._grant(rpc.LeaseGrantRequest(TTL=rules.LEASE_SECONDS), step(call))
            lease = granted.ID
        response = await self.key_values.txn(rules.stand(name, lease, value), step(call))
        return *rules.stood(name, lease, value, response), response

    @asynccontextmanager
    async def withdrawn_on_failure(self, candidate: Candidate, call: CallInfo) -> AsyncIterator[None]:
        """Withdraws the candidate when its client goes away, or gets an error: before it gets it, so that it may stand
        again by the same lease. Not when it is to go on elsewhere.
        """
        try:
            yield
        except ShuttingDown:
            raise
        except (StoreError, asyncio.CancelledError) as error:
            task = asyncio.get_running_loop().create_task(self._withdraw(candidate, call))
            self._withdrawing.add(task)
            task.add_done_callback(self._withdrawing.discard)
            if isinstance(error, StoreError):
                await asyncio.shield(task)
            raise

    async def wait_for_turn(self, candidate: Candidate, call: CallInfo) -> None:
        """Returns once no older candidate is left. Raises TooManyRequests, ShuttingDown, DeadlineExceeded, or what a
        Range raises that waiting does not mend.
        """
        with self.counted(call):
            while True:
                older = await self.read(rules.next_older(candidate), call)
                if not older.kvs:
                    return
                key = older.kvs[0].key
                deletions = Span(key, key + b"\0"), Want(puts=False)
                async with self.watch(*deletions, older.header.revision + 1) as changes:
                    try:
                        await changes.next()
                    except Compacted:
                        continue  # it may have been deleted in what is gone

    @contextmanager
    def counted(self, call: CallInfo) -> Iterator[None]:
        """Inside, the call counts as one that waits. Raises TooManyRequests."""
        if self.waiting >= self._max_waiting or self._waiting[call.client] >= self._max_waiting_of_client:
            self._on_refusal("locks")
            raise TooManyRequests
        self._waiting[call.client] += 1
        try:
            yield
        finally:
            self._waiting[call.client] -= 1
            if not self._waiting[call.client]:
                del self._waiting[call.client]

    @asynccontextmanager
    async def watch(self, span: Span, want: Want, start_revision: int) -> AsyncIterator[Changes]:
        """Yields what happens to keys from a revision on. Raises ShuttingDown."""
        if self._stopping:
            raise ShuttingDown
        await self._pump.known()
        changes = Changes(self._pump, span, want, start_revision)
        self._watches.add(changes)
        try:
            yield changes
        finally:
            self._watches.discard(changes)
            changes.close()

    async def read(self, request: rpc.RangeRequest, call: CallInfo) -> rpc.RangeResponse:
        """Reads linearizably, through changes of leader and of primary, until the call's deadline."""
        attempt = 0
        while True:
            if self._stopping:
                raise ShuttingDown
            try:
                return await self.key_values.range(request, step(call))
            except _PASSING:
                attempt += 1
                pause = min(MAX_PAUSE_SECONDS, retry_delay_seconds(attempt, self._rng))
                if asyncio.get_running_loop().time() + pause >= call.deadline:
                    raise
            await asyncio.sleep(pause)

    async def _withdraw(self, candidate: Candidate, call: CallInfo) -> None:
        deadline = asyncio.get_running_loop().time() + WITHDRAW_SECONDS
        try:
            await self.key_values.txn(
                rules.withdraw(candidate), msgspec.structs.replace(call, deadline=deadline, request_id=None)
            )
        except StoreError as error:
            # Its lease ends, as nobody renews it.
            _log.warning("candidate_not_withdrawn", key=candidate.key.decode(errors="replace"), reason=str(error))


def step(call: CallInfo) -> CallInfo:
    """Returns what one request of a call knows: it is none that its client could name, and takes no longer than
    ``STEP_SECONDS``.
    """
    deadline = min(call.deadline, asyncio.get_running_loop().time() + STEP_SECONDS)
    return msgspec.structs.replace(call, deadline=deadline, request_id=None)
