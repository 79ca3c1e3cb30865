"""The Kubernetes objects that a store is made of, and what must be done to get them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import REGION_LABEL, SPEC_HASH

from rstore_operator.facts.actions import Action, Adopt, Apply, Delete, LookUp
from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.planning.certificates.plan import plan_certificates
from rstore_operator.planning.certificates.rotation import Stage
from rstore_operator.planning.children.archiver import archiver_leftovers, archiver_manifests
from rstore_operator.planning.children.compare import change_needed
from rstore_operator.planning.children.naming import Naming, name_objects
from rstore_operator.planning.children.ownership import part_of
from rstore_operator.planning.children.restorer import restorer_leftovers, restorer_manifests
from rstore_operator.planning.children.templates import region_set
from rstore_operator.planning.children.volumes import VolumesPlan, plan_volumes
from rstore_operator.planning.conditions.conditions import AUTHORITY_CHANGING, VOLUMES_GROWING
from rstore_operator.planning.conditions.finding import Finding
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.resource.model import UNKNOWN_PODS, CertificateSettings, OperatorPods, ReplicaImage, StoreRef
from rstore_operator.specs.archiver import NO_DRILLS, Drills
from rstore_operator.specs.configmap import config_map
from rstore_operator.specs.labels import with_hash
from rstore_operator.specs.network_policy import network_policy
from rstore_operator.specs.pdb import disruption_budget
from rstore_operator.specs.restorer import Restore
from rstore_operator.specs.serviceaccount import service_account
from rstore_operator.specs.services import peers_service, region_service, store_service

Settled = Mapping[ChildKey, tuple[str, str]]
"""Objects for which an apply changed nothing: the manifest's hash and the resourceVersion that it left."""


@dataclass(frozen=True)
class ChildrenPlan:
    """What to do, and what is wrong with names and volumes: reasons and messages.

    ``findings`` are conditions about changes of objects that take their time.
    """

    actions: tuple[Action, ...]
    problems: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = ()


def plan_children(
    ref: StoreRef,
    effective: Effective | None,
    primary_region: str,
    image: ReplicaImage,
    settings: CertificateSettings,
    observed: Observed,
    settled: Settled,
    now: datetime,
    operator_pods: OperatorPods = UNKNOWN_PODS,
    restart_asked_at: str = "",
    drills: Drills = NO_DRILLS,
    keep_template: Collection[str] = (),
    restore: Restore | None = None,
) -> ChildrenPlan:
    """Everything that differs from what is wanted, in the order in which it is needed.

    Without an effective spec (it is invalid) only the Service that follows the primary region is looked after. The
    StatefulSets of the regions in ``keep_template`` keep the pod template that they have. ``restore`` is what the
    restorer is to do, where the spec has a bootstrap and that is known.
    """
    naming = name_objects(ref, effective.spec if effective is not None else None, observed)
    actions: list[Action] = [LookUp(naming.look_up, naming.claims)] if naming.look_up else []
    actions += [Adopt(key, observed.orphans[key]) for key in naming.adopt]
    volumes = plan_volumes(ref, effective, observed, keep_template) if effective is not None else None
    actions += volumes.actions if volumes is not None else ()
    manifests = _manifests(
        ref, volumes, primary_region, image, observed, operator_pods, restart_asked_at, drills, keep_template, restore
    )
    for manifest in manifests:
        key = (manifest["kind"], manifest["metadata"]["name"])
        if volumes is not None and key in volumes.remade:
            continue
        change = _change(manifest, key, observed, settled)
        if change and _may(key, manifest, change, naming, observed):
            actions.append(Apply(key, manifest, change))
    if effective is None or volumes is None:
        return ChildrenPlan(tuple(actions), naming.problems)
    if not effective.spec.network_policy.enabled:
        actions += _deleted(("NetworkPolicy", names.store_object(ref.name)), observed)
    for key in (*archiver_leftovers(ref, effective.spec), *restorer_leftovers(ref, effective.spec)):
        actions += _deleted(key, observed)
    certificates = plan_certificates(ref, effective, settings, observed, now)
    for action in certificates.actions:
        change = "update" if action.key in observed.children else "create"
        if _may(action.key, action.manifest, change, naming, observed):
            actions.append(action)
    for key in certificates.obsolete:
        actions += _deleted(key, observed)
    findings = []
    if certificates.stage is not Stage.STEADY:
        findings.append(Finding(AUTHORITY_CHANGING, True, certificates.stage.value, certificates.message))
    if volumes.growing:
        findings.append(Finding(VOLUMES_GROWING, True, "Growing", volumes.growing))
    return ChildrenPlan(tuple(actions), (*naming.problems, *volumes.problems), tuple(findings))


def _may(key: ChildKey, manifest: Mapping[str, Any], change: str, naming: Naming, observed: Observed) -> bool:
    """Whether the name, and the volumes that come with it, are known to be the store's own."""
    if key in observed.foreign or key in observed.orphans or key in naming.shared:
        return False
    part = part_of(manifest)
    if change == "create" and part in naming.held_back:
        return False
    return key[0] != "StatefulSet" or part not in naming.not_grown


def _change(manifest: Mapping[str, Any], key: ChildKey, observed: Observed, settled: Settled) -> str:
    live = observed.children.get(key)
    if live is None:
        return "create"
    change = change_needed(manifest, live)
    marks = (manifest["metadata"]["annotations"][SPEC_HASH], live["metadata"].get("resourceVersion", ""))
    return "" if settled.get(key) == marks else change


def _manifests(
    ref: StoreRef,
    volumes: VolumesPlan | None,
    primary_region: str,
    image: ReplicaImage,
    observed: Observed,
    operator_pods: OperatorPods,
    asked_at: str,
    drills: Drills,
    keep_template: Collection[str],
    restore: Restore | None,
) -> Iterator[dict[str, Any]]:
    yield with_hash(store_service(ref, primary_region))
    if volumes is None:
        return
    yield with_hash(service_account(ref))
    if volumes.spec.network_policy.enabled:
        yield with_hash(network_policy(ref, volumes.spec.network_policy, operator_pods))
    yield from archiver_manifests(ref, volumes.spec, primary_region, image, observed, operator_pods, drills)
    yield from restorer_manifests(ref, volumes.spec, primary_region, image, observed, operator_pods, restore)
    for region in volumes.spec.regions:
        yield with_hash(peers_service(ref, region.name))
        yield with_hash(region_service(ref, region.name))
        yield with_hash(config_map(ref, volumes.spec, region))
        yield with_hash(disruption_budget(ref, region.name))
        # A pod that starts before its Secret exists would wait minutes for the kubelet's next try.
        if ("Secret", names.region_tls_secret(ref.name, region.name)) in observed.children:
            keeps = region.name in keep_template
            yield region_set(ref, volumes.spec, region, image, observed, asked_at, keeps_template=keeps)


def _deleted(key: ChildKey, observed: Observed) -> tuple[Delete, ...]:
    child = observed.children.get(key)
    if child is None or child["metadata"].get("deletionTimestamp"):
        return ()
    return (Delete(key, child["metadata"].get("uid", "")),)


def deletions(leaving: frozenset[str], observed: Observed) -> tuple[Delete, ...]:
    """Everything that runs for regions that left the store."""
    return tuple(
        Delete(key, child["metadata"].get("uid", ""))
        for key, child in sorted(observed.children.items(), key=lambda item: item[0])
        if child["metadata"].get("labels", {}).get(REGION_LABEL) in leaving
        and not child["metadata"].get("deletionTimestamp")
    )
