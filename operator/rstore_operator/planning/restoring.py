"""A new store that begins with a past state: whether it does, who is kept out meanwhile, and when all is there.

Clients are kept out by the access rules, which are in the ConfigMaps before the first pod is, until the restorer has
reported that everything is in the store and compared. What the store holds is either nothing or all of it, so whoever
is killed in between, the next look goes on: an empty store is filled anew, and a full one is compared again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from rstore_api.domain import names
from rstore_api.domain.access import AccessRules
from rstore_api.domain.epochs import BASE_REVISION
from rstore_backup.restore_report import Pinned, RestorePhase, RestoreProblem, RestoreReport

from rstore_operator.facts.observed import Observed
from rstore_operator.facts.restorer import RestorerObserved
from rstore_operator.facts.truth import Truth
from rstore_operator.planning.conditions.backup_healthy import refusal_of
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.conditions.restored import LETTING_IN, RESTORED
from rstore_operator.resource.bootstrap import BootstrapSpec
from rstore_operator.resource.state import BootstrapPhase, BootstrapStatus
from rstore_operator.specs.configmap import access_rules
from rstore_operator.specs.restorer import Restore

PATIENCE_SECONDS = 30.0
"""For how long what may be over at the next try is not reported."""
TRANSIENT = frozenset({RestoreProblem.ARCHIVE_NOT_READ, RestoreProblem.STORE_NOT_READY})
_DOING = {
    RestorePhase.STARTING: ("Starting", "looks for the archive, and at the store"),
    RestorePhase.READING: ("Reading", "reads the archive"),
    RestorePhase.SETTLED: ("Settled", "has read the archive"),
    RestorePhase.FILLING: ("Filling", "fills the store"),
    RestorePhase.COMPARING: ("Comparing", "compares the store with the archive"),
    RestorePhase.COMPLETED: ("CatchingUp", "has filled the store and compared it"),
}


@dataclass(frozen=True)
class Bootstrap:
    """Whether the store begins with a past state. ``status`` is what to record; None: nothing, or it is not known
    yet."""

    status: BootstrapStatus | None = None
    shuts_out: bool = False
    """Whether clients are kept out."""
    settled: bool = True
    """Whether that is decided, so that replicas which run may be sent rules."""

    @property
    def is_restoring(self) -> bool:
        """Whether it is being restored."""
        return self.status is not None and self.status.phase is BootstrapPhase.RESTORING


def decide_bootstrap(
    spec: BootstrapSpec | None,
    before: BootstrapStatus | None,
    recorded_id: str,
    store: str,
    regions: tuple[str, ...],
    observed: Observed,
    now: datetime,
) -> Bootstrap:
    """Decide, once and for all, before the store gets its id. ``recorded_id`` is the id in status.

    Only a store in which nothing was ever written is restored, and all regions have to say so. Until they do, clients
    are kept out where nothing of the store is known to have run before. There are no ``regions`` while the spec is
    invalid.
    """
    was_ignored = before is not None and before.phase is BootstrapPhase.IGNORED
    if before is not None and not (was_ignored and spec is None and regions):
        return Bootstrap(before, before.phase is BootstrapPhase.RESTORING)
    if spec is None:
        return Bootstrap()
    if recorded_id:
        return Bootstrap(_ignored("the store was there already when spec.bootstrap came"))
    if any(replica.revision > BASE_REVISION or replica.epoch > 1 for replica in observed.replicas()):
        return Bootstrap(_ignored("the volumes of the store hold data already"))
    if all(observed.leader(region) is not None for region in regions):
        return Bootstrap(BootstrapStatus(BootstrapPhase.RESTORING, started_at=now), shuts_out=True)
    maps = [("ConfigMap", names.region_object(store, region)) for region in regions]
    live = [access_rules(observed.children[key]) for key in maps if key in observed.children]
    is_new = not observed.orphans and all(rules is not None and rules.restoring for rules in live)
    known = any(replica.store_id for replica in observed.replicas())
    return Bootstrap(None, shuts_out=is_new and not known, settled=False)


@dataclass(frozen=True)
class RestorePlan:
    """What to record, what the restorer is to do (None: what it is told already), and what a person should know."""

    status: BootstrapStatus | None = None
    restore: Restore | None = None
    finding: Finding | None = None

    @property
    def is_restoring(self) -> bool:
        """Whether it is being restored."""
        return self.status is not None and self.status.phase is BootstrapPhase.RESTORING

    @property
    def text(self) -> str:
        """What is restored, for a person; "" where nothing is, or clients are let in already."""
        finding = self.finding
        if finding is None or not (self.is_restoring or finding.reason == LETTING_IN):
            return ""
        return f"clients are kept out until the store is restored: {finding.message}"


def plan_restore(
    spec: BootstrapSpec | None,
    bootstrap: Bootstrap,
    rules: AccessRules,
    store_id: str,
    regions: tuple[str, ...],
    observed: Observed,
    truth: Truth,
    deployment: Mapping[str, Any] | None,
    now: datetime,
    *,
    shown: bool,
) -> RestorePlan:
    """Plan the restorer. ``rules`` are those that every replica should enforce, ``store_id`` is the recorded id of the
    store, and ``deployment`` the restorer's as it is in the cluster. ``shown``: the store was shown as restored."""
    status = bootstrap.status
    if status is None:
        return RestorePlan()
    if not bootstrap.is_restoring:
        late = _that_lack(rules, observed) if status.phase is BootstrapPhase.COMPLETED and not shown else []
        return RestorePlan(status, finding=_letting_in(late) if late else _ended(status))
    if spec is None:
        text = "spec.bootstrap is gone, or invalid: put it back, or delete the store; clients are kept out until then"
        return RestorePlan(status, finding=_not_yet("SourceMissing", text))
    if not truth.epoch or not store_id:
        return RestorePlan(status, finding=_not_yet("Waiting", "the store is being created"))
    restore, waiting = _restore(spec, status, store_id, observed.restorer)
    open_replicas = _that_let_clients_in(rules, observed)
    if open_replicas is not None:
        return RestorePlan(status, restore if deployment is not None else None, open_replicas)
    report = observed.restorer.report
    if report is None:
        return RestorePlan(status, restore, waiting or _without_report(observed.restorer, deployment))
    return _reported(status, restore, report, regions, observed, truth, now)


