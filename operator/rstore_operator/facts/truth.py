"""What the regions themselves report about store id, epochs and the primary: the truth that status is a copy of."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_operator.facts.memory import Memory
from rstore_operator.facts.observed import Observed
from rstore_operator.resource.state import StoreStatus


@dataclass(frozen=True)
class Truth:
    """What is true of the store. ``primary_region`` is "" and epochs are 0 until a region has been bootstrapped."""

    store_ids: frozenset[str]
    primary_region: str
    epoch: int
    highest_epoch: int
    """The highest epoch that was ever seen: in use, promised, named in a topology, or recorded in status."""
    promised_epoch: int


def read_truth(observed: Observed, memory: Memory, status: StoreStatus) -> Truth:
    """Join what the replicas answered with what status and this process remember; the higher epoch wins."""
    # What a leader said last still holds when it cannot be asked: epochs only grow.
    replicas = (*observed.replicas(), *memory.last_leaders.values())
    claims = [(replica.epoch, replica.region) for replica in replicas if replica.primary and replica.epoch > 0]
    reported = [(replica.epoch, replica.topology) for replica in replicas if replica.topology is not None]
    topologies = [topology for _, topology in reported]
    # The topology of the first epoch is sent before that begins. It has begun where a region has received some of it;
    # as long as the region that it names does not answer, that one may be about to, with all of its data.
    claims += [
        (item.epoch, item.primary_region)
        for epoch, item in reported
        if item.epoch > 1 or (epoch >= item.epoch and observed.leader(item.primary_region) is not None)
    ]
    if status.epoch and status.primary_region:
        claims.append((status.epoch, status.primary_region))
    epoch, primary = max(claims, default=(0, ""))
    promised = max([status.promised_epoch, *(replica.promised_epoch for replica in replicas)])
    epochs = [epoch, promised, status.epoch, *(replica.epoch for replica in replicas)]
    epochs += [topology.epoch for topology in topologies]
    epochs += [receipt.epoch for receipt in status.history]
    if status.failover is not None:
        epochs.append(status.failover.epoch)
    return Truth(
        store_ids=frozenset(replica.store_id for replica in observed.replicas() if replica.store_id),
        primary_region=primary,
        epoch=epoch,
        highest_epoch=max(epochs),
        promised_epoch=promised,
    )
