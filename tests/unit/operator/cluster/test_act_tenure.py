"""Fencing and granting: what is counted from which clock, and that nothing is granted against a persisted promise."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from rstore_api.methods import ADMIN_WITNESS_GRANT
from rstore_api.proto import rstore_pb2
from rstore_operator.cluster.act_tenure import fence, grant_as_witness
from rstore_operator.cluster.site import Site
from rstore_operator.facts.actions import Fence, GrantTenure, Target
from rstore_operator.failover.voting import Electorate
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.state import (
    AUTOMATIC,
    FailoverIntent,
    QuarantinedTail,
    RegionStatus,
    Step,
    StepTime,
    StoreStatus,
    Trigger,
    WitnessTenure,
)
from rstore_operator.resource.state_json import status_from_json, status_to_json

REF = StoreRef("default", "orders", "uid-1")
TARGET = Target("orders-us-east-0", "10.0.0.1", "orders-us-east-0.orders-us-east-peers.default.svc")
GRANT = GrantTenure("us-east", TARGET, "id", 3, 17, 3000)
RECORD = WitnessTenure(3000, 3000, 1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTENT = FailoverIntent(
    mode=AUTOMATIC,
    trigger=Trigger.PRIMARY_LOST,
    from_region="us-east",
    from_epoch=3,
    epoch=4,
    step=Step.FENCING,
    started_at=NOW,
    steps=(StepTime(Step.FENCING, NOW),),
)


class FakeReplicas:
    def __init__(self) -> None:
        self.granted: list[tuple[str, int, int]] = []

    async def call(self, target: Target, method: object, request: Any, *, timeout_seconds: float) -> Any:
        if method is ADMIN_WITNESS_GRANT:
            self.granted.append((request.store_id, request.epoch, request.round))
            return rstore_pb2.WitnessGrantResponse(counted=True)
        return rstore_pb2.FenceResponse(
            epoch=3, revision=42, remaining_grant_ms=1000, in_sync_epoch=3, in_sync_regions=2
        )


class FakeStore:
    def __init__(self, status: StoreStatus, uid: str = "uid-1") -> None:
        self.body = {"metadata": {"uid": uid}, "status": status_to_json(status)}

    async def get(self, kind: object, namespace: str, name: str) -> dict[str, Any]:
        return self.body


@pytest.mark.parametrize(
    ("status", "uid", "grants"),
    [
        (StoreStatus(promised_epoch=3, witness_tenure=RECORD), "uid-1", True),
        (StoreStatus(promised_epoch=4, witness_tenure=RECORD), "uid-1", False),
        (StoreStatus(promised_epoch=3, witness_tenure=RECORD, failover=INTENT), "uid-1", False),
        (StoreStatus(promised_epoch=3, witness_tenure=RECORD), "uid-2", False),
        (StoreStatus(promised_epoch=3, witness_tenure=WitnessTenure(2999, 5000, 2)), "uid-1", False),
    ],
    ids=["nothing promised", "promised", "an intent recorded", "another object of the name", "less recorded"],
)
async def test_the_witness_grants_unless_it_has_promised_more(status: StoreStatus, uid: str, grants: bool) -> None:
    replicas = FakeReplicas()
    await grant_as_witness(Site(REF, FakeStore(status, uid), None), replicas, GRANT)  # type: ignore[arg-type]
    assert replicas.granted == ([("id", 3, 17)] if grants else [])


async def test_a_grant_counts_from_when_the_answer_came_and_a_little_longer() -> None:
    moments = iter([100.0])
    answer = await fence(FakeReplicas(), Fence("eu-west", TARGET, "id", 4), lambda: next(moments))  # type: ignore[arg-type]
    assert (answer.region, answer.epoch, answer.data_epoch, answer.revision) == ("eu-west", 4, 3, 42)
    assert 101.0 < answer.clear_at_seconds < 101.1
    assert (answer.in_sync_epoch, answer.in_sync_regions) == (3, 2)


def test_a_failover_and_tails_are_read_back_as_written() -> None:
    tail = QuarantinedTail(3, 10, 12, 3, 512, "3-10-12.wal", 4)
    status = StoreStatus(
        failover=INTENT, witness_tenure=RECORD, regions=(RegionStatus("us-east", quarantined=(tail,)),)
    )
    assert status_from_json(status_to_json(status)) == status


def test_a_majority_is_needed_of_every_topology() -> None:
    voters = Electorate(frozenset({frozenset("abc"), frozenset("abcde")}))
    assert not voters.decides("ab")
    assert voters.decides("abd")
    assert "3 are needed" in voters.shortfall("ab")
    assert voters.shortfall("abd") == ""
    assert not Electorate(frozenset()).decides("abc")
