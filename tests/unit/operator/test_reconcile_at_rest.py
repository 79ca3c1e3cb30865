"""A store at rest costs the API server nothing, and whatever happens to it is noticed."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from rstore_api.domain.kubernetes import FAILOVER_TO, REGION_LABEL, REVISION_LABEL
from rstore_api.errors import Unreachable
from rstore_api.proto.rpc_pb2 import HashKVResponse
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.facts.actions import Target
from rstore_operator.facts.memory import COMPARE_SECONDS
from rstore_operator.facts.observed import Pod, ReplicaStatus
from rstore_operator.planner.plan import IDLE_SECONDS
from rstore_operator.planner.rest import STANDS_SECONDS
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.specs.certificates import CERTIFICATE_LIFETIME, CLOCK_SKEW, RENEW_AFTER
from unit.operator.fake_api import FakeApi
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.world import REF

HASH_SECONDS = 60.0


class CountingApi(FakeApi):
    """Counts requests."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    async def answer(self, request: str, work: Callable[[], Any]) -> Any:
        self.requests.append(request)
        return await super().answer(request, work)


class WorldReplicas:
    """The replicas of a world that always answer, in the place of those that are dialled."""

    waits_for_late = False

    def __init__(self, world: LossyWorld) -> None:
        self.world = world
        self.last: dict[str, ReplicaStatus] = {}
        self.asked: list[str] = []
        self.unanswered: dict[str, float] = {}
        self.spared: list[str] = []
        self.hurried = False
        self.differs = ""
        """A replica whose data is not that of the others."""
        self.compared: list[tuple[float, str, int]] = []
        """When which replica was asked for its hash at which revision."""

    async def hash_kv(self, target: Target, revision: int, *, timeout_seconds: float) -> HashKVResponse:
        self.compared.append((self.world.seconds, target.pod, revision))
        return HashKVResponse(hash=2 if target.pod == self.differs else 1, hash_revision=revision)

    async def call(self, *_: object, **__: object) -> object:
        raise Unreachable("a world does not take calls")

    async def use(self, _tls: object) -> None:
        pass

    async def close(self) -> None:
        pass

    async def statuses(
        self, pods: Iterable[Pod], ask: Callable[[Pod], bool], *, patience_seconds: float
    ) -> dict[str, ReplicaStatus]:
        answers = {replica.name: replica for replica in self.world.observed().replicas()}
        chosen = [pod.name for pod in pods if ask(pod)]
        self.asked += chosen
        self.last |= {name: answers[name] for name in chosen if name in answers}
        self.last = {name: status for name, status in self.last.items() if name in answers}
        return dict(self.last)

    def hurry(self, *, hurried: bool) -> None:
        self.hurried = hurried

    async def spare(self, pods: Iterable[Pod]) -> None:
        self.spared = [pod.name for pod in pods]

    def unanswered_seconds(self) -> dict[str, float]:
        return dict(self.unanswered)


