"""Asking replicas for their hashes: in the background, one round at a time, whatever a replica answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from msgspec import structs
from rstore_api.errors import Compacted, FutureRevision, StoreError, Unreachable
from rstore_api.proto.rpc_pb2 import HashKVResponse
from rstore_operator.cluster import hash_rounds
from rstore_operator.cluster.hash_rounds import HashRounds
from rstore_operator.facts.actions import Target
from rstore_operator.facts.observed import HashRound, Observed, Pod, RegionObserved, ReplicaStatus
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


def rounds_of(replicas: FakeReplicas, clock: Callable[[], float] | None = None) -> HashRounds:
    keywords = {"clock": clock} if clock else {}
    return HashRounds(replicas, interval_seconds=60, **keywords)  # type: ignore[arg-type]


async def ended(rounds: HashRounds) -> HashRound:
    for _ in range(5000):
        if (found := rounds.latest()) is not None:
            return found
        await asyncio.sleep(0.001)
    raise AssertionError("the round did not end")


async def test_everybody_is_asked_for_the_same_revision(replicas: FakeReplicas) -> None:
    replicas.answers = {"eu-0": [2]}
    rounds = rounds_of(replicas)
    rounds.look(observed("us", "eu"), STATUS)
    found = await ended(rounds)
    assert (found.epoch, found.revision) == (1, 7)
    assert [(answer.replica, answer.hash) for answer in found.answers] == [("eu-0", 2), ("us-0", 1)]
    assert found.left_out == (("ap", "no leader answers"),)
    assert sorted(replicas.asked) == [("eu-0", 7), ("us-0", 7)]


async def test_a_replica_that_has_not_applied_the_revision_yet_is_waited_for(replicas: FakeReplicas) -> None:
    replicas.answers = {"eu-0": [FutureRevision(), FutureRevision(), 1]}
    rounds = rounds_of(replicas)
    rounds.look(observed("us", "eu"), STATUS)
    assert [answer.hash for answer in (await ended(rounds)).answers] == [1, 1]
    assert replicas.asked.count(("eu-0", 7)) == 3


async def test_who_gives_no_hash_says_why(replicas: FakeReplicas) -> None:
    replicas.answers = {"us-0": [Compacted()], "eu-0": [FutureRevision()], "ap-0": [Unreachable("no route")]}
    rounds = rounds_of(replicas)
    rounds.look(observed("us", "eu", "ap"), STATUS)
    problems = {answer.replica: answer.problem for answer in (await ended(rounds)).answers}
    assert problems["us-0"] == "has compacted revision 7 meanwhile"
    assert problems["eu-0"] == "has not reached revision 7"
    assert "no route" in problems["ap-0"]


async def test_one_round_at_a_time(replicas: FakeReplicas) -> None:
    replicas.gate.clear()
    rounds = rounds_of(replicas)
    for revision in (7, 8, 9):
        rounds.look(observed("us", "eu", revision=revision), STATUS)
        await asyncio.sleep(0.005)
    assert {revision for _, revision in replicas.asked} == {7}
    assert rounds.latest() is None
    replicas.gate.set()
    assert (await ended(rounds)).revision == 7


async def test_an_idle_store_is_asked_once(replicas: FakeReplicas) -> None:
    now = [0.0]
    rounds = rounds_of(replicas, lambda: now[0])
    rounds.look(observed("us", "eu"), STATUS)
    await ended(rounds)
    for _ in range(10):
        now[0] += 100
        rounds.look(observed("us", "eu"), STATUS)
        await asyncio.sleep(0)
    assert len(replicas.asked) == 2


async def test_nothing_is_asked_while_the_primary_changes_or_when_it_is_switched_off(replicas: FakeReplicas) -> None:
    off = HashRounds(replicas, interval_seconds=0)  # type: ignore[arg-type]
    off.look(observed("us", "eu"), STATUS)
    rounds = rounds_of(replicas)
    rounds.look(observed("us", "eu"), structs.replace(STATUS, failover=object()))  # type: ignore[arg-type]
    await asyncio.sleep(0.005)
    assert replicas.asked == []


async def test_a_round_that_is_under_way_ends_with_the_store(replicas: FakeReplicas) -> None:
    replicas.gate.clear()
    rounds = rounds_of(replicas)
    rounds.look(observed("us", "eu"), STATUS)
    await asyncio.sleep(0.005)
    await rounds.close()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "hash-round"] == []
