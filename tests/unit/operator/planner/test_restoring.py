"""A store in memory that begins with a past state: what is made, who is kept out, and what is done afterwards."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.access import OPEN, AccessRules
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_backup.restore_report import Pinned, RestoreError, RestorePhase, RestoreProblem, RestoreReport
from rstore_operator.facts.actions import SetAccess
from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.facts.observed import InForce, Observed
from rstore_operator.facts.restorer import RestorerObserved
from rstore_operator.planning.children.ownership import archiver_keys, restorer_keys
from rstore_operator.specs.configmap import access_rules
from unit.operator.world import SPEC, World

REGIONS = ("us-east", "eu-west", "ap-south")
PLACE = {"destination": "s3://backups/stores", "credentialsSecret": "keys"}
DECLARED = {**SPEC, "bootstrap": {"from": {**PLACE, "at": {"revision": 41}}}, "backup": PLACE}
PINNED = Pinned("old-id", "default/orders", 41, 1, 1_000_000_098)


class RestoringWorld(World):
    """Replicas take rules from their ConfigMap when they start, and from the operator; the test is the restorer."""

    def __init__(self, spec: dict[str, Any] = DECLARED) -> None:
        super().__init__(copy.deepcopy(spec))
        self.in_force: dict[str, AccessRules] = {}
        self.full: set[str] = set()
        self.restorer = RestorerObserved(credentials="")

    def observed(self) -> Observed:
        seen = super().observed()
        regions = {name: self._with_access(name, region) for name, region in seen.regions.items()}
        return replace(seen, regions=regions, restorer=self.restorer)

    def _with_access(self, name: str, region: Any) -> Any:
        live = self.children.get(("ConfigMap", names.region_object("orders", name)))
        replicas = []
        for each in region.replicas:
            rules = self.in_force.setdefault(each.name, access_rules(live) or OPEN)
            revision = PINNED.final_revision if name in self.full else each.revision
            replicas.append(replace(each, access=InForce(rules.version, rules.digest), revision=revision))
        return replace(region, replicas=tuple(replicas))

    def do(self, action: object, operator: Any = None) -> None:
        if isinstance(action, SetAccess):
            self.in_force[action.target.pod] = action.rules
        else:
            super().do(action, operator)

    def report(self, phase: RestorePhase, **fields: Any) -> None:
        now_ms = int(self.now.timestamp() * 1000)
        report = RestoreReport(phase, now_ms, **fields)
        self.restorer = RestorerObserved(ArchiverPod("orders-restorer-1", "10.0.0.9"), report, credentials="")
        self.settle()

    def condition(self, kind: str) -> tuple[str, str]:
        found = [each for each in self.status["conditions"] if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    @property
    def lets_clients_in(self) -> bool:
        return not all(rules.restoring for rules in self.in_force.values())

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.children[restorer_keys("orders")[0]]["data"]["restore.json"])
        return config


def test_nobody_gets_in_from_before_the_first_replica_until_all_is_there() -> None:
    world = RestoringWorld()
    world.settle()
    assert world.status["phase"] == "Restoring"
    assert world.status["bootstrap"]["phase"] == "Restoring"
    assert world.condition("Ready") == ("False", "Restoring")
    assert not world.lets_clients_in
    assert set(restorer_keys("orders")) <= world.children.keys()
    assert not set(archiver_keys("orders")) & world.children.keys(), "an empty store is not archived"
    assert (world.config()["revision"], world.config()["storeId"]) == (41, world.status["storeId"])

    world.report(RestorePhase.SETTLED, pinned=PINNED, keys=7)
    assert world.status["bootstrap"]["archivedRevision"] == 41
    assert world.config()["pinned"]["finalRevision"] == PINNED.final_revision

    world.full = {"us-east"}
    world.report(RestorePhase.COMPLETED, pinned=PINNED, keys=7)
    assert world.condition("Restored") == ("False", "CatchingUp")
    assert not world.lets_clients_in

    world.full = set(REGIONS)
    world.settle()
    assert world.status["bootstrap"]["phase"] == "Completed"
    assert world.condition("Restored") == ("True", "Completed")
    assert world.condition("Ready")[0] == "True"
    assert {(rules.version, rules.restoring) for rules in world.in_force.values()} == {(2, False)}
    assert not set(restorer_keys("orders")) & world.children.keys()
    assert archiver_keys("orders")[0] in world.children
    assert [reason for reason, _ in world.events if reason in ("Restoring", "Restored")] == ["Restoring", "Restored"]

    kept = dict(world.children)
    world.spec = {**SPEC, "backup": PLACE}
    world.settle()
    assert world.children.keys() == kept.keys()
    assert world.status["bootstrap"]["phase"] == "Completed"


def test_its_primary_stays_until_then() -> None:
    world = RestoringWorld()
    world.settle()
    world.annotations[FAILOVER_TO] = "eu-west"
    world.settle()
    assert FAILOVER_TO not in world.annotations
    assert world.condition("RequestAccepted") == ("False", "Restoring")
    world.spec = {**world.spec, "primaryRegion": "eu-west"}
    for _ in range(20):
        world.step(seconds=5)
    assert (world.status["primaryRegion"], world.status.get("failover")) == ("us-east", None)
    world.regions["us-east"].up = False
    for _ in range(20):
        world.step(seconds=5)
    assert (world.status["primaryRegion"], world.status.get("failover")) == ("us-east", None)


def test_what_is_wrong_stalls_it_and_is_told_once() -> None:
    world = RestoringWorld()
    world.settle()
    for _ in range(3):
        error = RestoreError(RestoreProblem.NOT_RESTORABLE, "revision 41 is not in the archive", 1, 1)
        world.report(RestorePhase.STARTING, error=error)
    assert world.condition("Restored") == ("False", "NotRestorable")
    assert world.condition("Stalled") == ("True", "NotRestorable")
    assert [reason for reason, _ in world.events].count("RestoreNotRestorable") == 1
    world.spec = {**world.spec, "bootstrap": {"from": {**PLACE, "at": {"revision": 40}}}}
    world.settle()
    assert world.config()["revision"] == 40


def test_an_operator_that_begins_anew_leaves_the_restorer_alone() -> None:
    world = RestoringWorld()
    world.settle()
    kept = {key: world.children[key] for key in restorer_keys("orders")}
    world.restorer = RestorerObserved()  # nothing is known yet
    world.settle()
    assert {key: world.children[key] for key in restorer_keys("orders")} == kept


def test_a_store_that_runs_is_left_as_it_is() -> None:
    world = RestoringWorld({**SPEC})
    world.settle()
    world.spec = copy.deepcopy(DECLARED)
    world.settle()
    assert world.status["bootstrap"]["phase"] == "Ignored"
    assert world.condition("Restored") == ("False", "Ignored")
    assert world.condition("Ready")[0] == "True"
    assert set(world.in_force.values()) == {OPEN}
    assert not set(restorer_keys("orders")) & world.children.keys()
    world.spec = {**SPEC}
    world.settle()
    assert "bootstrap" not in world.status
    assert world.condition("Restored") == ("", "")
