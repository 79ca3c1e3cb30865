"""A store whose pods cannot be created, or do not start, says within a minute which and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rstore_kube.errors import ApiError
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.facts.memory import Memory, Moment, remember
from rstore_operator.facts.observed import Claim, Observed, Pod, RegionObserved
from rstore_operator.planning.conditions.lacking_pods import (
    NOT_CREATED,
    NOT_STARTED,
    Question,
    ask_after_seconds,
    lacking_pods,
    newest_refusal,
)
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.resource.state import RegionStatus, StoreStatus
from unit.operator.fake_api import FakeApi
from unit.operator.world import REF, START, World

SET = "orders-us-east"
PREFIX = f"create Pod {SET}-0 in StatefulSet {SET} failed error: "
QUOTA = f'{PREFIX}pods "{SET}-0" is forbidden: failed quota: q: must specify limits.cpu for: replica'
LIMIT_RANGE = f'{PREFIX}pods "{SET}-0" is forbidden: maximum cpu usage per Container is 300m, but limit is 500m'
POD_SECURITY = f'{PREFIX}pods "{SET}-0" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
CONSTRAINT = (
    f'{PREFIX}pods "{SET}-0" is forbidden: unable to validate against any security context constraint: '
    "[.spec.securityContext.fsGroup: Invalid value: []int64{65532}]"
)
CLAIM = (
    f"create Claim data-{SET}-0 for Pod {SET}-0 in StatefulSet {SET} failed error: "
    f'persistentvolumeclaims "data-{SET}-0" is forbidden: exceeded quota: q, requested: requests.storage=1Gi'
)


class Life:
    """A store that is looked at once a second."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.seconds = 0.0
        site = Site(REF, api, api, lambda: self.seconds)
        self.loop = Reconciler(Sites(site), ReplicaImage("replica:1"), now=self.now, clock=lambda: self.seconds)

    def now(self) -> Any:
        return START + timedelta(seconds=self.seconds)

    async def go(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.loop.step()
            await asyncio.sleep(0)  # what runs beside it goes on
            self.seconds += 1

    def condition(self, kind: str) -> dict[str, Any]:
        assert self.api.store is not None
        return next(item for item in self.api.store["status"]["conditions"] if item["type"] == kind)

    def region(self, name: str) -> dict[str, Any]:
        assert self.api.store is not None
        return next(item for item in self.api.store["status"]["regions"] if item["name"] == name)


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    found = Life(FakeApi())
    yield found
    await found.loop.close()


def event(message: str, *, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    at = (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"message": message, "lastTimestamp": at, "involvedObject": {"uid": ""}, **more}


def pod(name: str, region: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"replicatedstore.io/region": region}}, "status": status}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


def unscheduled(reason: str, message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"phase": "Pending", "conditions": [condition]}


@pytest.mark.parametrize("refusal", [QUOTA, LIMIT_RANGE, POD_SECURITY, CONSTRAINT, CLAIM])
async def test_what_refuses_the_pods_is_reported(life: Life, refusal: str) -> None:
    life.api.failed[SET] = [event("an older one", seconds=-60), event(refusal)]
    await life.go(20)
    degraded, progressing = life.condition("Degraded"), life.condition("Progressing")
    assert (degraded["status"], degraded["reason"]) == ("True", "PodsNotCreated")
    said = f"{SET}-0, {SET}-1, {SET}-2: no pod was created; {refusal}"
    assert said in degraded["message"]
    assert (progressing["status"], progressing["reason"]) == ("True", "Creating")
    assert said in progressing["message"]
    assert life.region("us-east")["message"] == said
    assert "PodsNotCreated" in life.api.events


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "replica:nope"'),
            'ImagePullBackOff: Back-off pulling image "replica:nope"',
        ),
        (waiting("ErrImagePull", "not found"), "ErrImagePull: not found"),
        (waiting("CreateContainerConfigError", "couldn't find key x"), "CreateContainerConfigError: couldn't find key"),
        (waiting("InvalidImageName", "couldn't parse image"), "InvalidImageName: couldn't parse image"),
        (unscheduled("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu."), "Unschedulable: 0/3 nodes are"),
        (
            unscheduled("SchedulerError", 'storageclass.storage.k8s.io "no-such" not found'),
            'SchedulerError: storageclass.storage.k8s.io "no-such" not found',
        ),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no"}, "UnexpectedAdmissionError: no"),
    ],
)
async def test_why_pods_do_not_start_is_reported_while_the_store_is_created(life: Life, status: Any, said: str) -> None:
    life.api.pod_objects = [pod(f"orders-ap-south-{0}", "ap-south", **status)]
    life.api.pod_objects += [
        pod(f"orders-{region}-{i}", region, **status) for region in ("us-east", "eu-west") for i in range(3)
    ]
    await life.go(3)
    assert said in life.condition("Progressing")["message"]
    assert life.condition("Degraded")["status"] == "False", "an image or a node may take a while"
    await life.go(40)
    degraded = life.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "PodsNotStarted")
    assert f"ap-south: orders-ap-south-0: {said}" in degraded["message"]
    assert life.api.event_lists == [], "no pod is missing"


