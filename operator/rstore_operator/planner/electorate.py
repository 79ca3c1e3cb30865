"""Which topologies the primary uses, or may use since they were sent to it: persisted in `.status`.

The primary needs the grants of a majority of the regions in its topology. An operator that fences must have a majority
of the same, also when the primary cannot be asked, when this operator has never seen it, and when regions that the
primary does not know have come, or come back, meanwhile. So before a topology is sent to a primary, or with a
promotion, its regions are persisted; and they stay there until the primary reports that a majority of the voters of a
later topology granted a round: it takes no older topology after that, and a failover that waits for the grants of those
voters waits for longer than anything granted before may run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rstore_api.domain.topology import Topology
from rstore_api.domain.voters import voters

from rstore_operator.facts.actions import Action, Bootstrap, Promote, PushTopology
from rstore_operator.facts.observed import Observed, ReplicaStatus, Tenure
from rstore_operator.facts.truth import Truth
from rstore_operator.resource.state import SentTopology


def next_sent(
    before: tuple[SentTopology, ...], actions: Iterable[Action], observed: Observed, truth: Truth
) -> tuple[SentTopology, ...]:
    """Return what has to be persisted before ``actions`` are carried out."""
    topologies = list(before)
    leader = _primary_leader(observed, truth)
    if leader is not None and leader.topology is not None:
        granted = _granted_version(leader.topology, leader.tenure)
        topologies = [sent for sent in before if not granted or (sent.epoch, sent.version) >= (leader.epoch, granted)]
        topologies.append(_sent(leader.topology))
    topologies += [
        _sent(action.topology)
        for action in actions
        if isinstance(action, Bootstrap | Promote | PushTopology) and action.region == action.topology.primary_region
    ]
    ordered = sorted(topologies, key=lambda sent: (sent.epoch, sent.version, sent.regions))
    # Of the same regions and mode in the same epoch the newest version is enough, so that there are few however often
    # replicas move while nothing is granted.
    return tuple(sorted({(sent.epoch, sent.regions, sent.mode): sent for sent in ordered}.values(), key=ordered.index))


def _granted_version(topology: Topology, tenure: Tenure | None) -> int:
    """Return the version from which on voters count, 0: all count; that of the topology itself where no tenure is
    needed, or where the replica's version does not report it.
    """
    if not voters(topology.region_names) or tenure is None or tenure.granted_version is None:
        return topology.version
    return tenure.granted_version


def version_above(record: tuple[SentTopology, ...], epoch: int, wanted: Collection[str]) -> int:
    """A topology of ``epoch`` with the ``wanted`` regions has to be newer than this: once the primary holds it, nothing
    that was sent before can take its place, and what was sent before needs no majority any more.
    """
    others = [sent.version for sent in record if sent.epoch == epoch and set(sent.regions) != set(wanted)]
    return max(others, default=0)


def _primary_leader(observed: Observed, truth: Truth) -> ReplicaStatus | None:
    leader = observed.leader(truth.primary_region) if truth.primary_region else None
    if leader is None or not leader.primary or leader.epoch != truth.epoch or leader.topology is None:
        return None
    return leader if leader.topology.epoch == leader.epoch else None


def _sent(topology: Topology) -> SentTopology:
    names = tuple(sorted(region.name for region in topology.regions))
    return SentTopology(topology.epoch, topology.version, names, "Async" if topology.sync is None else "SemiSync")
