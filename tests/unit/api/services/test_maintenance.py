"""Status, alarms, leadership; and HashKV: few at a time, client by client."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from rstore_api.errors import (
    BadLeaderTransferee,
    DeadlineExceeded,
    LeaderTransferTimedOut,
    NotLeader,
    NotSupported,
    StoreError,
)
from rstore_api.proto import rpc_pb2
from rstore_replica.api.identity import Identity, member_id
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.maintenance import MAX_HASHES, MaintenanceService
from rstore_replica.raft.types import Role
from unit.api.client_servers import until
from unit.api.replica_fakes import NAMES, FakeGroup, group_status, region_state


class _Machine:
    """Each hash takes until the test ends it."""

    revision = 7
    compact_revision = 0
    db_size_bytes = 8192
    db_in_use_bytes = 4096

    def __init__(self, *, no_space: bool = False) -> None:
        self.state = region_state()
        self.no_space = no_space
        self.hashing: list[asyncio.Event] = []
        self.most = 0

    def write_limits(self, _incoming_bytes: int) -> Any:
        return SimpleNamespace(no_space=self.no_space)

    async def hash_kv(self, revision: int) -> Any:
        done = asyncio.Event()
        self.hashing.append(done)
        self.most = max(self.most, len(self.hashing))
        await done.wait()
        self.hashing.remove(done)
        return SimpleNamespace(hash=1, hash_revision=revision, compact_revision=0)


class _Others:
    """The alarms of other members."""

    def __init__(self, *members: int) -> None:
        self.members = members

    async def of_others(self) -> list[rpc_pb2.AlarmMember]:
        return [rpc_pb2.AlarmMember(memberID=member, alarm=NOSPACE) for member in self.members]


def _service(
    machine: Any, group: Any, *, not_ready_reason: str = "", others: tuple[int, ...] = ()
) -> MaintenanceService:
    return MaintenanceService(
        calls=None,  # type: ignore[arg-type]
        alarms=_Others(*others),  # type: ignore[arg-type]
        machine=machine,
        group=group,
        identity=Identity(region="us-east", replica=NAMES[0], machine=machine, group=group),
        not_ready_reason=lambda: not_ready_reason,
        quota_bytes=8 << 30,
    )


def _call(*, forwarded: bool = False) -> CallInfo:
    return CallInfo(deadline=asyncio.get_running_loop().time() + 10, forwarded=forwarded)


async def _status(service: MaintenanceService) -> rpc_pb2.StatusResponse:
    return await service.status(rpc_pb2.StatusRequest(), _call())


async def test_status_states_the_version_of_the_etcd_that_is_offered() -> None:
    status = await _status(_service(_Machine(), FakeGroup()))
    major, minor, patch = map(int, status.version.split("."))
    assert (major, minor) == (3, 5)
    assert patch >= 13, "Kubernetes asks earlier ones for no notices of progress"
    assert status.storageVersion == "3.5.0"
    assert (status.dbSize, status.dbSizeInUse, status.dbSizeQuota) == (8192, 4096, 8 << 30)
    assert status.leader == status.header.member_id
    assert not status.isLearner
    assert not status.errors
    assert not status.downgradeInfo.enabled


async def test_status_marks_a_learner() -> None:
    group = FakeGroup(now=group_status(role=Role.FOLLOWER, leader=NAMES[1], learners=(NAMES[0],)))
    status = await _status(_service(_Machine(), group))
    assert status.isLearner
    assert status.leader != status.header.member_id


@pytest.mark.parametrize(
    ("leader", "no_space", "reason", "errors"),
    [
        (NAMES[0], False, "", []),
        (None, False, "the region has no leader", ["etcdserver: no leader"]),
        (NAMES[0], True, "", ["memberID:{member} alarm:NOSPACE "]),
        (NAMES[0], False, "the replica is stopping", ["rstore: not ready: the replica is stopping"]),
    ],
)
async def test_status_says_what_is_wrong_in_etcds_words(
    leader: str | None, no_space: bool, reason: str, errors: list[str]
) -> None:
    group = FakeGroup(now=group_status(leader=leader))
    status = await _status(_service(_Machine(no_space=no_space), group, not_ready_reason=reason))
    assert list(status.errors) == [error.format(member=status.header.member_id) for error in errors]


GET, ACTIVATE, DEACTIVATE = rpc_pb2.AlarmRequest.GET, rpc_pb2.AlarmRequest.ACTIVATE, rpc_pb2.AlarmRequest.DEACTIVATE
NOSPACE, CORRUPT = rpc_pb2.AlarmType.NOSPACE, rpc_pb2.AlarmType.CORRUPT
OWN = member_id("store", "us-east", NAMES[0])


@pytest.mark.parametrize(
    ("no_space", "others", "request_", "members"),
    [
        (False, (), rpc_pb2.AlarmRequest(), []),
        (True, (), rpc_pb2.AlarmRequest(), [OWN]),
        (False, (9,), rpc_pb2.AlarmRequest(), [9]),
        (True, (9, 4), rpc_pb2.AlarmRequest(alarm=NOSPACE), [OWN, 9, 4]),
        (True, (9,), rpc_pb2.AlarmRequest(alarm=CORRUPT), []),
        (True, (9,), rpc_pb2.AlarmRequest(action=DEACTIVATE, memberID=9, alarm=NOSPACE), [9]),
        (True, (9,), rpc_pb2.AlarmRequest(action=DEACTIVATE, memberID=5, alarm=NOSPACE), []),
    ],
)
async def test_alarms_are_those_of_all_members(
    no_space: bool, others: tuple[int, ...], request_: rpc_pb2.AlarmRequest, members: list[int]
) -> None:
    service = _service(_Machine(no_space=no_space), FakeGroup(), others=others)
    answer = await service.alarm(request_, _call())
    assert [alarm.memberID for alarm in answer.alarms] == members


async def test_an_alarm_that_another_replica_asks_for_is_the_own_one() -> None:
    service = _service(_Machine(no_space=True), FakeGroup(), others=(9,))
    answer = await service.alarm(rpc_pb2.AlarmRequest(), _call(forwarded=True))
    assert [alarm.memberID for alarm in answer.alarms] == [OWN]


async def test_nobody_switches_an_alarm_on() -> None:
    with pytest.raises(NotSupported):
        await _service(_Machine(), FakeGroup()).alarm(rpc_pb2.AlarmRequest(action=ACTIVATE, alarm=NOSPACE), _call())


class _Transfers(FakeGroup):
    """Notes to whom leadership was handed, or fails."""

    failure: StoreError | None = None
    target = ""

    async def transfer_leadership(self, target: str | None, *, timeout_seconds: float) -> str:
        assert 0 < timeout_seconds <= 10
        if self.failure is not None:
            raise self.failure
        self.target = target or ""
        return self.target


def _move(target: str, region: str = "us-east") -> rpc_pb2.MoveLeaderRequest:
    return rpc_pb2.MoveLeaderRequest(targetID=member_id("store", region, target))


async def test_leadership_is_moved_to_a_voter() -> None:
    group = _Transfers()
    await _service(_Machine(), group).move_leader(_move(NAMES[2]), _call())
    assert group.target == NAMES[2]


@pytest.mark.parametrize(
    ("changes", "request_", "failure", "error"),
    [
        ({"role": Role.FOLLOWER, "leader": NAMES[1]}, _move(NAMES[2]), None, NotLeader),
        ({"learners": (NAMES[2],)}, _move(NAMES[2]), None, BadLeaderTransferee),
        ({}, _move("orders-eu-west-0", "eu-west"), None, BadLeaderTransferee),
        ({}, _move(NAMES[2]), DeadlineExceeded(), LeaderTransferTimedOut),
    ],
)
async def test_leadership_that_cannot_be_moved_stays(
    changes: dict[str, Any], request_: rpc_pb2.MoveLeaderRequest, failure: StoreError | None, error: type[StoreError]
) -> None:
    group = _Transfers(now=group_status(**changes))
    group.failure = failure
    with pytest.raises(error):
        await _service(_Machine(), group).move_leader(request_, _call())
    assert not group.target


async def test_hashes_are_made_few_at_a_time_and_for_each_client_in_turn() -> None:
    machine: Any = _Machine()
    group = FakeGroup()
    service = _service(machine, group)
    answered: list[str] = []

    async def ask(client: str) -> None:
        call = CallInfo(deadline=asyncio.get_running_loop().time() + 10, forwarded=False, client=client)
        await service.hash_kv(rpc_pb2.HashKVRequest(revision=7), call)
        answered.append(client)

    greedy = [asyncio.create_task(ask("application")) for _ in range(20)]
    await until(lambda: bool(machine.hashing))
    operator = asyncio.create_task(ask("operator"))
    await until(lambda: len(machine.hashing) == MAX_HASHES)
    machine.hashing[1].set()
    await operator
    assert answered == ["operator"]
    while len(answered) <= len(greedy):
        await until(lambda: bool(machine.hashing))
        count = len(answered)
        machine.hashing[0].set()
        await until(lambda count=count: len(answered) > count)
    assert machine.most == MAX_HASHES
    await asyncio.gather(*greedy)