async def test_a_missing_storage_class_is_named_by_the_claim_that_waits_for_it(life: Life) -> None:
    status = unscheduled("Unschedulable", "pod has unbound immediate PersistentVolumeClaims")
    life.api.pod_objects = [pod(f"{SET}-{i}", "us-east", **status) for i in range(3)]
    for i in range(3):
        meta = {"name": f"data-{SET}-{i}"}
        life.api.claim_objects[f"data-{SET}-{i}"] = {
            "metadata": meta,
            "spec": {"storageClassName": "no-such"},
            "status": {"phase": "Pending"},
        }
    await life.go(3)
    said = "pod has unbound immediate PersistentVolumeClaims; its volume of StorageClass no-such is not bound"
    assert said in life.condition("Progressing")["message"]
    life.api.pod_objects = [pod(f"{SET}-{i}", "us-east", phase="Pending") for i in range(3)]
    await life.go(40)
    assert "its volume of StorageClass no-such is not bound" in life.condition("Degraded")["message"]


async def test_why_a_volume_is_not_bound_is_reported_as_its_claim_reports_it(life: Life) -> None:
    why = "failed to provision volume: rpc error: code = ResourceExhausted desc = no space left in pool"
    life.api.pod_objects = [pod(f"{SET}-0", "us-east", phase="Pending")]
    life.api.claim_objects[f"data-{SET}-0"] = {
        "metadata": {"name": f"data-{SET}-0", "uid": "c-1"},
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "100Gi"}}},
        "status": {"phase": "Pending"},
    }
    life.api.failed[f"data-{SET}-0"] = [
        event(why, involvedObject={"uid": "c-1"}),
        event("of the claim before", seconds=9, involvedObject={"uid": "c-0"}),
    ]
    await life.go(3)
    assert f"data-{SET}-0" not in life.api.event_lists, "a volume takes a moment"
    await life.go(20)
    assert f"its volume of StorageClass fast is not bound: {why}" in life.condition("Progressing")["message"]
    life.api.claim_objects[f"data-{SET}-0"]["status"] = {"phase": "Bound", "capacity": {"storage": "100Gi"}}
    await life.go(2)
    life.api.event_lists.clear()
    await life.go(60)
    assert f"data-{SET}-0" not in life.api.event_lists


async def test_without_the_right_to_list_events_the_store_says_where_to_look(life: Life) -> None:
    life.api.events_refused = ApiError(403, "Forbidden", "events is forbidden")
    await life.go(120)
    said = f"{SET}-0, {SET}-1, {SET}-2: no pod was created; see the events of StatefulSet/{SET}"
    assert said in life.condition("Degraded")["message"]
    assert len(life.api.event_lists) == 1, "who may not ask does not ask again at once"


async def test_a_broken_connection_is_tried_again(life: Life) -> None:
    life.api.events_refused = ConnectionError("no route")
    await life.go(10)
    life.api.events_refused = None
    life.api.failed[SET] = [event(QUOTA)]
    await life.go(20)
    assert QUOTA in life.condition("Degraded")["message"]


