"""What the leaders of the regions are asked to do, and what runs for regions that left."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api.domain import names
from rstore_api.domain.topology import RegionTopology, SyncRule, Topology

from rstore_operator.facts.actions import (
    Action,
    AddMember,
    Bootstrap,
    Demote,
    Fence,
    HandOver,
    Promote,
    PushTopology,
    RemoveMember,
    Target,
)
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth
from rstore_operator.failover.planned import Command, DemoteCommand, FenceCommand, PromoteCommand
from rstore_operator.planner.electorate import version_above
from rstore_operator.planning.bootstrap import BootstrapPlan
from rstore_operator.planning.children.objects import deletions
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.planning.scaling.topology import desired_topology, holds
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.state import SentTopology


@dataclass(frozen=True)
class RegionCalls:
    """Calls on the regions of ``topologies``; ``effective`` is None while the spec is invalid."""

    ref: StoreRef
    observed: Observed
    truth: Truth
    topologies: tuple[RegionTopology, ...]
    sync: SyncRule | None
    effective: Effective | None
    sent: tuple[SentTopology, ...] = ()
    """The topologies that the primary may have been sent before, as `.status` has them."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(region.name for region in self.topologies)

    def target(self, region: str) -> Target | None:
        """The region's leader, if it answered and its pod has an address."""
        leader = self.observed.leader(region)
        pod = self.observed.region(region).pod(leader.name) if leader else None
        return Target.of(pod) if pod is not None and pod.ip else None

    def _topology(self, primary: str, epoch: int) -> Topology:
        return desired_topology(
            self.topologies,
            primary_region=primary,
            epoch=epoch,
            observed=self.observed,
            sync=self.sync,
            above=version_above(self.sent, epoch, self.regions),
        )

    def bootstraps(self, bootstrap: BootstrapPlan, promised_epoch: int) -> list[Action]:
        """Give fresh regions the store's id. One that was fenced, and came back without its data, promises again."""
        if not bootstrap.regions or self.effective is None:
            return []
        primary, epoch = self.truth.primary_region or self.effective.spec.primary_region, self.truth.epoch or 1
        topology = self._topology(primary, epoch)
        targets = [(region, self.target(region)) for region in bootstrap.regions]
        return [
            Bootstrap(region, target, bootstrap.store_id, topology, promised_epoch)
            for region, target in targets
            if target is not None
        ]

    def pushes(self, store_id: str) -> list[Action]:
        """Send the topology to every region that can be reached and does not hold it yet."""
        if not self.truth.epoch or not store_id or len(self.truth.store_ids) > 1:
            return []
        topology = self._topology(self.truth.primary_region, self.truth.epoch)
        actions: list[Action] = []
        for region in self.regions:
            leader, target = self.observed.leader(region), self.target(region)
            if leader is None or target is None or leader.store_id != store_id:
                continue
            if not holds(leader.topology, topology):
                actions.append(PushTopology(region, target, store_id, topology))
        return actions

    def scaling(self) -> list[Action]:
        """The next step of each region whose replicas are changing."""
        actions: list[Action] = []
        for region, step in self.effective.scaling if self.effective else ():
            target = self.target(region)
            if target is not None and step.add:
                host = names.pod_host(self.ref.name, region, self.ref.namespace, step.add)
                actions.append(AddMember(region, target, step.add, f"{host}:{names.PEER_PORT}"))
            elif target is not None and step.remove:
                actions.append(RemoveMember(region, target, step.remove))
            elif target is not None and step.hand_over_to:
                actions.append(HandOver(region, target, step.hand_over_to))
        return actions

    def departures(self, pushes: list[Action]) -> tuple[Action, ...]:
        """Delete what runs for regions that left, once they vote on no board that counts, and no region that can be
        reached has a topology that names them.
        """
        if self.effective is None or pushes or not self.effective.leaving:
            return ()
        if any(self.effective.leaving & set(board.regions) for board in self.sent):
            return ()
        leaders = [self.observed.leader(region) for region in self.regions]
        for leader in leaders:
            if leader is None or (leader.topology and _names(leader.topology) & self.effective.leaving):
                return ()
        return deletions(self.effective.leaving, self.observed)

    def command(self, command: Command, store_id: str) -> list[Action]:
        """What a change of primary wants done."""
        if isinstance(command, FenceCommand):
            voters = [(region, self.target(region)) for region in command.regions]
            return [Fence(region, target, store_id, command.epoch) for region, target in voters if target is not None]
        target = self.target(command.region)
        if target is None:
            return []
        if isinstance(command, DemoteCommand):
            return [Demote(command.region, target, store_id, command.epoch)]
        assert isinstance(command, PromoteCommand)
        regions = tuple(sorted(self.topologies, key=lambda r: r.name))
        topology = Topology(command.epoch, 1, command.region, regions, self.sync)
        jump = command.revision_jump
        return [Promote(command.region, target, store_id, command.epoch, command.min_revision, topology, jump)]


def _names(topology: Topology) -> frozenset[str]:
    return frozenset(region.name for region in topology.regions)
