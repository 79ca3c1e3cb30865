"""The loop around the planner: what is recorded first, what is done when somebody else was faster, when nothing is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from rstore_api.domain.kubernetes import Kind
from rstore_kube.errors import ApiError
from rstore_operator.cluster.child_view import ChildView
from rstore_operator.cluster.pods import is_of_former_store, read_pod
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.resource.state import OperatorName
from unit.operator.fake_api import FakeApi
from unit.operator.world import REF, START


@pytest.fixture
async def api_and_loop() -> Any:
    api = FakeApi()
    moments = iter(range(10_000))

    def ticks() -> float:
        return next(moments) * 0.01

    loop = Reconciler(Sites(Site(REF, api, api, ticks)), ReplicaImage("replica:1"), now=lambda: START, clock=ticks)
    yield api, loop
    await loop.close()


async def test_objects_are_made_and_then_left_alone(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    for _ in range(6):
        await loop.step()
    assert len(api.objects) == 3 + 3 + 18, sorted(api.objects)
    api.writes.clear()
    loop.children_changed()
    for _ in range(5):
        await loop.step()
    assert api.writes == []
    assert api.events.count("Created") == 3


async def test_nothing_is_done_when_somebody_else_recorded_first(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    api.beaten = True
    await loop.step()
    assert api.writes == []


async def test_a_status_that_the_api_refuses_is_reported_once_for_each_reason(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    api.deaf = True
    for refusal in ("phase: Unsupported value at 17", "phase: Unsupported value at 18", "epoch: must be less"):
        api.refusal = refusal
        for _ in range(3):
            with pytest.raises(ApiError, match=refusal):
                await loop.step()
            api.deaf = False
    assert api.writes == [], "nothing is done that is not recorded"
    assert api.events == ["StatusRefused", "StatusRefused"]
    assert "apply the chart's crds" in api.messages[0]
    assert api.messages[0].endswith("phase: Unsupported value at 17")
    api.refusal = ""
    await loop.step()
    assert api.writes[0] == "status"


async def test_an_object_that_the_api_refuses_is_reported_and_the_others_are_made(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    api.broken.add(("ConfigMap", "orders-eu-west"))
    for _ in range(4):
        await loop.step()
    assert ("StatefulSet", "orders-us-east") in api.objects
    degraded = next(item for item in api.store["status"]["conditions"] if item["type"] == "Degraded")
    assert "orders-eu-west is invalid" in degraded["message"]
    api.broken.clear()
    for _ in range(4):
        await loop.step()
    degraded = next(item for item in api.store["status"]["conditions"] if item["type"] == "Degraded")
    assert degraded["status"] == "False"


async def test_somebody_elses_object_is_not_touched_even_without_labels(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    theirs = {"kind": "Service", "metadata": {"name": "orders", "uid": "x", "resourceVersion": "1"}, "spec": {}}
    api.objects[("Service", "orders")] = copy.deepcopy(theirs)
    for _ in range(4):
        await loop.step()
    assert api.objects[("Service", "orders")] == theirs
    assert "NameTaken" in api.events


async def test_an_authority_that_the_watch_has_not_shown_yet_is_not_replaced(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    for _ in range(3):
        await loop.step()
    before = copy.deepcopy(api.objects[("Secret", "orders-ca")]["data"])
    fresh = Reconciler(Sites(Site(REF, api, _Blind(api))), ReplicaImage("replica:1"), now=lambda: START)
    for _ in range(3):
        await fresh.step()
    await fresh.close()
    assert api.objects[("Secret", "orders-ca")]["data"] == before


class _ChangedMeanwhile(FakeApi):
    """``meanwhile`` is called once after the object was read, before the step that reads it decides."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        body = await super().get(kind, namespace, name)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return body


async def test_a_change_of_the_spec_during_a_step_is_applied_by_the_next_one() -> None:
    api, seconds = _ChangedMeanwhile(), [0.0]
    loop = Reconciler(
        Sites(Site(REF, api, api)), ReplicaImage("replica:1"), now=lambda: START, clock=lambda: seconds[0]
    )
    for _ in range(6):
        await loop.step()
    assert api.store is not None

    def change() -> None:
        api.store["spec"]["security"] = {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}}
        api.store["metadata"]["resourceVersion"] = "999"
        assert loop.object_changed("999")

    api.meanwhile = change
    await loop.step()
    await loop.step()
    await loop.close()
    assert "10.1.2.3/32" in str(api.objects[("NetworkPolicy", "orders")]["spec"])


