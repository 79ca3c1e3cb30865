"""What a scrape of the operator says, and that a scrape of its port says it."""

from __future__ import annotations

import asyncio
import copy
import gc
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from rstore_kube.errors import ApiError
from rstore_operator import metrics as module
from rstore_operator.cluster.site import Site, Sites
from rstore_operator.controller import Controller, outcome_of
from rstore_operator.health import HealthServer
from rstore_operator.metrics import Look, OperatorMetrics
from rstore_operator.reconcile import Reconciler
from rstore_operator.resource.model import ReplicaImage, StoreRef
from rstore_operator.resource.state import Condition, Outcome, Phase, Receipt, RegionStatus, StoreStatus, Trigger
from rstore_operator.specs.certificates import make_authority, new_key
from rstore_operator.specs.secrets import CA_CERT, with_data
from unit.operator.fake_api import FakeApi
from unit.operator.world import REF, START

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUS = StoreStatus(
    phase=Phase.STEADY,
    primary_region="us-east",
    epoch=3,
    conditions=(Condition("Ready", "True", "r", "m", 1, NOW), Condition("InSync", "Unknown", "r", "m", 1, NOW)),
    regions=(
        RegionStatus("us-east", replicas=3, ready_replicas=2),
        RegionStatus("eu-west", replicas=1, ready_replicas=1, connected=True),
    ),
)


def samples(metrics: OperatorMetrics) -> dict[str, float]:
    """Every sample by its name and labels, as PromQL writes them."""
    metrics.take_reading()
    result = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            result[f"{sample.name}{{{labels}}}"] = sample.value
    return result


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def metrics(clock: list[float]) -> OperatorMetrics:
    return OperatorMetrics("1.2.3", lambda: clock[0])


def test_what_stores_were_like_is_not_kept_until_the_next_scrape(metrics: OperatorMetrics) -> None:
    status = copy.copy(STATUS)
    metrics.looked(REF, status, {})
    samples(metrics)
    metrics.forget(REF)
    gc.collect()
    assert not [one for one in gc.get_referrers(status) if isinstance(one, Look)]


def test_a_store_is_shown_until_it_is_forgotten(metrics: OperatorMetrics, clock: list[float]) -> None:
    authority = make_authority("default/orders", new_key(), NOW)
    secret = with_data({"metadata": {}}, {CA_CERT: authority.certificate})
    metrics.looked(REF, STATUS, {("Secret", "orders-ca"): secret, ("Secret", "broken"): {"data": {"tls.crt": "eA=="}}})
    clock[0] += 7
    shown = samples(metrics)
    of = f"namespace={REF.namespace}"
    store = f"store={REF.name}"
    assert shown[f"rstore_operator_store_unobserved_seconds{{{of},{store}}}"] == 7
    assert shown[f"rstore_operator_store_phase{{{of},phase=Steady,{store}}}"] == 1
    assert shown[f"rstore_operator_store_phase{{{of},phase=Degraded,{store}}}"] == 0
    assert shown[f"rstore_operator_store_condition{{condition=Ready,{of},{store}}}"] == 1
    assert shown[f"rstore_operator_store_condition{{condition=InSync,{of},{store}}}"] == -1
    assert shown[f"rstore_operator_region_ready_replicas{{{of},region=us-east,{store}}}"] == 2
    assert shown[f"rstore_operator_region_connected{{{of},region=eu-west,{store}}}"] == 1
    assert f"rstore_operator_region_connected{{{of},region=us-east,{store}}}" not in shown
    expiry = shown[f"rstore_operator_certificate_expiry_timestamp_seconds{{{of},secret=orders-ca,{store}}}"]
    assert expiry > (NOW + timedelta(days=365)).timestamp()
    assert not any("secret=broken" in name for name in shown)
    metrics.forget(REF)
    assert not any(store in name for name in samples(metrics))


