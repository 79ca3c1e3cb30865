"""The store in memory with tenures, fences, the rule of SemiSync, and regions that are lost or cut off."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

from rstore_api.domain.epochs import BASE_REVISION, REVISION_JUMP, EpochStart, History
from rstore_api.domain.voters import WITNESS, majority, voters
from rstore_operator.facts.actions import Fence, GrantTenure, Promote
from rstore_operator.facts.memory import Memory, acted
from rstore_operator.facts.observed import FenceAnswer, Granted, ReplicaStatus, SyncStatus, Tenure
from rstore_operator.failover.voting import electorate
from rstore_operator.planner.plan import Plan
from rstore_operator.resource.state import QuarantinedTail
from unit.operator.world import FakeRegion, Remembers, World

TENURE = 3.0


@dataclass
class Tenures:
    """By voter: the epoch it granted last, when and until when; by region: until when it holds which epoch's tenure."""

    granted: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    held: dict[str, tuple[int, float]] = field(default_factory=dict)
    offers: dict[str, tuple[int, float, int]] = field(default_factory=dict)
    """To the witness, by region: epoch, when the round was sent, its number."""
    votes: dict[str, dict[str, float]] = field(default_factory=dict)
    """By region and voter, for how many seconds its newest round was granted."""
    rounds: int = 0


def _history(region: FakeRegion) -> History:
    """The epochs that the region knows, by their first changes; the last one may have none yet."""
    firsts: dict[int, int] = {}
    for revision, epoch in region.log:
        firsts.setdefault(epoch, revision)
    if region.epoch:
        firsts.setdefault(region.epoch, region.revision + 1)
    return tuple(EpochStart(epoch, revision) for epoch, revision in sorted(firsts.items()))