async def test_a_change_that_a_step_reads_before_the_watch_shows_it_is_applied_by_that_step(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    for _ in range(6):
        await loop.step()
    api.store["spec"]["security"] = {"networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}}
    api.store["metadata"]["resourceVersion"] = "999"
    await loop.step()
    assert "10.1.2.3/32" in str(api.objects[("NetworkPolicy", "orders")]["spec"])


OURS, THEIRS = OperatorName("system", "rstore"), OperatorName("elsewhere", "rstore")


class _Rival:
    """Another installation, which acts while ``who`` is not empty."""

    def __init__(self) -> None:
        self.who = "elsewhere/rstore (pod-1)"
        self.asked: list[OperatorName] = []

    async def acting(self, name: OperatorName) -> str:
        self.asked.append(name)
        return self.who


async def test_the_installation_is_persisted_before_anything_is_done() -> None:
    api = FakeApi()
    loop = Reconciler(Sites(Site(REF, api, api)), ReplicaImage("replica:1"), operator=OURS, now=lambda: START)
    await loop.step()
    await loop.close()
    assert api.writes[0] == "status"
    assert api.store is not None
    assert api.store["status"]["operator"] == {"namespace": "system", "lease": "rstore"}


async def test_a_store_that_another_installation_runs_is_left_alone_until_that_one_is_gone() -> None:
    api, rival = FakeApi(), _Rival()
    loop = Reconciler(
        Sites(Site(REF, api, api)), ReplicaImage("replica:1"), operator=OURS, others=rival.acting, now=lambda: START
    )
    assert api.store is not None
    api.store["status"] = {"operator": {"namespace": "elsewhere", "lease": "rstore"}}
    for _ in range(3):
        await loop.step()
    await loop.cannot_look("pods: forbidden")
    assert api.writes == []
    assert api.events == ["RunByAnother"], "once"
    assert "run by the operator elsewhere/rstore (pod-1)" in api.messages[0]
    assert set(rival.asked) == {THEIRS}
    rival.who = ""
    await loop.step()
    await loop.close()
    assert api.writes[0] == "status"
    assert api.store["status"]["operator"] == {"namespace": "system", "lease": "rstore"}


async def test_a_step_under_way_does_nothing_more_once_the_lease_is_lost() -> None:
    api = FakeApi()
    answers = iter([True] * 4 + [False] * 1000)  # before the status is recorded, and before three actions
    loop = Reconciler(
        Sites(Site(REF, api, api)), ReplicaImage("replica:1"), may_act=lambda: next(answers), now=lambda: START
    )
    for _ in range(3):
        await loop.step()
    await loop.close()
    assert api.writes[0] == "status"
    assert len(api.writes) <= 1 + 3


class _Blind:
    """A watch that has not shown anything yet."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api

    def children(self) -> list[dict[str, Any]]:
        return []

    def pods(self) -> list[dict[str, Any]]:
        return []

    def requested_bases(self) -> list[dict[str, Any]]:
        return []

    def claims(self) -> list[dict[str, Any]]:
        return []


async def test_an_invalid_annotation_is_answered_once(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    for _ in range(4):
        await loop.step()
    api.store["metadata"]["annotations"] = {"replicatedstore.io/failover-to": "mars"}
    loop.invalidate()
    for _ in range(4):
        await loop.step()
    assert api.store["metadata"]["annotations"] == {}
    assert api.events.count("UnknownRegion") == 1


async def test_events_that_the_api_server_cannot_take_now_are_posted_later_in_their_order(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    api.deaf = True
    for _ in range(4):
        await loop.step()
    assert api.events == []
    api.store["metadata"]["annotations"] = {"replicatedstore.io/failover-to": "mars"}
    loop.invalidate()
    for _ in range(2):
        await loop.step()
    api.deaf = False
    await loop.step()
    assert api.events.count("Created") == 3
    assert api.events[-1] == "UnknownRegion"
    before = list(api.events)
    await loop.step()
    assert api.events == before


async def test_events_that_will_never_be_taken_hold_up_no_others(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    api.unwelcome = {"Created"}
    api.store["metadata"]["annotations"] = {"replicatedstore.io/failover-to": "mars"}
    for _ in range(6):
        await loop.step()
    assert "Created" not in api.events
    assert api.events.count("UnknownRegion") == 1


async def test_an_annotation_that_changed_meanwhile_is_not_answered_by_its_old_value(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    for _ in range(4):
        await loop.step()
    api.store["metadata"]["annotations"] = {"replicatedstore.io/failover-to": "mars"}
    api.overtaken = True
    loop.invalidate()
    await loop.step()
    assert "UnknownRegion" not in api.events
    assert "ActionFailed" not in api.events
    api.overtaken = False
    await loop.step()
    assert api.events.count("UnknownRegion") == 1


async def test_an_object_that_is_being_deleted_or_gone_is_left_alone(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    api.store["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert await loop.step() is None
    api.store = None
    loop.invalidate()
    assert await loop.step() is None
    assert api.writes == []


async def test_the_operators_own_write_in_the_watch_wakes_nothing(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    await loop.step()
    assert not loop.object_changed(api.store["metadata"]["resourceVersion"])
    assert loop.object_changed("999999")


def test_the_view_is_ahead_of_the_watch_where_we_wrote() -> None:
    now = [0.0]
    view = ChildView(REF, lambda: now[0])
    owner = [{"uid": REF.uid, "controller": True}]
    old = {"kind": "Service", "metadata": {"name": "a", "resourceVersion": "5", "ownerReferences": owner}}
    new = {"kind": "Service", "metadata": {"name": "a", "resourceVersion": "7", "ownerReferences": owner}}
    key = ("Service", "a")
    view.wrote(key, old, new, "h")
    assert view.join([old]).children[key] is new
    newer = copy.deepcopy(new)
    newer["metadata"]["resourceVersion"] = "9"
    assert view.join([newer]).children[key] is newer
    assert view.join([old]).children[key] is old, "what the watch has overtaken is forgotten"
    view.wrote(key, old, new, "h")
    now[0] = 60.0
    assert view.join([]).children == {}, "a deletion wins after a while"
    view.wrote(key, new, new, "h")
    assert view.settled[key] == ("h", "7")
    theirs = {"kind": "Service", "metadata": {"name": "b", "ownerReferences": [{"uid": "other", "controller": True}]}}
    assert set(view.join([theirs]).foreign) == {("Service", "b")}


def test_a_pod_is_read_as_the_kubelet_writes_it() -> None:
    body = {
        "metadata": {"name": "orders-a-0", "labels": {"replicatedstore.io/region": "a"}},
        "status": {"phase": "Running", "podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]},
    }

    def host(region: str, pod: str) -> str:
        return f"{pod}.{region}"

    pod = read_pod(body, host)
    assert pod is not None
    assert (pod.ip, pod.host, pod.ready, pod.problem) == ("10.0.0.9", "orders-a-0.a", True, "")
    body["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such"}}}]
    assert read_pod(body, host).problem == "ErrImagePull: no such"  # type: ignore[union-attr]
    line = '{"level":"error","event":"not_started","reason":"the volume holds data of region west of store orders-eu"}'
    for ended in ({"state": {"terminated": {"exitCode": 1, "message": f"more\n{line}\n"}}}, {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
        "lastState": {"terminated": {"exitCode": 1, "message": line}},
    }):  # fmt: skip
        body["status"]["containerStatuses"] = [ended]
        assert read_pod(body, host).problem.endswith("the volume holds data of region west of store orders-eu")  # type: ignore[union-attr]
    for said in ("Traceback", "[]", '{"level":"info","reason":"x"}', ""):
        body["status"]["containerStatuses"] = [{
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {"exitCode": 1, "message": said}},
        }]  # fmt: skip
        assert read_pod(body, host).problem == "CrashLoopBackOff: back-off 10s"  # type: ignore[union-attr]
    body["metadata"]["labels"] = {}
    assert read_pod(body, host) is None


SHELLS = [
    "reconcile.observe",
    "reconcile.remember",
    "planner.plan.read_spec",
    "planner.plan.read_truth",
    "reconcile.plan",
    "reconcile.hashes.next_round",
    "reconcile.due",
    "reconcile.status_to_json",
]


@pytest.mark.parametrize("shell", SHELLS)
async def test_whatever_breaks_around_a_decision_is_a_condition_and_an_event(
    shell: str, api_and_loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, loop = api_and_loop
    for _ in range(3):
        await loop.step()
    known = {item["type"] for item in api.store["status"]["conditions"]}

    def broken(*_given: object, **_more: object) -> None:
        raise ZeroDivisionError("x" * 5000)

    with monkeypatch.context() as patch:
        patch.setattr(f"rstore_operator.{shell}", broken)
        api.events.clear()
        api.store["metadata"]["annotations"] = {"replicatedstore.io/paused": "true"}
        loop.invalidate()
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await loop.step()
    assert api.events == ["PlanningFailed"]
    degraded = _condition(api, "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "PlanningFailed")
    assert "ZeroDivisionError" in degraded["message"]
    assert len(degraded["message"]) <= 1000
    assert _condition(api, "Ready")["status"] == "Unknown"
    assert {item["type"] for item in api.store["status"]["conditions"]} == known
    for _ in range(3):
        await loop.step()
    assert _condition(api, "Degraded")["reason"] != "PlanningFailed"


async def test_an_action_that_breaks_is_reported_and_the_others_are_carried_out(
    api_and_loop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, loop = api_and_loop
    real = api.answer

    async def answer(request: str, work: Any) -> Any:
        if request.startswith("apply ConfigMap/"):
            raise ZeroDivisionError("by zero")
        return await real(request, work)

    monkeypatch.setattr(api, "answer", answer)
    for _ in range(4):
        await loop.step()
    assert ("StatefulSet", "orders-us-east") in api.objects
    degraded = _condition(api, "Degraded")
    assert (degraded["reason"], "by zero" in degraded["message"]) == ("ActionFailed", True)


async def test_a_record_that_cannot_be_read_is_a_condition_and_an_event(api_and_loop: Any) -> None:
    api, loop = api_and_loop
    for _ in range(3):
        await loop.step()
    api.store["status"]["failover"] = {"mode": "Sideways"}
    loop.invalidate()
    api.events.clear()
    for _ in range(3):
        with pytest.raises(ValueError, match="cannot read"):
            await loop.step()
    assert api.events == ["PlanningFailed"]
    assert "status.failover" in _condition(api, "Degraded")["message"]
    assert api.store["status"]["failover"] == {"mode": "Sideways"}


def _condition(api: FakeApi, kind: str) -> dict[str, Any]:
    assert api.store is not None
    return next(item for item in api.store["status"]["conditions"] if item["type"] == kind)


def _pod_of(stateful_set: str | None, *, created: str, deleted: bool) -> dict:
    meta: dict = {"name": "orders-us-east-0", "creationTimestamp": created}
    if stateful_set is not None:
        meta["ownerReferences"] = [{"kind": "StatefulSet", "uid": stateful_set, "controller": True}]
    if deleted:
        meta["deletionTimestamp"] = "2026-01-01T00:00:20Z"
    return {"metadata": meta}


@pytest.mark.parametrize(
    ("pod", "former"),
    [
        (_pod_of("old", created="2026-01-01T00:00:01Z", deleted=True), True),
        (_pod_of("old", created="2026-01-01T00:00:01Z", deleted=False), False),
        (_pod_of("ours", created="2026-01-01T00:00:01Z", deleted=True), False),
        (_pod_of("replaced", created="2026-01-01T00:00:15Z", deleted=True), False),
        (_pod_of(None, created="2026-01-01T00:00:01Z", deleted=True), False),
    ],
    ids=["left by a deleted store", "not on its way out", "ours", "of a StatefulSet that was replaced", "an orphan"],
)
def test_pods_that_a_deleted_store_of_the_same_name_has_left_are_not_ours(pod: dict, former: bool) -> None:
    """They go on for a while, and answer: with another store id, another epoch, another primary."""
    children = {("StatefulSet", "orders-us-east"): {"metadata": {"uid": "ours"}}}
    assert is_of_former_store(pod, children, "2026-01-01T00:00:10Z") is former
