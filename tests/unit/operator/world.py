"""A store in memory: regions that behave as Admin promises, a status with a resourceVersion, children that stick.

It carries out the planner's actions, so that a test can let the operator run, crash between two steps, or run twice.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from rstore_api.domain.kubernetes import FAILOVER_TO
from rstore_api.domain.topology import Topology
from rstore_operator.facts.actions import (
    AddMember,
    Apply,
    Bootstrap,
    Delete,
    DeletePod,
    Demote,
    GrowClaim,
    HandOver,
    IssueAuthority,
    IssueCertificate,
    Orphan,
    Promote,
    PushTopology,
    RemoveAnnotations,
    RemoveMember,
    UpdateRequestedBase,
    WriteSecret,
)
from rstore_operator.facts.archiver import NO_ARCHIVER
from rstore_operator.facts.memory import Memory, Moment, acting, remember
from rstore_operator.facts.observed import Observed, Pod, Progress, RegionObserved, ReplicaStatus, Staged
from rstore_operator.planner.plan import Plan, PlanInput, plan
from rstore_operator.planning.certificates.authority import authority_manifest, replaced_notice
from rstore_operator.planning.rollout.turns import FREE
from rstore_operator.resource.managers import Setter
from rstore_operator.resource.model import ReplicaImage, StoreRef
from rstore_operator.resource.requested_base import RequestedBase
from rstore_operator.resource.state_json import status_from_json, status_to_json
from rstore_operator.specs.certificates import KeyPair, make_authority, make_certificate, new_key

START = datetime(2026, 1, 1, tzinfo=UTC)
REF = StoreRef("default", "orders", "uid-1")
SPEC = {
    "primaryRegion": "us-east",
    "regions": [
        {"name": "us-east", "replicas": 3},
        {"name": "eu-west", "replicas": 3},
        {"name": "ap-south", "replicas": 1},
    ],
}
_KEY = new_key()


@dataclass
class FakeRegion:
    """One region's replicated state."""

    name: str
    replicas: int
    store_id: str = ""
    epoch: int = 0
    promised: int = 0
    primary: bool = False
    log: list[tuple[int, int]] = field(default_factory=list)
    """(revision, epoch) of each change."""
    topology: Topology | None = None
    up: bool = True
    unready: int = 0
    """How many pods are not ready though the region is up."""
    linked: bool = True
    promotions: list[tuple[int, int]] = field(default_factory=list)
    members: list[int] = field(default_factory=list)
    learners: list[int] = field(default_factory=list)
    leading: int = 0
    """Ordinals in the Raft group."""
    staged: Staged | None = None
    terminating: tuple[int, ...] = ()
    """Ordinals of pods that are being deleted."""
    ending_seconds: float | None = None
    """For how long its leader has refused writes because its replicas were asked to stop; None: it does not."""
    without_leader: bool = False
    """Whether its replicas answer, and elect nobody."""

    def __post_init__(self) -> None:
        self.members = self.members or list(range(self.replicas))

    @property
    def revision(self) -> int:
        return 1 + len(self.log)

    @property
    def writable(self) -> bool:
        return self.primary and self.promised == self.epoch


class Remembers(Protocol):
    """An operator process, as far as the store in memory knows it."""

    memory: Memory