def pinned_of(status: BootstrapStatus | None) -> Pinned | None:
    """The state that is recorded; None before it is settled."""
    if status is None or not status.store_id:
        return None
    return Pinned(status.store_id, status.store, status.archived_revision, status.archived_epoch, status.revision)


def _restore(
    spec: BootstrapSpec, status: BootstrapStatus, store_id: str, seen: RestorerObserved
) -> tuple[Restore | None, Finding | None]:
    """What is to be restored; None and why, while it is not known where that is."""
    pinned = pinned_of(status)
    if spec.place is not None:
        return Restore(spec.place, spec.source_id, spec.source_name, spec.at, pinned, store_id), None
    if seen.base is not None:
        return Restore(seen.base.place, seen.base.store_id, "", spec.at, pinned, store_id), None
    if seen.base_problem:
        return None, _not_yet("NoBackup", seen.base_problem)
    return None, _not_yet("Waiting", f"looks for ReplicatedStoreBackup {spec.backup}")


def _that_let_clients_in(rules: AccessRules, observed: Observed) -> Finding | None:
    """Which replicas may let clients in; None where each that answers keeps them out."""
    old = sorted(replica.name for replica in observed.replicas() if replica.access is None)
    if old:
        text = f"these are of a version that cannot keep clients out: {', '.join(old)}; clients could write meanwhile"
        return _not_yet("ReplicasTooOld", text)
    late = _that_lack(rules, observed)
    return _not_yet("Waiting", f"these replicas do not keep clients out yet: {', '.join(late)}") if late else None


def _that_lack(rules: AccessRules, observed: Observed) -> list[str]:
    """The replicas that answer and do not enforce the rules yet."""
    in_force = {replica.name: replica.access for replica in observed.replicas() if replica.access is not None}
    wanted = (rules.version, rules.digest)
    return sorted(name for name, each in in_force.items() if (each.version, each.digest) != wanted)


