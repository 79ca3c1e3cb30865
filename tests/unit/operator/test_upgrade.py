"""The operator takes over what version 0.1 of it has made: objects, and statuses at rest and amid changes of primary.

``version_0_1.json`` is recorded from the code of that version, of a store as :func:`lossy_world.running` makes it. Of
its objects there are those of the store and of region us-east, without Secrets.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from rstore_operator.facts.actions import Apply, Delete, IssueAuthority, IssueCertificate, Orphan
from rstore_operator.facts.memory import Memory
from rstore_operator.resource.state_json import status_from_json, status_to_json
from unit.operator.lossy_world import running

RECORDED = json.loads((Path(__file__).parent / "version_0_1.json").read_text())
STATUSES: dict[str, dict[str, Any]] = RECORDED["statuses"]
OBJECTS: dict[str, dict[str, Any]] = RECORDED["objects"]
PERSISTED = (
    "storeId", "primaryRegion", "preferredPrimary", "epoch", "promisedEpoch", "inSyncRound", "toldRegions",
    "witnessLease", "failover", "history",
)  # fmt: skip
"""What decisions depend on after a restart."""
FIXED_IN_A_STATEFUL_SET = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")


@pytest.mark.parametrize("which", STATUSES)
def test_nothing_that_decisions_depend_on_changes_when_it_is_read_and_written(which: str) -> None:
    written = status_to_json(status_from_json(STATUSES[which]))
    expected = {name: STATUSES[which][name] for name in PERSISTED if name in STATUSES[which]}
    assert {name: written[name] for name in expected} == expected


def test_objects_are_changed_in_place_and_what_cannot_be_changed_stays() -> None:
    world = running(failback="Automatic")
    live = {(body["kind"], body["metadata"]["name"]): copy.deepcopy(body) for body in OBJECTS.values()}
    assert live.keys() <= world.children.keys(), "the names are the same"
    for key in [key for key in live if key[0] == "Service"]:  # in the certificates that the store has
        live[key]["spec"]["clusterIP"] = world.children[key]["spec"]["clusterIP"]
    world.children |= live
    world.compare_objects = True
    decided = world.decide()
    assert not [
        item for item in decided.actions if isinstance(item, Delete | Orphan | IssueAuthority | IssueCertificate)
    ]
    applied = {action.key: action for action in decided.actions if isinstance(action, Apply)}
    stateful_set = applied["StatefulSet", "orders-us-east"]
    assert stateful_set.change == "update"
    before, after = live[stateful_set.key]["spec"], stateful_set.manifest["spec"]
    assert {name: after[name] for name in FIXED_IN_A_STATEFUL_SET} == {
        name: before[name] for name in FIXED_IN_A_STATEFUL_SET
    }
    assert (before["updateStrategy"]["type"], after["updateStrategy"]["type"]) == ("RollingUpdate", "OnDelete")
    world.settle()
    assert world.status["epoch"] == 1
    assert world.promoted == {1: {"us-east"}}


@pytest.mark.parametrize("step", ["Fencing", "Waiting", "Promoting", "Repointing"])
def test_a_failover_that_the_earlier_version_began_ends(step: str) -> None:
    world = running(failback="Manual")
    world.kill("us-east")
    while world.status.get("failover", {}).get("step") != step:
        world.run(0.1)
    world.status = {**copy.deepcopy(STATUSES[f"Failover{step}"]), "storeId": world.status["storeId"]}
    world.memory = Memory()
    world.run(15)
    assert "failover" not in world.status
    chosen = STATUSES["FailoverPromoting"]["failover"]["to"]
    assert (world.status["primaryRegion"], world.status["epoch"]) == (chosen, 2)
    assert world.status["history"][-1]["outcome"] == "Succeeded"
    world.revive("us-east")
    world.run(5)
    world.check_nothing_vanished()


@pytest.mark.parametrize("step", ["Demoting", "Promoting"])
def test_a_switchover_that_the_earlier_version_began_ends(step: str) -> None:
    world = running()
    world.annotations["replicatedstore.io/failover-to"] = "eu-west"
    while world.status.get("failover", {}).get("step") != step:
        world.step(seconds=0.02)
    world.status = {**copy.deepcopy(STATUSES[f"Switchover{step}"]), "storeId": world.status["storeId"]}
    world.memory = Memory()
    world.run(15)
    assert "failover" not in world.status
    assert (world.status["primaryRegion"], world.status["epoch"]) == ("eu-west", 2)
    assert not world.lost()
