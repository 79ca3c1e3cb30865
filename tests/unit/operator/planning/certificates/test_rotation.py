"""The certificate authority is lost, replaced or due: everybody accepts everybody at each moment of the turnover."""

from __future__ import annotations

import base64
import copy
import functools
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID
from rstore_api.domain.kubernetes import PREVIOUS_AUTHORITIES_UNTIL
from rstore_operator.facts.actions import IssueAuthority, IssueCertificate, WriteSecret
from rstore_operator.facts.observed import Observed
from rstore_operator.planner.plan import Plan
from rstore_operator.planning.certificates.rotation import SETTLE, Rotation, Stage, stage_of
from rstore_operator.specs.certificates import (
    authorities_in,
    authority_problem,
    fingerprint,
    is_issued_by,
    make_authority,
    new_key,
)
from rstore_operator.specs.secrets import secret_value
from unit.operator.world import World

CA = ("Secret", "orders-ca")
CLIENT = ("Secret", "orders-client-tls")
OPERATOR = ("Secret", "orders-operator-tls")
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Identity:
    """What somebody trusts and presents."""

    bundle: bytes
    leaf: bytes

    def accepts(self, other: Identity) -> bool:
        return _accepts(self.bundle, other.leaf)


@functools.cache
def _accepts(bundle: bytes, leaf: bytes) -> bool:
    """Remembered: the same few are asked for at each step."""
    return any(is_issued_by(leaf, item) for item in authorities_in(bundle, datetime(2026, 1, 2, tzinfo=UTC)))


