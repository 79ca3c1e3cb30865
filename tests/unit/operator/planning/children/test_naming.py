"""Names that stores and regions must not have, and that no two objects of a store ever share a name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.domain import names
from rstore_api.domain.kubernetes import KIND, STORE
from rstore_operator.facts.actions import IssueCertificate
from rstore_operator.planning.children.ownership import wanted_names
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.validate import read_spec
from sim.regions.crd import store_problems
from unit.operator.planner.test_plan import condition, fresh, reasons
from unit.operator.world import SPEC, World


def body(store: str, *regions: str) -> dict[str, Any]:
    listed = [{"name": name, "replicas": 1, "placement": {}} for name in regions]
    return {"metadata": {"name": store, "namespace": "default"}, "spec": {"regions": listed}}


def refused_at_apply(store: str, *regions: str) -> str:
    whole = {"apiVersion": STORE.api_version, "kind": KIND, **body(store, *regions)}
    return "; ".join(store_problems(whole, None))


def refused_by_the_operator(store: str, *regions: str) -> str:
    ref = StoreRef("default", store, "uid")
    return "; ".join(str(problem) for problem in read_spec(ref, body(store, *regions)["spec"])[1])


@pytest.mark.parametrize(
    ("store", "regions", "message"),
    [
        ("orders", ["client"], "client, operator, ca and archiver are reserved"),
        ("orders", ["us-east", "operator"], "client, operator, ca and archiver are reserved"),
        ("orders", ["archiver"], "client, operator, ca and archiver are reserved"),
        ("orders", ["ca", "us-east"], "client, operator, ca and archiver are reserved"),
        ("orders", ["us", "us-peers"], "Service"),
        ("orders", ["us-peers", "us"], "Service"),
        ("1orders", ["us-east"], "begin with a letter"),
        ("0", ["us-east"], "begin with a letter"),
        ("my.orders", ["us-east"], "begin with a letter"),
    ],
)
def test_a_name_that_cannot_be_is_refused_at_apply_and_by_the_operator(
    store: str, regions: list[str], message: str
) -> None:
    assert message in refused_at_apply(store, *regions)
    assert message in refused_by_the_operator(store, *regions)


@pytest.mark.parametrize(
    ("store", "regions"),
    [
        ("orders", ["clients", "operators", "cas", "client-1"]),
        ("orders", ["1", "0-a"]),
        ("client", ["us-peers", "eu"]),
        ("operator", ["peers"]),
        ("a", ["tls"]),
    ],
)
def test_names_that_only_look_like_those_are_taken(store: str, regions: list[str]) -> None:
    assert refused_at_apply(store, *regions) == ""
    assert refused_by_the_operator(store, *regions) == ""


PARTS = st.lists(st.sampled_from(["client", "operator", "ca", "peers", "tls", "a", "0"]), min_size=1, max_size=3)
REGIONS = st.lists(PARTS.map("-".join), min_size=1, max_size=4, unique=True)


@given(store=PARTS.map("-".join), regions=REGIONS)
@settings(max_examples=300)
def test_objects_of_a_store_never_share_a_name_unless_it_is_refused(store: str, regions: list[str]) -> None:
    refused = refused_by_the_operator(store, *regions)
    assert bool(refused) == bool(refused_at_apply(store, *regions)), refused
    if refused:
        return
    secrets = [
        names.authority_secret(store),
        names.client_tls_secret(store),
        names.operator_tls_secret(store),
        *(names.region_tls_secret(store, region) for region in regions),
    ]
    services = [names.store_object(store)]
    for region in regions:
        services += [names.region_object(store, region), names.peers_service(store, region)]
    assert len(set(secrets)) == len(secrets)
    assert len(set(services)) == len(services)


def test_every_object_that_is_made_is_among_the_names_that_are_looked_at_first() -> None:
    world = fresh()
    regions = tuple(region["name"] for region in SPEC["regions"])
    assert set(world.children) == {key for key, _ in wanted_names("orders", regions)}


def test_two_certificates_never_share_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the names of regions will be derived to: neither is issued, and it is said."""
    world = fresh()
    before = dict(world.children[("Secret", "orders-client-tls")])
    monkeypatch.setattr(
        names, "region_tls_secret", lambda store, region: f"{store}-{'client' if region == 'us-east' else region}-tls"
    )
    for _ in range(3):
        issued = [action for action in world.step().actions if isinstance(action, IssueCertificate)]
        assert issued == []
    assert world.children[("Secret", "orders-client-tls")] == before
    assert condition(world, "Degraded")["reason"] == "NameShared"
    assert "Secret/orders-client-tls" in condition(world, "Degraded")["message"]
    assert reasons(world).count("NameShared") == 1


def test_a_region_that_was_called_client_before_it_was_refused_gets_no_certificate() -> None:
    world = World({**SPEC, "regions": [*SPEC["regions"][:2], {"name": "client"}]})
    world.settle(10)
    assert ("Secret", "orders-client-tls") not in world.children
    assert condition(world, "SpecValid")["status"] == "False"
