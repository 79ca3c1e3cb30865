"""The operator's Prometheus metrics: what it does, and the stores that it looks after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from rstore_backup.report import DrillResult

from rstore_operator.facts.observed import ChildKey
from rstore_operator.planning.conditions.backup_healthy import (
    BACKUP_HEALTHY,
    BASE_LATE,
    DRILL_LATE,
    SUSPENDED,
)
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.state import (
    AUTOMATIC,
    FORCED,
    PLANNED,
    BackupDrill,
    BackupStatus,
    Outcome,
    Phase,
    RegionStatus,
    StoreStatus,
    Trigger,
)
from rstore_operator.specs.certificates import expires_at
from rstore_operator.specs.secrets import CA_CERT, TLS_CERT, secret_value

STEP_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GAP_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
MAX_STORES = 1000
"""Stores that have series of their own; further ones are only counted."""
CONDITION_VALUES = {"True": 1.0, "False": 0.0}

Children = Mapping[ChildKey, Mapping[str, Any]]


@dataclass(frozen=True)
class Look:
    """A store as it was looked at last; ``seconds`` is a monotonic clock's reading then."""

    status: StoreStatus
    expiries: Mapping[str, tuple[str, float]]
    """By Secret with a certificate: its version, and when the certificate expires, in seconds since 1970."""
    seconds: float