def _letting_in(late: list[str]) -> Finding:
    where = f"; these replicas are about to: {', '.join(late)}" if late else ""
    return _not_yet(LETTING_IN, f"all is in the store, and clients are let in{where}")


def _without_report(seen: RestorerObserved, deployment: Mapping[str, Any] | None) -> Finding:
    pod = seen.pod
    if pod is None:
        refusal = refusal_of(deployment)
        text = f"its pod cannot be created: {refusal}" if refusal else "its pod is not there yet"
        return _not_yet("NotStarted" if refusal else "Waiting", f"the restorer: {text}")
    if pod.problem:
        return _not_yet("NotStarted", f"{pod.name}: {pod.problem}")
    if not pod.ip:
        return _not_yet("Waiting", f"{pod.name} does not run yet")
    return _not_yet("Waiting", f"{pod.name} does not report: {seen.silence or 'not yet'}")


def _reported(
    status: BootstrapStatus,
    restore: Restore | None,
    report: RestoreReport,
    regions: tuple[str, ...],
    observed: Observed,
    truth: Truth,
    now: datetime,
) -> RestorePlan:
    doing, text = _DOING[report.phase]
    percent = f" {min(10, 10 * report.done // report.total) * 10} %" if report.total else ""
    before = pinned_of(status)
    status = replace(status, progress=f"{doing}{percent}")
    if report.pinned is not None and report.pinned != before:
        status = replace(
            status,
            store_id=report.pinned.store_id,
            store=report.pinned.store,
            archived_revision=report.pinned.revision,
            archived_epoch=report.pinned.epoch,
            revision=report.pinned.final_revision,
            keys=report.keys,
        )
        restore = dataclasses.replace(restore, pinned=report.pinned) if restore is not None else None
    error = report.error
    if error is not None:
        lasts = (report.time_ms - error.since_ms) / 1000
        if error.problem not in TRANSIENT or lasts >= PATIENCE_SECONDS:
            return RestorePlan(status, restore, _not_yet(error.problem.value, error.text))
    if report.phase is not RestorePhase.COMPLETED or report.pinned is None or report.pinned != before:
        return RestorePlan(status, restore, _not_yet(doing, f"the restorer {text}{percent and f',{percent}'}"))
    behind = _behind(regions, observed, truth, report.pinned.final_revision)
    if behind:
        return RestorePlan(status, restore, _not_yet(doing, f"the restorer {text}; {behind}"))
    status = replace(status, phase=BootstrapPhase.COMPLETED, keys=report.keys, progress="", completed_at=now)
    return RestorePlan(status, None, _letting_in([]))


def _behind(regions: tuple[str, ...], observed: Observed, truth: Truth, revision: int) -> str:
    """Which regions that answer do not have it all yet: whoever reads there would see an empty store. One that is lost
    is not waited for."""
    primary = observed.leader(truth.primary_region)
    if primary is None:
        return f"the primary region {truth.primary_region} does not answer"
    leaders = ((region, observed.leader(region)) for region in regions)
    late = [region for region, leader in leaders if leader is not None and leader.revision < revision]
    return f"these regions are catching up: {', '.join(late)}" if late else ""


def _ended(status: BootstrapStatus) -> Finding:
    if status.phase is BootstrapPhase.IGNORED:
        return Finding(RESTORED, False, "Ignored", f"{status.message}: nothing is restored, that is for a new store")
    text = (
        f"{status.keys} keys of {status.store} ({status.store_id}) at revision {status.archived_revision} are in the "
        f"store, compared key by key; it went on from revision {status.revision}. spec.bootstrap has no effect any more"
    )
    return Finding(RESTORED, True, "Completed", text)


def _ignored(why: str) -> BootstrapStatus:
    return BootstrapStatus(BootstrapPhase.IGNORED, message=why)


def _not_yet(reason: str, message: str) -> Finding:
    return Finding(RESTORED, False, reason, message)