class World:
    """All of it; ``step()`` is one look, one plan, one act."""

    def __init__(self, spec: dict | None = None, *, keep_certificates: bool = True) -> None:
        self.spec = spec if spec is not None else SPEC
        self.generation = 1
        self.annotations: dict[str, str] = {}
        self.status: dict = {}
        self.version = 1
        self.children: dict = {}
        self.foreign: dict = {}
        self.orphans: dict = {}
        self.setters: dict[str, Setter] = {}
        self.settled: dict = {}
        self.regions: dict[str, FakeRegion] = {}
        self.now = START
        self.events: list[tuple[str, str]] = []
        self.acked: list[tuple[int, int]] = []
        self.promoted: dict[int, set[str]] = {}
        self.demotions: list[tuple[str, int]] = []
        self.warnings: list[str] = []
        self.ids = 0
        self.status_writes = 0
        self.actions_done = 0
        self.compare_objects = True
        self.image = "replica:1"
        self.turn = FREE
        self.archiver = NO_ARCHIVER
        self.requested_bases: tuple[RequestedBase, ...] = ()
        self.memory = Memory()
        """That of the operator whose steps :meth:`step` runs."""

    @property
    def seconds(self) -> float:
        return (self.now - START).total_seconds()

    # ------------------------------------------------------------------------------------------ looking
    def observed(self) -> Observed:
        regions = {}
        for region in self.regions.values():
            pods = tuple(
                Pod(
                    f"orders-{region.name}-{i}",
                    region.name,
                    f"10.0.0.{i + 1}",
                    ready=region.up and i >= region.unready,
                    terminating=i in region.terminating,
                )
                for i in range(region.replicas)
            )
            regions[region.name] = RegionObserved(region.name, pods, self._replicas(region) if region.up else ())
        return Observed(
            regions=regions,
            children=dict(self.children),
            foreign=self.foreign,
            orphans=self.orphans,
            archiver=self.archiver,
            requested_bases=self.requested_bases,
        )

    def _replicas(self, region: FakeRegion) -> tuple[ReplicaStatus, ...]:
        progress = ()
        if region.primary:
            progress = tuple(
                Progress(
                    other.name, other.up and other.linked, other.revision, region.revision - other.revision, 0, 0.0
                )
                for other in self.regions.values()
                if other.name != region.name
            )
        leader = f"orders-{region.name}-{region.leading}"
        members = tuple(f"orders-{region.name}-{i}" for i in region.members)
        if region.without_leader:
            return (ReplicaStatus(leader, region.name, "", False, "", 1, 1, 0, 0, False, False, members=members),)
        others = [i for i in range(region.replicas) if i != region.leading]
        return (
            *(
                ReplicaStatus(f"orders-{region.name}-{i}", region.name, "", False, leader, 1, 1, 0, 0, False, False)
                for i in others
            ),
            ReplicaStatus(
                name=leader,
                region=region.name,
                store_id=region.store_id,
                is_leader=True,
                leader=leader,
                term=1,
                revision=region.revision,
                epoch=region.epoch,
                promised_epoch=region.promised,
                primary=region.primary,
                writable=region.writable,
                topology=region.topology,
                progress=progress,
                ready=True,
                members=members,
                learners=tuple(f"orders-{region.name}-{i}" for i in region.learners),
                staged=region.staged,
                ending=region.ending_seconds is not None,
                ending_seconds=region.ending_seconds or 0.0,
            ),
        )

    def decide(self, operator: Remembers | None = None) -> Plan:
        """One look and one plan of that operator."""
        self.ids += 1
        operator = operator or self
        status, observed = status_from_json(self.status), self.observed()
        memory = remember(operator.memory, REF.name, observed, status, Moment(self.now, self.seconds))
        if self.compare_objects:
            memory = replace(memory, problems=None)
        else:
            memory = replace(memory, problems=(), compared_at=self.seconds)
        operator.memory = memory
        decided = plan(
            PlanInput(
                ref=REF,
                generation=self.generation,
                raw_spec=self.spec,
                annotations=dict(self.annotations),
                status=status,
                observed=observed,
                memory=memory,
                image=ReplicaImage(self.image),
                turn=self.turn,
                fresh_store_id=f"store-{self.ids}",
                settled=self.settled,
                setters=dict(self.setters),
            )
        )
        operator.memory = decided.memory
        return decided

    # ------------------------------------------------------------------------------------------ acting
    def record(self, decided: Plan, version: int) -> bool:
        """As the API server does it: refused when somebody else has written since."""
        if version != self.version:
            return False
        new = status_to_json(decided.status)
        if new != self.status:
            self.status, self.version = new, self.version + 1
            self.status_writes += 1
            self.events += [(notice.reason, notice.message) for notice in decided.notices]
        return True

    def act(self, decided: Plan, operator: Remembers | None = None) -> None:
        remembering = operator or self
        remembering.memory = acting(remembering.memory, decided.actions, self.now)
        for action in decided.actions:
            self.do(action, operator)
        self.events += [(notice.reason, notice.message) for notice in decided.answers]

    def step(self, *, seconds: float = 0.1) -> Plan:
        """One round of a healthy operator, and a little time for the rest of the world."""
        decided = self.decide()
        assert self.record(decided, self.version)
        self.act(decided)
        self.now += timedelta(seconds=seconds)
        self.replicate()
        return decided

    def settle(self, rounds: int = 40) -> None:
        """Run until there is nothing left to do."""
        for _ in range(rounds):
            before = self.version
            decided = self.step()
            if not decided.actions and self.version == before:
                return
        raise AssertionError(f"not settled: {decided.actions}, {self.status}")

    def do(self, action: object, operator: Remembers | None = None) -> None:
        self.actions_done += 1
        if isinstance(action, Apply):
            self._apply(action)
        elif isinstance(action, Delete):
            self.children.pop(action.key)
            if action.key[0] == "StatefulSet":
                self.regions.pop(action.key[1].removeprefix("orders-"))
        elif isinstance(action, DeletePod):
            self.delete_pod(action)
        elif isinstance(action, IssueAuthority | IssueCertificate):
            self._issue(action)
        elif isinstance(action, Orphan):
            del self.children[action.key]
        elif isinstance(action, GrowClaim):
            self.grow(action)
        elif isinstance(action, WriteSecret):
            self.children[action.key] = dict(action.manifest)
            self.warnings += [action.notice.message] if action.notice and action.notice.warning else []
        elif isinstance(action, UpdateRequestedBase):
            self.requested_bases = tuple(
                replace(base, status=action.status, owners=base.owners if action.owners is None else action.owners)
                if base.uid == action.uid
                else base
                for base in self.requested_bases
            )
        elif isinstance(action, RemoveAnnotations):
            for key, value in action.values.items():
                if self.annotations.get(key) == value:
                    del self.annotations[key]
        elif isinstance(action, Bootstrap):
            self._bootstrap(action)
        elif isinstance(action, PushTopology):
            self._topology(self.regions[action.region], action.topology)
        elif isinstance(action, Demote):
            region = self.regions[action.region]
            if region.up and region.primary and action.epoch > region.epoch:
                region.promised = max(region.promised, action.epoch)
                self.demotions.append((action.region, action.epoch))
        elif isinstance(action, Promote):
            self._promote(action)
        elif isinstance(action, AddMember | RemoveMember | HandOver):
            self._change_members(action)
        else:
            raise AssertionError(action)

    def grow(self, action: GrowClaim) -> None:
        raise AssertionError(action)

    def delete_pod(self, action: DeletePod) -> None:
        raise AssertionError(action)

    def _change_members(self, action: AddMember | RemoveMember | HandOver) -> None:
        """One at a time, and never one that does not run or that leads."""
        region, ordinal = self.regions[action.region], int(action.name.rpartition("-")[2])
        assert not region.learners
        if isinstance(action, AddMember):
            assert ordinal < region.replicas
            assert ordinal not in region.members
            region.members = sorted([*region.members, ordinal])
            region.learners = [ordinal]
        elif isinstance(action, RemoveMember):
            assert ordinal != region.leading
            region.members.remove(ordinal)
        else:
            assert ordinal in region.members
            region.leading = ordinal

    def _apply(self, action: Apply) -> None:
        self.version += 0
        manifest = {**action.manifest, "metadata": {**action.manifest["metadata"], "uid": str(action.key)}}
        manifest["metadata"]["resourceVersion"] = str(self.actions_done)
        if action.key[0] == "Service" and manifest["spec"].get("clusterIP") != "None":
            manifest["spec"] = {**manifest["spec"], "clusterIP": f"10.1.0.{len(self.children) + 1}"}
            known = self.children.get(action.key)
            if known:
                manifest["spec"]["clusterIP"] = known["spec"]["clusterIP"]
        self.children[action.key] = manifest
        if action.key[0] == "StatefulSet":
            name = manifest["metadata"]["labels"]["replicatedstore.io/region"]
            region = self.regions.setdefault(name, FakeRegion(name, manifest["spec"]["replicas"]))
            region.replicas = manifest["spec"]["replicas"]
            assert max(region.members) < region.replicas, "the pod of a member was taken away"

    def _issue(self, action: IssueAuthority | IssueCertificate) -> None:
        if isinstance(action, IssueAuthority):
            pair = make_authority("ca", new_key(), self.now)
            self.children[action.key] = authority_manifest(
                action.manifest, pair, action.previous, since=self.now, until=action.previous_until
            )
            if action.previous and action.previous_until is not None:
                self.warnings.append(replaced_notice(REF, action.reason, action.previous_until).message)
            return
        stored = self.children[action.authority]["data"]
        authority = KeyPair(base64.b64decode(stored["ca.crt"]), base64.b64decode(stored["ca.key"]))
        pair = make_certificate(authority, action.request, _KEY, self.now)
        data = {"ca.crt": action.trusted, "tls.crt": pair.certificate, "tls.key": pair.key}
        encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
        self.children[action.key] = {**action.manifest, "data": encoded}

    def _bootstrap(self, action: Bootstrap) -> None:
        region = self.regions[action.region]
        if not region.up or region.store_id:
            assert region.store_id in ("", action.store_id)
            return
        region.store_id = action.store_id
        region.promised = max(region.promised, action.promised_epoch)
        self._topology(region, action.topology)
        if action.topology.primary_region == region.name:
            assert action.topology.epoch == 1, "a store that already runs was made anew"
            region.epoch = region.promised = 1
            region.primary = True
            self.promoted.setdefault(1, set()).add(region.name)

    def _topology(self, region: FakeRegion, topology: Topology) -> None:
        held = region.topology
        if not region.up or (held and (held.epoch, held.version) >= (topology.epoch, topology.version)):
            return
        region.topology = topology
        if topology.epoch > region.epoch and topology.primary_region != region.name:
            region.primary = False
            region.promised = max(region.promised, topology.epoch)

    def _promote(self, action: Promote) -> None:
        region = self.regions[action.region]
        if not region.up or (region.primary and region.epoch == action.epoch):
            return
        held = region.topology
        if held and held.epoch >= action.epoch and held.primary_region != region.name:
            return
        if action.epoch <= region.epoch or action.epoch < region.promised or region.revision < action.min_revision:
            return
        region.epoch = region.promised = action.epoch
        region.primary = True
        region.promotions.append((action.epoch, region.revision))
        self.promoted.setdefault(action.epoch, set()).add(region.name)
        self._topology(region, action.topology)

    # ------------------------------------------------------------------------------------------ the world goes on
    def write(self) -> bool:
        """A client writes to whichever region takes it; at most one may."""
        takers = [region for region in self.regions.values() if region.up and region.writable]
        assert len(takers) <= 1, f"two regions accept writes: {[taker.name for taker in takers]}"
        for region in takers:
            region.log.append((region.revision + 1, region.epoch))
            self.acked.append(region.log[-1])
        return bool(takers)

    def lose(self, name: str) -> None:
        """That region does not answer, for longer than it takes to elect a leader."""
        self.regions[name].up = False
        self.step(seconds=6)

    def replicate(self) -> None:
        """Every region that is linked catches up with the source, as far as the source's chain is theirs."""
        sources = [region for region in self.regions.values() if region.primary and region.up]
        for source in sources:
            if not source.primary or (source.topology and source.topology.primary_region != source.name):
                continue
            for target in self.regions.values():
                if target is source or not (target.up and target.linked and target.store_id):
                    continue
                if source.epoch < target.promised or source.epoch < target.epoch:
                    continue
                if source.log[: len(target.log)] != target.log:
                    continue
                target.log = list(source.log)
                target.epoch, target.primary = source.epoch, False
                target.promised = max(target.promised, source.epoch)

    def check(self) -> None:
        """Invariants that hold at every moment."""
        for epoch, regions in self.promoted.items():
            assert len(regions) == 1, f"epoch {epoch} had two primaries: {regions}"
        newest = max((r for r in self.regions.values() if r.primary), key=lambda r: r.epoch, default=None)
        if newest is not None:
            assert newest.log[: len(self.acked)] == self.acked, "an acknowledged write is not in the newest primary"

    def crash_and_resume(self) -> None:
        """The operator forgets everything that is not in status or in the regions."""
        self.settled = {}


def begin_and_hold_back(world: World, target: str) -> None:
    """A switchover to ``target`` begins, which lacks the last write and gets nothing from then on."""
    world.annotations[FAILOVER_TO] = target
    assert world.write()
    decided = world.decide()
    assert world.record(decided, world.version)
    world.regions[target].linked = False
    world.act(decided)
    world.now += timedelta(seconds=0.1)