class LossyWorld(World):
    """``region.up``: the operator reaches it. ``cut``: other regions do not. ``dead``: nobody does, it does nothing."""

    def __init__(self, spec: dict | None = None) -> None:
        super().__init__(spec)
        self.tenures = Tenures()
        self.dead: set[str] = set()
        self.cut: set[str] = set()
        self.longest: dict[str, float] = {}
        """By region, the longest grant that it has agreed on."""
        self.late: set[str] = set()
        """Regions that receive grants when they are of no use any more."""
        self.tails: dict[str, list[QuarantinedTail]] = {}
        self.quarantine: list[tuple[int, int]] = []
        self.unacknowledged: list[tuple[int, int]] = []
        self.tenure_seconds: dict[str, float] = {}
        """By region, the tenure that its replicas use; their configuration changes one after the other."""
        self.announced: dict[str, int] = {}
        """By region, how many others its leader has announced to the voters as holding what it acknowledges."""
        self.received: dict[str, tuple[int, int]] = {}
        """By voter, the epoch and the number that were announced to it last."""
        self.binding: dict[str, int] = {}
        """By region, what was announced to a majority, below which it must not acknowledge."""
        self.degraded: set[str] = set()
        """Primaries that gave up waiting for other regions."""
        self.pending: list[tuple[int, int]] = []

    # ------------------------------------------------------------------------------------------ looking
    def kill(self, name: str) -> None:
        self.dead.add(name)
        self.regions[name].up = False

    def wipe(self, *names: str) -> None:
        """A person takes the regions out of the spec, and deletes their StatefulSets, pods and claims."""
        left = [region for region in self.spec["regions"] if region["name"] not in names]
        self.spec = {**self.spec, "primaryRegion": left[0]["name"], "regions": left}
        self.generation += 1
        for name in names:
            self.dead.add(name)
            del self.regions[name], self.children["StatefulSet", f"orders-{name}"]

    def revive(self, name: str) -> None:
        self.dead.discard(name)
        self.regions[name].up = True

    def _replicas(self, region: FakeRegion) -> tuple[ReplicaStatus, ...]:
        return tuple(self._with_tenure(replica) for replica in super()._replicas(region))

    def _with_tenure(self, replica: ReplicaStatus) -> ReplicaStatus:
        epoch, granted_at, until = self.tenures.granted.get(replica.region, (0, 0.0, 0.0))
        remaining = max(0, round((until - self.seconds) * 1000))
        offer = self.tenures.offers.get(replica.region)
        number = offer[2] if offer and offer[0] == replica.epoch else 0
        heard_epoch, received = self.received.get(replica.region, (0, 0))
        leads = replica.is_leader and replica.primary
        degraded, wanted = replica.region in self.degraded, self.rule(self.regions[replica.region])
        return replace(
            replica,
            granted=Granted(
                epoch,
                round((self.seconds - granted_at) * 1000) if epoch else 0,
                remaining,
                in_sync_regions=received if heard_epoch == epoch else 0,
            ),
            sync=SyncStatus(wanted, not degraded, degraded) if leads and wanted else None,
            tenure=Tenure(
                self.holds(replica.region),
                number,
                round(self.tenure_of(replica.region) * 1000),
                longest_ms=round(self.longest.get(replica.region, 0.0) * 1000),
                in_sync_regions=self.announced.get(replica.region, 0) if leads else 0,
                missing_revision=self.missing(self.regions[replica.region]) if leads else 0,
            ),
            progress=tuple(
                replace(item, connected=False) if self.cut & {replica.region, item.region} else item
                for item in replica.progress
            ),
            tails=tuple(self.tails.get(replica.region, ())),
            history=_history(self.regions[replica.region]),
        )

    # ------------------------------------------------------------------------------------------ acting
    def do(self, action: object, operator: Remembers | None = None) -> None:
        if isinstance(action, Fence):
            answer = self._fence(action)
            operator = operator or self
            operator.memory = acted(operator.memory, [answer] if answer is not None else [], ())
        elif isinstance(action, GrantTenure):
            self._witness(action)
        else:
            if isinstance(action, Promote) and self.regions[action.region].up:
                self._check_promotion(action)
            super().do(action, operator)

    def _fence(self, action: Fence) -> FenceAnswer | None:
        region = self.regions[action.region]
        if not region.up or region.promised > action.epoch:
            return None
        region.promised = action.epoch
        *_, until = self.tenures.granted.get(region.name, (0, 0.0, 0.0))
        remaining = max(0.0, until - self.seconds)
        epoch, received = self.received.get(region.name, (0, 0))
        return FenceAnswer(
            region.name,
            action.epoch,
            region.epoch,
            region.revision,
            self.seconds + remaining,
            in_sync_epoch=epoch,
            in_sync_regions=received,
        )

    def _witness(self, action: GrantTenure) -> None:
        promised = max(self.status.get("promisedEpoch", 0), self.status.get("failover", {}).get("epoch", 0))
        offer = self.tenures.offers.get(action.region)
        if self.status.get("witnessLease", {}).get("grantsMs", 0) < action.tenure_ms:
            return
        if promised <= action.epoch and offer and offer[0] == action.epoch:
            self._count(action.region, action.epoch, offer[1], WITNESS, self.tenure_of(action.region))
        self._bind(self.regions[action.region])

    def _check_promotion(self, action: Promote) -> None:
        """At the moment of a promotion no lower epoch may still hold a tenure."""
        for name, (epoch, until) in self.tenures.held.items():
            if name != action.region and epoch < action.epoch and until > self.seconds and action.revision_jump:
                raise AssertionError(f"{action.region} is promoted while {name} holds the tenure of {epoch}")

    # ------------------------------------------------------------------------------------------ the world goes on
    def tenure_of(self, name: str) -> float:
        return self.tenure_seconds.get(name, TENURE)

    def holds(self, name: str) -> bool:
        region = self.regions[name]
        if region.topology is not None and not voters(region.topology.region_names):
            return region.primary  # a store of one region has no tenure
        epoch, until = self.tenures.held.get(name, (0, 0.0))
        return region.primary and epoch == region.epoch and self.seconds < until and not self.missing(region)

    def missing(self, region: FakeRegion) -> int:
        """A revision of the primary's own epoch that another region holds and it does not; 0 when there is none."""
        others = [other.revision for other in self.regions.values() if other.epoch == region.epoch]
        return max(others) if region.primary and max(others) > region.revision else 0

    def renew(self) -> None:
        """Every primary asks for its tenure, and announces to the voters how many others hold what it acknowledges."""
        for region in list(self.regions.values()):
            self.announced[region.name] = self.guarantee(region) if region.primary else 0
            self.binding[region.name] = max(self.binding.get(region.name, 0), self.announced[region.name])
            if region.name in self.dead or not region.primary or region.topology is None or self.missing(region):
                continue
            self.tenures.rounds += 1
            self.tenures.votes[region.name] = {}
            board = voters([item.name for item in region.topology.regions])
            self.tenures.offers[region.name] = (region.epoch, self.seconds, self.tenures.rounds)
            for voter in sorted(board - {WITNESS}):
                other = self.regions.get(voter)
                if other is None or voter in self.dead:
                    continue
                if voter != region.name and (voter in self.cut or region.name in self.cut):
                    continue
                if region.epoch >= other.promised:
                    granted = min(self.tenure_of(region.name), self.tenure_of(voter))
                    *_, until = self.tenures.granted.get(voter, (0, 0.0, 0.0))
                    self.tenures.granted[voter] = (region.epoch, self.seconds, max(until, self.seconds + granted))
                    self._count(region.name, region.epoch, self.seconds, voter, granted)
                    self.received[voter] = (region.epoch, self.announced[region.name])
            self._bind(region)

    def _bind(self, region: FakeRegion) -> None:
        board = voters([item.name for item in region.topology.regions]) if region.topology else frozenset()
        if len(self.tenures.votes.get(region.name, {}).keys() & board) >= majority(len(board)):
            self.binding[region.name] = self.announced[region.name]

    def _count(self, name: str, epoch: int, sent_at: float, voter: str, granted: float) -> None:
        region = self.regions[name]
        board = voters([item.name for item in region.topology.regions]) if region.topology else frozenset()
        votes = self.tenures.votes.setdefault(name, {})
        votes[voter] = granted
        shared = sorted((votes[voter] for voter in votes.keys() & board), reverse=True)
        if len(shared) >= majority(len(board)) and epoch == region.epoch and name not in self.late:
            held_epoch, until = self.tenures.held.get(name, (0, 0.0))
            until = until if held_epoch == epoch else 0.0
            self.tenures.held[name] = (epoch, max(until, sent_at + shared[majority(len(board)) - 1] * 0.9))

    def write(self) -> bool:
        """A client writes to the region that takes it; acknowledged as soon as enough other regions have it."""
        taking = self._taking()
        assert len(taking) <= 1, f"two regions acknowledge: {[region.name for region in taking]}"
        for region in taking:
            region.log.append((region.revision + 1, region.epoch))
            self.pending.append(region.log[-1])
        self._acknowledge()
        return bool(taking)

    def _taking(self) -> list[FakeRegion]:
        """Those that acknowledge writes: their tenure is held."""
        regions = self.regions.values()
        return [
            region for region in regions if region.name not in self.dead and region.writable and self.holds(region.name)
        ]

    def _acknowledge(self) -> None:
        for region in self._taking():
            wanted = 0 if region.name in self.degraded else self.rule(region)
            required = max(wanted, self.binding.get(region.name, 0))
            ready = [
                entry for entry in self.pending if has(region, entry) and self.elsewhere(region, entry) >= required
            ]
            self.acked += ready
            self.pending = [entry for entry in self.pending if entry not in ready]

    def rule(self, region: FakeRegion) -> int:
        """How many other regions must have what it acknowledges."""
        return region.topology.sync.min_in_sync_regions if region.topology and region.topology.sync else 0

    def elsewhere(self, region: FakeRegion, entry: tuple[int, int]) -> int:
        """How many other regions have it."""
        return sum(has(other, entry) for other in self.regions.values() if other is not region)

    def guarantee(self, region: FakeRegion) -> int:
        """How many other regions certainly have all that it has acknowledged."""
        wanted = 0 if region.name in self.degraded else self.rule(region)
        newest = next((entry for entry in reversed(self.acked) if has(region, entry)), None) if wanted else None
        return wanted if newest is None or self.elsewhere(region, newest) >= wanted else 0

    def replicate(self) -> None:
        self.renew()
        self._copy()
        self._acknowledge()

    def _copy(self) -> None:
        for source in [region for region in self.regions.values() if region.primary and region.name not in self.dead]:
            if not source.primary or (source.topology and source.topology.primary_region != source.name):
                continue
            if source.name in self.cut:
                continue
            for target in self.regions.values():
                if target is source or target.name in self.dead | self.cut or not target.linked or not target.store_id:
                    continue
                if source.epoch < target.promised or source.epoch < target.epoch:
                    continue
                if source.epoch == target.epoch and source.revision < target.revision:
                    continue
                self._rewind(source, target)
                target.log = list(source.log)
                target.epoch, target.primary = source.epoch, False
                target.promised = max(target.promised, source.epoch)

    def _rewind(self, source: FakeRegion, target: FakeRegion) -> None:
        shared = 0
        for left, right in zip(source.log, target.log, strict=False):
            if left != right:
                break
            shared += 1
        tail = target.log[shared:]
        if tail:
            self.quarantine += tail
            self.tails.setdefault(target.name, []).append(
                QuarantinedTail(
                    tail[-1][1], tail[0][0], tail[-1][0], len(tail), 10 * len(tail), "f", source.epoch,
                    fork_revision=BASE_REVISION + shared,
                )
            )  # fmt: skip

    def run(self, seconds: float, *, writing: bool = True) -> None:
        """Let time pass, with an operator and a client."""
        end = self.seconds + seconds
        while self.seconds < end:
            if writing:
                self.write()
            self.step()
            self.check_epochs()

    def resume_after_a_crash(self, steps: int, *, before_actions: bool) -> None:
        """A failover begins; after so many steps another operator continues from `.status`, ends it within 12 seconds,
        and nothing begins in the two seconds after."""
        while "failover" not in self.status:
            self.run(0.1)
        for _ in range(steps):
            self.step()
        decided = self.decide()
        assert self.record(decided, self.version)
        if not before_actions:
            self.act(decided)
        self.memory = Memory()
        end = self.seconds + 12
        while "failover" in self.status:
            assert self.seconds < end
            self.run(0.1)
        self.run(2)
        assert "failover" not in self.status

    def check_epochs(self) -> None:
        for epoch, regions in self.promoted.items():
            assert len(regions) == 1, f"epoch {epoch} had two primaries: {regions}"

    def check_nothing_vanished(self) -> None:
        """Every acknowledged write is in the primary or in quarantine."""
        newest = max((r for r in self.regions.values() if r.primary), key=lambda r: r.epoch)
        missing = set(self.acked) - set(newest.log)
        assert missing <= set(self.quarantine), "acknowledged writes are neither there nor in quarantine"

    def lost(self) -> list[tuple[int, int]]:
        """Acknowledged, and not in the newest primary."""
        newest = max((r for r in self.regions.values() if r.primary), key=lambda r: r.epoch)
        return [entry for entry in self.acked if not has(newest, entry)]