class Turnover(World):
    """A store whose replicas take up the certificates of their Secrets when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[str, Identity] = {}
        self.silent: set[str] = set()

    def secret(self, key: tuple[str, str]) -> Identity:
        live = self.children[key]
        return Identity(secret_value(live, "ca.crt"), secret_value(live, "tls.crt"))

    def pods(self) -> list[str]:
        return [f"orders-{region.name}-{i}" for region in self.regions.values() for i in range(region.replicas)]

    def take_up(self, *pods: str) -> None:
        for pod in pods or self.pods():
            self.taken[pod] = self.secret(("Secret", f"{pod.rpartition('-')[0]}-tls"))

    def observed(self) -> Observed:
        seen = super().observed()
        regions = {}
        for name, region in seen.regions.items():
            replicas = []
            for replica in region.replicas:
                taken = self.taken.get(replica.name)
                if taken is not None and replica.name not in self.silent:
                    trusted = authorities_in(taken.bundle, self.now)
                    replica = replace(
                        replica,
                        trusted_authorities=frozenset(fingerprint(item) for item in trusted),
                        certificate=fingerprint(taken.leaf),
                    )
                replicas.append(replica)
            regions[name] = replace(region, replicas=tuple(replicas))
        return replace(seen, regions=regions)

    def until(self) -> datetime:
        text = self.children[CA]["metadata"]["annotations"][PREVIOUS_AUTHORITIES_UNTIL]
        return datetime.fromisoformat(text.replace("Z", "+00:00"))

    def set_authority(self, certificate: bytes, key: bytes) -> None:
        """As a person does it who writes both values."""
        data = {"ca.crt": certificate, "ca.key": key}
        encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
        self.children[CA] = {**self.children[CA], "data": {**self.children[CA]["data"], **encoded}}

    def stage(self) -> str:
        condition = next((item for item in self.status["conditions"] if item["type"] == "AuthorityChanging"), None)
        return condition["reason"] if condition else "Steady"

    def everybody(self, client: Identity) -> Iterator[tuple[str, Identity]]:
        yield "operator", self.secret(OPERATOR)
        yield "clients who read the Secret", self.secret(CLIENT)
        yield "client", client
        yield from self.taken.items()

    def check(self, client: Identity) -> None:
        """Whoever connects to a replica, and each replica to every other, is accepted and accepts."""
        for (name, one), (other_name, other) in itertools.permutations(self.everybody(client), 2):
            if name in self.taken or other_name in self.taken:
                assert one.accepts(other), f"{name} refuses {other_name}"


@pytest.fixture
def world() -> Turnover:
    world = Turnover()
    world.spec = copy.deepcopy(world.spec)
    world.settle()
    world.take_up()
    world.settle()
    return world


@pytest.mark.parametrize(
    ("rotation", "stage"),
    [
        (Rotation(False), Stage.STEADY),
        (Rotation(False, ("a",), True, ("b",), ("c",)), Stage.STEADY),
        (Rotation(True, ("a",), False, (), ()), Stage.TRUST),
        (Rotation(True, ("a",), True, ("b",), ("c",)), Stage.TRUST),
        (Rotation(True, (), True, (), ()), Stage.ISSUE),
        (Rotation(True, (), False, ("b",), ("c",)), Stage.ISSUE),
        (Rotation(True, (), False, (), ("c",)), Stage.DROP),
        (Rotation(True, (), False, (), ()), Stage.DROP),
    ],
)
def test_a_stage_begins_when_nothing_is_left_of_the_one_before(rotation: Rotation, stage: Stage) -> None:
    assert stage_of(rotation) is stage


def lost(world: Turnover) -> None:
    del world.children[CA]


def garbage_key(world: Turnover) -> None:
    world.set_authority(secret_value(world.children[CA], "ca.crt"), b"garbage")


def garbage_certificate(world: Turnover) -> None:
    world.set_authority(b"garbage", secret_value(world.children[CA], "ca.key"))


def not_a_pair(world: Turnover) -> None:
    other = make_authority("other", new_key(), world.now)
    world.set_authority(other.certificate, secret_value(world.children[CA], "ca.key"))


def emptied(world: Turnover) -> None:
    world.children[CA] = {**world.children[CA], "data": {}}


def not_base64(world: Turnover) -> None:
    world.children[CA] = {**world.children[CA], "data": {"ca.crt": "%%%", "ca.key": "%%%"}}


def deliberate(world: Turnover) -> None:
    other = make_authority("default/orders", new_key(), world.now)
    world.set_authority(b"# my own\n" + other.certificate, other.key)


def deliberate_rsa(world: Turnover) -> None:
    key = rsa.generate_private_key(65537, 2048)
    world.set_authority(*_root(key, world.now))


def _root(key: Any, now: datetime, *, ca: bool = True) -> tuple[bytes, bytes]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mine")])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=900))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, algorithm)
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


DISASTERS = [
    lost,
    garbage_key,
    garbage_certificate,
    not_a_pair,
    emptied,
    not_base64,
    deliberate,
    deliberate_rsa,
]


@pytest.mark.parametrize("disaster", DISASTERS)
def test_an_authority_gets_a_successor_in_three_stages(world: Turnover, disaster: Callable[[Turnover], None]) -> None:
    old = world.secret(CLIENT)
    before = fingerprint(old.bundle)
    disaster(world)
    given = world.children.get(CA, {}).get("data", {}).get("ca.crt")
    world.settle()
    world.check(old)
    assert world.stage() == "TrustNew"
    bundle = authorities_in(world.secret(CLIENT).bundle, world.now)
    assert len(bundle) == 2, "the new one and the old one"
    assert fingerprint(bundle[1]) == before
    newest = bundle[0]
    if disaster in (deliberate, deliberate_rsa):
        assert fingerprint(base64.b64decode(given)) == fingerprint(newest), "what a person gave is taken"
    assert is_issued_by(world.secret(CLIENT).leaf, bundle[1]), "not before every replica trusts the new one"
    assert len(world.warnings) == 1
    for pod in world.pods():
        world.take_up(pod)
        world.check(old)
        world.settle()
        world.check(old)
    assert world.stage() == "IssueFromNew"
    assert is_issued_by(world.secret(CLIENT).leaf, newest)
    assert is_issued_by(world.secret(OPERATOR).leaf, newest)
    assert is_issued_by(world.taken["orders-us-east-0"].leaf, bundle[1]), "clients have time"
    assert world.until() - world.now > WEEK - timedelta(hours=1)
    world.now = world.until() + timedelta(seconds=1)
    client = world.secret(CLIENT)  # clients have taken new ones by now
    world.settle()
    assert world.stage() == "DropOld"
    for pod in world.pods():
        assert len(authorities_in(world.secret(CLIENT).bundle, world.now)) == 2
        world.take_up(pod)
        world.check(client)
        world.settle()
        world.check(client)
    assert world.stage() == "Steady"
    assert authorities_in(world.secret(CLIENT).bundle, world.now) == (newest,)
    world.take_up()
    world.check(client)
    assert not world.taken["orders-us-east-0"].accepts(old)
    assert "ca-previous.crt" not in world.children[CA]["data"]
    world.settle()
    assert world.decide().actions == ()


def test_an_authority_is_replaced_before_it_expires(world: Turnover) -> None:
    before = fingerprint(secret_value(world.children[CA], "ca.crt"))
    world.now += timedelta(days=2400)
    world.settle()
    world.take_up()
    world.settle()
    assert fingerprint(secret_value(world.children[CA], "ca.crt")) == before
    old = world.secret(CLIENT)
    world.now += timedelta(days=60)
    world.settle()
    assert fingerprint(secret_value(world.children[CA], "ca.crt")) != before
    world.check(old)
    world.take_up()
    world.settle()
    world.check(old)
    assert world.stage() == "IssueFromNew"


def test_a_replica_that_does_not_say_what_it_trusts_is_given_minutes(world: Turnover) -> None:
    world.silent = {"orders-us-east-1", "orders-eu-west-0"}
    lost(world)
    world.settle()
    world.take_up()
    world.settle()
    assert world.stage() == "TrustNew"
    world.now += SETTLE
    world.settle()
    assert world.stage() == "IssueFromNew"
    world.now = world.until()
    world.settle()
    world.take_up()
    world.settle()
    assert world.stage() == "DropOld"
    world.now += SETTLE
    world.settle()
    assert world.stage() == "Steady"


def test_one_that_says_that_it_does_not_trust_the_new_one_is_waited_for(world: Turnover) -> None:
    lost(world)
    world.settle()
    world.take_up(*(pod for pod in world.pods() if pod != "orders-ap-south-0"))
    world.now += timedelta(days=30)
    world.settle()
    assert world.stage() == "TrustNew"
    message = next(item["message"] for item in world.status["conditions"] if item["type"] == "AuthorityChanging")
    assert "orders-ap-south-0" in message
    world.check(world.taken["orders-ap-south-0"])


def test_a_person_may_end_the_clients_time(world: Turnover) -> None:
    old = world.secret(CLIENT)
    lost(world)
    world.settle()
    world.children[CA]["metadata"]["annotations"][PREVIOUS_AUTHORITIES_UNTIL] = "2026-01-01T00:00:00Z"
    for _ in range(3):
        world.settle()
        world.take_up()
    world.settle()
    assert world.stage() == "Steady"
    assert not world.taken["orders-us-east-0"].accepts(old)


def test_a_time_that_makes_no_sense_is_set_anew(world: Turnover) -> None:
    lost(world)
    world.settle()
    world.children[CA]["metadata"]["annotations"][PREVIOUS_AUTHORITIES_UNTIL] = "soon"
    world.settle()
    assert world.until() > world.now + WEEK - timedelta(hours=1)


def test_a_new_store_and_one_of_an_earlier_version_have_nothing_to_turn_over(world: Turnover) -> None:
    assert world.stage() == "Steady"
    assert "AuthorityReplaced" not in [reason for reason, _ in world.events]
    annotations = world.children[CA]["metadata"]["annotations"]
    for name in [name for name in annotations if "authorit" in name]:
        del annotations[name]
    before = {key: dict(child["data"]) for key, child in world.children.items() if key[0] == "Secret"}
    world.settle()
    after = {key: dict(child["data"]) for key, child in world.children.items() if key[0] == "Secret"}
    assert after == before
    assert world.stage() == "Steady"


def test_a_new_region_gets_a_certificate_in_any_stage(world: Turnover) -> None:
    lost(world)
    world.settle()
    world.spec["regions"].append({"name": "sa-east", "replicas": 1})
    world.generation += 1
    world.settle()
    assert authorities_in(world.secret(("Secret", "orders-sa-east-tls")).bundle, world.now) == authorities_in(
        world.secret(CLIENT).bundle, world.now
    )


def test_names_that_change_meanwhile_wait_until_every_replica_trusts_the_new_authority(world: Turnover) -> None:
    old = world.secret(CLIENT)
    lost(world)
    world.settle()
    world.spec["security"] = {"tls": {"subjectAltNames": ["store.example.com"]}}
    world.generation += 1
    world.settle()
    assert is_issued_by(world.secret(("Secret", "orders-us-east-tls")).leaf, old.bundle)
    world.take_up()
    world.settle()
    leaf = x509.load_pem_x509_certificate(world.secret(("Secret", "orders-us-east-tls")).leaf)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "store.example.com" in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_losses_crashes_and_slow_kubelets(world: Turnover, seed: int) -> None:
    """The operator stops after any action, replicas take up what their Secrets hold at any moment, and the authority is
    lost again and again meanwhile: nobody is ever refused."""
    rng = random.Random(seed)
    old = world.secret(CLIENT)
    for round_ in range(60):
        if round_ in (5, 20) or (round_ < 45 and rng.random() < 0.05):
            rng.choice(DISASTERS)(world)
        decided: Plan = world.decide()
        assert world.record(decided, world.version)
        actions = [a for a in decided.actions if isinstance(a, IssueAuthority | IssueCertificate | WriteSecret)]
        for action in actions[: rng.randint(0, len(actions))]:
            world.do(action)
            world.check(old)
        world.take_up(*rng.sample(world.pods(), rng.randint(1, 3)))
        world.check(old)
    for _ in range(3):
        world.settle()
        world.take_up()
    assert world.stage() == "IssueFromNew"
    world.check(old)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda now: _root(ed25519.Ed25519PrivateKey.generate(), now), "neither an elliptic-curve nor an RSA key"),
        (lambda now: _root(new_key(), now, ca=False), "may sign certificates"),
        (lambda now: _root(new_key(), now - timedelta(days=1000)), "expired"),
        (lambda now: _root(new_key(), now), ""),
    ],
)
def test_an_authority_that_a_person_gives_must_be_able_to_be_one(
    world: Turnover, make: Callable[[datetime], tuple[bytes, bytes]], expected: str
) -> None:
    certificate, key = make(world.now)
    problem = authority_problem(
        replace(make_authority("x", new_key(), world.now), certificate=certificate, key=key), world.now
    )
    assert expected in problem
    assert bool(problem) == bool(expected)
    world.set_authority(certificate, key)
    world.settle()
    taken = secret_value(world.children[CA], "ca.crt") == certificate
    assert taken == (not expected)
