"""The planner outside a switchover: creation, adoption, regions that come and go, drift, bad specs."""

from __future__ import annotations

import copy

from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_operator.facts.actions import Apply, Bootstrap, Delete, IssueCertificate, Promote, PushTopology
from rstore_operator.planner.plan import IDLE_SECONDS
from unit.operator.world import SPEC, World

RUNNING = World()
RUNNING.settle()


def fresh() -> World:
    return copy.deepcopy(RUNNING)


def condition(world: World, kind: str) -> dict:
    return next((item for item in world.status["conditions"] if item["type"] == kind), {})


def reasons(world: World) -> list[str]:
    return [reason for reason, _ in world.events]


def test_a_new_store_is_created_bootstrapped_and_steady() -> None:
    world = fresh()
    kinds = sorted(f"{kind}/{name}" for kind, name in world.children)
    assert kinds == sorted(
        [
            "Service/orders",
            "ServiceAccount/orders",
            "NetworkPolicy/orders",
            "Secret/orders-ca",
            "Secret/orders-client-tls",
            "Secret/orders-operator-tls",
            *(
                f"{kind}/orders-{region}{suffix}"
                for region in ("us-east", "eu-west", "ap-south")
                for kind, suffix in (
                    ("StatefulSet", ""),
                    ("Service", ""),
                    ("Service", "-peers"),
                    ("PodDisruptionBudget", ""),
                    ("ConfigMap", ""),
                    ("Secret", "-tls"),
                )
            ),
        ]
    )
    assert world.status["phase"] == "Steady"
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("us-east", 1)
    assert world.status["summary"] == {"regions": "3/3", "replicas": "7/7", "lag": "0ms"}
    assert condition(world, "Ready")["status"] == "True"
    assert condition(world, "Degraded")["status"] == "False"
    assert condition(world, "InSync")["status"] == "True"
    assert condition(world, "AutomaticFailover")["status"] == "True"
    assert {region.store_id for region in world.regions.values()} == {world.status["storeId"]}
    assert "Bootstrapped" in reasons(world)
    assert reasons(world).count("RegionReady") == 3


def test_a_steady_store_needs_nothing_and_changes_nothing() -> None:
    world = fresh()
    for _ in range(5):
        before = world.version
        decided = world.step(seconds=2)
        assert decided.actions == ()
        assert decided.notices == ()
        assert decided.requeue_seconds == IDLE_SECONDS
        assert world.version == before


def test_statefulsets_wait_for_their_certificates_and_these_for_the_services_addresses() -> None:
    world = World()
    first = world.decide()
    assert {action.key[0] for action in first.actions} == {
        "Service", "ServiceAccount", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "Secret",
    }  # fmt: skip
    world.step()
    second = world.decide()
    issued = {action.key[1]: action for action in second.actions if isinstance(action, IssueCertificate)}
    assert set(issued) >= {"orders-client-tls", "orders-operator-tls", "orders-us-east-tls"}
    service_ip = world.children[("Service", "orders")]["spec"]["clusterIP"]
    assert service_ip in issued["orders-us-east-tls"].request.ip_addresses
    world.step()
    assert any(action.key[0] == "StatefulSet" for action in world.decide().actions)


def test_no_region_is_bootstrapped_before_every_leader_has_answered() -> None:
    world = World()
    for _ in range(4):
        world.step()
        for region in world.regions.values():
            region.up = region.name != "ap-south"
    for _ in range(3):
        assert not any(isinstance(action, Bootstrap) for action in world.step().actions)
    assert "ap-south" in condition(world, "Progressing")["message"]
    assert world.status["phase"] == "Creating"
    world.regions["ap-south"].up = True
    world.settle()
    assert world.status["phase"] == "Steady"


def test_the_store_id_is_persisted_before_it_is_given_out() -> None:
    world = World()
    for _ in range(20):
        decided = world.decide()
        if any(isinstance(action, Bootstrap) for action in decided.actions):
            break
        world.step()
    assert decided.commit_first
    assert decided.status.store_id
    assert world.record(decided, world.version)
    again = world.decide()  # the operator crashed before it acted
    assert again.status.store_id == decided.status.store_id
    ids = {action.store_id for action in again.actions if isinstance(action, Bootstrap)}
    assert ids == {decided.status.store_id}


