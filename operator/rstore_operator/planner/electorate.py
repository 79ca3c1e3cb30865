"""Which topologies the primary uses, or may use since they were sent to it: persisted in `.status`.

The primary needs the grants of a majority of the regions in its topology. An operator that fences must have a majority
of the same, also when the primary cannot be asked, when this operator has never seen it, and when regions that the
primary does not know have come, or come back, meanwhile. So before a topology is sent to a primary, or with a
promotion, its regions are persisted; and they stay there until the primary is seen to hold a topology that is as new,
since it takes no older one after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rstore_api.domain.topology import Topology

from rstore_operator.facts.actions import Action, Bootstrap, Promote, PushTopology
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.resource.state import SentTopology


def next_sent(
    before: tuple[SentTopology, ...], actions: Iterable[Action], observed: Observed, truth: Truth
) -> tuple[SentTopology, ...]:
    """Return what has to be persisted before ``actions`` are carried out."""
    topologies = set(before)
    held = _held_by_primary(observed, truth)
    if held is not None:
        newer = {sent for sent in before if (sent.epoch, sent.version) > (held.epoch, held.version)}
        topologies = newer | {_sent(held)}
    topologies |= {
        _sent(action.topology)
        for action in actions
        if isinstance(action, Bootstrap | Promote | PushTopology) and action.region == action.topology.primary_region
    }
    return tuple(sorted(topologies, key=lambda sent: (sent.epoch, sent.version, sent.regions)))


def version_above(record: tuple[SentTopology, ...], epoch: int, wanted: Collection[str]) -> int:
    """A topology of ``epoch`` with the ``wanted`` regions has to be newer than this: once the primary holds it, nothing
    that was sent before can take its place, and what was sent before needs no majority any more.
    """
    others = [sent.version for sent in record if sent.epoch == epoch and set(sent.regions) != set(wanted)]
    return max(others, default=0)


def _held_by_primary(observed: Observed, truth: Truth) -> Topology | None:
    leader = observed.leader(truth.primary_region) if truth.primary_region else None
    if leader is None or not leader.primary or leader.epoch != truth.epoch or leader.topology is None:
        return None
    return leader.topology if leader.topology.epoch == leader.epoch else None


def _sent(topology: Topology) -> SentTopology:
    return SentTopology(topology.epoch, topology.version, tuple(sorted(region.name for region in topology.regions)))