class AtRest:
    """A steady store of three regions, and the reconciler that looks after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, hash_check_seconds: float = 0.0) -> None:
        self.world = running([("us-east", 3), ("eu-west", 1), ("ap-south", 1)])
        self.replicas = WorldReplicas(self.world)
        monkeypatch.setattr("rstore_operator.reconcile.Replicas", lambda *_: self.replicas)
        self.api = CountingApi()
        assert self.api.store is not None
        self.api.store["spec"] = copy.deepcopy(self.world.spec)
        self.api.store["status"] = copy.deepcopy(self.world.status)
        self.api.objects.update(copy.deepcopy(self.world.children))
        for region in self.world.observed().regions.values():
            self.api.pod_objects += [_pod_body(pod) for pod in region.pods]
        self.loop = Reconciler(
            Sites(Site(REF, self.api, self.api, self.seconds)),
            ReplicaImage("replica:1"),
            hash_check_seconds=hash_check_seconds,
            now=lambda: self.world.now,
            clock=self.seconds,
        )

    def seconds(self) -> float:
        return self.world.seconds

    async def go_on(self, seconds: float) -> list[str]:
        """Steps for so long. Returns the requests that they made."""
        self.api.requests.clear()
        end = self.seconds() + seconds
        while self.seconds() < end:
            wait = await self.loop.step()
            assert wait is not None
            for _ in range(20):  # what it began in the background ends
                await asyncio.sleep(0)
            self.pass_time(max(wait, 0.1))
        return list(self.api.requests)

    def pass_time(self, seconds: float) -> None:
        """Primaries renew their tenures meanwhile."""
        end = self.world.now + timedelta(seconds=seconds)
        while self.world.now < end:
            self.world.now = min(end, self.world.now + timedelta(seconds=0.5))
            self.world.replicate()

    @property
    def status(self) -> dict[str, Any]:
        """What is persisted."""
        return dict(self.api.stored.read_store()["status"])


def _pod_body(pod: Pod) -> dict[str, Any]:
    return {
        "metadata": {"name": pod.name, "uid": pod.name, "labels": {REGION_LABEL: pod.region, REVISION_LABEL: "1"}},
        "spec": {"containers": [{"image": "replica:1"}]},
        "status": {"phase": "Running", "podIP": pod.ip, "conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.fixture
async def rest(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = AtRest(monkeypatch)
    await made.go_on(40.0)
    yield made
    await made.loop.close()


@pytest.fixture
async def compared(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = AtRest(monkeypatch, hash_check_seconds=HASH_SECONDS)
    await made.go_on(40.0)
    yield made
    await made.loop.close()


async def test_a_store_at_rest_costs_the_api_server_one_read_in_a_while(rest: AtRest) -> None:
    rest.replicas.asked.clear()
    requests = await rest.go_on(10 * STANDS_SECONDS)
    assert set(requests) == {"get store"}
    assert len(requests) <= 2 * 10
    looks = 10 * STANDS_SECONDS / IDLE_SECONDS
    assert rest.replicas.asked.count("orders-us-east-0") == pytest.approx(looks, rel=0.1), "it is asked each time"
    for name in ("orders-us-east-1", "orders-eu-west-0", "orders-ap-south-0"):
        assert rest.replicas.asked.count(name) <= 2 * 10, "others are not"
        assert name in rest.replicas.spared
    assert "orders-us-east-0" not in rest.replicas.spared


async def test_a_store_comes_to_rest_while_an_event_waits_to_be_posted(rest: AtRest) -> None:
    rest.api.deaf = True
    assert rest.api.store is not None
    rest.api.store["metadata"]["annotations"] = {FAILOVER_TO: "mars"}
    rest.loop.invalidate()
    await rest.go_on(10.0)
    assert "UnknownRegion" not in rest.api.events
    requests = await rest.go_on(10 * STANDS_SECONDS)
    assert requests.count("get store") <= 2 * 10, "it is not looked at again and again"
    rest.api.deaf = False
    await rest.go_on(IDLE_SECONDS)
    assert rest.api.events.count("UnknownRegion") == 1


async def _edited(rest: AtRest) -> None:
    rest.api.stored.edit({**rest.world.spec, "security": {"networkPolicy": {"clients": []}}})
    rest.loop.object_changed(rest.api.stored.read_store()["metadata"]["resourceVersion"])


async def _child_changed(rest: AtRest) -> None:
    rest.loop.children_changed()


async def _stream_is_down(rest: AtRest) -> None:
    rest.world.regions["ap-south"].linked = False


async def _leader_is_silent(rest: AtRest) -> None:
    rest.world.regions["eu-west"].up = False


async def _an_answer_is_late(rest: AtRest) -> None:
    rest.replicas.unanswered["orders-eu-west-0"] = 0.5


@pytest.mark.parametrize("happens", [_edited, _child_changed, _stream_is_down, _leader_is_silent, _an_answer_is_late])
async def test_the_next_step_plans_when_something_has_happened(rest: AtRest, happens: Callable[..., Any]) -> None:
    assert await rest.go_on(0.1) in ([], ["get store"])
    await happens(rest)
    assert "get store" in await rest.go_on(0.1)


async def test_an_edit_that_no_watch_shows_is_noticed(rest: AtRest) -> None:
    rest.api.stored.edit({**rest.world.spec, "security": {"networkPolicy": {"clients": []}}})
    await rest.go_on(STANDS_SECONDS + IDLE_SECONDS)
    store = rest.api.stored.read_store()
    assert store["status"]["observedGeneration"] == store["metadata"]["generation"]


async def test_numbers_that_move_are_written_now_and_then(rest: AtRest) -> None:
    for _ in range(30):
        rest.world.write()
        await rest.go_on(1.0)
    shown = rest.api.stored.read_store()["status"]["regions"][0]["revision"]
    assert shown > 20
    before = rest.api.stored.read_store()["metadata"]["resourceVersion"]
    await rest.go_on(STANDS_SECONDS)
    rest.api.requests.clear()
    assert int(rest.api.stored.read_store()["metadata"]["resourceVersion"]) - int(before) <= 1, "once more, at the end"


async def test_replicas_are_compared_at_rest_when_that_is_due(compared: AtRest) -> None:
    compared.replicas.compared.clear()
    for _ in range(int(4 * HASH_SECONDS / IDLE_SECONDS)):
        compared.world.write()
        await compared.go_on(IDLE_SECONDS)
    replicas = ["orders-ap-south-0", "orders-eu-west-0", "orders-us-east-0"]
    assert sorted({name for _, name, _ in compared.replicas.compared}) == replicas, (
        "followers of the world have no data"
    )
    times = sorted({at for at, _, _ in compared.replicas.compared})
    assert len(times) >= 2
    assert all(after - before <= HASH_SECONDS + 2 * IDLE_SECONDS for before, after in itertools.pairwise(times))


async def test_a_difference_that_a_comparison_finds_at_rest_is_shown(compared: AtRest) -> None:
    compared.replicas.differs = "orders-eu-west-0"
    compared.world.write()
    await compared.go_on(HASH_SECONDS + 4 * IDLE_SECONDS)
    conditions = {item["type"]: item["status"] for item in compared.status["conditions"]}
    assert conditions["Diverged"] == "True"


async def test_a_certificate_is_renewed_at_rest_when_it_is_time(rest: AtRest) -> None:
    due = rest.world.now - CLOCK_SKEW + (CERTIFICATE_LIFETIME + CLOCK_SKEW) * RENEW_AFTER
    rest.world.now = due - timedelta(minutes=5)  # certificates are a minute old at most
    rest.world.replicate()
    requests = await rest.go_on(60.0)
    assert set(requests) <= {"get store", "patch status"}
    assert requests.count("get store") <= 6, "it has come to rest again"
    requests = await rest.go_on(300.0 + STANDS_SECONDS + COMPARE_SECONDS)
    assert [request for request in requests if request.startswith("apply Secret/")]


async def _seconds_until_failover(at_rest: AtRest) -> float:
    at_rest.world.kill("us-east")
    began = at_rest.seconds()
    while "failover" not in at_rest.status:
        assert at_rest.seconds() - began < 30.0
        await at_rest.go_on(0.1)
    return at_rest.seconds() - began


async def test_a_lost_primary_is_failed_over_as_soon_as_without_rest(
    rest: AtRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not rest.replicas.hurried
    seconds = await _seconds_until_failover(rest)
    assert rest.replicas.hurried, "its connections are opened before those of others"
    monkeypatch.setattr("rstore_operator.reconcile.rest_after", lambda *_, **__: None)
    restless = AtRest(monkeypatch)
    await restless.go_on(40.0)
    assert seconds <= await _seconds_until_failover(restless)
    await restless.loop.close()


async def test_a_request_is_carried_out_at_once(rest: AtRest) -> None:
    store = rest.api.stored.read_store()
    store["metadata"]["annotations"][FAILOVER_TO] = "eu-west"
    rest.api.stored.changed(store)
    rest.loop.object_changed(store["metadata"]["resourceVersion"])
    await rest.go_on(0.1)
    assert "failover" in rest.status
