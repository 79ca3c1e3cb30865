"""What the primary's leader does about leases: over a real state machine, with the time of the event loop moved."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from rstore_api.errors import DeadlineExceeded, LeaseNotFound, NoPrimary, OutcomeUnknown, StoreError
from rstore_api.proto.rpc_pb2 import LeaseGrantRequest, LeaseRevokeRequest, PutRequest
from rstore_api.proto.rstore_pb2 import LeaseCheckpoint, LeaseCheckpoints, LogEntry, WriteBatch, WriteRequest
from rstore_replica.api.leases import keeper as keeper_module
from rstore_replica.api.leases.keeper import ANSWER_SECONDS, STALL_SECONDS, LeaseKeeper
from rstore_replica.etcd_metrics import LeaseCounts
from rstore_replica.raft.types import Role
from unit.api.replica_fakes import FakeGroup, group_status
from unit.mvcc.replicas import Replica


class Leader:
    """A replica that leads the primary, the keeper on it, and a clock."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replica = Replica(path / "data")
        self.group = FakeGroup()
        self.now = 1000.0
        self.tenure = True
        self.refusal: StoreError | None = None
        self.barrier_seconds = 0.0
        self.written: list[WriteRequest] = []
        monkeypatch.setattr(keeper_module, "_now", lambda: self.now)
        monkeypatch.setattr(self.group, "barrier", self._barrier)
        self.counts = LeaseCounts()
        self.keeper = self.begin()

    def begin(self) -> LeaseKeeper:
        self.keeper = LeaseKeeper(
            machine=self.replica.machine,
            group=self.group,
            tenure_held=lambda _epoch: self.tenure,
            submit=self._submit,
            counts=self.counts,
        )
        return self.keeper

    async def _barrier(self, *, timeout_seconds: float) -> None:
        self.now += self.barrier_seconds

    async def _submit(self, request: WriteRequest, _deadline: float, role: tuple[int, int]) -> Any:
        assert role == (self.replica.machine.state.epoch, self.group.term)
        self.written.append(request)
        if self.refusal is not None:
            raise self.refusal
        return self.write(request)

    def write(self, *requests: WriteRequest) -> Any:
        epoch = self.replica.machine.state.epoch
        answer = self.replica.apply(lease_write=WriteBatch(epoch=epoch, requests=requests))[0]
        if isinstance(answer, StoreError):
            raise answer
        return answer

    def grant(self, lease: int, seconds: int = 10) -> None:
        self.write(WriteRequest(lease_grant=LeaseGrantRequest(ID=lease, TTL=seconds)))

    async def after(self, seconds: float) -> None:
        """Looks as often as it would meanwhile."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + STALL_SECONDS / 2)
            await self.keeper.look()

    async def renew(self, *leases: int) -> list[int]:
        deadline = asyncio.get_running_loop().time() + 0.1
        return await self.keeper.renew(leases, deadline=deadline + self.now)

    @property
    def leases(self) -> list[int]:
        return [lease.id for lease in self.replica.machine.leases(None, 1000)[0]]


@pytest.fixture
def leader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leader:
    return Leader(tmp_path, monkeypatch)


async def test_a_lease_that_nobody_renews_ends_with_its_keys_in_one_revision(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    for key in (b"a", b"b"):
        leader.write(WriteRequest(put=PutRequest(key=key, lease=7)))
    await leader.after(10)
    assert leader.leases == [7]
    before = leader.replica.machine.revision
    await leader.after(ANSWER_SECONDS + 0.1)
    assert (leader.leases, leader.replica.range().count) == ([], 0)
    assert leader.replica.machine.revision == before + 1
    assert len(leader.keeper) == 0


async def test_it_is_counted_what_becomes_of_leases(leader: Leader) -> None:
    await leader.keeper.look()
    for lease in (7, 8):
        leader.grant(lease)
        await leader.keeper.granted(lease, deadline=leader.now + 5)
    await leader.renew(7, 7, 9)
    leader.write(WriteRequest(lease_revoke=LeaseRevokeRequest(ID=7)))
    await leader.after(13)
    assert (leader.counts.granted, leader.counts.renewed, leader.counts.revoked) == (2, 2, 2)
    assert leader.counts.times_to_live.seconds == 20


async def test_renewals_write_nothing_to_the_log(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    index = leader.replica.machine.applied_index
    for _ in range(20):
        await leader.after(8)
        assert await leader.renew(7, 8, 7) == [10, 0, 10]
    assert leader.leases == [7]
    assert leader.replica.machine.applied_index == index


async def test_who_begins_to_lead_gives_all_of_the_time(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    await leader.after(9)
    leader.group.now = group_status(term=4)
    leader.begin()
    await leader.keeper.look()
    await leader.after(10)
    assert leader.leases == [7]
    await leader.after(ANSWER_SECONDS + 0.1)
    assert leader.leases == []


async def test_a_checkpoint_of_this_epoch_counts_and_one_of_an_epoch_before_does_not(leader: Leader) -> None:
    leader.grant(7, 1000)
    checkpoints = LeaseCheckpoints(leases=[LeaseCheckpoint(id=7, remaining_seconds=20)])
    leader.write(WriteRequest(lease_checkpoints=checkpoints))
    deadline = leader.now + 5
    await leader.keeper.look()
    assert await leader.keeper.time_left(7, deadline=deadline) == (21, 1000)
    leader.replica.promise(2)
    leader.replica.promote(2)
    leader.begin()
    await leader.keeper.look()
    assert await leader.keeper.time_left(7, deadline=deadline) == (1000, 1000)


async def test_a_renewal_after_a_checkpoint_is_in_the_log_before_it_is_answered(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7, 1000)
    await leader.after(301)
    [checkpoint] = leader.written
    assert 690 < checkpoint.lease_checkpoints.leases[0].remaining_seconds <= 701
    assert await leader.renew(7, 7) == [1000, 1000]
    [lease], _ = leader.replica.machine.leases(None, 10)
    assert lease.remaining_seconds == 0
    assert len(leader.written) == 2
    assert await leader.renew(7) == [1000]
    assert len(leader.written) == 2, "the log says so already"


@pytest.mark.parametrize("failure", ["slow", "tenure", "leader"])
async def test_nothing_is_promised_that_a_later_leader_may_not_know(leader: Leader, failure: str) -> None:
    await leader.keeper.look()
    leader.grant(7)
    if failure == "slow":
        leader.barrier_seconds = ANSWER_SECONDS + 0.1
    elif failure == "tenure":
        leader.tenure = False
    else:
        leader.group.now = group_status(role=Role.FOLLOWER, leader=None)
    with pytest.raises(StoreError):
        await leader.renew(7)
    with pytest.raises(OutcomeUnknown):
        await leader.keeper.granted(7, deadline=leader.now + 1)


async def test_only_the_primarys_leader_within_its_tenure_ends_leases(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    leader.tenure = False
    await leader.after(100)
    assert leader.leases == [7]
    assert len(leader.keeper) == 0
    leader.tenure = True
    await leader.keeper.look()
    await leader.after(9)
    assert leader.leases == [7], "nobody could renew it meanwhile"
    leader.group.now = group_status(role=Role.FOLLOWER)
    await leader.after(100)
    assert leader.leases == [7]


async def test_a_replica_that_was_held_up_ends_nothing_that_could_not_be_renewed(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    leader.now += 60
    await leader.keeper.look()
    await leader.after(9)
    assert leader.leases == [7]
    await leader.after(3)
    assert leader.leases == []


async def test_nobody_renews_a_lease_whose_revocation_may_be_in_the_log(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    leader.refusal = OutcomeUnknown()
    await leader.after(12)
    assert leader.written
    leader.refusal = None
    assert await leader.renew(7) == [0]
    assert await leader.keeper.time_left(7, deadline=leader.now + 5) == (0, 10)


async def test_who_begins_knows_what_is_before_it_in_the_log(leader: Leader) -> None:
    """A revocation of before, and a renewal that undid a checkpoint, may be committed and not applied yet."""
    for lease in (7, 8):
        leader.grant(lease, 1000)
    checkpoints = [LeaseCheckpoint(id=7, remaining_seconds=20)]
    leader.write(WriteRequest(lease_checkpoints=LeaseCheckpoints(leases=checkpoints)))

    async def propose(entry: bytes, *, timeout_seconds: float) -> None:
        assert LogEntry.FromString(entry).HasField("noop")
        whole = LeaseCheckpoints(leases=[LeaseCheckpoint(id=7)])
        leader.write(WriteRequest(lease_checkpoints=whole), WriteRequest(lease_revoke=LeaseRevokeRequest(ID=8)))

    leader.group.propose = propose  # type: ignore[method-assign, assignment]
    await leader.keeper.look()
    assert await leader.keeper.time_left(7, deadline=leader.now + 5) == (1000, 1000)
    assert await leader.renew(8) == [0]


async def test_a_leader_without_a_majority_knows_of_no_lease_until_it_has_one(leader: Leader) -> None:
    leader.grant(7)
    leader.group.refusal = OutcomeUnknown()
    await leader.keeper.look()
    with pytest.raises(DeadlineExceeded):
        await leader.keeper.renew([7], deadline=asyncio.get_running_loop().time() + 0.1)
    leader.group.refusal = None
    await leader.keeper.look()
    assert await leader.renew(7) == [10]


async def test_a_lease_that_is_granted_again_in_the_entry_that_revokes_it_has_its_own_time(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    leader.write(
        WriteRequest(lease_revoke=LeaseRevokeRequest(ID=7)),
        WriteRequest(lease_grant=LeaseGrantRequest(ID=7, TTL=1000)),
    )
    assert await leader.renew(7) == [1000]
    await leader.after(20)
    assert leader.leases == [7]


async def test_many_leases_that_are_renewed_do_not_delay_the_end_of_another(leader: Leader) -> None:
    await leader.keeper.look()
    count = 20_000
    for first in range(1, count, 1000):
        leader.write(*(WriteRequest(lease_grant=LeaseGrantRequest(ID=first + n, TTL=10)) for n in range(1000)))
    leader.now += 0.01
    leader.grant(count + 1)
    await leader.after(8)
    await leader.renew(*range(1, count + 1))
    await leader.after(ANSWER_SECONDS + 2.1)
    assert len(leader.keeper) == count
    assert count + 1 not in leader.leases


async def test_no_lease_ends_while_nobody_could_renew_it(leader: Leader) -> None:
    """As while a deletion of a million keys is applied, for which every answer of a leader waits."""
    await leader.keeper.look()
    leader.grant(7)
    leader.barrier_seconds = ANSWER_SECONDS + 0.1
    await leader.after(60)
    assert (leader.leases, leader.written) == ([7], [])
    leader.barrier_seconds = 0.0
    await leader.after(9)
    assert leader.leases == [7]
    await leader.after(5)
    assert leader.leases == []


async def test_a_revocation_that_fails_is_tried_again(leader: Leader) -> None:
    await leader.keeper.look()
    leader.grant(7)
    leader.refusal = NoPrimary()
    await leader.after(15)
    assert leader.leases == [7]
    assert 2 <= len(leader.written) <= 6
    leader.refusal = LeaseNotFound()
    await leader.after(3)
    assert len(leader.keeper) == 0


async def test_a_hundred_thousand_leases_are_known_in_bounded_time(leader: Leader) -> None:
    count = 100_000
    for first in range(1, count, 1000):
        grants = [WriteRequest(lease_grant=LeaseGrantRequest(ID=first + n, TTL=10)) for n in range(1000)]
        leader.write(*grants)
    leader.begin()
    began = time.thread_time()
    await leader.keeper.look()
    assert len(leader.keeper) == count
    assert time.thread_time() - began < 10
    listed = await leader.keeper.by_end(deadline=leader.now + 5)
    assert len(listed) == count
    assert await leader.renew(*range(1, 257)) == [10] * 256
