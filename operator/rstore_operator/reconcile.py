"""One step of one store: observe, decide, record, act. :mod:`rstore_operator.planner.plan` makes all decisions."""

from __future__ import annotations

import re
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rstore_api.logs import get_logger
from rstore_kube.errors import ApiError

from rstore_operator.act import CONNECTION_ERRORS, Actor
from rstore_operator.cluster.admission import Admission
from rstore_operator.cluster.archiver import ArchiverView, raw_backup_of
from rstore_operator.cluster.dials import Dials
from rstore_operator.cluster.hash_rounds import HashRounds
from rstore_operator.cluster.refusals import Refusals
from rstore_operator.cluster.replicas import Replicas
from rstore_operator.cluster.restorer import RestorerView, source_of
from rstore_operator.cluster.site import Sites
from rstore_operator.cluster.spares import Spares
from rstore_operator.facts.actions import Notice, RemoveAnnotations
from rstore_operator.facts.lacks import staying_regions
from rstore_operator.facts.memory import Memory, Moment, acted, acting, looked_again, remember, to_post
from rstore_operator.facts.observed import Observed, Pod
from rstore_operator.metrics import OperatorMetrics
from rstore_operator.observe import observe
from rstore_operator.planner.pace import Pace
from rstore_operator.planner.plan import BUSY_SECONDS, IDLE_SECONDS, SWITCHING_SECONDS, Plan, PlanInput, plan
from rstore_operator.planner.rest import STANDS_SECONDS, Rest, look_again, rest_after
from rstore_operator.planning import hashes
from rstore_operator.planning.conditions import lacking_pods
from rstore_operator.planning.conditions.failed import CANNOT_WATCH, PLANNING_FAILED, undecided
from rstore_operator.planning.restoring import pinned_of
from rstore_operator.planning.rollout.turns import Turns
from rstore_operator.resource.managers import annotation_setters
from rstore_operator.resource.model import (
    DEFAULT_CERTIFICATE_SETTINGS,
    UNKNOWN_PODS,
    CertificateSettings,
    OperatorPods,
    ReplicaImage,
    StoreRef,
)
from rstore_operator.resource.significance import due
from rstore_operator.resource.state import BootstrapPhase, OperatorName, StoreStatus
from rstore_operator.resource.state_json import (
    conditions_to_json,
    merge_patch,
    operator_from_json,
    status_from_json,
    status_to_json,
)
from rstore_operator.time_of_day import TimeOfDay

log = get_logger(__name__)

PATIENT_SECONDS = 1.2
"""How long a step waits for the answers of replicas in a steady state."""
ARCHIVER_SECONDS = 0.2
"""How long it waits for the archiver's report; one that comes later counts at the next step."""
CALL_SECONDS = 0.25
"""How long a step waits for calls that change something in a region."""
HURRIED_SECONDS = 0.1
"""How long it waits for them while clients wait for a change of primary."""
MAX_REFUSALS = 16
"""How many different refusals of a status are reported."""
BLIND_SECONDS = 2.0
OTHER_SECONDS = 2.0
"""How often a store is looked at that another installation runs."""
SHOWN_ERROR = 300
"""How many characters of an error are shown."""
READ_AGAIN_SECONDS = 1.0
"""How long a step uses the object that an earlier one has read, while a change of primary is under way. Whether the
status has been changed meanwhile shows when the new one is recorded."""

Wait = tuple[float, float]
"""After how many seconds the next step is to be taken, and after how many at the latest."""


async def _nobody(_name: OperatorName) -> str:
    """Returns that nobody acts for that installation."""
    return ""


