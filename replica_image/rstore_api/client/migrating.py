"""From a running etcd into a store: a snapshot first, then every change, until the clients have moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from pathlib import Path

from rstore_api.client.importing import fill
from rstore_api.client.key_values import Client
from rstore_api.client.migration_steps import MARK, Point, steps
from rstore_api.client.pages import pages
from rstore_api.dialling.endpoint import TEMPORARY
from rstore_api.dialling.stream import LinkBrokenError
from rstore_api.errors import LeaseExists, LeaseNotFound, OutcomeUnknown, StoreError
from rstore_api.etcd_files.latest import EtcdSnapshot
from rstore_api.methods import (
    ALARM,
    LEASE_GRANT,
    LEASE_KEEP_ALIVE,
    LEASE_LEASES,
    LEASE_REVOKE,
    LEASE_TIME_TO_LIVE,
    SNAPSHOT,
)
from rstore_api.proto import kv_pb2, rpc_pb2

CALL_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""How long a transaction is tried, through a failover of the store."""
RETRY_SECONDS = 0.2
LEASES_SECONDS = 0.5
"""Between two looks at the source's leases, and two renewals of the store's."""

RENEWED_TOGETHER = 100
LEASE_ATTEMPTS = 5
NEARLY_ALL = 1000
"""Revisions that the store may lack when the source is frozen: a few seconds of writes."""
COMPARISONS = 5
"""Of a frozen source in which keys are still deleted."""
_RETRIED: tuple[type[StoreError], ...] = (OutcomeUnknown, *TEMPORARY)

Advance = Callable[[int], None]


class MigrationError(Exception):
    """The migration cannot go on; the text says what to do."""