class Operator:
    """One process: it may stop between looking, recording and acting, for as long as it likes."""

    def __init__(self, world: LossyWorld) -> None:
        self.world = world
        self.memory = Memory()
        self.decided: tuple[Plan, int] | None = None
        self.actions: list[object] = []

    def go_on(self) -> None:
        if self.actions:
            action = self.actions.pop(0)
            if isinstance(action, Promote) and action.revision_jump and self.world.regions[action.region].up:
                assert action.revision_jump == REVISION_JUMP
                self._check_majority(action)
            self.world.do(action, self)
        elif self.decided is not None:
            (decided, version), self.decided = self.decided, None
            if self.world.record(decided, version):
                self.actions = list(decided.actions)
        else:
            self.decided = (self.world.decide(self), self.world.version)

    def _check_majority(self, action: Promote) -> None:
        world = self.world
        voters = electorate(world.observed(), Memory(), list(world.regions))
        promised = {name for name, region in world.regions.items() if region.promised >= action.epoch}
        promised |= {"\0witness"} if world.status.get("promisedEpoch", 0) >= action.epoch else set()
        promised |= voters.regions - world.regions.keys()  # nothing of them is left
        assert voters.decides(promised), f"{action.region} is promoted in {action.epoch}, promised by {promised}"

    def restart(self) -> None:
        self.__init__(self.world)  # type: ignore[misc]


