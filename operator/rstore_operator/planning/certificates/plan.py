"""The certificates of a store and the authority that signs them.

An authority that is lost, unusable, due or replaced by a person gets a successor in three stages, so that at each
moment everybody trusts every certificate that may be presented:

1. *Trust*: ``ca.crt`` of every Secret lists the new authority beside those before it. Certificates stay as they are.
2. *Issue*: once every replica trusts the new authority, the operator's and the clients' certificates come from it.
   The replicas' own follow when the clients' time is over: a client that has only an old ``ca.crt`` verifies them
   until then.
3. *Drop*: once every replica presents a certificate of the new authority, the old ones are trusted no longer.

The authority's Secret records all of it: ``ca.crt`` and ``ca.key`` are the newest authority, ``ca-previous.crt`` those
that are trusted besides, and its annotations say which authority that record is about, since when, and how long clients
have. The private key of an authority is needed for nothing once it has a successor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rstore_api.domain import access, names
from rstore_api.domain.access import APPLICATION, AccessRules
from rstore_api.domain.kubernetes import ARCHIVER, CLIENT_LABEL, RESTORER

from rstore_operator.facts.actions import (
    CertificateRequest,
    IssueCertificate,
    WriteSecret,
)
from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.planning.access import knows_no_rules
from rstore_operator.planning.certificates.authority import (
    Authority,
    CertificateAction,
    key_pair,
    record,
    succeed,
    version_of,
)
from rstore_operator.planning.certificates.rotation import Rotation, Stage, Wanted, message_of, rotation_of, stage_of
from rstore_operator.planning.client_endpoints import certificate_hosts
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.resource.model import CertificateSettings, StoreRef
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import (
    UNUSABLE,
    certificate_problem,
    is_issued_by,
)
from rstore_operator.specs.labels import with_hash


@dataclass(frozen=True)
class CertificatesPlan:
    """What to do about certificates; ``stage`` and ``message`` are for people."""

    actions: tuple[CertificateAction, ...]
    obsolete: tuple[ChildKey, ...] = ()
    """Secrets of certificates that nobody should have any more."""
    stage: Stage = Stage.STEADY
    message: str = ""


def plan_certificates(
    ref: StoreRef, effective: Effective, settings: CertificateSettings, observed: Observed, now: datetime
) -> CertificatesPlan:
    """Plan the authority first; certificates once it can be used and its record is about it."""
    authority = Authority.read(ref, observed, now)
    successor = succeed(ref, authority, observed, settings, now)
    if successor is not None:
        return CertificatesPlan((successor,))
    wanted = tuple(_wanted_certificates(ref, effective, settings, observed, now))
    rotation = rotation_of(ref, authority, wanted, observed, now)
    stage = stage_of(rotation)
    actions: list[CertificateAction] = []
    if stage is Stage.DROP and not rotation.not_presenting:
        actions.append(record(ref, authority, (), None))
    for certificate in wanted:
        action = _certificate(ref, authority, certificate, rotation, observed, now)
        if action is not None:
            actions.append(action)
    obsolete = _obsolete(ref, effective.spec.access, observed)
    return CertificatesPlan(tuple(actions), obsolete, stage, message_of(ref, authority, rotation, stage))


def _certificate(
    ref: StoreRef,
    authority: Authority,
    wanted: Wanted,
    rotation: Rotation,
    observed: Observed,
    now: datetime,
) -> CertificateAction | None:
    """What to do about one certificate. One that works is replaced only by one that everybody trusts."""
    live = observed.children.get(wanted.key)
    present = key_pair(live, secrets.TLS_CERT, secrets.TLS_KEY)
    problem = UNUSABLE if present is None else certificate_problem(present, authority.trusted, wanted.request, now)
    may_turn_over = wanted.region is None or not rotation.clients_have_time
    if present is not None and not problem and may_turn_over:
        current = is_issued_by(present.certificate, authority.pair.certificate)
        problem = "" if current else "it is of an authority that was replaced"
    manifest = with_hash(secrets.secret(ref, wanted.name, wanted.region, wanted.client, wanted.component))
    if problem and (problem.startswith(UNUSABLE) or not rotation.distrusting):
        change = "create" if live is None else "renew"
        return IssueCertificate(wanted.key, manifest, authority.key, wanted.request, change, authority.bundle)
    assert present is not None
    if secrets.secret_value(live, secrets.CA_CERT) == authority.bundle:
        return None
    data = {
        secrets.CA_CERT: authority.bundle,
        secrets.TLS_CERT: present.certificate,
        secrets.TLS_KEY: present.key,
    }
    return WriteSecret(wanted.key, secrets.with_data(manifest, data, version_of(live)))


def _wanted_certificates(
    ref: StoreRef, effective: Effective, settings: CertificateSettings, observed: Observed, now: datetime
) -> Iterator[Wanted]:
    """A region's comes once its Services have their addresses."""
    yield Wanted(names.operator_tls_secret(ref.name), None, CertificateRequest(secrets.OPERATOR))
    if effective.spec.backup is not None:
        request = CertificateRequest(access.ARCHIVER)
        yield Wanted(names.archiver_tls_secret(ref.name), None, request, component=ARCHIVER)
    if effective.spec.bootstrap is not None:
        request = CertificateRequest(access.RESTORER)
        yield Wanted(names.restorer_tls_secret(ref.name), None, request, component=RESTORER)
    yield from _of_clients(ref, effective.spec.access, observed, now)
    store_ips = _cluster_ips(observed, names.store_object(ref.name))
    for region in effective.region_names:
        region_ips = _cluster_ips(observed, names.region_object(ref.name, region))
        if store_ips and region_ips:
            addresses = (*store_ips, *region_ips)
            extra = (*effective.spec.subject_alt_names, *certificate_hosts(ref, effective, region, observed))
            request = secrets.peer_request(ref, region, addresses, settings.cluster_domain, extra)
            yield Wanted(names.region_tls_secret(ref.name, region), region, request)


def _of_clients(ref: StoreRef, rules: AccessRules, observed: Observed, now: datetime) -> Iterator[Wanted]:
    """None is made while it would be shut out; those with limits only where every replica keeps them."""
    shared = rules.shared_client
    if shared.enabled and shared.revoked_before <= now.timestamp():
        request = CertificateRequest(secrets.CLIENT, valid_from=shared.revoked_before)
        yield Wanted(names.client_tls_secret(ref.name), None, request)
    if knows_no_rules(observed):
        return
    for client in rules.clients:
        if client.revoked_before <= now.timestamp():
            request = CertificateRequest(client.name, organization=APPLICATION, valid_from=client.revoked_before)
            yield Wanted(names.own_tls_secret(ref.name, client.name), None, request, client.name)


def _obsolete(ref: StoreRef, rules: AccessRules, observed: Observed) -> tuple[ChildKey, ...]:
    """The Secrets of clients that are not in the rules."""
    known = {names.own_tls_secret(ref.name, client.name) for client in rules.clients}
    shared = ("Secret", names.client_tls_secret(ref.name))
    keys = [
        key
        for key, child in sorted(observed.children.items(), key=lambda item: item[0])
        if CLIENT_LABEL in (child["metadata"].get("labels") or {}) and key[1] not in known
    ]
    return (*keys, shared) if not rules.shared_client.enabled and shared in observed.children else tuple(keys)


def _cluster_ips(observed: Observed, service: str) -> tuple[str, ...]:
    spec = observed.children.get(("Service", service), {}).get("spec", {})
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return tuple(address for address in addresses if address and address != "None")
