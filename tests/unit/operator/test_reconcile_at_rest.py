"""A store at rest costs the API server nothing, and whatever happens to it is noticed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from rstore_api.domain.kubernetes import REGION_LABEL, REVISION_LABEL
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.facts.observed import Pod, ReplicaStatus
from rstore_operator.planner.plan import IDLE_SECONDS
from rstore_operator.planner.rest import STANDS_SECONDS
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage
from unit.operator.fake_api import FakeApi
from unit.operator.lossy_world import LossyWorld, running
from unit.operator.world import REF


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

    def unanswered_seconds(self) -> dict[str, float]:
        return dict(self.unanswered)


class AtRest:
    """A steady store of three regions, and the reconciler that looks after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = running([("us-east", 3), ("eu-west", 1), ("ap-south", 1)])
        self.replicas = WorldReplicas(self.world)
        monkeypatch.setattr("rstore_operator.reconcile.Replicas", lambda _clock: self.replicas)
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
            self.world.now += timedelta(seconds=max(wait, 0.1))
            self.world.replicate()
        return list(self.api.requests)


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


async def test_a_store_at_rest_costs_the_api_server_one_read_in_a_while(rest: AtRest) -> None:
    rest.replicas.asked.clear()
    requests = await rest.go_on(10 * STANDS_SECONDS)
    assert set(requests) == {"get store"}
    assert len(requests) <= 2 * 10
    looks = 10 * STANDS_SECONDS / IDLE_SECONDS
    assert rest.replicas.asked.count("orders-us-east-0") == pytest.approx(looks, rel=0.1), "leaders are asked each time"
    assert rest.replicas.asked.count("orders-us-east-1") <= 2 * 10, "followers are not"


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