class OperatorMetrics:
    """All metrics of one operator, in a registry of their own."""

    def __init__(self, version: str, clock: Callable[[], float]) -> None:
        """``clock`` is a monotonic clock, in seconds."""
        self.registry = CollectorRegistry()
        self._clock = clock
        self._looks: dict[tuple[str, str], Look] = {}
        self._loops: Callable[[], Mapping[str, int]] = dict
        self._out_of_step: Callable[[], int] = int
        self._acts: Callable[[], bool] = bool
        ProcessCollector(registry=self.registry)
        info = Gauge("rstore_operator_info", "1, with the operator's version.", ["version"], registry=self.registry)
        info.labels(version).set(1)
        self._steps = Counter(
            "rstore_operator_reconciles", "Steps taken for stores, by outcome.", ["outcome"], registry=self.registry
        )
        self._step_seconds = Histogram(
            "rstore_operator_reconcile_seconds",
            "Time that a step took, in seconds.",
            buckets=STEP_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._actions = Counter(
            "rstore_operator_actions",
            "Actions carried out, by kind and outcome.",
            ["action", "outcome"],
            registry=self.registry,
        )
        self._requests = Counter(
            "rstore_operator_api_requests",
            "Requests to the Kubernetes API, by verb, kind and HTTP status; code 0: no answer.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "rstore_operator_api_request_seconds",
            "Time until the Kubernetes API answered, in seconds.",
            ["verb"],
            buckets=REQUEST_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._changes = Counter(
            "rstore_operator_primary_changes",
            "Changes of primary that ended, by trigger, mode and outcome.",
            ["trigger", "mode", "outcome"],
            registry=self.registry,
        )
        # Present from the beginning: of a counter that appears with its first event, no increase can be computed.
        for trigger, mode, outcome in product(Trigger, (PLANNED, AUTOMATIC, FORCED), Outcome):
            self._changes.labels(trigger.value, mode, outcome.value)
        self._gap_seconds = Histogram(
            "rstore_operator_primary_change_write_gap_seconds",
            "How long writes waited in a change of primary, in seconds.",
            ["mode"],
            buckets=GAP_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._lost = Counter(
            "rstore_operator_revisions_lost",
            "Revisions that unplanned changes of primary left behind, as known when they ended.",
            registry=self.registry,
        )
        self._loop_states = Gauge(
            "rstore_operator_stores",
            "Stores: stepping, waiting for the next step, or backing_off after an error.",
            ["state"],
            registry=self.registry,
        )
        self._watches = Gauge(
            "rstore_operator_watches_out_of_step",
            "Watches of the Kubernetes API that do not show what is there now.",
            registry=self.registry,
        )
        self._leading = Gauge(
            "rstore_operator_leading",
            "1 while this operator holds the Lease and acts, 0 while it stands by.",
            registry=self.registry,
        )
        self._stores = _StoreCollector()
        self.registry.register(self._stores)

    # ------------------------------------------------------------------------------------------ what happens
    def stepped(self, outcome: str, seconds: float) -> None:
        """Count a step of a store."""
        self._steps.labels(outcome).inc()
        self._step_seconds.observe(seconds)

    def acted(self, action: str, failed: bool) -> None:
        """Count an action."""
        self._actions.labels(action, "failed" if failed else "done").inc()

    def requested(self, verb: str, kind: str, code: int, seconds: float) -> None:
        """Count a request to the Kubernetes API."""
        self._requests.labels(verb, kind, str(code)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def recorded(self, before: StoreStatus, after: StoreStatus) -> None:
        """Count the changes of primary that have a receipt in ``after`` and had none in ``before``."""
        known = {(receipt.epoch, receipt.outcome) for receipt in before.history}
        for receipt in after.history:
            if (receipt.epoch, receipt.outcome) in known:
                continue
            self._changes.labels(receipt.trigger.value, receipt.mode, receipt.outcome.value).inc()
            self._gap_seconds.labels(receipt.mode).observe(receipt.write_gap_seconds)
            self._lost.inc(receipt.revisions_lost)

    # ------------------------------------------------------------------------------------------ what there is
    def looked(self, ref: StoreRef, status: StoreStatus, children: Children) -> None:
        """Show a store as it is now."""
        key = (ref.namespace, ref.name)
        last = self._looks.get(key)
        expiries = dict(_expiries(children, last.expiries if last is not None else {}))
        self._looks[key] = Look(status, expiries, self._clock())

    def looked_again(self, ref: StoreRef) -> None:
        """A store is as it was at the last look."""
        key = (ref.namespace, ref.name)
        if key in self._looks:
            self._looks[key] = replace(self._looks[key], seconds=self._clock())

    def forget(self, ref: StoreRef) -> None:
        """Show a store no longer."""
        self._looks.pop((ref.namespace, ref.name), None)

    def watch(
        self, loops: Callable[[], Mapping[str, int]], out_of_step: Callable[[], int], acts: Callable[[], bool]
    ) -> None:
        """``loops`` returns how many stores are in each state, ``out_of_step`` how many watches are out of step,
        ``acts`` whether this operator acts; all are called at each scrape."""
        self._loops, self._out_of_step, self._acts = loops, out_of_step, acts

    # ------------------------------------------------------------------------------------------ a scrape
    def take_reading(self) -> None:
        """Has the gauges show what is now. Called on the event loop."""
        for state, count in self._loops().items():
            self._loop_states.labels(state).set(count)
        self._watches.set(self._out_of_step())
        self._leading.set(self._acts())
        self._stores.show(self._looks, self._clock())

    def render(self) -> bytes:
        """Returns the exposition text. Callable from any thread."""
        return b"".join(generate_latest(_Alone(family)) for family in self.registry.collect())


class _Alone(Collector):
    """One family as the only one, so that no more than its samples are in memory while its text is made."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


class _StoreCollector(Collector):
    """The series of each store, from what was looked at last."""

    def __init__(self) -> None:
        self._looks: dict[tuple[str, str], Look] = {}
        self._seconds = 0.0

    def show(self, looks: Mapping[tuple[str, str], Look], seconds: float) -> None:
        self._looks, self._seconds = dict(looks), seconds

    def collect(self) -> Iterable[Metric]:
        looks, now = self._looks, self._seconds
        self._looks = {}  # what stores were like is not kept until the next scrape
        shown = sorted(looks)[:MAX_STORES]
        yield GaugeMetricFamily(
            "rstore_operator_stores_without_series", "Stores that are too many to be shown.", len(looks) - len(shown)
        )
        for family in _FAMILIES:
            labels = ["namespace", "store", *family.labels]
            made = GaugeMetricFamily(f"rstore_operator_{family.name}", family.text, labels=labels)
            for key in shown:
                for values, value in family.samples(looks[key], now):
                    made.add_metric([*key, *values], value)
            if made.samples:
                yield made


_Samples = Iterable[tuple[tuple[str, ...], float]]
"""The values of labels, and the sample's."""


@dataclass(frozen=True)
class _Family:
    """A family of gauges with samples for each store."""

    name: str
    text: str
    labels: tuple[str, ...]
    """Beside those of the store."""
    samples: Callable[[Look, float], _Samples]
    """Of a store as it was looked at, and a monotonic clock's reading now."""


def _of_store(name: str, text: str, value: Callable[[Look, float], float]) -> _Family:
    """Returns a family with one sample for each store."""
    return _Family(name, text, (), lambda look, now: [((), value(look, now))])


def _of_regions(name: str, text: str, value: Callable[[StoreStatus, RegionStatus], float | None]) -> _Family:
    """Returns a family with one sample for each region, but for those without a value."""

    def samples(look: Look, _now: float) -> _Samples:
        values = ((region.name, value(look.status, region)) for region in look.status.regions)
        return [((name,), value) for name, value in values if value is not None]

    return _Family(name, text, ("region",), samples)


def _of_backup(name: str, text: str, value: Callable[[BackupStatus, str], float | None]) -> _Family:
    """Returns a family with one sample for each store that is archived and has a value. ``value`` is given the reason
    of its condition, too."""

    def samples(look: Look, _now: float) -> _Samples:
        backup, condition = look.status.backup, look.status.condition(BACKUP_HEALTHY)
        sample = value(backup, condition.reason if condition is not None else "") if backup is not None else None
        return [] if sample is None else [((), sample)]

    return _Family(name, text, (), samples)


def _of_drill(name: str, text: str, value: Callable[[BackupDrill], float]) -> _Family:
    """Returns a family with one sample for each store of which a drill is known."""
    return _of_backup(name, text, lambda backup, _: value(backup.last_drill) if backup.last_drill is not None else None)


def _phases(look: Look, _now: float) -> _Samples:
    return [((phase.value,), float(phase is look.status.phase)) for phase in Phase]


def _conditions(look: Look, _now: float) -> _Samples:
    return [((one.type,), CONDITION_VALUES.get(one.status, -1.0)) for one in look.status.conditions]


def _drill_failed(backup: BackupStatus, reason: str) -> float:
    drill = backup.last_drill
    return float((drill is not None and drill.result is DrillResult.FAILED) or reason == DRILL_LATE)


def _connected(status: StoreStatus, region: RegionStatus) -> float | None:
    return float(region.connected) if region.name != status.primary_region else None


_FAMILIES = (
    _of_store(
        "store_unobserved_seconds",
        "Time since the store was looked at, in seconds.",
        lambda look, now: now - look.seconds,
    ),
    _of_store("store_epoch", "Epoch of the primary region.", lambda look, _: float(look.status.epoch)),
    _Family("store_phase", "1 for the store's phase.", ("phase",), _phases),
    _Family("store_condition", "A condition of the store: 1 True, 0 False, -1 Unknown.", ("condition",), _conditions),
    _of_store(
        "primary_changing",
        "1 while the primary region changes.",
        lambda look, _: float(look.status.failover is not None),
    ),
    _of_regions(
        "region_primary",
        "1 for the primary region.",
        lambda status, region: float(region.name == status.primary_region),
    ),
    _of_regions("region_replicas", "Replicas that the region has.", lambda _, region: float(region.replicas)),
    _of_regions(
        "region_ready_replicas",
        "Replicas of the region that are ready.",
        lambda _, region: float(region.ready_replicas),
    ),
    _of_regions("region_connected", "1 while the primary streams to the region.", _connected),
    _of_backup(
        "backup_suspended", "1 while spec.backup.suspend is true.", lambda _, reason: float(reason == SUSPENDED)
    ),
    _of_backup(
        "backup_base_late",
        "1 while the two last bases that the schedule wanted are missing.",
        lambda _, reason: float(reason == BASE_LATE),
    ),
    _of_backup(
        "backup_log_lost",
        "1 where changes before those that can be restored were lost to the archive.",
        lambda backup, _: float(bool(backup.hole)),
    ),
    _of_backup(
        "backup_lag_seconds",
        "Age of the oldest revision that is not in the archive, in seconds, as the archiver reported last.",
        lambda backup, _: backup.lag_seconds,
    ),
    _of_backup(
        "backup_last_base_timestamp_seconds",
        "When the newest base was made, in seconds since 1970.",
        lambda backup, _: backup.last_base.at.timestamp() if backup.last_base is not None else None,
    ),
    _of_backup(
        "backup_drill_failed",
        "1 while the last drill has failed, or the two last drills that the schedule wanted are missing.",
        _drill_failed,
    ),
    _of_drill(
        "backup_last_drill_timestamp_seconds",
        "When the last drill began, in seconds since 1970.",
        lambda drill: drill.time.timestamp(),
    ),
    _of_drill(
        "backup_last_drill_rto_seconds",
        "How long the last drill took to restore the archive, in seconds; 0 where it could not.",
        lambda drill: drill.rto_seconds,
    ),
    _of_drill(
        "backup_last_drill_rpo_seconds",
        "Age of the newest state in the archive when the last drill began, in seconds.",
        lambda drill: drill.rpo_seconds,
    ),
    _Family(
        "certificate_expiry_timestamp_seconds",
        "When the certificate in a Secret expires, in seconds since 1970.",
        ("secret",),
        lambda look, _: [((name,), expiry) for name, (_, expiry) in look.expiries.items()],
    ),
)
"""In the order of the text. They are filled one after the other: all samples of hundreds of stores at once take several
times the memory of their text."""


def _expiries(children: Children, last: Mapping[str, tuple[str, float]]) -> Iterable[tuple[str, tuple[str, float]]]:
    """Yields the expiries of the certificates in Secrets; certificates are read anew where a Secret has changed."""
    for (kind, name), child in children.items():
        if kind != "Secret":
            continue
        version = str((child.get("metadata") or {}).get("resourceVersion", ""))
        if version and name in last and last[name][0] == version:
            yield name, last[name]
        elif (expiry := _expiry(child)) is not None:
            yield name, (version, expiry.timestamp())


def _expiry(secret: Mapping[str, Any]) -> datetime | None:
    """Returns when a Secret's certificate expires, or its authority where that is all it has."""
    certificate = secret_value(secret, TLS_CERT) or secret_value(secret, CA_CERT)
    try:
        return expires_at(certificate).astimezone(UTC) if certificate else None
    except ValueError:
        return None