async def test_events_are_read_ever_more_seldom_and_not_at_all_once_the_pods_are_there(life: Life) -> None:
    await life.go(5)
    assert life.api.event_lists == [], "pods that were missing for a moment are being created"
    await life.go(55)
    first = life.api.event_lists.count(SET)
    assert 3 <= first <= 6
    await life.go(600)
    assert life.api.event_lists.count(SET) - first <= 15
    life.api.pod_objects = [
        pod(f"orders-{region}-{i}", region, phase="Pending")
        for region, count in (("us-east", 3), ("eu-west", 3), ("ap-south", 1))
        for i in range(count)
    ]
    await life.go(2)
    life.api.event_lists.clear()
    await life.go(100)
    assert life.api.event_lists == []
    assert life.condition("Degraded")["status"] == "False"


async def test_a_region_without_a_stateful_set_is_not_reported_as_complete(life: Life) -> None:
    life.api.broken = {("StatefulSet", "orders-eu-west")}
    await life.go(60)
    assert life.region("eu-west")["message"] == (
        "orders-eu-west: no pod was created; the StatefulSet does not exist yet"
    )
    assert life.condition("Degraded")["status"] == "True"


async def test_a_store_that_is_paused_from_the_start_lacks_nothing(life: Life) -> None:
    assert life.api.store is not None
    life.api.store["metadata"]["annotations"] = {"replicatedstore.io/paused": "true"}
    await life.go(60)
    assert life.condition("Degraded")["status"] == "False"
    assert life.region("eu-west")["message"] == "there are no pods"


QUESTION = Question(("StatefulSet", SET), "uid-2", (f"{SET}-0",), 10.0, None)


def test_the_newest_event_about_the_missing_pods_is_taken() -> None:
    events = [
        event("create Pod orders-us-east-2 in StatefulSet orders-us-east failed error: other", seconds=9),
        event(LIMIT_RANGE, seconds=1),
        event("", lastTimestamp=None, eventTime=None),
        event(QUOTA, seconds=-5, series={"lastObservedTime": "2026-01-01T00:00:05.000001Z"}),
        event(POD_SECURITY, seconds=30, involvedObject={"uid": "of another StatefulSet of that name"}),
    ]
    assert newest_refusal(events, QUESTION, START) == QUOTA
    assert newest_refusal(events[:1], QUESTION, START) == events[0]["message"], "better than nothing"
    assert newest_refusal([], QUESTION, START) == ""


def test_an_event_about_an_earlier_absence_is_not_taken() -> None:
    seen = replace(QUESTION, older_seconds=40.0)
    assert newest_refusal([event(QUOTA, seconds=-41)], seen, START) == ""
    assert newest_refusal([event(QUOTA, seconds=-39)], seen, START) == QUOTA


def test_how_often_events_are_read_is_bounded() -> None:
    assert [ask_after_seconds(replace(QUESTION, seconds=seconds)) for seconds in (5, 100, 1e9)] == [10.0, 25.0, 60.0]


class Lacking(World):
    """A world in which one pod of a region that runs is not there, or does not start."""

    lost: Pod | None = None

    def observed(self) -> Any:
        seen = super().observed()
        if self.lost is None:
            return seen
        region = seen.regions[self.lost.region]
        pods = tuple(pod for pod in region.pods if pod.name != self.lost.name)
        if self.lost.problem:
            pods = (*pods, self.lost)
        regions = {**seen.regions, region.name: RegionObserved(region.name, pods, region.replicas)}
        return replace(seen, regions=regions, refusals={("StatefulSet", SET): QUOTA})


@pytest.mark.parametrize(
    ("problem", "said"), [("", f"{SET}-2: no pod was created; {QUOTA}"), ("Unschedulable: no", f"{SET}-2: Unschedul")]
)
def test_a_running_store_says_why_a_replica_is_missing(problem: str, said: str) -> None:
    world = Lacking()
    world.settle()
    world.lost = Pod(f"{SET}-2", "us-east", "", ready=False, problem=problem)
    world.step(seconds=60)
    world.step()
    degraded = next(item for item in world.status["conditions"] if item["type"] == "Degraded")
    assert degraded["reason"] == "ReplicasMissing"
    assert f"us-east: 2 of 3 replicas are ready, {said}" in degraded["message"]


