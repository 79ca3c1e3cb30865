"""A store that is made again over kept volumes says what it waits for."""

from __future__ import annotations

import pytest
from rstore_api.domain.topology import RegionTopology, Topology
from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed, RegionObserved, ReplicaStatus
from rstore_operator.facts.truth import read_truth
from rstore_operator.planning.bootstrap import plan_bootstrap
from rstore_operator.resource.state import StoreStatus


def _secondary_of(primary: str) -> Observed:
    """Region a has data of epoch 1, and is not its primary."""
    topology = Topology(1, 1, primary, (RegionTopology("a", ()), RegionTopology(primary, ())))
    replica = ReplicaStatus("a-0", "a", "store-1", True, "a-0", 1, 7, 1, 1, False, False, topology=topology)
    fresh = ReplicaStatus("c-0", "c", "", True, "c-0", 1, 1, 0, 0, False, False)
    return Observed({"a": RegionObserved("a", (), (replica,)), "c": RegionObserved("c", (), (fresh,))})


@pytest.mark.parametrize(
    ("regions", "said"),
    [(("a", "c"), "whose primary is b; add b to spec.regions again"), (("a", "b", "c"), "waiting for a leader in b")],
)
def test_a_primary_that_the_spec_does_not_name_is_asked_for(regions: tuple[str, ...], said: str) -> None:
    observed = _secondary_of("b")
    found = plan_bootstrap(regions, observed, read_truth(observed, Memory(), StoreStatus()), "", "fresh")
    assert said in found.waiting
    assert found.store_id in ("", "store-1")
