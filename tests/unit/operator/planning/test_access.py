"""Access rules reach every replica, in a version above whatever is there, and clients get what the spec lists."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from rstore_api.domain.access import OPEN, Access, AccessRules, ClientRule, SharedClient
from rstore_operator.facts.actions import SetAccess
from rstore_operator.facts.observed import InForce, Observed, RegionObserved, ReplicaStatus
from rstore_operator.planning.access import desired_rules
from rstore_operator.resource.units import format_time_seconds
from rstore_operator.specs.configmap import access_rules
from rstore_operator.specs.secrets import secret_value
from unit.operator.world import SPEC, FakeRegion, World

SHARED = ("Secret", "orders-client-tls")
SHOP = ("Secret", "orders-client-shop-tls")
REPORT = ("Secret", "orders-client-report-tls")
CLIENTS = [{"name": "shop", "prefixes": ["shop/"]}, {"name": "report", "access": "Read"}]


class AccessWorld(World):
    """A store whose replicas keep access rules; ``None`` for one of a version that knows none."""

    def __init__(self) -> None:
        super().__init__(copy.deepcopy(SPEC))
        self.rules: dict[str, AccessRules | None] = {}
        self.deaf: set[str] = set()
        """Replicas that do not get calls."""
        self.anonymous: set[str] = set()
        """Replicas that ask for no certificates."""

    def secure(self, **security: Any) -> None:
        self.spec = {**self.spec, "security": {**self.spec.get("security", {}), **security}}
        self.generation += 1

    def _replicas(self, region: FakeRegion) -> tuple[ReplicaStatus, ...]:
        answers = []
        for replica in super()._replicas(region):
            rules = self.rules.setdefault(replica.name, OPEN)
            access = None if rules is None else InForce(rules.version, rules.digest, replica.name in self.anonymous)
            answers.append(replace(replica, access=access))
        return tuple(answers)

    def do(self, action: object, operator: Any = None) -> None:
        if not isinstance(action, SetAccess):
            super().do(action, operator)
            return
        before = self.rules[action.target.pod]
        assert before is not None, "it would not know the call"
        if action.target.pod not in self.deaf and action.rules.version > before.version:
            self.rules[action.target.pod] = action.rules

    def condition(self, kind: str = "AccessInForce") -> dict[str, Any] | None:
        return next((item for item in self.status["conditions"] if item["type"] == kind), None)

    def certificate(self, key: tuple[str, str]) -> x509.Certificate:
        return x509.load_pem_x509_certificate(secret_value(self.children[key], "tls.crt"))

    @property
    def written(self) -> set[AccessRules | None]:
        return {access_rules(child) for (kind, _), child in self.children.items() if kind == "ConfigMap"}


@pytest.fixture
def world() -> AccessWorld:
    world = AccessWorld()
    world.settle()
    return world


@pytest.fixture
def secured(world: AccessWorld) -> AccessWorld:
    world.secure(clients=CLIENTS)
    world.settle()
    return world


def test_a_store_that_asks_for_nothing_has_no_rules(world: AccessWorld) -> None:
    assert world.written == {None}
    assert set(world.rules.values()) == {OPEN}
    assert world.condition() is None


def test_clients_get_certificates_and_every_replica_their_rules(world: AccessWorld) -> None:
    templates = {key: child["spec"]["template"] for key, child in world.children.items() if key[0] == "StatefulSet"}
    world.secure(clients=CLIENTS)
    world.settle()
    rules = AccessRules(
        version=1,
        clients=(ClientRule(name="shop", prefixes=("shop/",)), ClientRule(name="report", access=Access.READ)),
    )
    assert world.written == {rules}
    assert set(world.rules.values()) == {rules}
    condition = world.condition()
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("True", "Everywhere")
    for key, name in ((SHOP, "shop"), (REPORT, "report")):
        subject = world.certificate(key).subject
        assert [item.value for item in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [name]
        assert [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["client"]
        assert world.children[key]["type"] == "kubernetes.io/tls"
        assert world.children[key]["metadata"]["labels"]["replicatedstore.io/client"] == name
    now = {key: child["spec"]["template"] for key, child in world.children.items() if key[0] == "StatefulSet"}
    assert now == templates, "no replica is restarted"


def test_a_certificate_that_is_revoked_is_shut_out_at_once_and_replaced(secured: AccessWorld) -> None:
    report, shared = secured.certificate(REPORT), secured.certificate(SHARED)
    revoked_before = secured.now.replace(microsecond=0) + timedelta(seconds=1)
    secured.now = revoked_before + timedelta(seconds=1)
    secured.secure(clients=[{**CLIENTS[0], "revokedBefore": format_time_seconds(revoked_before)}, CLIENTS[1]])
    calls = [action for action in secured.step().actions if isinstance(action, SetAccess)]
    assert len({action.target.pod for action in calls}) == sum(region.replicas for region in secured.regions.values())
    assert {action.rules.version for action in calls} == {2}
    secured.settle()
    assert secured.certificate(SHOP).not_valid_before_utc == revoked_before
    assert (secured.certificate(REPORT), secured.certificate(SHARED)) == (report, shared)


def test_a_client_that_is_removed_loses_its_secret_and_its_rule(secured: AccessWorld) -> None:
    secured.secure(clients=[CLIENTS[1]])
    secured.settle()
    assert SHOP not in secured.children
    assert REPORT in secured.children
    assert {tuple(client.name for client in rules.clients) for rules in secured.rules.values() if rules} == {
        ("report",)
    }
    secured.secure(clients=[])
    secured.settle()
    assert set(secured.rules.values()) == {AccessRules(version=3)}, "rules that let everybody in need a version too"


def test_the_shared_certificate_can_be_turned_off_and_on(secured: AccessWorld) -> None:
    secured.secure(sharedClient={"mode": "Disabled"})
    secured.settle()
    assert SHARED not in secured.children
    assert {rules.shared_client.enabled for rules in secured.rules.values() if rules} == {False}
    secured.secure(sharedClient={"mode": "Enabled"})
    secured.settle()
    assert SHARED in secured.children


def test_the_shared_certificate_can_be_revoked(world: AccessWorld) -> None:
    revoked_before = world.now.replace(microsecond=0)
    world.secure(sharedClient={"revokedBefore": format_time_seconds(revoked_before)})
    world.settle()
    assert world.certificate(SHARED).not_valid_before_utc == revoked_before
    seconds = int(revoked_before.timestamp())
    assert set(world.rules.values()) == {AccessRules(version=1, shared_client=SharedClient(revoked_before=seconds))}


def test_a_time_in_the_future_shuts_out_until_then(secured: AccessWorld) -> None:
    later = secured.now.replace(microsecond=0) + timedelta(minutes=5)
    old = secured.certificate(SHOP)
    secured.secure(clients=[{**CLIENTS[0], "revokedBefore": format_time_seconds(later)}, CLIENTS[1]])
    secured.settle()
    assert secured.certificate(SHOP) == old, "shut out as it is, and so would be a new one"
    condition = secured.condition()
    assert condition is not None
    assert f"client shop is shut out until {format_time_seconds(later)}" in condition["message"]
    secured.now = later
    secured.step()
    secured.settle()
    assert secured.certificate(SHOP).not_valid_before_utc == later


def test_replicas_that_lack_the_rules_are_named(secured: AccessWorld) -> None:
    secured.deaf = {"orders-eu-west-1"}
    secured.regions["ap-south"].up = False
    secured.secure(clients=[CLIENTS[1]])
    for _ in range(5):
        secured.step()
    condition = secured.condition()
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "NotEverywhere")
    assert "orders-ap-south-0 (does not answer)" in condition["message"]
    assert "orders-eu-west-1" in condition["message"]
    assert "orders-us-east-0" not in condition["message"]
    secured.deaf = set()
    secured.regions["ap-south"].up = True
    secured.settle()
    assert (secured.condition() or {})["status"] == "True"


def test_clients_with_limits_wait_for_replicas_that_keep_them(world: AccessWorld) -> None:
    world.rules["orders-us-east-1"] = None
    world.secure(clients=CLIENTS)
    for _ in range(5):
        world.step()
    assert SHOP not in world.children
    condition = world.condition()
    assert condition is not None
    assert condition["reason"] == "ReplicasTooOld"
    assert "orders-us-east-1" in condition["message"]
    world.rules["orders-us-east-1"] = OPEN
    world.step()
    world.settle()
    assert SHOP in world.children
    assert set(world.rules.values()) == world.written


def test_rules_of_an_older_store_on_a_volume_do_not_win(world: AccessWorld) -> None:
    world.rules["orders-us-east-2"] = AccessRules(version=40, shared_client=SharedClient(enabled=False))
    world.step()
    world.settle()
    assert set(world.rules.values()) == {AccessRules(version=41)}


def test_replicas_that_ask_for_no_certificates_enforce_nothing(secured: AccessWorld) -> None:
    secured.anonymous = {"orders-us-east-1"}
    secured.step()
    condition = secured.condition() or {}
    assert condition["status"] == "False"
    assert "orders-us-east-1 (still lets everybody in without a certificate)" in condition["message"]
    secured.secure(clients=[], clientAuth="None")
    secured.settle()
    assert secured.condition() is None, "that is what the spec asks for"
    secured.secure(clientAuth="mTLS")
    secured.anonymous = set()
    secured.settle()
    assert (secured.condition() or {})["status"] == "True"


def test_a_paused_store_changes_nothing(secured: AccessWorld) -> None:
    before = dict(secured.rules)
    secured.annotations["replicatedstore.io/paused"] = "true"
    secured.secure(clients=[])
    for _ in range(3):
        secured.step()
    assert secured.rules == before
    assert (secured.condition() or {})["status"] == "False"


def test_a_secret_that_somebody_else_has_stops_that_client_only(world: AccessWorld) -> None:
    world.foreign[SHOP] = "was made by somebody else"
    world.secure(clients=CLIENTS)
    for _ in range(5):
        world.step()
    assert SHOP not in world.children
    assert REPORT in world.children
    degraded = world.condition("Degraded") or {}
    assert degraded["reason"] == "NameTaken"
    assert "Secret/orders-client-shop-tls" in degraded["message"]
    assert "another name for the region or client" in degraded["message"]


def observed(*replicas: InForce | None, documents: tuple[AccessRules | str, ...] = ()) -> Observed:
    answers = tuple(
        ReplicaStatus(f"r{index}", "a", "", False, "", 1, 1, 0, 0, False, False, access=access)
        for index, access in enumerate(replicas)
    )
    children = {
        ("ConfigMap", f"orders-{index}"): {
            "data": {"access.json": rules if isinstance(rules, str) else rules.encode().decode()}
        }
        for index, rules in enumerate(documents)
    }
    return Observed(regions={"a": RegionObserved("a", replicas=answers)}, children=children)


WANTED = AccessRules(clients=(ClientRule(name="shop"),))


def _version(number: int, rules: AccessRules = WANTED) -> AccessRules:
    return msgspec.structs.replace(rules, version=number)


@pytest.mark.parametrize(
    ("seen", "version"),
    [
        (observed(), 1),
        (observed(InForce(0, OPEN.digest)), 1),
        (observed(documents=(_version(3),)), 3),
        (observed(InForce(3, _version(3).digest), InForce(2, "other"), documents=(_version(3), _version(2))), 3),
        (observed(InForce(3, ""), documents=(_version(3),)), 3),
        (observed(InForce(3, "other"), documents=(_version(3),)), 4),
        (observed(documents=(_version(3), _version(3, OPEN))), 4),
        (observed(InForce(9, "other"), documents=(_version(3),)), 10),
        (observed(documents=("{", _version(3))), 3),
        (observed(documents=("", "[]")), 1),
    ],
)
def test_the_version_of_wanted_rules(seen: Observed, version: int) -> None:
    assert desired_rules(WANTED, seen) == _version(version)


def test_an_invalid_spec_leaves_the_rules_as_they_are_written() -> None:
    assert desired_rules(None, observed(documents=(_version(2), _version(3)))) == _version(3)
    assert desired_rules(None, observed(InForce(7, "x"))) == OPEN