def has(region: FakeRegion, entry: tuple[int, int]) -> bool:
    """Whether the region has this very change: each stands where its revision says."""
    index = entry[0] - 2
    return 0 <= index < len(region.log) and region.log[index] == entry


def semi_sync(names: list[str], regions: int = 1, **replication: object) -> LossyWorld:
    """A steady store of regions of one replica, in SemiSync, that has been written to."""
    rule = {"mode": "SemiSync", "minInSyncRegions": regions} | replication
    return running([(name, 1) for name in names], replication=rule)


def running(
    regions: list[tuple[str, int]] | None = None, *, replication: dict | None = None, **failover: object
) -> LossyWorld:
    """A steady store that has been written to."""
    listed = regions or [("us-east", 3), ("eu-west", 3), ("ap-south", 1)]
    spec = {
        "primaryRegion": listed[0][0],
        "regions": [{"name": name, "replicas": size} for name, size in listed],
        "failover": dict(failover),
        **({"replication": replication} if replication else {}),
    }
    world = LossyWorld(spec)
    while world.status.get("phase") != "Steady":
        world.step()
    world.compare_objects = False
    world.run(2.0)
    assert world.acked, "nobody acknowledges"
    return world


def clone(world: LossyWorld) -> LossyWorld:
    return copy.deepcopy(world)
