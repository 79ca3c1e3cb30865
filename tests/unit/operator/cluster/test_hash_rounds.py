"""Asking replicas for their hashes: in the background, one round at a time, whatever a replica answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from msgspec import structs
from rstore_api.errors import Compacted, FutureRevision, StoreError, Unreachable
from rstore_api.proto.rpc_pb2 import HashKVResponse
from rstore_operator.cluster import hash_rounds
from rstore_operator.cluster.hash_rounds import HashRounds
from rstore_operator.facts.actions import Target
from rstore_operator.facts.memory import HashMemory
from rstore_operator.facts.observed import HashRound, Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.planning.hashes import answered, next_round
from rstore_operator.resource.state import RegionStatus, StoreStatus

STATUS = StoreStatus(store_id="s", epoch=1, regions=tuple(RegionStatus(name) for name in ("us", "eu", "ap")))


def observed(*names: str, revision: int = 7) -> Observed:
    regions = {}
    for name in names:
        leader = ReplicaStatus(f"{name}-0", name, "s", True, f"{name}-0", 1, revision, 1, 1, name == "us", name == "us")
        regions[name] = RegionObserved(name, (Pod(f"{name}-0", name, "10.0.0.1", True),), (leader,))
    return Observed(regions=regions)


@dataclass
class FakeReplicas:
    """Answers by script, the last one again and again."""

    answers: dict[str, list[int | StoreError]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def target(self, pod: Pod) -> Target:
        return Target(pod.name, pod.ip, pod.name)

    async def hash_kv(self, target: Target, revision: int, *, timeout_seconds: float) -> HashKVResponse:
        del timeout_seconds
        self.asked.append((target.pod, revision))
        await self.gate.wait()
        script = self.answers.get(target.pod, [1])
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, StoreError):
            raise answer
        return HashKVResponse(hash=answer, hash_revision=revision)


@pytest.fixture
def replicas(monkeypatch: pytest.MonkeyPatch) -> FakeReplicas:
    monkeypatch.setattr(hash_rounds, "ASK_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(hash_rounds, "CATCH_UP_SECONDS", 0.02)
    replicas = FakeReplicas()
    replicas.gate.set()
    return replicas


class Looking:
    """An operator that looks at a store and compares its replicas when that is due."""

    def __init__(self, replicas: FakeReplicas, *, interval_seconds: float = 60.0) -> None:
        self.now = 0.0
        self.memory = HashMemory()
        self.rounds = HashRounds(replicas)  # type: ignore[arg-type]
        self._interval_seconds = interval_seconds

    def look(self, seen: Observed, status: StoreStatus = STATUS) -> None:
        if (ended := self.rounds.ended()) is not None:
            self.memory = answered(self.memory, ended, self.now)
        self.memory, asked = next_round(
            self.memory,
            seen,
            status,
            interval_seconds=self._interval_seconds,
            under_way=self.rounds.under_way,
            now=self.now,
        )
        if asked is not None:
            self.rounds.begin(asked, seen)

    async def ended(self) -> HashRound:
        for _ in range(5000):
            if (round_ := self.rounds.ended()) is not None:
                self.memory = answered(self.memory, round_, self.now)
                return round_
            await asyncio.sleep(0.001)
        raise AssertionError("the round did not end")


async def test_every_replica_is_asked_for_the_same_revision(replicas: FakeReplicas) -> None:
    replicas.answers = {"eu-0": [2]}
    looking = Looking(replicas)
    looking.look(observed("us", "eu"))
    found = await looking.ended()
    assert (found.epoch, found.revision) == (1, 7)
    assert [(answer.replica, answer.hash) for answer in found.answers] == [("eu-0", 2), ("us-0", 1)]
    assert found.left_out == (("ap", "no leader answers"),)
    assert sorted(replicas.asked) == [("eu-0", 7), ("us-0", 7)]


async def test_a_replica_that_has_not_applied_the_revision_yet_is_waited_for(
    replicas: FakeReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_rounds, "CATCH_UP_SECONDS", 60.0)
    replicas.answers = {"eu-0": [FutureRevision(), FutureRevision(), 1]}
    looking = Looking(replicas)
    looking.look(observed("us", "eu"))
    assert [answer.hash for answer in (await looking.ended()).answers] == [1, 1]
    assert replicas.asked.count(("eu-0", 7)) == 3


async def test_a_replica_without_a_hash_reports_why(replicas: FakeReplicas) -> None:
    replicas.answers = {"us-0": [Compacted()], "eu-0": [FutureRevision()], "ap-0": [Unreachable("no route")]}
    looking = Looking(replicas)
    looking.look(observed("us", "eu", "ap"))
    problems = {answer.replica: answer.problem for answer in (await looking.ended()).answers}
    assert problems["us-0"] == "has compacted revision 7 meanwhile"
    assert problems["eu-0"] == "has not reached revision 7"
    assert "no route" in problems["ap-0"]


async def test_one_round_at_a_time(replicas: FakeReplicas) -> None:
    replicas.gate.clear()
    looking = Looking(replicas)
    for revision in (7, 8, 9):
        looking.look(observed("us", "eu", revision=revision))
        await asyncio.sleep(0.005)
    assert {revision for _, revision in replicas.asked} == {7}
    assert looking.rounds.ended() is None
    replicas.gate.set()
    assert (await looking.ended()).revision == 7


async def test_an_idle_store_is_asked_once(replicas: FakeReplicas) -> None:
    looking = Looking(replicas)
    looking.look(observed("us", "eu"))
    await looking.ended()
    for _ in range(10):
        looking.now += 100
        looking.look(observed("us", "eu"))
        await asyncio.sleep(0)
    assert len(replicas.asked) == 2


async def test_nothing_is_asked_while_the_primary_changes_or_when_it_is_switched_off(replicas: FakeReplicas) -> None:
    off = Looking(replicas, interval_seconds=0)
    off.look(observed("us", "eu"))
    looking = Looking(replicas)
    looking.look(observed("us", "eu"), structs.replace(STATUS, failover=object()))  # type: ignore[arg-type]
    await asyncio.sleep(0.005)
    assert replicas.asked == []


async def test_a_round_that_is_under_way_ends_with_the_store(replicas: FakeReplicas) -> None:
    replicas.gate.clear()
    looking = Looking(replicas)
    looking.look(observed("us", "eu"))
    await asyncio.sleep(0.005)
    await looking.rounds.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "hash-round"] == []
