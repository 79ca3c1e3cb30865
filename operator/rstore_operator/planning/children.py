"""The Kubernetes objects that a store is made of, and what must be done to get them. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rstore_operator.cluster.certificates import KeyPair, authority_problem, certificate_problem
from rstore_operator.planning.actions import (
    Action,
    Adopt,
    Apply,
    CertificateRequest,
    Delete,
    IssueAuthority,
    IssueCertificate,
    LookUp,
)
from rstore_operator.planning.compare import change_needed
from rstore_operator.planning.effective import Effective
from rstore_operator.planning.naming import Naming, name_objects
from rstore_operator.planning.observed import ChildKey, Observed
from rstore_operator.resource.model import CertificateSettings, ReplicaImage, StoreRef
from rstore_operator.specs import names, secrets
from rstore_operator.specs.configmap import config_map
from rstore_operator.specs.labels import REGION_LABEL, SPEC_HASH, with_hash
from rstore_operator.specs.pdb import disruption_budget
from rstore_operator.specs.serviceaccount import service_account
from rstore_operator.specs.services import peers_service, region_service, store_service
from rstore_operator.specs.statefulset import stateful_set

Settled = Mapping[ChildKey, tuple[str, str]]
"""Objects for which an apply changed nothing: the manifest's hash and the resourceVersion it left."""


@dataclass(frozen=True)
class ChildrenPlan:
    """What to do, and what is wrong with names and volumes: reasons and messages."""

    actions: tuple[Action, ...]
    problems: tuple[tuple[str, str], ...]


def plan_children(
    ref: StoreRef,
    effective: Effective | None,
    primary_region: str,
    image: ReplicaImage,
    certificates: CertificateSettings,
    observed: Observed,
    settled: Settled,
    now: datetime,
) -> ChildrenPlan:
    """Everything that differs from what is wanted, in the order in which it is needed.

    Without an effective spec (it is invalid) only the Service that follows the primary region is looked after.
    """
    naming = name_objects(ref, effective.spec.regions if effective is not None else (), observed)
    actions: list[Action] = [LookUp(naming.look_up, naming.claims)] if naming.look_up else []
    actions += [Adopt(key, observed.orphans[key]) for key in naming.adopt]
    for manifest in _manifests(ref, effective, primary_region, image, observed):
        key = (manifest["kind"], manifest["metadata"]["name"])
        change = _change(manifest, key, observed, settled)
        if change and _may(key, manifest, change, naming, observed):
            actions.append(Apply(key, manifest, change))
    for action in _certificates(ref, effective, certificates, observed, now) if effective is not None else ():
        change = action.change if isinstance(action, IssueCertificate) else "create"
        if _may(action.key, action.manifest, change, naming, observed):
            actions.append(action)
    return ChildrenPlan(tuple(actions), naming.problems)


def _may(key: ChildKey, manifest: Mapping[str, Any], change: str, naming: Naming, observed: Observed) -> bool:
    """Whether the name, and the volumes that come with it, are known to be the store's own."""
    if key in observed.foreign or key in observed.orphans or key in naming.shared:
        return False
    part = manifest["metadata"]["labels"].get(REGION_LABEL, "")
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
    ref: StoreRef, effective: Effective | None, primary_region: str, image: ReplicaImage, observed: Observed
) -> Iterator[dict[str, Any]]:
    yield with_hash(store_service(ref, primary_region))
    if effective is None:
        return
    yield with_hash(service_account(ref))
    for region in effective.spec.regions:
        yield with_hash(peers_service(ref, region.name))
        yield with_hash(region_service(ref, region.name))
        yield with_hash(config_map(ref, effective.spec, region))
        yield with_hash(disruption_budget(ref, region.name))
        # A pod that starts before its Secret exists would wait minutes for the kubelet's next try.
        if ("Secret", names.region_tls_secret(ref.name, region.name)) in observed.children:
            yield with_hash(stateful_set(ref, effective.spec, region, image))


def _certificates(
    ref: StoreRef, effective: Effective, settings: CertificateSettings, observed: Observed, now: datetime
) -> Iterator[IssueAuthority | IssueCertificate]:
    authority_key = ("Secret", names.authority_secret(ref.name))
    authority = key_pair(observed.children.get(authority_key), secrets.CA_CERT, secrets.CA_KEY)
    if authority is None or authority_problem(authority, now):
        yield IssueAuthority(authority_key, with_hash(secrets.secret(ref, authority_key[1])))
        return
    for name, region, request in _wanted_certificates(ref, effective, settings, observed):
        key = ("Secret", name)
        live = observed.children.get(key)
        present = key_pair(live, secrets.TLS_CERT, secrets.TLS_KEY)
        problem = "missing"
        if present is not None and secret_value(live, secrets.CA_CERT) == authority.certificate:
            problem = certificate_problem(present, authority.certificate, request, now)
        if problem:
            change = "create" if live is None else "renew"
            manifest = with_hash(secrets.secret(ref, name, region))
            yield IssueCertificate(key, manifest, authority_key, request, change)


def _wanted_certificates(
    ref: StoreRef, effective: Effective, settings: CertificateSettings, observed: Observed
) -> Iterator[tuple[str, str | None, CertificateRequest]]:
    """Secret name, region and request; a region's comes once its Services have their addresses."""
    yield names.operator_tls_secret(ref.name), None, CertificateRequest(secrets.OPERATOR)
    yield names.client_tls_secret(ref.name), None, CertificateRequest(secrets.CLIENT)
    store_ips = _cluster_ips(observed, names.store_object(ref.name))
    for region in effective.spec.region_names:
        region_ips = _cluster_ips(observed, names.region_object(ref.name, region))
        if store_ips and region_ips:
            addresses = (*store_ips, *region_ips)
            extra = effective.spec.subject_alt_names
            request = secrets.peer_request(ref, region, addresses, settings.cluster_domain, extra)
            yield names.region_tls_secret(ref.name, region), region, request


def _cluster_ips(observed: Observed, service: str) -> tuple[str, ...]:
    spec = observed.children.get(("Service", service), {}).get("spec", {})
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return tuple(address for address in found if address and address != "None")


def key_pair(live: Mapping[str, Any] | None, cert_name: str, key_name: str) -> KeyPair | None:
    """A certificate and key from a live Secret; None when either is missing or not base64."""
    cert, key = secret_value(live, cert_name), secret_value(live, key_name)
    return KeyPair(cert, key) if cert and key else None


def secret_value(live: Mapping[str, Any] | None, name: str) -> bytes:
    """One value of a live Secret; empty when it is missing or not base64."""
    try:
        return base64.b64decode((live or {}).get("data", {}).get(name, ""), validate=True)
    except (binascii.Error, ValueError):
        return b""


def deletions(leaving: frozenset[str], observed: Observed) -> tuple[Delete, ...]:
    """Everything that runs for regions that left the store."""
    return tuple(
        Delete(key, child["metadata"].get("uid", ""))
        for key, child in sorted(observed.children.items(), key=lambda item: item[0])
        if child["metadata"].get("labels", {}).get(REGION_LABEL) in leaving
        and not child["metadata"].get("deletionTimestamp")
    )
