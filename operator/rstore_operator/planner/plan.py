"""The planner: spec, status and what was observed → the next status and what to do.

The caller records ``Plan.status`` first where ``commit_first`` says so (conditional on the version it read), runs
``actions`` only when that succeeded, and then looks again. Between two plans a process keeps its :class:`Memory`: since
when something has been so, what was answered, what need not be compared again. Everything that a change of primary
needs is in status and in the regions, so a plan made after a crash, with an empty memory, continues where the last one
stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace
from rstore_api.domain import names
from rstore_api.domain.kubernetes import RESTARTED_AT
from rstore_api.domain.topology import RegionTopology

from rstore_operator.facts.absent import absent_for
from rstore_operator.facts.actions import (
    Action,
    LookUp,
    Notice,
    RemoveAnnotations,
)
from rstore_operator.facts.memory import Memory, Problems, planned
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.truth import Truth, read_truth
from rstore_operator.facts.without_tenure import no_tenure_message
from rstore_operator.facts.witness_tenure import CLOCK_MARGIN
from rstore_operator.failover.annotations import Checked, check, finished_requests
from rstore_operator.failover.answered import Repeats, is_told, remember, without_repeats
from rstore_operator.failover.loss_gate import corrected
from rstore_operator.failover.planned import MIN_STANDSTILL_MS, Patience, Progressed, advance
from rstore_operator.failover.rules.answer import Answer, decide
from rstore_operator.failover.rules.pending import next_pending
from rstore_operator.failover.rules.preferred_primary import waits_for_home
from rstore_operator.failover.scene import Clock, Rules, Scene, rules_of
from rstore_operator.failover.unplanned import advance_unplanned, witness_promise
from rstore_operator.failover.voting import electorate
from rstore_operator.planner.electorate import next_sent
from rstore_operator.planner.region_calls import RegionCalls
from rstore_operator.planner.rest import may_stand
from rstore_operator.planner.rolling import rollout_of
from rstore_operator.planner.witness import grants, promises_lost, reported_to_witness, witness_tenure
from rstore_operator.planning.access import are_written, certificates_wait, desired_rules, plan_access
from rstore_operator.planning.backup import backup_status
from rstore_operator.planning.bootstrap import BootstrapPlan, plan_bootstrap
from rstore_operator.planning.certificates.rotation import Stage
from rstore_operator.planning.children.naming import NAMING_PROBLEMS
from rstore_operator.planning.children.objects import Settled, plan_children
from rstore_operator.planning.children.templates import regions_behind
from rstore_operator.planning.client_endpoints import plan_client_endpoints
from rstore_operator.planning.conditions.backup_healthy import backup_healthy, is_unsettled
from rstore_operator.planning.conditions.conditions import (
    AUTHORITY_CHANGING,
    OF_OBJECTS,
    Situation,
    findings,
    merge,
)
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.conditions.in_sync import in_sync
from rstore_operator.planning.conditions.lacking_pods import lacking_pods
from rstore_operator.planning.conditions.not_connected import not_connected
from rstore_operator.planning.conditions.observed_at import observed_at
from rstore_operator.planning.conditions.phase import phase_of
from rstore_operator.planning.conditions.regions_status import region_statuses
from rstore_operator.planning.conditions.restored import RESTORED
from rstore_operator.planning.conditions.summary import feature_level, summary
from rstore_operator.planning.conditions.unreached import unreached
from rstore_operator.planning.drills import drills, last_drill
from rstore_operator.planning.hashes import divergence, judge, with_hashes
from rstore_operator.planning.notices import notices
from rstore_operator.planning.requested_bases import INVALID, RESTORING, plan_requested
from rstore_operator.planning.restoring import Bootstrap, RestorePlan, decide_bootstrap, plan_restore
from rstore_operator.planning.rollout.steps import NewTemplate
from rstore_operator.planning.rollout.turns import FREE, NO_CLAIM, Claim, Turn
from rstore_operator.planning.scaling.effective import Effective, effective
from rstore_operator.planning.scaling.topology import held_regions, held_sync, region_topology, sync_of
from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.commands import Commands, read_commands, unknown_annotations
from rstore_operator.resource.managers import Setter
from rstore_operator.resource.model import (
    DEFAULT_CERTIFICATE_SETTINGS,
    UNKNOWN_PODS,
    CertificateSettings,
    FailoverSpec,
    OperatorPods,
    ReplicaImage,
    StoreRef,
    StoreSpec,
)
from rstore_operator.resource.state import (
    MAX_HISTORY,
    PLANNED,
    FailoverIntent,
    OperatorName,
    Phase,
    Step,
    StoreStatus,
)
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.archiver import NO_DRILLS, Drills

IDLE_SECONDS = 2.0
BUSY_SECONDS = 0.2
SWITCHING_SECONDS = 0.02
HURRY_SECONDS = 5.0
"""A switchover is watched closely for this time; one that takes longer waits for something slow."""


@dataclass(frozen=True)
class PlanInput:
    """All that a decision depends on. ``memory`` is that after the look which showed ``observed`` and ``status``."""

    ref: StoreRef
    generation: int
    raw_spec: object
    annotations: Mapping[str, str]
    status: StoreStatus
    observed: Observed
    memory: Memory
    image: ReplicaImage
    fresh_store_id: str
    settled: Settled
    setters: Mapping[str, Setter] = field(default_factory=dict)
    """Who set each annotation, where that is known."""
    certificates: CertificateSettings = DEFAULT_CERTIFICATE_SETTINGS
    operator: OperatorName | None = None
    """The installation that decides. Its name is persisted before anything is done."""
    operator_pods: OperatorPods = UNKNOWN_PODS
    turn: Turn = FREE
    """Whether other stores let this one roll."""
    created_at: str = ""
    """When the object was made, as the API server writes it; "" where that is not known."""

    @property
    def now(self) -> datetime:
        """The wall time of the look."""
        return self.memory.moment.now


@dataclass(frozen=True)
class Plan:
    """What to record, what to do, what to report, and when to look again."""

    status: StoreStatus
    actions: tuple[Action, ...]
    notices: tuple[Notice, ...]
    answers: tuple[Notice, ...]
    """Posted once the annotations that they answer have been removed."""
    commit_first: bool
    requeue_seconds: float
    requeue_at_most_seconds: float
    """How much later the next look may come where many stores are looked at; 0: no later."""
    memory: Memory
    """What is to be remembered until the next look."""
    claim: Claim = NO_CLAIM
    """What other stores have to know of its roll."""
    stands: bool = False
    """Whether the next plan is the same, but for numbers, as long as looks show the same: see :mod:`.rest`."""


def plan(given: PlanInput) -> Plan:
    """Decide. Raises InvariantError when a rule of the switchover would be broken: then nothing may be done."""
    return _Planner(given).plan()


class _Planner:
    def __init__(self, given: PlanInput) -> None:
        self.given = given
        self.ref = given.ref
        self.observed = given.observed
        self.memory = given.memory
        self.before = given.status
        spec, self.spec_problems = read_spec(given.ref, given.raw_spec)
        self.truth: Truth = read_truth(given.observed, given.memory, given.status)
        self.spec: StoreSpec | None = spec
        self.effective: Effective | None = None
        self.bootstrap = self._decided_bootstrap()
        access = None
        if spec is not None:
            access = replace(spec.access, restoring=self.bootstrap.shuts_out)
        self.rules = desired_rules(access, self.observed)
        self.restore = self._restore()
        if spec is not None:
            ruled = dataclasses.replace(
                spec,
                access=self.rules,
                backup=self._backup,
                bootstrap=spec.bootstrap if self.restore.is_restoring else None,
            )
            self.effective = effective(
                ruled,
                self.ref.name,
                self.observed,
                self.before,
                self.truth.primary_region,
                created_at=given.created_at,
            )
        self.endpoints = plan_client_endpoints(self.ref, self.effective, self.observed, given.now)
        self.topologies = self._region_topologies()
        self.regions = tuple(region.name for region in self.topologies)
        asked = read_commands(given.annotations)
        self.repeats: Repeats = without_repeats(
            asked, given.setters, self.before, epoch=self.truth.epoch, now=given.now
        )
        self.checked: Checked = check(self.repeats.commands, self.regions, self.truth, self.before.failover)
        self.commands: Commands = self.checked.commands
        self.lacking = lacking_pods(
            self.ref.name, self.regions, self.observed, self.memory, paused=self.commands.paused
        )
        self.behind = self._regions_behind()
        self.rollout = rollout_of(
            self.ref.name,
            self.effective,
            self.truth,
            self.observed,
            self.memory,
            self.lacking,
            self.commands,
            self.before,
            given.turn,
            given.image,
            self.behind,
        )
        self.sync = sync_of(spec.replication) if spec is not None else held_sync(self.observed)
        self.calls = RegionCalls(
            self.ref, self.observed, self.truth, self.topologies, self.sync, self.effective, self.before.sent_topologies
        )

    def _decided_bootstrap(self) -> Bootstrap:
        """Whether the store begins with a past state."""
        spec = self.spec
        return decide_bootstrap(
            spec.bootstrap if spec is not None else None,
            self.before.bootstrap,
            self.before.store_id,
            self.ref.name,
            spec.region_names if spec is not None else (),
            self.observed,
            self.given.now,
        )

    def _restore(self) -> RestorePlan:
        spec = self.spec
        return plan_restore(
            spec.bootstrap if spec is not None else None,
            self.bootstrap,
            self.rules,
            self.before.store_id,
            spec.region_names if spec is not None else (),
            self.observed,
            self.truth,
            self.observed.children.get(("Deployment", names.restorer_object(self.ref.name))),
            self.given.now,
            shown=any(item.type == RESTORED and item.status == "True" for item in self.before.conditions),
        )

    def _regions_behind(self) -> frozenset[str]:
        """The regions that are given the newest pod template when it is their turn in a roll. A store that has not been
        created has no turns; one of which a pod is ready has been, though nothing else shows it."""
        if self.effective is None:
            return frozenset()
        if self.memory.problems is not None and self.memory.known_problems is not None:
            return self.memory.behind
        asked_at = self.given.annotations.get(RESTARTED_AT, "")
        behind = regions_behind(self.ref, self.effective.spec, self.given.image, self.observed, asked_at)
        created = bool(self.truth.epoch) or any(region.ready_pods for region in self.observed.regions.values())
        return behind if created else frozenset()

    def _region_topologies(self) -> tuple[RegionTopology, ...]:
        """Of the spec, or, when it is invalid, as the regions themselves have it."""
        if self.effective is None:
            return tuple(held_regions(self.observed).values())
        wanted = (
            region_topology(self.ref.name, self.ref.namespace, region.name, region.replicas, self.endpoints.advertised)
            for region in self.effective.spec.regions
        )
        return (*wanted, *self.effective.retained)

    def plan(self) -> Plan:
        scene = self._scene()
        reply = decide(scene, self.checked)
        progressed = self._advance(reply, scene)
        frozen = self.commands.paused and progressed.intent is None and progressed.receipt is None
        bootstrap = self._bootstrap()
        repointing = progressed.intent is not None and progressed.intent.step is Step.REPOINTING
        scaling = self.effective is not None and bool(self.effective.scaling)
        written = self._rules_are_written()
        changeable = repointing or scaling or frozen or not written
        changeable = changeable or self.bootstrap.is_restoring or self.restore.status != self.before.bootstrap
        changeable = changeable or (progressed.intent is None and self._waits_for_certificates())
        changeable = changeable or certificates_wait(self.rules, self.ref.name, self.observed, self.given.now)
        drill = last_drill(self.before.backup, self.observed.archiver)
        asked = drills(self.given.annotations, drill) if self._backup is not None else NO_DRILLS
        changeable = changeable or drill != (self.before.backup and self.before.backup.last_drill)
        access = plan_access(
            self.rules,
            self.observed,
            self.given.now,
            written=written,
            anonymous=self.spec is not None and self.spec.client_auth == "None",
        )
        step = self.rollout.step if self._may_roll(progressed) else None
        renewed = step.region if isinstance(step, NewTemplate) else ""
        changeable = changeable or bool(renewed)
        children, object_problems, changes = self._children(
            self.behind - {renewed}, asked, compare=changeable or self.memory.known_problems is None
        )
        problems = (*object_problems, *self._other_problems(bootstrap))
        store_id = bootstrap.store_id or self.before.store_id
        actions: list[Action] = []
        if progressed.command is not None:
            actions += self.calls.command(progressed.command, store_id)
        requested = plan_requested(
            self.ref,
            self._backup,
            self.observed.requested_bases,
            self.observed.archiver,
            self.given.now,
            unknown=self._no_backup_yet(),
        )
        if not frozen:
            actions += self.calls.bootstraps(bootstrap, witness_promise(progressed.intent))
            pushes = self.calls.pushes(store_id)
            rules = access.calls if self.bootstrap.settled else ()
            actions += [*pushes, *rules, *children, *requested.updates]
            actions += self.calls.scaling() if progressed.intent is None else []
            actions += self.calls.departures(pushes)
            if step is not None and not isinstance(step, NewTemplate) and not children:
                actions.append(step)
        changing = bool(actions)
        actions += grants(scene, progressed.intent, self.calls.target(self.truth.primary_region), store_id)
        removal = self._annotations_to_remove(reply, progressed.intent)
        archiver = self.observed.children.get(("Deployment", names.archiver_object(self.ref.name)))
        archived = backup_healthy(self._backup, self.observed.archiver, archiver, drill, self.given.now)
        reported = (access.finding, self.endpoints.finding, archived, self.restore.finding)
        changes = (*changes, *(finding for finding in reported if finding is not None))
        answered = remember(
            self.repeats.answered,
            self.repeats.commands,
            removal,
            self.given.setters,
            reply.rejected,
            epoch=self.truth.epoch,
            now=self.given.now,
        )
        answers = [*reply.notices, *self.repeats.notices]
        if is_told(self.before, self.repeats.commands, self.given.setters, reply.rejected):
            answers = [notice for notice in answers if not notice.warning]
        if removal:
            actions.append(RemoveAnnotations(removal))
        if frozen:
            store_id = self.before.store_id
        pending = sum(not isinstance(action, LookUp) for action in children)
        status = self._status(reply, progressed, store_id, bootstrap, problems, pending, frozen, changes)
        sent = next_sent(self.before.sent_topologies, actions, self.observed, self.truth)
        waits = next_pending(
            self.before.pending_request, self.commands, waits=reply.pending is not None, now=self.given.now
        )
        status = replace(
            status,
            pending_request=waits,
            witness_tenure=witness_tenure(scene),
            promises_lost=promises_lost(scene),
            sent_topologies=sent,
            answered=answered,
        )
        busy = changing or self.rollout.under_way or bool(removal) or reply.suspicious or scaling
        busy = busy or (self.restore.status != self.before.bootstrap and not frozen)
        busy = busy or status.phase in (Phase.PENDING, Phase.CREATING, Phase.SWITCHING_OVER)
        hurry = progressed.intent is not None and self._is_young(progressed.intent)
        memory = planned(
            self.memory,
            problems=None if changing or removal else object_problems,
            behind=self.behind,
            watch_closely=self._watch_closely(progressed.intent) if hurry else frozenset(),
        )
        return Plan(
            status=status,
            actions=tuple(actions),
            notices=notices(self.before, status),
            answers=tuple(answers),
            commit_first=_intent_changed(self.before, status),
            requeue_seconds=self._requeue(progressed, scene, hurry=hurry, busy=busy),
            requeue_at_most_seconds=0.0 if progressed.intent is not None else _idle_seconds(scene),
            memory=memory,
            claim=self.rollout.claim,
            stands=not (actions or busy or changeable or answers or scene.voters.witness)
            and self._is_as_wanted()
            and not waits_for_home(scene)
            and not is_unsettled(archived)
            and not requested.waits
            and not self.endpoints.waits
            and not self.restore.text
            and not asked.request
            and may_stand(memory, self.observed, status),
        )

    @property
    def _backup(self) -> BackupSpec | None:
        """What is archived, and where; nothing before all is there with which the store begins."""
        return self.spec.backup if self.spec is not None and not self.bootstrap.shuts_out else None

    def _no_backup_yet(self) -> str:
        """Why it is not known yet whether there is an archive; "" where it is."""
        if self.spec is None:
            return INVALID
        return RESTORING if self.bootstrap.shuts_out else ""

    def _is_as_wanted(self) -> bool:
        """Whether nobody asks for anything, and regions and pods are as the spec has them."""
        effective = self.effective
        if effective is None or self.repeats.commands != Commands() or self.rollout.claim != NO_CLAIM:
            return False
        changing = effective.retained or effective.leaving or effective.replica_changes or effective.removal_waits
        return not changing

    def _requeue(self, progressed: Progressed, scene: Scene, *, hurry: bool, busy: bool) -> float:
        if hurry:
            return SWITCHING_SECONDS if progressed.requeue_seconds is None else progressed.requeue_seconds
        return BUSY_SECONDS if busy else _idle_seconds(scene)

    # ------------------------------------------------------------------------------------------ changes of primary
    def _scene(self) -> Scene:
        left = self.before.failover.from_epoch if self.before.failover else self.truth.epoch
        seen = self.memory.intent_seen_at
        recorded = seen[1] if seen and self.before.failover and seen[0] == self.before.failover.epoch else None
        rules = rules_of(self.spec, self.commands, self.observed, self.memory, left, self.regions, self.before)
        return Scene(
            commands=self.commands,
            spec=self.spec,
            regions=self.regions,
            observed=self.observed,
            memory=self.memory,
            truth=self.truth,
            status=self.before,
            voters=electorate(self.observed, self.memory, self.regions, self.before.sent_topologies),
            rules=rules,
            absent=self._absent(rules),
            clock=Clock(self.given.now, self.memory.moment.seconds, recorded),
            leave_primary=self.rollout.leave_primary,
            rolling=self.rollout.claim.wanted,
        )

    def _absent(self, rules: Rules) -> frozenset[str]:
        """The regions that a failover need not fence; none while the spec is invalid, and does not say which left."""
        if self.spec is None:
            return frozenset()
        seconds, wait_seconds = self.memory.moment.seconds, rules.tenure_ms / 1000 * CLOCK_MARGIN
        return absent_for(self.memory.absent_at, self.spec.region_names, seconds, wait_seconds)

    def _advance(self, reply: Answer, scene: Scene) -> Progressed:
        if reply.intent is None:
            return Progressed(None)
        if reply.intent.mode != PLANNED:
            return advance_unplanned(scene, reply.intent, announced=self._announced(reply.intent))
        failover = self._failover_spec()
        return advance(
            reply.intent,
            self.observed,
            now=self.given.now,
            patience=Patience(
                failover.switchover_timeout_ms,
                max(failover.failover_delay_ms, MIN_STANDSTILL_MS),
                self.memory.standstill_seconds,
            ),
            abort=self.commands.abort,
            announced=self._announced(reply.intent),
            stop_sent_at=self.memory.stop_sent[1] if self.memory.stop_sent is not None else None,
        )

    def _failover_spec(self) -> FailoverSpec:
        return self.spec.failover if self.spec else FailoverSpec()

    def _announced(self, intent: FailoverIntent) -> bool:
        """Whether everyone who can be reached knows, and the request is off the object."""
        if finished_requests(self.commands, intent):
            return False
        leaders = [self.observed.leader(region) for region in self.regions]
        topologies = [leader.topology for leader in leaders if leader is not None]
        return all(topology is not None and topology.epoch >= intent.epoch for topology in topologies)

    def _is_young(self, intent: FailoverIntent) -> bool:
        began = intent.steps[-1].started_at if intent.steps else intent.started_at
        return (self.given.now - began).total_seconds() < HURRY_SECONDS

    def _annotations_to_remove(self, reply: Answer, intent: FailoverIntent | None) -> dict[str, str]:
        removal = {**self.repeats.removed, **reply.remove}
        if intent is not None and intent.step is Step.REPOINTING:
            removal |= finished_requests(self.commands, intent)
        return removal

    def _watch_closely(self, intent: FailoverIntent | None) -> frozenset[str]:
        if intent is None or intent.step is Step.REPOINTING:
            return frozenset()
        return frozenset({intent.from_region, intent.to_region} if intent.mode == PLANNED else self.regions)

    # ------------------------------------------------------------------------------------------ regions
    def _bootstrap(self) -> BootstrapPlan:
        if self.spec is None:
            return BootstrapPlan(self.before.store_id)
        return plan_bootstrap(
            self.regions, self.observed, self.truth, self.before.store_id, self.given.fresh_store_id, self.lacking
        )

    def _children(
        self, keep_template: frozenset[str], asked: Drills, *, compare: bool
    ) -> tuple[tuple[Action, ...], Problems, tuple[Finding, ...]]:
        """What to do about the objects that the store is made of, what is wrong with them, and conditions about
        changes that take their time."""
        standing = tuple(
            Finding(condition.type, True, condition.reason, condition.message)
            for condition in self.before.conditions
            if condition.type in OF_OBJECTS
        )
        if not compare:
            return (), self.memory.known_problems or (), standing
        primary = self.truth.primary_region or (self.effective.spec.primary_region if self.effective else "")
        if not primary:
            return (), (), standing
        children = plan_children(
            self.ref,
            self.effective,
            primary,
            self.given.image,
            self.given.certificates,
            self.observed,
            self.given.settled,
            self.given.now,
            self.given.operator_pods,
            self.given.annotations.get(RESTARTED_AT, ""),
            asked,
            keep_template,
            self.restore.restore,
        )
        findings = children.findings if self.effective is not None else standing
        return children.actions, children.problems, findings

    def _may_roll(self, progressed: Progressed) -> bool:
        """Whether the step may be taken: what is decided just now counts as well, but a repair helps it."""
        return self.rollout.repairs or (progressed.intent is None and progressed.receipt is None)

    def _waits_for_certificates(self) -> bool:
        """Whether replicas are about to take up certificates, which no object shows."""
        changing = self.before.condition(AUTHORITY_CHANGING)
        return changing is not None and changing.reason in (Stage.TRUST.value, Stage.DROP.value)

    def _rules_are_written(self) -> bool:
        if self.effective is None:
            return True
        return are_written(self.rules, self.ref.name, self.effective.spec.region_names, self.observed)

    def _other_problems(self, bootstrap: BootstrapPlan) -> Problems:
        problems = [("RemovalWaits", message) for message in self.effective.removal_waits] if self.effective else []
        problems += [("ActionFailed", message) for message in self.memory.failures[:3]]
        if bootstrap.problem:
            problems.append(("DataConflict", bootstrap.problem))
        return tuple(problems)

    # ------------------------------------------------------------------------------------------ status
    def _status(
        self,
        reply: Answer,
        progressed: Progressed,
        store_id: str,
        bootstrap: BootstrapPlan,
        problems: Problems,
        pending: int,
        frozen: bool,
        changes: tuple[Finding, ...],
    ) -> StoreStatus:
        regions = self.before.regions
        if self.effective is not None:
            regions = region_statuses(
                self.effective,
                self.observed,
                self.memory,
                self.truth,
                self.before,
                self.given.now,
                self.lacking,
                self.rollout.restarting,
            )
        verdict = judge(self.memory.hashes.latest, self.truth, self.before)
        regions = with_hashes(regions, self.before, verdict)
        leader = self.observed.leader(self.truth.primary_region) if self.truth.primary_region else None
        situation = Situation(
            spec=self.spec,
            spec_problems=self.spec_problems,
            regions=regions,
            primary_region=self.truth.primary_region,
            writable=leader is not None and leader.writable,
            ready_pods=self.observed.region(self.truth.primary_region).ready_pods,
            no_tenure=no_tenure_message(self.observed, self.memory, self.truth, self.before, self.regions),
            unreached=unreached(
                self.observed, self.truth, self.regions, delay_ms=self._failover_spec().failover_delay_ms
            ),
            not_connected=not_connected(regions, self.memory, self.before),
            intent=progressed.intent,
            in_sync=in_sync(regions, self.truth.primary_region, self.sync, leader, self.before.condition("InSync")),
            waiting=next((text for reason, text in problems if reason in NAMING_PROBLEMS), bootstrap.waiting)
            if bootstrap.waiting
            else "",
            problems=problems,
            pending_changes=0 if frozen else pending,
            restoring=self.restore.text,
            changes_wait=frozen
            and (pending > 0 or bool(self.behind) or bool(self.effective and self.effective.leaving)),
            replica_changes=self.effective.replica_changes if self.effective else (),
            paused=self.commands.paused,
            blocked=progressed.blocked or reply.blocked,
            blocked_reason="FailoverWaits" if progressed.blocked else reply.blocked_reason,
            rejected=reply.rejected,
            unknown_annotations=unknown_annotations(self.given.annotations),
            accepted=reply.accepted,
            dry_run=reply.dry_run,
            pending=reply.pending,
            divergence=divergence(regions, verdict),
            lacking=self.lacking,
            objects=changes,
            rollout=self.rollout,
        )
        history = corrected(self.before.history, regions, leader.history if leader is not None else ())
        if progressed.receipt is not None:
            history = (*history, progressed.receipt)[-MAX_HISTORY:]
        conditions = findings(situation)
        in_sync_regions, in_sync_round = reported_to_witness(leader, self.regions, self.truth, self.before)
        status = replace(
            self.before,
            store_id=store_id,
            primary_region=self.truth.primary_region,
            preferred_primary=reply.preferred_primary,
            epoch=self.truth.epoch,
            promised_epoch=max(self.truth.promised_epoch, witness_promise(progressed.intent)),
            in_sync_regions=in_sync_regions,
            in_sync_round=in_sync_round,
            observed_generation=self.given.generation,
            summary=summary(regions, self.observed, history, self.before.summary),
            feature_level=feature_level(self.observed, self.before.feature_level),
            conditions=merge(
                self.before.conditions,
                conditions,
                generation=self.given.generation,
                now=self.given.now,
                new_epoch=self.truth.epoch > self.before.epoch,
            ),
            regions=regions,
            backup=self.before.backup
            if self.spec is None
            else backup_status(self._backup, self.observed.archiver, self.before.backup),
            bootstrap=self.restore.status if not frozen else self.before.bootstrap,
            failover=progressed.intent,
            history=history,
        )
        status = replace(status, phase=phase_of(status, self.spec_problems, frozen=frozen))
        return replace(
            status,
            operator=self.given.operator or self.before.operator,
            observed_at=observed_at(self.before.observed_at, status, self.given.now),
        )


def _idle_seconds(scene: Scene) -> float:
    """After how long the next look is due at the latest: as witness, the operator has to grant in time."""
    return min(IDLE_SECONDS, scene.rules.tenure_ms / 4000) if scene.voters.witness else IDLE_SECONDS


def _intent_changed(before: StoreStatus, after: StoreStatus) -> bool:
    """Whether something is decided here that must be persisted before it is acted on."""
    decided = ("operator", "failover", "store_id", "preferred_primary", "history", "sent_topologies", "answered")
    as_witness = ("in_sync_regions", "in_sync_round", "witness_tenure", "promises_lost")
    return any(getattr(before, key) != getattr(after, key) for key in (*decided, *as_witness, "bootstrap"))
