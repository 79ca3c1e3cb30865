"""Domain values as protobuf messages, and back: the only place where both forms meet."""

from __future__ import annotations

from collections.abc import Iterable

from rstore_api.domain.epochs import EpochStart, History
from rstore_api.domain.topology import RegionTopology, ReplicaAddress, SyncRule, Topology
from rstore_api.proto import rstore_pb2 as pb


def history_messages(history: Iterable[EpochStart]) -> list[pb.EpochStart]:
    """Returns a history for a message."""
    return [
        pb.EpochStart(epoch=epoch, first_revision=first_revision, region=region, parent_revision=parent_revision)
        for epoch, first_revision, region, parent_revision in history
    ]


def history_of(starts: Iterable[pb.EpochStart]) -> History:
    """Returns the history in a message."""
    return tuple(EpochStart(start.epoch, start.first_revision, start.region, start.parent_revision) for start in starts)


def topology_message(topology: Topology) -> pb.Topology:
    """Returns a topology for a message."""
    regions = [
        pb.RegionTopology(
            name=region.name,
            replicas=[
                pb.ReplicaAddress(
                    name=item.name,
                    peer_address=item.peer_address,
                    client_address=item.client_address,
                    advertised_client_addresses=item.advertised_client_addresses,
                )
                for item in region.replicas
            ],
        )
        for region in topology.regions
    ]
    message = pb.Topology(
        epoch=topology.epoch, version=topology.version, primary_region=topology.primary_region, regions=regions
    )
    if (rule := topology.sync) is not None:
        message.sync.CopyFrom(
            pb.SyncRule(min_in_sync_regions=rule.min_in_sync_regions, timeout_ms=rule.timeout_ms, degrade=rule.degrade)
        )
    return message


def topology_of(message: pb.Topology) -> Topology:
    """Returns the topology in a message."""
    regions = tuple(
        RegionTopology(
            region.name,
            tuple(
                ReplicaAddress(
                    item.name, item.peer_address, item.client_address, tuple(item.advertised_client_addresses)
                )
                for item in region.replicas
            ),
        )
        for region in message.regions
    )
    sync = message.sync
    rule = SyncRule(sync.min_in_sync_regions, sync.timeout_ms, sync.degrade) if message.HasField("sync") else None
    return Topology(message.epoch, message.version, message.primary_region, regions, rule)
