"""Which addresses for clients outside of the cluster are advertised: those whose hosts are in the certificates in use.

An address goes into the topology, and with it into the list of members, once the replica presents a certificate for its
host; its host stays in the certificates until no region that answers lists it any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rstore_api.domain import names
from rstore_api.domain.topology import RegionTopology

from rstore_operator.facts.observed import Observed
from rstore_operator.planning.certificates.rotation import presents
from rstore_operator.planning.conditions.conditions import CLIENT_ENDPOINTS_ADVERTISED
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.planning.scaling.topology import held_regions
from rstore_operator.resource.client_endpoint import host_of
from rstore_operator.resource.model import RegionSpec, StoreRef
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import hosts_of


@dataclass(frozen=True)
class ClientEndpoints:
    """What is advertised, by pod, and what a person should know."""

    advertised: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    finding: Finding | None = None

    @property
    def waits(self) -> bool:
        """Whether something of it is not advertised everywhere yet."""
        return self.finding is not None and not self.finding.status


def plan_client_endpoints(
    ref: StoreRef, effective: Effective | None, observed: Observed, now: datetime
) -> ClientEndpoints:
    """Decides what topologies should list. While some replica is of a version that drops these addresses, it is
    nothing, so that the replicas of a region agree on what they list; nothing as well while the spec is invalid, where
    topologies stay as they are.
    """
    regions = [region for region in effective.spec.regions if region.client_endpoints] if effective is not None else []
    if effective is None or not regions:
        return ClientEndpoints()
    old = sorted(replica.name for replica in observed.replicas() if not replica.keeps_advertised_addresses)
    if old:
        text = f"these replicas are of a version that lists no clientEndpoints: {', '.join(old)}"
        return ClientEndpoints(finding=Finding(CLIENT_ENDPOINTS_ADVERTISED, False, "ReplicasTooOld", text))
    held = held_regions(observed)
    advertised: dict[str, tuple[str, ...]] = {}
    waiting = []
    for region in regions:
        wanted = _wanted(ref, region)
        allowed = _allowed(ref, region, wanted, held.get(region.name), observed, now)
        advertised |= allowed
        waiting += [pod for pod in wanted if allowed[pod] != wanted[pod]]
    return ClientEndpoints(advertised, _finding(waiting, advertised, observed, effective.region_names))


def certificate_hosts(ref: StoreRef, effective: Effective, region: str, observed: Observed) -> tuple[str, ...]:
    """The hosts that certificates of the region's replicas should be for: those of the spec, of as many replicas as a
    region can have, and those of the present certificate that a region still lists.
    """
    spec = effective.spec.region(region)
    wanted = [host for endpoint in spec.client_endpoints for host in endpoint.hosts()] if spec is not None else []
    listed = {
        host_of(address)
        for replica in observed.replicas()
        if replica.topology is not None
        for place in replica.topology.regions
        if place.name == region
        for item in place.replicas
        for address in item.advertised_client_addresses
    }
    kept = sorted(listed.intersection(hosts_of(_leaf(ref, region, observed)))) if listed.difference(wanted) else []
    return tuple(dict.fromkeys([*wanted, *kept]))


def _wanted(ref: StoreRef, region: RegionSpec) -> dict[str, tuple[str, ...]]:
    pods = names.pod_names(ref.name, region.name, region.replicas)
    return {
        pod: tuple(endpoint.address(ordinal) for endpoint in region.client_endpoints)
        for ordinal, pod in enumerate(pods)
    }


def _allowed(
    ref: StoreRef,
    region: RegionSpec,
    wanted: Mapping[str, tuple[str, ...]],
    held: RegionTopology | None,
    observed: Observed,
    now: datetime,
) -> dict[str, tuple[str, ...]]:
    """What of ``wanted`` may be listed: what is listed already, and what certificates in use are for. An address of the
    whole region may lead to any of its replicas.
    """
    listed = {replica.name: replica.advertised_client_addresses for replica in held.replicas} if held else {}
    if all(listed.get(pod) == addresses for pod, addresses in wanted.items()):
        return dict(wanted)
    leaf = _leaf(ref, region.name, observed)
    hosts = hosts_of(leaf)
    answers = {replica.name: replica for replica in observed.region(region.name).replicas}
    pods = [pod.name for pod in observed.region(region.name).pods]
    presenting = {pod for pod in pods if leaf and presents(answers.get(pod), leaf, now)}
    everybody = bool(pods) and presenting.issuperset(pods)
    shared = {endpoint.address(0) for endpoint in region.client_endpoints if endpoint.is_shared}

    def may(pod: str, address: str) -> bool:
        if address in listed.get(pod, ()):
            return True
        return host_of(address) in hosts and (everybody if address in shared else pod in presenting)

    return {pod: tuple(address for address in addresses if may(pod, address)) for pod, addresses in wanted.items()}


def _leaf(ref: StoreRef, region: str, observed: Observed) -> bytes:
    key = ("Secret", names.region_tls_secret(ref.name, region))
    return secrets.secret_value(observed.children.get(key), secrets.TLS_CERT)


def _finding(
    waiting: list[str], advertised: Mapping[str, tuple[str, ...]], observed: Observed, regions: tuple[str, ...]
) -> Finding:
    if waiting:
        text = f"these replicas do not present a certificate for their clientEndpoints yet: {', '.join(waiting)}"
        return Finding(CLIENT_ENDPOINTS_ADVERTISED, False, "CertificatesPending", text)
    lacking = sorted(_lacking(advertised, observed, regions))
    if lacking:
        text = f"these regions have not reported that they list the clientEndpoints: {', '.join(lacking)}"
        return Finding(CLIENT_ENDPOINTS_ADVERTISED, False, "NotEverywhere", text)
    text = "every region lists the clientEndpoints among its members"
    return Finding(CLIENT_ENDPOINTS_ADVERTISED, True, "Everywhere", text)


def _lacking(advertised: Mapping[str, tuple[str, ...]], observed: Observed, regions: tuple[str, ...]) -> Iterator[str]:
    for name in regions:
        leader = observed.leader(name)
        places = leader.topology.regions if leader is not None and leader.topology is not None else ()
        listed = {item.name: item.advertised_client_addresses for place in places for item in place.replicas}
        if any(listed.get(pod) != addresses for pod, addresses in advertised.items()):
            yield name
