"""Which topology every region should hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rstore_api.domain import names
from rstore_api.domain.topology import RegionTopology, ReplicaAddress, SyncRule, Topology

from rstore_operator.facts.observed import Observed
from rstore_operator.resource.model import ReplicationSpec


def region_topology(
    store: str, namespace: str, region: str, replicas: int, advertised: Mapping[str, tuple[str, ...]]
) -> RegionTopology:
    """The addresses of a region's replicas, by the names that its headless Service gives them, and those that are
    ``advertised`` to clients outside of the cluster, by pod.
    """
    addresses = []
    for pod in names.pod_names(store, region, replicas):
        host, others = names.pod_host(store, region, namespace, pod), advertised.get(pod, ())
        addresses.append(ReplicaAddress(pod, f"{host}:{names.PEER_PORT}", f"{host}:{names.CLIENT_PORT}", others))
    return RegionTopology(region, tuple(addresses))


def held_regions(observed: Observed) -> Mapping[str, RegionTopology]:
    """Each region as the newest topology that any leader holds has it."""
    topologies = sorted(_held(observed), key=lambda topology: (topology.epoch, topology.version))
    return {region.name: region for topology in topologies for region in topology.regions}


def sync_of(replication: ReplicationSpec) -> SyncRule | None:
    """The rule for acknowledging that the spec asks for; None: Async."""
    if replication.mode != "SemiSync":
        return None
    degrade = replication.on_timeout == "Degrade"
    return SyncRule(replication.min_in_sync_regions, replication.semi_sync_timeout_ms, degrade)


def held_sync(observed: Observed) -> SyncRule | None:
    """The rule in the newest topology that any leader holds."""
    newest = max(_held(observed), key=lambda topology: (topology.epoch, topology.version), default=None)
    return newest.sync if newest is not None else None


def desired_topology(
    regions: Iterable[RegionTopology],
    *,
    primary_region: str,
    epoch: int,
    observed: Observed,
    sync: SyncRule | None = None,
    above: int = 0,
) -> Topology:
    """The topology of this epoch with these regions and this rule for acknowledging.

    Its version is that of the newest one held in this epoch when that says the same, else one more: so it is repeated
    unchanged until every region has it, and a change always wins over what is held, and over what may be on its way
    in a version up to ``above``.
    """
    wanted = tuple(sorted(regions, key=lambda region: region.name))
    same_epoch = [topology for topology in _held(observed) if topology.epoch == epoch]
    newest = max(same_epoch, key=lambda topology: topology.version, default=None)
    if newest is None:
        return Topology(epoch, above + 1, primary_region, wanted, sync)
    all_equal = all(same_content(topology, newest) for topology in same_epoch if topology.version == newest.version)
    candidate = Topology(epoch, newest.version, primary_region, wanted, sync)
    if all_equal and same_content(candidate, newest) and newest.version >= above:
        return candidate
    return Topology(epoch, max(newest.version, above) + 1, primary_region, wanted, sync)


def same_content(left: Topology, right: Topology) -> bool:
    """Whether two topologies say the same, whatever their versions and the order of regions."""

    def content(topology: Topology) -> object:
        places = {region.name: region.replicas for region in topology.regions}
        return topology.primary_region, places, topology.sync

    return left.epoch == right.epoch and content(left) == content(right)


def holds(topology: Topology | None, wanted: Topology) -> bool:
    """Whether a region that holds ``topology`` need not be sent ``wanted``."""
    if topology is None or (topology.epoch, topology.version) < (wanted.epoch, wanted.version):
        return False
    return (topology.epoch, topology.version) > (wanted.epoch, wanted.version) or same_content(topology, wanted)


def _held(observed: Observed) -> list[Topology]:
    leaders = (region.leader for region in observed.regions.values())
    return [leader.topology for leader in leaders if leader is not None and leader.topology is not None]