def test_volumes_that_were_kept_bring_their_store_id_and_epoch_back() -> None:
    old = fresh()
    old.annotations[FAILOVER_TO] = "eu-west"
    old.settle()
    world = World()
    world.regions = old.regions
    world.ids = 100
    world.settle()
    assert world.status["storeId"] == old.status["storeId"]
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)


def test_regions_of_different_stores_are_left_alone() -> None:
    world = fresh()
    world.regions["ap-south"].store_id = "another"
    for _ in range(3):
        assert not any(isinstance(action, Bootstrap | PushTopology | Promote) for action in world.step().actions)
    assert condition(world, "Degraded")["reason"] == "DataConflict"


def test_a_primary_region_that_comes_back_empty_is_not_made_anew() -> None:
    world = fresh()
    for _ in range(3):
        world.write()
    world.replicate()
    lost = world.regions["us-east"]
    lost.store_id, lost.epoch, lost.promised, lost.primary, lost.topology, lost.log = "", 0, 0, False, None, []
    for _ in range(4):
        decided = world.step()
        assert not any(isinstance(action, Bootstrap) for action in decided.actions)
    assert condition(world, "Degraded")["reason"] == "DataConflict"
    assert "us-east has come back without its data" in condition(world, "Degraded")["message"]


def test_a_secondary_that_lost_its_data_joins_again() -> None:
    world = fresh()
    world.write()
    region = world.regions["eu-west"]
    region.store_id, region.epoch, region.promised, region.topology, region.log = "", 0, 0, None, []
    world.settle()
    assert region.store_id == world.status["storeId"]
    assert not region.primary
    assert region.log == world.acked


def test_drift_is_repaired_and_what_others_added_is_left_alone() -> None:
    world = fresh()
    key = ("Service", "orders-us-east")
    live = copy.deepcopy(world.children[key])
    live["metadata"]["labels"]["team"] = "data"
    live["spec"]["sessionAffinity"] = "None"
    world.children[key] = live
    assert world.decide().actions == ()
    live["spec"]["ports"][0]["port"] = 1234
    (action,) = world.decide().actions
    assert isinstance(action, Apply)
    assert (action.key, action.change) == (key, "drift")
    world.settle()
    assert world.children[key]["spec"]["ports"][0]["port"] == 2379


def test_a_deleted_child_comes_back() -> None:
    world = fresh()
    del world.children[("PodDisruptionBudget", "orders-eu-west")]
    (action,) = world.decide().actions
    assert (action.key, action.change) == (("PodDisruptionBudget", "orders-eu-west"), "create")


def test_a_scaled_statefulset_is_scaled_back() -> None:
    world = fresh()
    key = ("StatefulSet", "orders-us-east")
    world.children[key] = copy.deepcopy(world.children[key])
    world.children[key]["spec"]["replicas"] = 1
    (action,) = world.decide().actions
    assert (action.key, action.manifest["spec"]["replicas"]) == (key, 3)


def test_an_apply_that_changed_nothing_is_not_repeated() -> None:
    world = fresh()
    key = ("Service", "orders")
    live = world.children[key] = copy.deepcopy(world.children[key])
    live["spec"]["ports"][0]["targetPort"] = "rewritten-by-the-server"
    (action,) = world.decide().actions
    manifest_hash = action.manifest["metadata"]["annotations"]["replicatedstore.io/spec-hash"]
    world.settled = {key: (manifest_hash, live["metadata"]["resourceVersion"])}
    assert world.decide().actions == ()


def test_a_name_that_somebody_else_has_is_not_overwritten() -> None:
    world = World()
    world.foreign = {("Service", "orders"): "was made by somebody else"}
    for _ in range(3):
        assert not any(getattr(action, "key", None) == ("Service", "orders") for action in world.step().actions)
    assert condition(world, "Degraded")["reason"] == "NameTaken"
    assert "Service/orders" in condition(world, "Degraded")["message"]
    assert "NameTaken" in reasons(world)