def lacking_row(
    *pods: Pod,
    wanted: int = 1,
    existing: bool = True,
    claims: tuple[Claim, ...] = (),
    refused: str = "",
    left_behind: str = "",
) -> Observed:
    child = {"metadata": {"name": SET, "uid": "u"}, "spec": {"replicas": wanted}}
    return Observed(
        regions={"us-east": RegionObserved("us-east", pods)},
        children={("StatefulSet", SET): child} if existing else {},
        claims={claim.name: claim for claim in claims},
        refusals={("StatefulSet", SET): refused} if refused else {},
        left_behind={left_behind: "node-7"} if left_behind else {},
    )


RUNNING = Pod(f"{SET}-0", "us-east", "10.0.0.1", ready=True)
PULLING = Pod(f"{SET}-0", "us-east", "10.0.0.1", ready=False, problem="ErrImagePull: no such image")
ENDING = Pod(f"{SET}-0", "us-east", "10.0.0.1", ready=True, terminating=True, node="n7", grace_seconds=60)
UNPLACED = Pod(f"{SET}-0", "us-east", "", ready=False)
UNBOUND = Claim(f"data-{SET}-0", "10Gi", "", bound=False, storage_class="fast")
LACK_ROWS: list[tuple[str, Observed, float, bool, tuple[str, str, bool] | None]] = [
    ("it runs", lacking_row(RUNNING), 60, False, None),
    ("it is being created", lacking_row(), 4, False, None),
    ("it is missing", lacking_row(), 6, False, (NOT_CREATED, "see the events of StatefulSet", True)),
    ("why it is missing is known", lacking_row(refused="a quota"), 6, False, (NOT_CREATED, "a quota", True)),
    ("one of two is missing", lacking_row(RUNNING, wanted=2), 6, False, (NOT_CREATED, f"{SET}-1: no pod", True)),
    ("no StatefulSet yet", lacking_row(existing=False), 29, False, None),
    ("no StatefulSet for long", lacking_row(existing=False), 31, False, (NOT_CREATED, "does not exist yet", True)),
    ("no StatefulSet in a pause", lacking_row(existing=False), 31, True, None),
    ("it has a problem", lacking_row(PULLING), 0, False, (NOT_STARTED, "ErrImagePull", False)),
    ("it has a problem for long", lacking_row(PULLING), 31, False, (NOT_STARTED, "ErrImagePull", True)),
    ("its volume is late", lacking_row(UNPLACED, claims=(UNBOUND,)), 4, False, None),
    ("its volume is not bound", lacking_row(UNPLACED, claims=(UNBOUND,)), 6, False,
     (NOT_STARTED, "StorageClass fast is not bound", False)),
    ("it is being deleted", lacking_row(ENDING), 119, False, None),
    ("its node does not end it", lacking_row(ENDING), 121, False,
     (NOT_STARTED, f"{SET}-0: it is being deleted, and node n7 does not report that it has ended", True)),
    ("one of a deleted store has its name", lacking_row(left_behind=f"{SET}-0"), 6, False,
     (NOT_CREATED, "one of a deleted store has its name, and node node-7 does not report", True)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("observed", "seconds", "paused", "expected"), [row[1:] for row in LACK_ROWS], ids=[row[0] for row in LACK_ROWS]
)
def test_what_a_region_lacks(
    observed: Observed, seconds: float, paused: bool, expected: tuple[str, str, bool] | None
) -> None:
    """``seconds``: for how long it has been so."""
    memory = Memory()
    for at in (100.0, 100.0 + seconds):
        memory = remember(memory, "orders", observed, STAYING, Moment(START, at))
    lacking = lacking_pods("orders", ("us-east",), observed, memory, paused=paused).get("us-east")
    if expected is None:
        assert lacking is None
    else:
        assert lacking is not None
        assert (lacking.reason, lacking.lasts) == (expected[0], expected[2])
        assert expected[1] in lacking.text


STAYING = StoreStatus(regions=(RegionStatus("us-east"),))
