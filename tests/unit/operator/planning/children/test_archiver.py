"""The objects that a store has while it is archived come, change and go with ``spec.backup``."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cryptography import x509
from rstore_operator.planning.children.ownership import Standing, archiver_keys, standing
from rstore_operator.specs.secrets import TLS_CERT, secret_value
from unit.operator.world import REF, SPEC, World

DEPLOYMENT, POLICY, SECRET = archiver_keys("orders")
BACKUP = {"destination": "s3://backups/orders", "credentialsSecret": "keys"}


def world_with(backup: dict[str, Any] | None) -> World:
    world = World({**copy.deepcopy(SPEC), "backup": backup})
    world.settle()
    return world


def test_they_are_made_with_a_certificate_of_their_own() -> None:
    world = world_with(BACKUP)
    assert {DEPLOYMENT, POLICY, SECRET} <= world.children.keys()
    certificate = x509.load_pem_x509_certificate(secret_value(world.children[SECRET], TLS_CERT))
    assert [name.value for name in certificate.subject] == ["archiver"]


def test_a_store_without_backup_has_none_of_them() -> None:
    world = world_with(None)
    assert not {DEPLOYMENT, POLICY, SECRET} & world.children.keys()


def test_they_go_when_backup_is_taken_out_of_the_spec() -> None:
    world = world_with(BACKUP)
    world.spec = SPEC
    world.settle()
    assert not {DEPLOYMENT, POLICY, SECRET} & world.children.keys()
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