def test_a_region_that_is_added_joins_as_a_secondary() -> None:
    world = fresh()
    for _ in range(3):
        world.write()
    world.spec = {**SPEC, "regions": [*SPEC["regions"], {"name": "sa-east", "replicas": 1}]}
    world.settle()
    assert world.status["phase"] == "Steady"
    assert world.regions["sa-east"].log == world.acked
    assert all("sa-east" in {r.name for r in region.topology.regions} for region in world.regions.values())
    assert {region.topology.version for region in world.regions.values()} == {2}


def test_a_region_that_is_removed_leaves_the_topology_first() -> None:
    world = fresh()
    world.spec = {**SPEC, "regions": SPEC["regions"][:2]}
    decided = world.decide()
    assert any(isinstance(action, PushTopology) for action in decided.actions)
    assert not any(isinstance(action, Delete) for action in decided.actions)
    world.settle()
    assert not any("ap-south" in name for _, name in world.children)
    assert "ap-south" not in world.regions
    assert world.status["phase"] == "Steady"
    assert {"RegionRemoving", "RegionRemoved"} <= set(reasons(world))


def test_the_primary_region_cannot_be_removed_until_another_is_primary() -> None:
    world = fresh()
    world.spec = {"primaryRegion": "eu-west", "regions": SPEC["regions"][1:]}
    world.regions["eu-west"].up = False
    for _ in range(5):
        assert not any(isinstance(action, Delete) for action in world.step().actions)
    assert ("StatefulSet", "orders-us-east") in world.children
    assert "us-east" in {region.name for region in world.regions["ap-south"].topology.regions}
    assert "us-east is primary, and leaves once eu-west" in condition(world, "Degraded")["message"]
    assert world.write()
    world.regions["eu-west"].up = True
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert "us-east" not in world.regions


def test_an_invalid_spec_disturbs_nothing() -> None:
    world = fresh()
    world.spec = {**SPEC, "primaryRegion": "mars"}
    world.generation = 2
    decided = world.step()
    assert decided.actions == ()
    assert world.status["phase"] == "Invalid"
    assert "mars" in condition(world, "SpecValid")["message"]
    assert condition(world, "Ready")["status"] == "True"
    assert world.status["observedGeneration"] == 2
    assert "InvalidSpec" in reasons(world)
    world.spec = SPEC
    world.settle()
    assert world.status["phase"] == "Steady"


def test_an_invalid_spec_of_a_new_store_creates_nothing() -> None:
    world = World({"regions": [{"name": "a"}, {"name": "a"}]})
    assert world.step().actions == ()
    assert world.status["phase"] == "Invalid"
    assert world.children == {}


def test_a_switchover_under_way_ends_although_the_spec_became_invalid() -> None:
    world = fresh()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.step()
    world.spec = {"regions": []}
    world.settle()
    assert world.status["primaryRegion"] == "eu-west"
    assert world.children[("Service", "orders")]["spec"]["selector"]["replicatedstore.io/region"] == "eu-west"


def test_a_lost_region_is_reported() -> None:
    world = fresh()
    world.lose("eu-west")
    world.settle()
    assert world.status["phase"] == "Degraded"
    assert condition(world, "Degraded")["reason"] == "RegionLost"
    assert condition(world, "InSync")["status"] == "False"
    assert condition(world, "Ready")["status"] == "True"
    assert "RegionLost" in reasons(world)
    assert world.status["summary"]["regions"] == "2/3"


def test_certificates_are_renewed_after_two_thirds_of_their_life() -> None:
    from datetime import timedelta

    world = fresh()
    world.now += timedelta(days=200)
    assert world.decide().actions == ()
    world.now += timedelta(days=60)
    renewed = {action.key[1]: action.change for action in world.decide().actions}
    assert renewed == dict.fromkeys(
        [
            "orders-client-tls",
            "orders-operator-tls",
            "orders-us-east-tls",
            "orders-eu-west-tls",
            "orders-ap-south-tls",
        ],
        "renew",
    )
    world.settle()
    assert world.decide().actions == ()
