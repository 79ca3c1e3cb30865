"""The objects that a store has while it is archived come, change and go with ``spec.backup``."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_operator.facts.archiver import ArchiverObserved
from rstore_operator.planning.children.archiver import archiver_leftovers, archiver_manifests
from rstore_operator.planning.children.ownership import Standing, archiver_keys, standing
from rstore_operator.resource.model import UNKNOWN_PODS, ReplicaImage
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.archiver import NO_DRILLS, configured_region
from rstore_operator.specs.secrets import TLS_CERT, secret_value
from unit.operator.world import REF, SPEC, World

CONFIG, DEPLOYMENT, POLICY, SECRET = archiver_keys("orders")
BACKUP = {"destination": "s3://backups/orders", "credentialsSecret": "keys"}


def world_with(backup: dict[str, Any] | None) -> World:
    world = World({**copy.deepcopy(SPEC), "backup": backup})
    world.settle()
    return world


def test_they_are_made_with_a_certificate_of_their_own() -> None:
    world = world_with(BACKUP)
    assert {CONFIG, DEPLOYMENT, POLICY, SECRET} <= world.children.keys()
    certificate = x509.load_pem_x509_certificate(secret_value(world.children[SECRET], TLS_CERT))
    assert [name.value for name in certificate.subject] == ["archiver"]


def test_a_store_without_backup_has_none_of_them() -> None:
    world = world_with(None)
    assert not {CONFIG, DEPLOYMENT, POLICY, SECRET} & world.children.keys()


def test_they_go_when_backup_is_taken_out_of_the_spec() -> None:
    world = world_with(BACKUP)
    world.spec = SPEC
    world.settle()
    assert not {CONFIG, DEPLOYMENT, POLICY, SECRET} & world.children.keys()
    assert ("Secret", "orders-client-tls") in world.children


def test_the_policy_goes_with_that_of_the_replicas() -> None:
    world = world_with(BACKUP)
    world.spec = {**world.spec, "security": {"networkPolicy": {"enabled": False}}}
    world.settle()
    assert POLICY not in world.children
    assert DEPLOYMENT in world.children


def test_a_name_that_is_taken_holds_up_the_archiver_alone() -> None:
    world = world_with(None)
    world.foreign = {DEPLOYMENT: "was made by somebody else"}
    world.spec = {**world.spec, "backup": BACKUP}
    world.settle()
    assert DEPLOYMENT not in world.children
    degraded = next(item for item in world.status["conditions"] if item["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NameTaken")
    assert "orders-archiver" in degraded["message"]


@pytest.mark.parametrize("key", archiver_keys("orders"))
def test_what_a_deleted_store_left_is_adopted(key: tuple[str, str]) -> None:
    world = world_with(BACKUP)
    body = copy.deepcopy(world.children[key])
    assert standing(REF, key, body) is Standing.OURS
    body["metadata"]["ownerReferences"][0]["uid"] = "uid-of-the-store-before"
    assert standing(REF, key, body) is Standing.ORPHAN
    assert standing(REF, (key[0], "orders-other"), body) is Standing.FOREIGN


def region_read(world: World) -> str:
    return configured_region(world.children[CONFIG])


def test_a_secondary_is_read_unless_the_primary_is_asked_for() -> None:
    assert region_read(world_with(BACKUP)) == "eu-west"
    assert region_read(world_with({**BACKUP, "from": "Primary"})) == "us-east"


def test_what_is_read_follows_changes_of_primary_and_nothing_is_restarted() -> None:
    world = world_with(BACKUP)
    before = world.children[DEPLOYMENT]["spec"]
    world.annotations[FAILOVER_TO] = "eu-west"
    world.settle()
    assert (world.status["primaryRegion"], region_read(world)) == ("eu-west", "ap-south")
    assert world.children[DEPLOYMENT]["spec"] == before
    world.annotations[FAILOVER_TO] = "us-east"
    world.settle()
    assert (world.status["primaryRegion"], region_read(world)) == ("us-east", "ap-south"), "it still fits, so it stays"


def test_a_region_that_answers_is_read() -> None:
    world = world_with(BACKUP)
    world.regions["eu-west"].up = False
    world.step()
    assert region_read(world) == "ap-south"


def test_without_its_credentials_nothing_is_started_and_nothing_is_stopped() -> None:
    world = world_with(BACKUP)
    spec, problems = read_spec(REF, world.spec)
    assert spec is not None, problems

    def kinds(credentials: str | None) -> dict[str, Any]:
        observed = replace(world.observed(), archiver=ArchiverObserved(credentials=credentials))
        made = archiver_manifests(REF, spec, "us-east", ReplicaImage(), observed, UNKNOWN_PODS, NO_DRILLS)
        return {manifest["kind"]: manifest for manifest in made}

    assert "Deployment" not in kinds(None)
    assert kinds("a")["Deployment"] != kinds("b")["Deployment"], "the pod is replaced when they change"
    assert archiver_leftovers(REF, spec) == ()
