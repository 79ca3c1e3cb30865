"""The store in memory with SemiSync: acknowledgements wait for other regions, and the tenure says what they hold."""

from __future__ import annotations

from dataclasses import replace

from rstore_api.domain.voters import WITNESS, majority, voters
from rstore_operator.facts.actions import Fence, GrantTenure
from rstore_operator.facts.observed import FenceAnswer, ReplicaStatus, SyncStatus
from unit.operator.lossy_world import LossyWorld
from unit.operator.world import FakeRegion


class SemiSyncWorld(LossyWorld):
    """Each region's leader keeps the rule of its topology. ``degraded``: primaries that gave up waiting."""

    def __init__(self, spec: dict) -> None:
        super().__init__(spec)
        self.heard: dict[str, tuple[int, int]] = {}
        self.said: dict[str, int] = {}
        self.binding: dict[str, int] = {}
        self.degraded: set[str] = set()
        self.pending: list[tuple[int, int]] = []

    # ------------------------------------------------------------------ the primary
    def rule(self, region: FakeRegion) -> int:
        return region.topology.sync.min_in_sync_regions if region.topology and region.topology.sync else 0

    def in_other_regions(self, region: FakeRegion, entry: tuple[int, int]) -> int:
        return sum(holds(other, entry) for other in self.regions.values() if other is not region)

    def guarantee(self, region: FakeRegion) -> int:
        wanted = 0 if region.name in self.degraded else self.rule(region)
        told = next((entry for entry in reversed(self.acked) if holds(region, entry)), None)
        return wanted if told is None or self.in_other_regions(region, told) >= wanted else 0

    def write(self) -> bool:
        """Goes into the log where the tenure is held; :meth:`replicate` acknowledges it when it may."""
        taking = [
            region
            for region in self.regions.values()
            if region.name not in self.dead and region.writable and self.holds(region.name)
        ]
        assert len(taking) <= 1
        for region in taking:
            region.log.append((region.revision + 1, region.epoch))
            self.pending.append(region.log[-1])
        return bool(taking)

    def replicate(self) -> None:
        super().replicate()
        for region in self.regions.values():
            if region.name not in self.dead and region.writable and self.holds(region.name):
                required = max(0 if region.name in self.degraded else self.rule(region), self.binding[region.name])
                ready = [
                    entry
                    for entry in self.pending
                    if holds(region, entry) and self.in_other_regions(region, entry) >= required
                ]
                self.acked += ready
                self.pending = [entry for entry in self.pending if entry not in ready]

    # ------------------------------------------------------------------ the tenure
    def renew(self) -> None:
        for region in self.regions.values():
            self.said[region.name] = self.guarantee(region) if region.primary else 0
            self.binding[region.name] = max(self.binding.get(region.name, 0), self.said[region.name])
        super().renew()
        for region in self.regions.values():
            if region.primary and region.name not in self.dead:
                for voter in self.tenures.votes.get(region.name, {}).keys() - {WITNESS}:
                    self.heard[voter] = (region.epoch, self.said[region.name])
                self._bind(region)

    def _bind(self, region: FakeRegion) -> None:
        board = voters([item.name for item in region.topology.regions]) if region.topology else frozenset()
        if len(self.tenures.votes.get(region.name, {}).keys() & board) >= majority(len(board)):
            self.binding[region.name] = self.said[region.name]

    def _witness(self, action: GrantTenure) -> None:
        super()._witness(action)
        self._bind(self.regions[action.region])

    def _with_tenure(self, replica: ReplicaStatus) -> ReplicaStatus:
        replica = super()._with_tenure(replica)
        assert replica.tenure is not None
        assert replica.granted is not None
        epoch, heard = self.heard.get(replica.region, (0, 0))
        region = self.regions[replica.region]
        leads = replica.is_leader and replica.primary
        degraded = replica.region in self.degraded
        wanted = self.rule(region)
        return replace(
            replica,
            tenure=replace(replica.tenure, in_sync_regions=self.said.get(replica.region, 0) if leads else 0),
            granted=replace(replica.granted, in_sync_regions=heard if epoch == replica.granted.epoch else 0),
            sync=SyncStatus(wanted, not degraded, degraded) if leads and wanted else None,
        )

    def _fence(self, action: Fence) -> FenceAnswer | None:
        answer = super()._fence(action)
        epoch, heard = self.heard.get(action.region, (0, 0))
        return replace(answer, in_sync_epoch=epoch, in_sync_regions=heard) if answer is not None else None

    # ------------------------------------------------------------------ what must be true
    def lost(self) -> list[tuple[int, int]]:
        """Acknowledged, and not in the newest primary."""
        newest = max((r for r in self.regions.values() if r.primary), key=lambda r: r.epoch)
        return [entry for entry in self.acked if not holds(newest, entry)]


def holds(region: FakeRegion, entry: tuple[int, int]) -> bool:
    """Whether the region has this very change: each stands where its revision says."""
    index = entry[0] - 2
    return 0 <= index < len(region.log) and region.log[index] == entry


def semi_sync(names: list[str], regions: int = 1, **replication: object) -> SemiSyncWorld:
    """A steady store of regions of one replica, that has been written to."""
    world = SemiSyncWorld(
        {
            "primaryRegion": names[0],
            "regions": [{"name": name, "replicas": 1} for name in names],
            "replication": {"mode": "SemiSync", "minInSyncRegions": regions} | replication,
        }
    )
    while world.status.get("phase") != "Steady":
        world.step()
    world.compare_objects = False
    world.run(2.0)
    assert world.acked, "nobody acknowledges"
    return world