class Reconciler:
    """Looks after one store, step by step. It is not safe for concurrent use."""

    def __init__(
        self,
        sites: Sites,
        image: ReplicaImage,
        *,
        hash_check_seconds: float = 0.0,
        certificates: CertificateSettings = DEFAULT_CERTIFICATE_SETTINGS,
        operator: OperatorName | None = None,
        others: Callable[[OperatorName], Awaitable[str]] = _nobody,
        may_act: Callable[[], bool] = lambda: True,
        operator_pods: OperatorPods = UNKNOWN_PODS,
        turns: Turns | None = None,
        pace: Pace | None = None,
        spares: Spares | None = None,
        dials: Dials | None = None,
        admission: Admission | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        store_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        metrics: OperatorMetrics | None = None,
    ) -> None:
        """``operator`` is the installation that this process acts for, and ``others`` returns who acts for another one,
        "" when nobody does. Nothing is written once ``may_act`` is False."""
        self._operator = operator
        self._others = others
        self._may_act = may_act
        self._reported_other: OperatorName | None = None
        self._sites = sites
        self._home = sites.home
        self._image = image
        self._certificates = certificates
        self._operator_pods = operator_pods
        self._metrics = metrics
        self._turns = turns or Turns()
        self._pace = pace or Pace()
        self._admission = admission or Admission()
        self._now = TimeOfDay(now, clock)
        self._clock = clock
        self._store_id = store_id
        self._replicas = Replicas(clock, spares, dials)
        self._hash_check_seconds = hash_check_seconds
        self._hash_rounds = HashRounds(self._replicas, clock=clock)
        self._actor = Actor(self._home, self._replicas, self._now, clock, may_act=may_act)
        self._object: dict[str, Any] | None = None
        """What was read or written last; None also while the store is at rest."""
        self._version = ""
        """That of the object that was read or written last."""
        self._stale = True
        self._changed = False
        """Whether something has changed since the step under way began to look."""
        self._read_at = 0.0
        self._rest: Rest | None = None
        """The last plan, while it stands."""
        self._memory = Memory()
        self._refusals = Refusals(self._home, self._now, clock)
        self._archiver = ArchiverView(self._home, clock)
        self._restorer = RestorerView(self._home, clock)

    @property
    def _ref(self) -> StoreRef:
        return self._home.ref

    @property
    def _key(self) -> tuple[str, str]:
        return self._ref.namespace, self._ref.name

    @property
    def memory(self) -> Memory:
        """What it knows beside the status, now."""
        return self._memory

    async def close(self) -> None:
        """End what runs in the background, and close the connections to replicas."""
        await self._hash_rounds.close()
        await self._refusals.close()
        await self._archiver.close()
        await self._restorer.close()
        await self._actor.close()
        await self._replicas.close()
        self._pace.forget(self._key)
        if self._metrics is not None:
            self._metrics.forget(self._ref)

    def invalidate(self) -> None:
        """Let the next step read the object again and look at all children."""
        self._stale = True
        self.children_changed()

    def object_changed(self, resource_version: str) -> bool:
        """The watch shows the object at that version. Returns False if that is the version which was read or written
        last."""
        if self._version == resource_version:
            return False
        self.invalidate()
        return True

    def children_changed(self) -> None:
        """The watch shows that a child or a pod has changed."""
        self._changed = True
        self._rest = None
        self._memory = replace(self._memory, problems=None)

    async def cannot_look(self, why: str) -> float | None:
        """Record why the store's objects cannot be watched, and change nothing else. Returns as :meth:`step` does."""
        body = await self._read()
        if body is None:
            return None
        if await self._is_run_by_another(body):
            return OTHER_SECONDS
        await self._record_failure(body, CANNOT_WATCH, f"the operator cannot see what it has to, {why}")
        return BLIND_SECONDS

    async def step(self) -> float | None:
        """Observe, decide, record and act once; of a store at rest, only look at its primary. Returns after how many
        seconds the next step is due, and None if the object is gone or is being deleted."""
        wait = await self._step()
        if wait is None:
            self._turns.forget(self._key)
            self._pace.forget(self._key)
            return None
        return self._pace.wait_seconds(self._key, *wait)

    async def _step(self) -> Wait | None:
        self._changed = False
        ended = self._hash_rounds.ended()  # before the replicas are asked: so they show an epoch that began meanwhile
        if ended is not None:
            self._rest = None
            self._memory = replace(self._memory, hashes=hashes.answered(self._memory.hashes, ended, self._clock()))
        if self._rest is not None and await self._rests(self._rest):
            await self._post_all()
            return IDLE_SECONDS, IDLE_SECONDS
        self._rest = None
        if self._memory.watch_closely:  # clients wait
            return await self._look_at_all()
        async with self._admission.admitted():
            return await self._look_at_all()

    async def _look_at_all(self) -> Wait | None:
        self._changed = False  # what has changed while it waited to begin is seen by this look
        body = await self._read()
        if body is None:
            return None
        if await self._is_run_by_another(body):
            return OTHER_SECONDS, OTHER_SECONDS
        try:
            status, observed, decided = await self._decide(body)
            if not self._may_act():
                return BLIND_SECONDS, BLIND_SECONDS
            persisted = await self._record(status, decided)
        except (ApiError, *CONNECTION_ERRORS):
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {str(error)[:SHOWN_ERROR]}".rstrip(": ")
            await self._record_failure(body, PLANNING_FAILED, f"the operator cannot decide about this store, {text}")
            raise
        if persisted is None:
            return SWITCHING_SECONDS, 0.0
        self._memory = acting(self._memory, decided.actions, self._now())
        done = await self._actor.run(decided.actions, observed.children, patience_seconds=CALL_SECONDS)
        failures = self._actor.failures
        if self._metrics is not None:
            self._metrics.looked(self._ref, decided.status, observed.children)
            for item in done:
                self._metrics.acted(type(item.action).__name__, failed=bool(item.failure))
        self._memory = acted(self._memory, [item.fence for item in done if item.fence is not None], failures)
        self._memory = to_post(self._memory, (notice for item in done for notice in item.notices))
        removals = [item for item in done if isinstance(item.action, RemoveAnnotations)]
        if removals:
            self.invalidate()
        if any(item.effective for item in removals) or not any(
            isinstance(action, RemoveAnnotations) for action in decided.actions
        ):
            self._memory = to_post(self._memory, decided.answers)
        self._replicas.hurry(hurried=_hurries(decided))
        if not decided.memory.watch_closely:  # else clients wait for the next step
            await self._post_all()
        rests = decided.stands and not failures and not self._changed
        if rests and self._home.view.is_shown:
            self._rest = rest_after(
                persisted,
                decided.status,
                observed,
                self._memory,
                spread=zlib.crc32(self._ref.uid.encode()) / 0xFFFFFFFF,
                stands_seconds=self._pace.stands_seconds(STANDS_SECONDS),
            )
        if self._rest is not None:
            self._object = None
            await self._replicas.spare(pod for pod in self._rest.pods if not self._rest.asks(pod))
        switched = decided.status.failover is not None and any(item.effective for item in done)
        wait = 0.0 if switched and not failures else decided.requeue_seconds
        if failures:
            wait = max(wait, BUSY_SECONDS)
        elif self._replicas.waits_for_late or self._actor.calling:
            wait = min(wait, BUSY_SECONDS)
        return wait, decided.requeue_at_most_seconds

    async def _decide(self, body: Mapping[str, Any]) -> tuple[StoreStatus, Observed, Plan]:
        """Returns the recorded status, what was observed, and the plan."""
        status = status_from_json(body.get("status"))
        if status.failover is None:
            self._now.look()
        observed = await observe(
            self._sites,
            self._replicas,
            created_at=str(body["metadata"].get("creationTimestamp") or ""),
            ask=self._ask,
            patience_seconds=HURRIED_SECONDS if self._memory.watch_closely else self._patience_seconds(status),
        )
        archiver = await self._archiver.look(
            raw_backup_of(body), patience_seconds=0.0 if self._memory.watch_closely else ARCHIVER_SECONDS
        )
        restoring = status.bootstrap is not None and status.bootstrap.phase is BootstrapPhase.RESTORING
        pinned = pinned_of(status.bootstrap)
        restorer = await self._restorer.look(
            source_of(body) if restoring else None,
            pinned.text if pinned is not None else "",
            patience_seconds=ARCHIVER_SECONDS,
        )
        observed = replace(observed, archiver=archiver, restorer=restorer)
        moment = Moment(self._now(), self._clock())
        self._memory = remember(self._memory, self._ref.name, observed, status, moment)
        staying = staying_regions(observed, status)
        asked = lacking_pods.questions(self._ref.name, staying, observed, self._memory)
        observed = replace(observed, refusals=self._refusals.look(asked))
        meta = body["metadata"]
        decided = plan(
            PlanInput(
                ref=self._ref,
                generation=meta.get("generation", 0),
                raw_spec=body.get("spec"),
                annotations=meta.get("annotations") or {},
                status=status,
                observed=observed,
                memory=self._memory,
                image=self._image,
                certificates=self._certificates,
                operator_pods=self._operator_pods,
                fresh_store_id=self._store_id(),
                settled=self._home.view.settled,
                turn=self._turns.turn_of(self._key, moment.seconds),
                setters=annotation_setters(meta),
                operator=self._operator,
                created_at=str(meta.get("creationTimestamp") or ""),
            )
        )
        self._memory = decided.memory if not self._changed else replace(decided.memory, problems=None)
        self._turns.report(self._key, decided.claim, moment.seconds)
        self._compare_hashes(observed, decided.status)
        return status, observed, decided

    async def _rests(self, rest: Rest) -> bool:
        """Look at the primary of a store at rest. Returns False when something has changed, or may have by now."""
        self._now.look()
        if self._clock() >= rest.until_seconds:
            return False
        statuses = await self._replicas.statuses(rest.pods, rest.asks, patience_seconds=PATIENT_SECONDS)
        moment = Moment(self._now(), self._clock())
        if self._changed or self._replicas.unanswered_seconds():
            return False
        rest_now = look_again(rest, statuses, moment.seconds)
        if rest_now is None:
            return False
        self._rest, observed = rest_now, Observed(regions=rest_now.regions)
        self._memory = looked_again(self._memory, observed, moment)
        self._compare_hashes(observed, rest.status)
        if self._metrics is not None:
            self._metrics.looked_again(self._ref)
        return True

    def _compare_hashes(self, observed: Observed, status: StoreStatus) -> None:
        """Begin to compare the replicas' data, if that is due."""
        compared, question = hashes.next_round(
            self._memory.hashes,
            observed,
            status,
            interval_seconds=self._hash_check_seconds,
            under_way=self._hash_rounds.under_way,
            now=self._memory.moment.seconds,
        )
        self._memory = replace(self._memory, hashes=compared)
        if question is not None:
            self._hash_rounds.begin(question, observed)

    async def _is_run_by_another(self, body: Mapping[str, Any]) -> bool:
        """Returns whether another installation runs the store, and posts an Event about it once."""
        claim = operator_from_json(body.get("status"))
        if self._operator is None or claim is None or claim == self._operator:
            return False
        who = await self._others(claim)
        if who and claim != self._reported_other:
            self._reported_other = claim
            log.info("run_by_another", operator=who)
            message = f"the operator {self._operator} leaves this store alone, since it is run by the operator {who}"
            await self._post(Notice("RunByAnother", message), body["metadata"]["resourceVersion"])
        if not who and claim == self._reported_other:
            self._reported_other = None
            log.info("taken_over", operator=str(claim))
        return bool(who)

    async def _record_failure(self, body: Mapping[str, Any], reason: str, why: str) -> None:
        """Record in conditions and Events that nothing can be decided."""
        raw = body.get("status")
        raw_status = raw if isinstance(raw, Mapping) else {}
        meta = body["metadata"]
        generation = meta.get("generation", 0)
        conditions, news = undecided(raw_status, reason, why, generation=generation, now=self._now())
        patch = merge_patch(raw_status, {**raw_status, "conditions": conditions_to_json(conditions)})
        if patch:
            self.invalidate()
            try:
                await self._home.patch_status(patch, meta["resourceVersion"])
            except (ApiError, *CONNECTION_ERRORS) as why:
                log.warning("failure_not_recorded", error=str(why))
                return  # tried again at the next step, which fails, too, or shows something better
        for notice in news:
            await self._post(notice, meta["resourceVersion"])

    async def _read(self) -> dict[str, Any] | None:
        switching = bool(self._object and (self._object.get("status") or {}).get("failover"))
        if self._object is None or self._stale or not switching or self._clock() - self._read_at > READ_AGAIN_SECONDS:
            self._stale = False  # before the read: a change that comes during it is read next time
            try:
                self._object = await self._home.store()
            except ApiError as error:
                if error.not_found:
                    return None
                raise
            if self._version != _version(self._object):  # the watch has yet to show it
                self._memory = replace(self._memory, problems=None)
            self._version, self._read_at = _version(self._object), self._clock()
        meta = self._object["metadata"]
        return None if meta.get("uid") != self._ref.uid or meta.get("deletionTimestamp") else self._object

    def _patience_seconds(self, status: StoreStatus) -> float:
        """How long the look waits for replicas. As witness, the operator has to be back before the tenure runs out that
        it granted last, also while a region hangs."""
        granted_ms = status.witness_tenure.grants_ms
        return min(PATIENT_SECONDS, granted_ms / 5000) if granted_ms else PATIENT_SECONDS

    def _ask(self, pod: Pod) -> bool:
        return not self._memory.watch_closely or pod.region in self._memory.watch_closely

    async def _record(self, before: StoreStatus, decided: Plan) -> StoreStatus | None:
        """Write the status if that is due. Returns the one that is persisted then; None if the object has been changed
        since it was read: then no action may be carried out."""
        assert self._object is not None
        since = self._clock() - self._memory.recorded_at
        if not decided.commit_first and not due(before, decided.status, since):
            return before
        patch = merge_patch(self._object.get("status") or {}, status_to_json(decided.status))
        if not patch:
            return decided.status
        version = self._object["metadata"]["resourceVersion"]
        try:
            self._object = await self._home.patch_status(patch, version)
        except ApiError as error:
            if error.invalid:
                await self._report_refusal(str(error), version)
            if not error.conflict:
                raise
            log.info("status_conflict", store=self._ref.name)
            self.invalidate()
            return None
        if self._metrics is not None:
            self._metrics.recorded(before, decided.status)
        self._version, self._read_at = _version(self._object), self._clock()
        self._memory = to_post(replace(self._memory, recorded_at=self._read_at), decided.notices)
        return decided.status

    async def _post_all(self) -> None:
        """Posts what is to be posted, in order. What the API server cannot take now is left for the next look."""
        while self._memory.unposted and self._may_act() and await self._post(self._memory.unposted[0], self._version):
            self._memory = replace(self._memory, unposted=self._memory.unposted[1:])

    async def _post(self, notice: Notice, version: str) -> bool:
        """Returns whether it was posted or will never be."""
        try:
            await self._home.post_event(version, notice, self._now())
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("event_not_posted", reason=notice.reason, error=str(error))
            return isinstance(error, ApiError) and not error.temporary
        return True

    async def _report_refusal(self, why: str, version: str) -> None:
        """Post an Event about a status that the API server refuses: one for each refusal, whatever numbers are in its
        text."""
        kind = re.sub(r"\d+", "#", why)
        if kind in self._memory.refusals or len(self._memory.refusals) >= MAX_REFUSALS:
            return
        message = (
            "the API server refuses the store's status, and until it takes it nothing is changed; "
            f"apply the chart's crds, they may be older than the operator: {why}"
        )
        if await self._post(Notice("StatusRefused", message, warning=True), version):
            self._memory = replace(self._memory, refusals=self._memory.refusals | {kind})


def _hurries(decided: Plan) -> bool:
    """Returns whether a change of primary is under way, or may be near: a region is silent, or has no tenure."""
    memory = decided.memory
    return bool(decided.status.failover or memory.watch_closely or memory.silent_at or memory.without_tenure_at)


def _version(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("resourceVersion", ""))