class Migration:
    """From ``source``, an etcd, into ``target``, a store in which nothing else is written meanwhile."""

    def __init__(self, source: Client, target: Client) -> None:
        self._source = source
        self._target = target
        self._point: Point | None = None
        self._mark = Point(0)
        """What the store says; behind the point where nothing was to be changed."""
        self._leases: set[int] = set()
        self._making = asyncio.Lock()
        """Taken while changes are made, and while a lease is ended that has no keys."""
        self.source_revision = 0
        """The newest of the source that is known of."""

    @property
    def revision(self) -> int:
        """Up to which revision of the source everything is in the store."""
        return 0 if self._point is None else self._point.revision

    async def find(self) -> bool:
        """Returns whether the store is on its way, and goes on from there. Raises MigrationError, StoreError."""
        answer = await self._target.range(rpc_pb2.RangeRequest(key=MARK), timeout_seconds=CALL_SECONDS)
        if not answer.kvs:
            return False
        try:
            self._point = self._mark = Point.decode(answer.kvs[0].value)
        except ValueError as error:
            raise MigrationError(f"the store's key {MARK!r} is none of a migration") from error
        leases = await self._target.call(LEASE_LEASES, rpc_pb2.LeaseLeasesRequest(), timeout_seconds=CALL_SECONDS)
        self._leases = {lease.ID for lease in leases.leases}
        return True

    async def save_snapshot(self, path: Path, advance: Advance) -> None:
        """Writes a snapshot of the source to a file; ``advance`` is called with bytes. Raises StoreError."""
        async with self._source.stream(SNAPSHOT) as stream:
            await stream.send(rpc_pb2.SnapshotRequest())
            await stream.done_sending()
            with path.open("wb") as file:
                while (part := await stream.receive()) is not None:
                    await asyncio.to_thread(file.write, part.blob)
                    advance(len(part.blob))

    async def begin(self, snapshot: EtcdSnapshot, *, revision_jump: int, advance: Advance) -> None:
        """Fills the store with a snapshot of the source. Raises StoreError, MigrationError."""
        await fill(
            self._target, snapshot, revision_jump=revision_jump, timeout_seconds=PATIENCE_SECONDS, advance=advance
        )
        self._leases = {lease for lease, _ in snapshot.leases}
        point = Point(snapshot.revision)
        is_new = rpc_pb2.Compare(key=MARK, target=rpc_pb2.Compare.VERSION, result=rpc_pb2.Compare.EQUAL, version=0)
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=MARK, value=point.encode()))
        await self._once(rpc_pb2.TxnRequest(compare=[is_new], success=[put]), point)

    async def follow(self) -> AsyncGenerator[int, None]:
        """Makes every change of the source in the store; yields the revision that has been reached, for ever.

        Raises Compacted when the source has compacted changes that are to be made, MigrationError, StoreError.
        """
        renewing = asyncio.create_task(self._keep_leases())
        try:
            point = self._reached()
            watch = self._source.watch(b"", prefix=True, start_revision=point.revision + 1, progress_notify=True)
            async with aclosing(watch) as changes:
                async for change in changes:
                    if renewing.done():
                        renewing.result()
                    self.source_revision = max(self.source_revision, change.revision)
                    async with self._making:
                        await self._make(change.events)
                    if self._reached().events == 0 and change.revision > self._reached().revision:
                        self._point = Point(change.revision)  # nothing else has happened up to there
                    yield self.revision
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _make(self, events: Iterable[kv_pb2.Event]) -> None:
        changes = list(events)
        leases = {event.kv.lease for event in changes if event.kv.lease}
        for _ in range(LEASE_ATTEMPTS):
            gone = await self._grant(leases)
            try:
                for step in steps(changes, self._reached(), gone):
                    await self._once(step.request(self._mark), step.after)
            except LeaseNotFound:
                self._leases -= leases  # one of them has ended meanwhile
            else:
                return
        raise MigrationError("leases of the etcd end faster than keys can be attached to them")

    async def _once(self, request: rpc_pb2.TxnRequest, after: Point) -> None:
        """Has a transaction carried out that moves the mark to ``after``. Raises StoreError, MigrationError."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                answer = await self._target.txn(request, timeout_seconds=CALL_SECONDS)
                if answer.succeeded or await self._marked() == after:
                    self._point = self._mark = after
                    return
                raise MigrationError(
                    "the store is not where this migration has left it: another one is at work, or a failover of the "
                    "store has lost some of it; start the migration again, it goes on from where the store is"
                )
            except _RETRIED:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _marked(self) -> Point:
        answer = await self._target.range(rpc_pb2.RangeRequest(key=MARK), timeout_seconds=PATIENCE_SECONDS)
        return Point.decode(answer.kvs[0].value) if answer.kvs else Point(0)

    def _reached(self) -> Point:
        if self._point is None:
            raise MigrationError("the store has not been filled yet")
        return self._point

    # ------------------------------------------------------------------ leases

    async def _grant(self, leases: set[int]) -> frozenset[int]:
        """Grants leases of the source that the store does not have yet; returns those that have ended at the source."""
        gone: set[int] = set()
        for lease in leases - self._leases:
            asked = rpc_pb2.LeaseTimeToLiveRequest(ID=lease)
            found = await self._source.call(LEASE_TIME_TO_LIVE, asked, timeout_seconds=CALL_SECONDS)
            if found.TTL <= 0:
                gone.add(lease)
                continue
            request = rpc_pb2.LeaseGrantRequest(ID=lease, TTL=found.grantedTTL)
            with suppress(LeaseExists):
                await self._target.call(LEASE_GRANT, request, timeout_seconds=PATIENCE_SECONDS)
            self._leases.add(lease)
        return frozenset(gone)

    async def _keep_leases(self) -> None:
        """Keeps the store's leases alive, whose owners renew them at the source, and ends those that end there."""
        while True:
            with suppress(StoreError, LinkBrokenError):
                await self._renew()
                await self._end_leases()
            await asyncio.sleep(LEASES_SECONDS)

    async def _renew(self) -> None:
        if not self._leases:
            return
        async with self._target.stream(LEASE_KEEP_ALIVE) as stream, asyncio.timeout(CALL_SECONDS):
            leases = sorted(self._leases)
            for at in range(0, len(leases), RENEWED_TOGETHER):
                some = leases[at : at + RENEWED_TOGETHER]
                for lease in some:
                    await stream.send(rpc_pb2.LeaseKeepAliveRequest(ID=lease))
                for _ in some:
                    answer = await stream.receive()
                    if answer is None:
                        return
                    if answer.TTL <= 0:
                        self._leases.discard(answer.ID)

    async def _end_leases(self) -> None:
        """Ends leases that have ended at the source, once the changes that took their keys away have been made."""
        known = set(self._leases)
        answer = await self._source.call(LEASE_LEASES, rpc_pb2.LeaseLeasesRequest(), timeout_seconds=CALL_SECONDS)
        for lease in known - {lease.ID for lease in answer.leases}:
            async with self._making:
                asked = rpc_pb2.LeaseTimeToLiveRequest(ID=lease, keys=True)
                left = await self._target.call(LEASE_TIME_TO_LIVE, asked, timeout_seconds=CALL_SECONDS)
                if left.keys:
                    continue
                with suppress(LeaseNotFound):
                    request = rpc_pb2.LeaseRevokeRequest(ID=lease)
                    await self._target.call(LEASE_REVOKE, request, timeout_seconds=CALL_SECONDS)
                self._leases.discard(lease)

    # ------------------------------------------------------------------ the switch

    async def switch(self, reached_revision: Callable[[int], object], compared: Advance) -> int:
        """Follows until the store has nearly everything, freezes the source, takes what came last, compares all keys,
        and ends the migration. Returns the source's revision, which stays frozen.

        Raises what :meth:`follow` does, and MigrationError where the two differ; the source then takes puts again.
        """
        frozen, comparisons = False, 0
        try:
            async with aclosing(self.follow()) as following:
                async for reached in following:
                    reached_revision(reached)
                    if reached < self.source_revision:
                        continue
                    if not frozen and reached + NEARLY_ALL >= await self.newest():
                        frozen = True
                        await self.freeze(frozen=True)
                    if not frozen or reached < await self.newest():
                        continue
                    key = await self.first_difference(reached, compared)
                    if await self.newest() == reached:
                        if key is not None:
                            raise MigrationError(f"the source and the store differ in {key!r}")
                        await self.finish()
                        return reached
                    comparisons += 1
                    if comparisons == COMPARISONS:
                        raise MigrationError(
                            "keys of the source are still being deleted; stop its clients, and start again"
                        )
            raise MigrationError("the source sends no more changes")
        except BaseException:
            if frozen:
                await self._unfreeze()
            raise

    async def _unfreeze(self) -> None:
        try:
            await self.freeze(frozen=False)
        except StoreError as error:
            raise MigrationError(
                f"the source still refuses puts ({error}): `etcdctl alarm disarm` ends that"
            ) from error

    async def newest(self) -> int:
        """Returns the source's newest revision."""
        answer = await self._source.range(rpc_pb2.RangeRequest(key=MARK, count_only=True), timeout_seconds=CALL_SECONDS)
        self.source_revision = answer.header.revision
        return self.source_revision

    async def freeze(self, *, frozen: bool) -> None:
        """Has the source refuse puts and grants of leases, as one whose space is used up does, or take them again."""
        action = rpc_pb2.AlarmRequest.ACTIVATE if frozen else rpc_pb2.AlarmRequest.DEACTIVATE
        status = await self._source.status(timeout_seconds=CALL_SECONDS)
        request = rpc_pb2.AlarmRequest(action=action, memberID=status.header.member_id, alarm=rpc_pb2.AlarmType.NOSPACE)
        await self._source.call(ALARM, request, timeout_seconds=CALL_SECONDS)

    async def first_difference(self, revision: int, advance: Advance) -> bytes | None:
        """Returns the first key that is not the same in the source, at ``revision``, and in the store, with its value,
        version and lease; None when all are. Raises StoreError.
        """
        ours = self._pages(self._target, 0)
        async with aclosing(self._pages(self._source, revision)) as theirs, aclosing(ours):
            async for wanted in theirs:
                stored = await anext(ours, None)
                if stored is None or _compared(stored) != _compared(wanted):
                    return min(wanted.key, wanted.key if stored is None else stored.key)
                advance(1)
            stored = await anext(ours, None)
            return None if stored is None else stored.key

    @staticmethod
    async def _pages(client: Client, revision: int) -> AsyncGenerator[kv_pb2.KeyValue, None]:
        read = pages(client, revision=revision, timeout_seconds=PATIENCE_SECONDS)
        async with aclosing(read):
            async for page in read:
                for kv in page.kvs:
                    if kv.key != MARK:
                        yield kv

    async def finish(self) -> None:
        """Takes the mark away: the store is its clients' alone from here on."""
        await self._end_leases()
        await self._target.delete(MARK, timeout_seconds=PATIENCE_SECONDS)


def _compared(kv: kv_pb2.KeyValue) -> tuple[bytes, bytes, int, int]:
    return kv.key, kv.value, kv.version, kv.lease