def test_stores_beyond_the_bound_are_counted(metrics: OperatorMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STORES", 2)
    for name in ("c", "a", "b"):
        metrics.looked(StoreRef("default", name, name), STATUS, {})
    shown = samples(metrics)
    assert shown["rstore_operator_stores_without_series{}"] == 1
    assert {name for name in ("a", "b", "c") if any(f"store={name}" in one for one in shown)} == {"a", "b"}


def test_each_change_of_primary_is_counted_once(metrics: OperatorMetrics) -> None:
    older = Receipt(Trigger.SPEC, Outcome.SUCCEEDED, epoch=2, mode="Planned")
    newer = Receipt(
        Trigger.PRIMARY_LOST, Outcome.SUCCEEDED, epoch=3, mode="Automatic", write_gap_seconds=2.5, revisions_lost=4
    )
    before, after = replace(STATUS, history=(older,)), replace(STATUS, history=(older, newer))
    metrics.recorded(before, after)
    metrics.recorded(after, replace(after, history=(older, replace(newer, revisions_lost=5))))
    shown = samples(metrics)
    assert shown["rstore_operator_primary_changes_total{mode=Automatic,outcome=Succeeded,trigger=PrimaryLost}"] == 1
    assert shown["rstore_operator_primary_changes_total{mode=Planned,outcome=Succeeded,trigger=Spec}"] == 0
    assert shown["rstore_operator_primary_change_write_gap_seconds_sum{mode=Automatic}"] == 2.5
    assert shown["rstore_operator_revisions_lost_total{}"] == 4


async def test_a_reconciler_shows_its_store_and_counts_its_actions(metrics: OperatorMetrics) -> None:
    api = FakeApi()
    api.broken.add(("ConfigMap", "orders-eu-west"))
    moments = iter(range(10_000))

    def ticks() -> float:
        return next(moments) * 0.01

    loop = Reconciler(
        Sites(Site(REF, api, api, ticks)),
        ReplicaImage("replica:1"),
        now=lambda: START,
        clock=ticks,
        metrics=metrics,
    )
    for _ in range(4):
        await loop.step()
    shown = samples(metrics)
    assert shown["rstore_operator_actions_total{action=Apply,outcome=done}"] > 5
    assert shown["rstore_operator_actions_total{action=Apply,outcome=failed}"] >= 1
    assert any(name.startswith("rstore_operator_certificate_expiry") and "orders-ca" in name for name in shown)
    await loop.close()
    assert not any("store=orders" in name for name in samples(metrics))


class Failing:
    """A reconciler whose step raises."""

    def __init__(self) -> None:
        self.steps = 0
        self.stepped = asyncio.Event()

    async def step(self) -> float:
        self.steps += 1
        self.stepped.set()
        raise ApiError(500, "InternalError", "out of order")

    def invalidate(self) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


async def test_steps_are_counted_by_outcome_and_stores_by_state(metrics: OperatorMetrics) -> None:
    failing: Any = Failing()
    controller = Controller(lambda _ref: failing, failed=lambda _error: None, stepped=metrics.stepped)
    metrics.watch(controller.states, lambda: 2, lambda: True)
    controller.begin()
    controller.store_changed(REF, "1")
    async with asyncio.timeout(10):
        await failing.stepped.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    shown = samples(metrics)
    assert shown["rstore_operator_reconciles_total{outcome=refused}"] == failing.steps
    assert shown["rstore_operator_reconcile_seconds_count{}"] == failing.steps
    assert shown["rstore_operator_stores{state=backing_off}"] == 1
    assert shown["rstore_operator_stores{state=stepping}"] == 0
    assert shown["rstore_operator_leading{}"] == 1
    assert shown["rstore_operator_watches_out_of_step{}"] == 2
    await controller.close()


def test_outcomes_tell_the_api_from_the_network_and_from_defects() -> None:
    assert outcome_of(ApiError(409, "Conflict", "")) == "refused"
    assert outcome_of(ConnectionError()) == "unreachable"
    assert outcome_of(ValueError()) == "failed"


async def test_the_port_serves_the_metrics(metrics: OperatorMetrics, unused_tcp_port: int) -> None:
    metrics.requested("get", "replicatedstores", 200, 0.004)
    server = HealthServer("127.0.0.1", unused_tcp_port, tuple, metrics)
    await server.start()
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{unused_tcp_port}/metrics") as answer,
        ):
            assert answer.status == 200
            text = await answer.text()
    finally:
        await server.close()
    assert 'rstore_operator_api_requests_total{code="200",kind="replicatedstores",verb="get"} 1.0' in text
    assert 'rstore_operator_info{version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text
