"""Counts the time of leases while this replica leads the primary region, and ends those whose time is over.

Why a lease never ends earlier than its client was promised:

- A renewal is answered only after a majority has confirmed, since the renewal came, that this replica leads, within
  ``ANSWER_SECONDS`` and within the tenure. A replica that leads this region later began after that; it gives each lease
  all of its time, and ``ANSWER_SECONDS`` more. A region that is primary later began after the tenure had ended.
- A lease has less than all of its time at the start of a leader only by a checkpoint that was written in the same
  epoch, and a renewal after a checkpoint is written to the log as well before it is answered. A region that takes over
  starts with all of the time: what the primary before it wrote last it may not have.
- A leader whose tenure lapsed, or which was held up for long, begins anew: nobody could renew a lease meanwhile. So
  does one that could not have answered a renewal at the moment when a lease is to end, as while it applies a large
  deletion.
- Who begins has an entry of its own committed first, so that all that is before it in the log is applied, also a
  revocation whose outcome was not known. A revocation or a checkpoint goes into the log only in the epoch and the term
  in which it was decided; and nobody renews a lease for which that was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from rstore_api.errors import DeadlineExceeded, LeaseNotFound, NoPrimary, OutcomeUnknown, StoreError
from rstore_api.logs import get_logger
from rstore_api.proto.rpc_pb2 import LeaseRevokeRequest
from rstore_api.proto.rstore_pb2 import LeaseCheckpoint, LeaseCheckpoints, LogEntry, Noop, WriteRequest

from rstore_replica.api.leases.deadlines import Deadlines
from rstore_replica.api.ports import Group
from rstore_replica.api.routing.route import is_served_here
from rstore_replica.etcd_metrics import LeaseCounts
from rstore_replica.mvcc.data.leases import Lease
from rstore_replica.mvcc.requests.validate import MAX_CHECKPOINTS
from rstore_replica.replication.ports import RegionStateView

_log = get_logger(__name__)

TICK_SECONDS = 0.5
"""A lease ends at most so much later than its time, and what the revocations before it take."""
ANSWER_SECONDS = 1.0
STALL_SECONDS = 3.0
"""A replica that has not looked at the time for so long has not let anybody renew, either."""
MAX_EXPIRED = 256
"""Leases that are revoked in one go."""
WRITE_SECONDS = 5.0
RETRY_SECONDS = 1.0
LOAD_LEASES = 1000
"""Leases that are read in one go when this replica begins to lead."""

Role = tuple[int, int]
"""Epoch and term in which this replica leads the primary region."""


class Machine(Protocol):
    """What is needed of the state machine."""

    @property
    def state(self) -> RegionStateView: ...

    def leases(self, after: int | None, limit: int, /) -> tuple[list[Lease], int | None]: ...
    def subscribe_leases(self, callback: Callable[[Mapping[int, Lease | None]], None], /) -> Callable[[], None]: ...
    def subscribe_state(self, callback: Callable[[object], None], /) -> Callable[[], None]: ...


Submit = Callable[[WriteRequest, float, Role], Awaitable[object]]
"""Has a request carried out and acknowledged until a time of the event loop, but not in another epoch or term. Raises a
StoreError."""
_NOOP = LogEntry(noop=Noop()).SerializeToString()


class LeaseKeeper:
    """Knows when leases end, on the primary's leader; on any other replica it knows of none."""

    def __init__(
        self,
        *,
        machine: Machine,
        group: Group,
        tenure_held: Callable[[int], bool],
        submit: Submit,
        counts: LeaseCounts | None = None,
    ) -> None:
        """``counts`` is where it is counted what becomes of leases."""
        self._counts = counts or LeaseCounts()
        self._machine = machine
        self._group = group
        self._tenure_held = tenure_held
        self.submit = submit
        self._deadlines = Deadlines()
        self._role: Role | None = None
        """In which the deadlines are known, or being read."""
        self._loaded = asyncio.Event()
        self._wake = asyncio.Event()
        self._looked_at = 0.0
        machine.subscribe_leases(self._changed)
        machine.subscribe_state(lambda _state: self._wake.set())
        group.on_change(lambda _status: self._wake.set())

    @property
    def leads(self) -> bool:
        """Whether this replica counts the time of leases at the moment."""
        return self._role is not None and self._role == self._leading()

    def __len__(self) -> int:
        """Returns how many leases are known here: those of the store on the primary's leader, else none."""
        return len(self._deadlines)

    async def run(self) -> None:
        """Ends leases whose time is over, and checkpoints others; for ever."""
        while True:
            self._wake.clear()
            await self.look()
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Does what is due now."""
        role, now = self._leading(), _now()
        stalled = now - self._looked_at > STALL_SECONDS
        self._looked_at = now
        if role is None or role != self._role or stalled:
            self._begin(role)
        if role is None:
            return
        if not self._loaded.is_set() and not await self._load(role):
            return
        if self._deadlines.any_due(_now()) and not await self._could_answer(role):
            self._begin(self._leading())
            return
        await self._end_expired(role)
        await self._checkpoint(role)
        self._looked_at = _now()

    # ------------------------------------------------------------------ what clients ask

    async def renew(self, leases: Sequence[int], *, deadline: float) -> list[int]:
        """Returns for how many seconds each of the leases lives from now on; 0: there is no such lease.

        Raises NoPrimary, NoLeader, NotLeader or DeadlineExceeded when this replica cannot promise anything, or what a
        write raises.
        """
        renewed = await self._renew(leases, deadline)
        self._counts.renewed += sum(map(bool, renewed))
        return renewed

    async def _renew(self, leases: Sequence[int], deadline: float) -> list[int]:
        role = await self._known(deadline)
        for lease in leases:
            self._deadlines.renew(lease, _now())
        checkpointed = [lease for lease in dict.fromkeys(leases) if self._deadlines.is_checkpointed(lease)]
        if checkpointed:
            await self._write_checkpoints([(lease, 0) for lease in checkpointed], deadline, role)
            for lease in checkpointed:
                self._deadlines.whole_again(lease)
        await self._confirm(role, deadline)
        now = _now()
        return [self._deadlines.renew(lease, now) for lease in leases]

    async def granted(self, lease: int, *, deadline: float) -> None:
        """Returns once a client may be answered that the lease was granted: all of its time is from now on.

        Raises OutcomeUnknown when this replica cannot promise that any more.
        """
        try:
            await self._renew([lease], deadline)
        except StoreError as error:
            raise OutcomeUnknown(str(error)) from error

    async def time_left(self, lease: int, *, deadline: float) -> tuple[int, int] | None:
        """Returns the whole seconds that a lease has left, and those it was granted; None: there is no such lease.

        Raises as :meth:`renew`.
        """
        await self._confirm(await self._known(deadline), deadline)
        left = self._deadlines.time_left(lease, _now())
        return None if left is None else (int(left[0]), left[1])

    async def by_end(self, *, deadline: float) -> list[int]:
        """Returns all leases, in the order in which they end. Raises as :meth:`renew`."""
        await self._confirm(await self._known(deadline), deadline)
        return self._deadlines.by_end()

    async def _known(self, deadline: float) -> Role:
        """Waits until the deadlines are known."""
        role = self._leading()
        if role is not None and (role != self._role or not self._loaded.is_set()):
            self._wake.set()
            if role != self._role:
                self._begin(role)
            try:
                async with asyncio.timeout_at(deadline):
                    await self._loaded.wait()
            except TimeoutError:
                raise DeadlineExceeded from None
            role = self._leading()
        if role is None or role != self._role:
            raise NoPrimary("a change of primary is under way")
        return role

    async def _confirm(self, role: Role, deadline: float) -> None:
        """Returns once what was asked may be answered: this replica has led since it was called, and does."""
        began = _now()
        await self._group.barrier(timeout_seconds=max(0.0, min(ANSWER_SECONDS, deadline - began)))
        if _now() - began > ANSWER_SECONDS:
            raise DeadlineExceeded
        if self._leading() != role or self._role != role or not self._loaded.is_set():
            raise NoPrimary("a change of primary is under way")

    async def _could_answer(self, role: Role) -> bool:
        try:
            await self._confirm(role, _now() + ANSWER_SECONDS)
        except StoreError:
            return False
        return True

    # ------------------------------------------------------------------ role

    def _leading(self) -> Role | None:
        state = self._machine.state
        if not is_served_here(state, self._group.role) or not self._tenure_held(state.epoch):
            return None
        return state.epoch, self._group.term

    def _begin(self, role: Role | None) -> None:
        self._role = role
        self._deadlines = Deadlines()
        self._loaded.clear()

    async def _load(self, role: Role) -> bool:
        """Reads the leases, slice by slice; returns whether all of them are known."""
        deadlines, after = self._deadlines, None
        try:
            await self._group.propose(_NOOP, timeout_seconds=WRITE_SECONDS)
        except StoreError as error:
            _log.info("leases_not_known", reason=str(error))
            return False
        if deadlines is not self._deadlines or self._leading() != role:
            return False
        began_at = self._machine.state.history[-1].first_revision if self._machine.state.history else 0
        while True:
            leases, after = self._machine.leases(after, LOAD_LEASES)
            now = _now()
            for lease in leases:
                if lease.id not in deadlines:
                    remaining = lease.remaining_seconds if lease.revision >= began_at else 0
                    deadlines.add(
                        lease.id,
                        lease.ttl_seconds,
                        now,
                        remaining_seconds=remaining,
                        extra_seconds=ANSWER_SECONDS,
                    )
            if after is None:
                break
            await asyncio.sleep(0)
            if deadlines is not self._deadlines or self._leading() != role:
                return False
        self._loaded.set()
        _log.info("leases_known", leases=len(deadlines), epoch=role[0], term=role[1])
        return True

    def _changed(self, leases: Mapping[int, Lease | None]) -> None:
        """Some were granted or revoked by an entry of the log that was applied here."""
        for lease in leases.values():
            if lease is None:
                self._counts.revoked += 1
            else:
                self._counts.granted += 1
                self._counts.times_to_live.add(lease.ttl_seconds)
        if self._role is None:
            return
        now = _now()
        for each, lease in leases.items():
            self._deadlines.remove(each)
            if lease is not None:
                self._deadlines.add(each, lease.ttl_seconds, now, extra_seconds=ANSWER_SECONDS)

    # ------------------------------------------------------------------ what is due

    async def _end_expired(self, role: Role) -> None:
        deadlines = self._deadlines
        while deadlines is self._deadlines and deadlines.any_due(_now()):
            expired = deadlines.take_expired(_now(), MAX_EXPIRED)
            await asyncio.gather(asyncio.sleep(0), *(self._revoke(lease, role) for lease in expired))

    async def _revoke(self, lease: int, role: Role) -> None:
        deadlines = self._deadlines
        request = WriteRequest(lease_revoke=LeaseRevokeRequest(ID=lease))
        try:
            await self.submit(request, _now() + WRITE_SECONDS, role)
        except LeaseNotFound:
            deadlines.remove(lease)
        except StoreError as error:
            _log.warning("lease_not_revoked", lease=f"{lease & (1 << 64) - 1:016x}", reason=str(error))
            deadlines.revoke_again(lease, _now() + RETRY_SECONDS)

    async def _checkpoint(self, role: Role) -> None:
        checkpoints = self._deadlines.take_checkpoints(_now(), MAX_CHECKPOINTS)
        if checkpoints:
            try:
                await self._write_checkpoints(checkpoints, _now() + WRITE_SECONDS, role)
            except StoreError as error:
                _log.warning("leases_not_checkpointed", leases=len(checkpoints), reason=str(error))

    async def _write_checkpoints(self, checkpoints: Sequence[tuple[int, int]], deadline: float, role: Role) -> None:
        for first in range(0, len(checkpoints), MAX_CHECKPOINTS):
            leases = [
                LeaseCheckpoint(id=lease, remaining_seconds=remaining)
                for lease, remaining in checkpoints[first : first + MAX_CHECKPOINTS]
            ]
            await self.submit(WriteRequest(lease_checkpoints=LeaseCheckpoints(leases=leases)), deadline, role)


def _now() -> float:
    return asyncio.get_running_loop().time()
