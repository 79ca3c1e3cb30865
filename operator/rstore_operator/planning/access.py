"""The access rules of a store: which version every replica should enforce, and which replicas do not yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace
from rstore_api.domain import names
from rstore_api.domain.access import OPEN, AccessRules

from rstore_operator.facts.actions import SetAccess, Target
from rstore_operator.facts.observed import Observed, Pod, ReplicaStatus
from rstore_operator.planning.conditions.conditions import ACCESS_IN_FORCE
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.resource.units import format_time_seconds
from rstore_operator.specs.configmap import access_rules

RENEWAL_SECONDS = 60.0
"""For how long certificates are looked at again and again after they were revoked."""


def desired_rules(wanted: AccessRules | None, observed: Observed) -> AccessRules:
    """The rules that every replica should enforce; ``wanted`` are those of the spec, None while that is invalid.

    Their version is that of the newest in ConfigMaps and replicas when those are the same rules, else one more: so what
    is wanted wins over whatever is there, an old volume's rules too. It is 0 as long as nobody ever wanted any.
    """
    documents = list(_documents(observed))
    in_force = [replica.access for replica in observed.replicas() if replica.access is not None]
    versions = [rules.version for rules in documents] + [each.version for each in in_force]
    newest = max(versions, default=0)
    if wanted is None:
        return max(documents, key=lambda rules: rules.version, default=OPEN)
    if not newest and wanted == OPEN:
        return OPEN
    candidate = replace(wanted, version=newest)
    same = all(rules == candidate for rules in documents if rules.version == newest) and all(
        each.digest in ("", candidate.digest) for each in in_force if each.version == newest
    )
    return candidate if newest and same else replace(wanted, version=newest + 1)


def are_written(rules: AccessRules, store: str, regions: Iterable[str], observed: Observed) -> bool:
    """Whether the ConfigMaps of these regions have the rules, as far as they exist."""
    maps = [observed.children.get(("ConfigMap", names.region_object(store, region))) for region in regions]
    return not rules.version or all(access_rules(live) == rules for live in maps if live is not None)


def knows_no_rules(observed: Observed) -> tuple[str, ...]:
    """Replicas of a version that enforces no rules."""
    return tuple(replica.name for replica in observed.replicas() if replica.access is None)


def certificates_wait(rules: AccessRules, store: str, observed: Observed, now: datetime) -> bool:
    """Whether a client's certificate is missing, or one that was revoked lately may not have its successor yet."""
    if not rules.version:
        return False
    shared = [(names.client_tls_secret(store), rules.shared_client.revoked_before)]
    rows = shared if rules.shared_client.enabled else []
    rows += [(names.own_tls_secret(store, client.name), client.revoked_before) for client in rules.clients]
    return any(
        ("Secret", name) not in observed.children or revoked_before > now.timestamp() - RENEWAL_SECONDS
        for name, revoked_before in rows
    )


@dataclass(frozen=True)
class AccessPlan:
    """The calls that put rules in force, and what a person should know."""

    calls: tuple[SetAccess, ...] = ()
    finding: Finding | None = None


def plan_access(
    rules: AccessRules, observed: Observed, now: datetime, *, written: bool, anonymous: bool = False
) -> AccessPlan:
    """Sends the rules to every replica that lacks them, and reports which do. ``written``: the ConfigMaps have them;
    ``anonymous``: the spec lets everybody in without a certificate, so there is nothing to report.
    """
    if not rules.version:
        return AccessPlan()
    calls, lacking, old = [], [], []
    for pod, replica in _replicas(observed):
        if replica is None:
            lacking.append(f"{pod.name} (does not answer)")
        elif replica.access is None:
            old.append(pod.name)
        elif replica.access.digest != rules.digest:
            lacking.append(pod.name)
            calls.append(SetAccess(pod.region, Target.of(pod), rules))
        elif replica.access.anonymous:
            lacking.append(f"{pod.name} (still lets everybody in without a certificate)")
    if anonymous:
        return AccessPlan(tuple(calls))
    texts = []
    if lacking:
        texts.append(f"these replicas have not reported that they enforce the access rules: {', '.join(lacking)}")
    if old:
        texts.append(
            "these are of a version that enforces none, every certificate may do everything there, and certificates of "
            f"clients are made once they have been updated: {', '.join(old)}"
        )
    if not written:
        texts.append("the access rules are being written to the ConfigMaps, from which new replicas have them")
    texts += _in_future(rules, now)
    if lacking or old or not written:
        reason = "ReplicasTooOld" if old else "NotEverywhere"
        return AccessPlan(tuple(calls), Finding(ACCESS_IN_FORCE, False, reason, "; ".join(texts)))
    text = "; ".join(["every replica enforces the access rules", *texts])
    return AccessPlan(tuple(calls), Finding(ACCESS_IN_FORCE, True, "Everywhere", text))


def _in_future(rules: AccessRules, now: datetime) -> Iterator[str]:
    rows = [("the shared certificate", rules.shared_client.revoked_before)]
    rows += [(f"client {client.name}", client.revoked_before) for client in rules.clients]
    for name, revoked_before in rows:
        if revoked_before > now.timestamp():
            until = format_time_seconds(datetime.fromtimestamp(revoked_before, UTC))
            yield f"{name} is shut out until {until}: revokedBefore lies in the future"


def _documents(observed: Observed) -> Iterator[AccessRules]:
    for (kind, _), child in observed.children.items():
        rules = access_rules(child) if kind == "ConfigMap" else None
        if rules is not None:
            yield rules


def _replicas(observed: Observed) -> Iterator[tuple[Pod, ReplicaStatus | None]]:
    """Every pod that has an address, and what its replica answered."""
    for _, region in sorted(observed.regions.items()):
        answers = {replica.name: replica for replica in region.replicas}
        for pod in region.pods:
            if pod.ip:
                yield pod, answers.get(pod.name)
