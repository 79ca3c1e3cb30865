"""Addresses for clients outside: in the certificates before they are listed, and until they are listed no more."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification
from rstore_operator.facts.actions import IssueCertificate, PushTopology
from rstore_operator.facts.observed import Observed
from rstore_operator.planning.certificates.rotation import SETTLE
from rstore_operator.resource.client_endpoint import host_of
from rstore_operator.specs.certificates import authorities_in, fingerprint, hosts_of
from rstore_operator.specs.secrets import secret_value
from unit.operator.world import SPEC, World

TEMPLATE = "rs-{ordinal}.eu.example.com:2379"
SHARED = "lb.eu.example.com:443"
CONDITION = "ClientEndpointsAdvertised"


class Advertising(World):
    """A store whose replicas present the certificate in their Secret when a test says so."""

    def __init__(self) -> None:
        super().__init__(copy.deepcopy(SPEC))
        self.presented: dict[str, bytes] = {}
        self.silent: set[str] = set()
        self.old: set[str] = set()

    def pods(self, *regions: str) -> list[str]:
        of = [region for region in self.regions.values() if not regions or region.name in regions]
        return [f"orders-{region.name}-{ordinal}" for region in of for ordinal in range(region.replicas)]

    def leaf(self, region: str) -> bytes:
        return secret_value(self.children["Secret", f"orders-{region}-tls"], "tls.crt")

    def take_up(self, *pods: str) -> None:
        for pod in pods or self.pods():
            self.presented[pod] = self.leaf(pod.removeprefix("orders-").rpartition("-")[0])

    def observed(self) -> Observed:
        seen = super().observed()
        bundle = secret_value(self.children.get(("Secret", "orders-ca")), "ca.crt")
        trusted = frozenset(fingerprint(item) for item in authorities_in(bundle, self.now))
        regions = {}
        for name, region in seen.regions.items():
            replicas = tuple(
                replace(
                    replica,
                    trusted_authorities=trusted,
                    certificate=fingerprint(self.presented[replica.name]) if replica.name in self.presented else "",
                    keeps_advertised_addresses=replica.name not in self.old,
                )
                for replica in region.replicas
                if replica.name not in self.silent
            )
            regions[name] = replace(region, replicas=replicas)
        return replace(seen, regions=regions)

    def edit(self, **endpoints: list[str]) -> None:
        """Changes spec.regions[].clientEndpoints; ``eu_west`` stands for eu-west."""
        self.spec = copy.deepcopy(self.spec)
        self.generation += 1
        for region in self.spec["regions"]:
            named = region["name"].replace("-", "_")
            if named in endpoints:
                region["clientEndpoints"] = endpoints[named]

    def look(self, times: int = 10) -> list[Any]:
        """A few rounds, the first of which compares objects, as it does after an edit."""
        done: list[Any] = []
        for _ in range(times):
            self.compare_objects = True
            done += self.step().actions
        return done

    def listed(self, at: str = "us-east") -> dict[str, tuple[str, ...]]:
        """What the region lists, of all replicas that have something."""
        topology = self.regions[at].topology
        assert topology is not None
        found = {item.name: item.advertised_client_addresses for region in topology.regions for item in region.replicas}
        return {name: addresses for name, addresses in found.items() if addresses}

    def condition(self) -> tuple[str, str] | None:
        found = [item for item in self.status["conditions"] if item["type"] == CONDITION]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def check_certificates(self) -> None:
        """Nobody lists a host for which a replica behind it presents no certificate."""
        for region in self.regions.values():
            if not region.up or region.topology is None:
                continue
            for place in region.topology.regions:
                for replica in place.replicas:
                    for address in replica.advertised_client_addresses:
                        behind = self.pods(place.name) if address.startswith("lb.") else [replica.name]
                        for pod in behind:
                            assert host_of(address) in hosts_of(self.presented[pod]), (region.name, address, pod)


@pytest.fixture
def world() -> Advertising:
    world = Advertising()
    world.compare_objects = True
    world.settle()
    world.take_up()
    world.settle()
    return world


def test_an_address_is_listed_once_its_replica_presents_a_certificate_for_it(world: Advertising) -> None:
    world.edit(eu_west=[TEMPLATE])
    world.look()
    assert {f"rs-{ordinal}.eu.example.com" for ordinal in range(9)} <= hosts_of(world.leaf("eu-west"))
    assert "rs-0.eu.example.com" not in hosts_of(world.leaf("us-east")), "the other regions' certificates are as before"
    assert world.listed() == {}
    assert world.condition() == ("False", "CertificatesPending")
    world.take_up("orders-eu-west-1")
    world.look()
    assert world.listed() == {"orders-eu-west-1": ("rs-1.eu.example.com:2379",)}
    world.take_up()
    world.look()
    expected = {f"orders-eu-west-{ordinal}": (f"rs-{ordinal}.eu.example.com:2379",) for ordinal in range(3)}
    assert [world.listed(region) for region in world.regions] == [expected] * 3
    assert world.condition() == ("True", "Everywhere")
    assert world.look() == [], "and then nothing is done any more"


def test_an_address_of_the_whole_region_waits_for_all_of_its_replicas(world: Advertising) -> None:
    world.edit(eu_west=[SHARED])
    world.look()
    world.take_up("orders-eu-west-0", "orders-eu-west-2")
    world.look()
    assert world.listed() == {}
    world.take_up("orders-eu-west-1")
    world.look()
    assert world.listed() == dict.fromkeys(world.pods("eu-west"), (SHARED,))


def test_the_certificate_verifies_for_names_and_ip_addresses(world: Advertising) -> None:
    world.edit(eu_west=[TEMPLATE, "192.0.2.1{ordinal}:2379", "[2001:db8::7]:2379"])
    world.look()
    world.take_up()
    world.look()
    addresses = ("rs-2.eu.example.com:2379", "192.0.2.12:2379", "[2001:db8::7]:2379")
    assert world.listed()["orders-eu-west-2"] == addresses
    authority = x509.load_pem_x509_certificate(secret_value(world.children["Secret", "orders-ca"], "ca.crt"))
    leaf = x509.load_pem_x509_certificate(world.presented["orders-eu-west-2"])
    builder = verification.PolicyBuilder().store(verification.Store([authority])).time(world.now)
    for name in (
        x509.DNSName("rs-2.eu.example.com"),
        x509.IPAddress(ip_address("192.0.2.12")),
        x509.IPAddress(ip_address("2001:db8::7")),
    ):
        builder.build_server_verifier(name).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("rs-9.eu.example.com")).verify(leaf, [])


def test_a_host_stays_in_the_certificates_until_no_region_lists_it(world: Advertising) -> None:
    world.edit(eu_west=[TEMPLATE], us_east=[SHARED])
    world.look()
    world.take_up()
    world.look()
    world.edit(eu_west=["other.example.com:2379"], us_east=[])
    held = world.regions["ap-south"].topology
    world.compare_objects = True
    actions = world.step().actions
    assert [action for action in actions if isinstance(action, PushTopology)]
    assert world.listed() == {}
    world.regions["ap-south"].topology = held  # it has not got it yet
    world.look(1)
    assert "rs-0.eu.example.com" in hosts_of(world.leaf("eu-west"))
    assert "lb.eu.example.com" in hosts_of(world.leaf("us-east"))
    issued = [action for action in actions if isinstance(action, IssueCertificate)]
    assert {"rs-0.eu.example.com", "other.example.com"} <= set(issued[0].request.dns_names)
    world.look()
    assert world.listed("ap-south") == {}
    assert not {"rs-0.eu.example.com", "lb.eu.example.com"} & (
        hosts_of(world.leaf("eu-west")) | hosts_of(world.leaf("us-east"))
    )
    world.take_up()
    world.look()
    assert world.listed("ap-south") == dict.fromkeys(world.pods("eu-west"), ("other.example.com:2379",))
    assert world.condition() == ("True", "Everywhere")


def test_a_new_replica_is_listed_when_it_runs(world: Advertising) -> None:
    world.edit(ap_south=["ap-{ordinal}.example.com:2379"])
    world.look()
    world.take_up()
    world.look()
    world.spec = copy.deepcopy(world.spec)
    world.spec["regions"][2]["replicas"] = 2
    world.look(3)
    assert world.listed() == {"orders-ap-south-0": ("ap-0.example.com:2379",)}
    before = world.leaf("ap-south")
    world.take_up("orders-ap-south-1")
    world.regions["ap-south"].learners.clear()
    world.look()
    assert world.leaf("ap-south") == before, "the certificate is for the names of replicas to come"
    assert world.listed()["orders-ap-south-1"] == ("ap-1.example.com:2379",)


def test_a_replica_that_does_not_answer_has_its_certificate_from_its_secret_after_a_while(world: Advertising) -> None:
    world.edit(eu_west=[SHARED])
    world.silent = {"orders-eu-west-2"}
    world.look()
    world.take_up("orders-eu-west-0", "orders-eu-west-1")
    world.look()
    assert world.listed() == {}
    world.now += SETTLE + timedelta(seconds=1)
    world.look()
    assert set(world.listed()) == set(world.pods("eu-west"))
    world.silent = set(world.pods("eu-west"))
    world.look()
    assert set(world.listed()) == set(world.pods("eu-west")), "what is listed stays while a region is away"


def test_nothing_is_listed_while_a_replica_of_a_version_runs_that_would_drop_it(world: Advertising) -> None:
    world.edit(eu_west=[TEMPLATE])
    world.look()
    world.take_up()
    world.look()
    world.old = {"orders-ap-south-0"}
    world.look()
    assert world.listed() == {}
    assert world.condition() == ("False", "ReplicasTooOld")
    world.old = set()
    world.look()
    assert len(world.listed()) == 3


def test_a_promotion_keeps_what_is_listed(world: Advertising) -> None:
    world.edit(eu_west=[TEMPLATE], us_east=["us-{ordinal}.example.com:2379"])
    world.look()
    world.take_up()
    world.look()
    before = world.listed()
    world.annotations["replicatedstore.io/failover-to"] = "eu-west"
    for _ in range(60):
        world.step()
        for region in world.regions:
            assert world.listed(region) == before
    assert world.status["primaryRegion"] == "eu-west"


def test_while_the_spec_is_invalid_what_is_listed_stays(world: Advertising) -> None:
    world.edit(eu_west=[TEMPLATE])
    world.look()
    world.take_up()
    world.look()
    before = world.listed()
    world.edit(eu_west=["nowhere"])
    world.look()
    assert world.listed() == before


@pytest.mark.parametrize("seed", range(4))
def test_no_host_is_ever_listed_without_a_certificate(world: Advertising, seed: int) -> None:
    """Edits, slow kubelets, replicas that do not answer and an operator that stops after any action, in any order."""
    rng = random.Random(seed)
    others = ["n-{ordinal}.example.com:1", SHARED]
    choices = [[], [TEMPLATE], [SHARED], [TEMPLATE, SHARED], others, ["10.0.0.1{ordinal}:7"]]
    for _ in range(60):
        if rng.random() < 0.15:
            world.edit(eu_west=rng.choice(choices))
        world.compare_objects = True
        decided = world.decide()
        assert world.record(decided, world.version)
        for action in decided.actions[: rng.randint(0, len(decided.actions))]:
            world.do(action)
            world.check_certificates()
        if rng.random() < 0.4:
            world.take_up(*rng.sample(world.pods(), rng.randint(1, 4)))
        world.check_certificates()
        world.now += timedelta(seconds=0.1)
        world.silent = {f"orders-eu-west-{rng.randint(1, 2)}"} if rng.random() < 0.2 else set()
    world.silent = set()
    world.edit(eu_west=[TEMPLATE, SHARED])
    for _ in range(3):
        world.look()
        world.take_up()
    assert world.listed("ap-south")["orders-eu-west-2"] == ("rs-2.eu.example.com:2379", SHARED)
    assert len(hosts_of(world.leaf("eu-west")) - hosts_of(world.leaf("us-east"))) < 40, "hosts of before are gone"
