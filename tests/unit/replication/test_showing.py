"""What watches may show: by the region's role, the rule, and who this replica is in its region."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rstore_api.domain.epochs import EpochStart
from rstore_api.domain.topology import SyncRule, Topology
from rstore_api.errors import Unreachable
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.mvcc.state import RegionState
from rstore_replica.raft.clock import SystemClock
from rstore_replica.raft.types import Role
from rstore_replica.replication.showing import Showing
from unit.api.replica_fakes import NAMES, group_status

NEWEST, CONFIRMED = 20, 15
SEMI_SYNC = SyncRule(min_in_sync_regions=1)


class Leader:
    """The leader as its followers reach it."""

    def __init__(self, answers: list[tuple[int, int]]) -> None:
        self.answers = answers
        self.asked: list[tuple[int, int]] = []
        self.opened: list[str] = []

    def open(self, address: str) -> Any:
        self.opened.append(address)
        return self

    async def __aenter__(self) -> Leader:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, _method: Any, request: pb.ShownRequest, *, timeout_seconds: float) -> pb.ShownResponse:
        self.asked.append((request.epoch, request.after_revision))
        if not self.answers:
            await asyncio.get_running_loop().create_future()
        epoch, revision = self.answers.pop(0)
        if revision < 0:
            raise Unreachable
        return pb.ShownResponse(epoch=epoch, revision=revision)


def showing_of(
    *,
    primary: bool = True,
    leader: bool = True,
    rule: SyncRule | None = SEMI_SYNC,
    epoch: int = 1,
    topology_epoch: int = 1,
    primary_region: str = "us-east",
    wrote: str = "us-east",
    showable: int = CONFIRMED,
    reported_by: Leader | None = None,
) -> Showing:
    """A replica of us-east."""
    state = RegionState(
        region="us-east",
        store_id="store",
        epoch=epoch,
        promised_epoch=epoch,
        primary=primary,
        history=(EpochStart(epoch, 2, wrote),),
        topology=Topology(epoch=topology_epoch, version=1, primary_region=primary_region, regions=(), sync=rule),
    )
    status = group_status() if leader else group_status(role=Role.FOLLOWER, leader=NAMES[1])
    releases: list[Callable[[], None]] = []
    return Showing(
        machine=SimpleNamespace(state=state, revision=NEWEST, subscribe_state=lambda _callback: lambda: None),  # type: ignore[arg-type]
        group=SimpleNamespace(status=lambda: status, on_change=lambda _callback: None),  # type: ignore[arg-type]
        clock=SystemClock(),
        region="us-east",
        acknowledging=SimpleNamespace(showable=lambda: showable, on_release=releases.append),  # type: ignore[arg-type]
        open_replica=(reported_by or Leader([])).open,
    )


@pytest.mark.parametrize(
    ("replica", "expected"),
    [
        (showing_of(rule=None), NEWEST),
        (showing_of(rule=None, leader=False), NEWEST),
        (showing_of(), CONFIRMED),
        (showing_of(showable=0), None),
        (showing_of(leader=False), None),
        (showing_of(primary=False, primary_region="eu-west", wrote="eu-west"), NEWEST),
        (showing_of(primary=False, primary_region="eu-west", wrote="eu-west", leader=False), NEWEST),
        (showing_of(primary=False, primary_region="eu-west", topology_epoch=2), None),
        (showing_of(primary=False, primary_region="eu-west", topology_epoch=2, rule=None), NEWEST),
    ],
    ids=[
        "Async: what is applied",
        "Async, at a follower",
        "SemiSync: what is confirmed",
        "SemiSync, where the leader does not know yet",
        "SemiSync, at a follower without an answer of the leader",
        "a secondary: what it has committed",
        "a secondary's follower",
        "a region that was primary and has not joined the next: nothing further",
        "the same in Async",
    ],
)
def test_what_may_be_shown(replica: Showing, expected: int | None) -> None:
    assert replica.revision() == expected


async def test_a_follower_asks_its_leader_while_somebody_watches() -> None:
    leader = Leader([(1, 12), (1, -1), (1, 14), (1, 30)])
    replica = showing_of(leader=False, reported_by=leader)
    changes: list[int | None] = []
    replica.on_change = lambda: changes.append(replica.revision())
    running = asyncio.create_task(replica.run())
    await asyncio.sleep(0.02)
    assert leader.opened == [], "nobody watches"
    replica.wanted = lambda: True
    replica.look()
    async with asyncio.timeout(5):
        while len(leader.asked) < 5:  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)
    running.cancel()
    assert leader.asked == [(0, 0), (1, 12), (1, 12), (1, 14), (1, 30)]
    assert changes == [12, 14, NEWEST], "what the leader shows may not be applied here yet"
    assert leader.opened == [f"{NAMES[1]}.peers:2380"] * 2, "it dials again after an error"


async def test_what_was_reported_in_another_epoch_says_nothing() -> None:
    leader = Leader([(1, 12)])
    replica = showing_of(leader=False, epoch=2, topology_epoch=2, reported_by=leader)
    replica.wanted = lambda: True
    running = asyncio.create_task(replica.run())
    async with asyncio.timeout(5):
        while len(leader.asked) < 2:  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.01)
    running.cancel()
    assert replica.revision() is None


async def test_a_leader_answers_at_once_where_there_is_something_newer_and_says_when_it_does_not_know() -> None:
    replica = showing_of()
    async with asyncio.timeout(1):
        answer = await replica.answer(pb.ShownRequest(epoch=1, after_revision=CONFIRMED - 1), None)
        assert (answer.epoch, answer.revision) == (1, CONFIRMED)
        answer = await replica.answer(pb.ShownRequest(), None)
        assert (answer.epoch, answer.revision) == (1, CONFIRMED)
        assert (await showing_of(showable=0).answer(pb.ShownRequest(), None)).epoch == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await replica.answer(pb.ShownRequest(epoch=1, after_revision=CONFIRMED), None)
