"""Of which regions nothing is left, as tables: what is seen in, since when and for how long out."""

from __future__ import annotations

from typing import Any

import pytest
from rstore_api.domain.topology import RegionTopology, Topology
from rstore_operator.facts.absent import absent_for, absent_since
from rstore_operator.facts.observed import Claim, Observed, Pod, RegionObserved, ReplicaStatus
from rstore_operator.resource.state import SentTopology, StoreStatus

SET: tuple[str, str] = ("StatefulSet", "orders-east")
SENT = StoreStatus(sent_topologies=(SentTopology(1, 1, ("east",)),))
LEFT: list[dict[str, Any]] = [
    {"children": {SET: {"metadata": {}}}},
    {"orphans": {SET: {"metadata": {}}}},
    {"foreign": {SET: "somebody"}},
    {"elsewhere": frozenset({"east"})},
    {"claims": {"data-orders-east-2": Claim("data-orders-east-2", "1Gi", "1Gi", bound=True, terminating=True)}},
    {"regions": {"east": RegionObserved("east", (Pod("orders-east-0", "east", "", ready=False, terminating=True),))}},
    {
        "regions": {
            "east": RegionObserved(
                "east", (), (ReplicaStatus("orders-east-0", "east", "", False, "", 1, 1, 0, 0, False, False),)
            )
        }
    },
]


@pytest.mark.parametrize("left", LEFT, ids="-".join)
def test_a_region_is_there_while_anything_of_it_is(left: dict[str, Any]) -> None:
    assert absent_since({"east": 1.0}, "orders", Observed(**left), SENT, 7.0) == {}


def test_the_time_counts_from_the_first_look_that_shows_nothing() -> None:
    first = absent_since({}, "orders", Observed(), SENT, 7.0)
    assert absent_since(first, "orders", Observed(), SENT, 8.0) == first == {"east": 7.0}


def test_what_belongs_to_a_region_of_a_longer_name_is_not_its_own() -> None:
    other = {("StatefulSet", "orders-east-1"): {"metadata": {}}}
    claims = {"data-orders-east-1-0": Claim("data-orders-east-1-0", "1Gi", "1Gi", bound=True)}
    assert absent_since({}, "orders", Observed(children=other, claims=claims), SENT, 7.0) == {"east": 7.0}


def test_voters_that_only_a_replica_names_count_when_the_status_was_lost() -> None:
    topology = Topology(1, 1, "east", (RegionTopology("east", ()), RegionTopology("west", ())))
    leader = ReplicaStatus("orders-west-0", "west", "s", True, "", 1, 1, 1, 1, False, False, topology=topology)
    seen = Observed(regions={"west": RegionObserved("west", (), (leader,))})
    assert absent_since({}, "orders", seen, StoreStatus(), 7.0) == {"east": 7.0}


@pytest.mark.parametrize(
    ("wanted", "seconds", "expected"), [((), 9.9, set()), ((), 10.0, {"east"}), (("east",), 10.0, set())]
)
def test_absence_counts_after_the_wait_and_not_for_regions_of_the_spec(
    wanted: tuple[str, ...], seconds: float, expected: set[str]
) -> None:
    assert absent_for({"east": 7.0}, wanted, seconds, wait_seconds=3.0) == expected
