"""The operator's wall clock may be set while a region is silent: how long it has been silent stays what it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rstore_api.domain.kubernetes import REGION_LABEL
from rstore_operator import reconcile
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.planner.plan import PlanInput
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.resource.state import PLANNED, FailoverIntent, Step, StepTime, StoreStatus, Trigger
from rstore_operator.resource.state_json import status_to_json
from unit.operator.fake_api import FakeApi
from unit.operator.world import REF, START


def silent_pods() -> list[dict[str, Any]]:
    return [{"metadata": {"name": "orders-us-east-0", "labels": {REGION_LABEL: "us-east"}}, "status": {}}]


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1)])
async def test_silence_is_measured_by_the_monotonic_clock(jump: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    api, seen, wall, seconds = FakeApi(), [], [START], [100.0]
    monkeypatch.setattr(api, "pods", silent_pods)
    sites = Sites(Site(REF, api, api, lambda: seconds[0]))
    loop = Reconciler(sites, ReplicaImage("replica:1"), now=lambda: wall[0], clock=lambda: seconds[0])
    decide = reconcile.plan

    def watched(given: PlanInput) -> Any:
        seen.append((given.now - given.memory.silent_since["us-east"]).total_seconds())
        return decide(given)

    monkeypatch.setattr(reconcile, "plan", watched)
    await loop.step()
    wall[0], seconds[0] = wall[0] + jump, seconds[0] + 1.5
    await loop.step()
    wall[0], seconds[0] = wall[0] + timedelta(seconds=1), seconds[0] + 1.0
    await loop.step()
    await loop.close()
    assert seen == pytest.approx([0.0, 1.5, 2.5])


INTENT = FailoverIntent(
    mode=PLANNED,
    trigger=Trigger.ANNOTATION,
    from_region="us-east",
    to_region="eu-west",
    from_epoch=1,
    epoch=2,
    step=Step.DEMOTING,
    started_at=START,
    steps=(StepTime(Step.DEMOTING, START),),
)


@pytest.mark.parametrize("jump", [timedelta(hours=-1), timedelta(hours=1)])
async def test_a_change_of_primary_takes_as_long_as_it_takes(jump: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    api, seen, wall, seconds = FakeApi(), [], [START], [100.0]
    sites = Sites(Site(REF, api, api, lambda: seconds[0]))
    loop = Reconciler(sites, ReplicaImage("replica:1"), now=lambda: wall[0], clock=lambda: seconds[0])
    decide = reconcile.plan

    def watched(given: PlanInput) -> Any:
        seen.append((given.now - START).total_seconds())
        return decide(given)

    monkeypatch.setattr(reconcile, "plan", watched)
    await loop.step()
    assert api.store is not None
    api.store["status"] = status_to_json(StoreStatus(store_id="s", primary_region="us-east", epoch=1, failover=INTENT))
    loop.invalidate()
    wall[0], seconds[0] = wall[0] + jump, seconds[0] + 2
    await loop.step()
    seconds[0] += 3
    await loop.step()
    api.store["status"]["failover"] = None
    loop.invalidate()
    await loop.step()
    await loop.close()
    assert seen == pytest.approx([0.0, 2.0, 5.0, jump.total_seconds()])
