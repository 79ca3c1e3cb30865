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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import AUTHORITY, AUTHORITY_SINCE, PREVIOUS_AUTHORITIES_UNTIL

from rstore_operator.facts.actions import (
    CertificateRequest,
    IssueAuthority,
    IssueCertificate,
    Notice,
    WriteSecret,
)
from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.planning.scaling.effective import Effective
from rstore_operator.resource.model import CertificateSettings, StoreRef
from rstore_operator.resource.units import format_time_seconds, parse_time
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import (
    UNUSABLE,
    KeyPair,
    authorities_in,
    authority_due,
    authority_problem,
    certificate_problem,
    fingerprint,
    is_issued_by,
    issued_at,
    normalized,
)
from rstore_operator.specs.labels import with_hash

SETTLE = timedelta(minutes=5)
"""A replica that does not report which certificates it uses counts as using those in its Secret after this time: a
kubelet needs one to two minutes."""
MAX_PREVIOUS = 8
"""Authorities that are trusted besides the newest one."""

CertificateAction = IssueAuthority | IssueCertificate | WriteSecret


class Stage(Enum):
    """What a replacement of the authority is doing; the module says what each stage means."""

    STEADY = "Steady"
    TRUST = "TrustNew"
    ISSUE = "IssueFromNew"
    DROP = "DropOld"


@dataclass(frozen=True)
class Rotation:
    """What is seen of a replacement of the authority: what has not followed yet."""

    previous: bool
    """Whether other authorities are trusted besides the newest."""
    distrusting: tuple[str, ...] = ()
    """Replicas that do not trust the newest authority yet, as far as can be known."""
    clients_have_time: bool = False
    not_issued: tuple[str, ...] = ()
    """Secrets whose certificate another authority has signed."""
    not_presenting: tuple[str, ...] = ()
    """Replicas that do not present the certificate in their Secret yet, as far as can be known."""


def stage_of(rotation: Rotation) -> Stage:
    """Return the stage; each begins only when nothing is left to wait for in the one before."""
    if not rotation.previous:
        return Stage.STEADY
    if rotation.distrusting:
        return Stage.TRUST
    if rotation.clients_have_time or rotation.not_issued:
        return Stage.ISSUE
    return Stage.DROP


@dataclass(frozen=True)
class CertificatesPlan:
    """What to do about certificates; ``stage`` and ``message`` are for people."""

    actions: tuple[CertificateAction, ...]
    stage: Stage = Stage.STEADY
    message: str = ""


def plan_certificates(
    ref: StoreRef, effective: Effective, settings: CertificateSettings, observed: Observed, now: datetime
) -> CertificatesPlan:
    """Plan the authority first; certificates once it can be used and its record is about it."""
    authority = _Authority.read(ref, observed, now)
    successor = _succeed(ref, authority, observed, settings, now)
    if successor is not None:
        return CertificatesPlan((successor,))
    wanted = tuple(_wanted_certificates(ref, effective, settings, observed))
    rotation = _rotation(ref, authority, wanted, observed, now)
    stage = stage_of(rotation)
    actions: list[CertificateAction] = []
    if stage is Stage.DROP and not rotation.not_presenting:
        actions.append(_record(ref, authority, (), None))
    for certificate in wanted:
        action = _certificate(ref, authority, certificate, rotation, observed, now)
        if action is not None:
            actions.append(action)
    return CertificatesPlan(tuple(actions), stage, _message(ref, authority, rotation, stage))


@dataclass(frozen=True)
class _Wanted:
    name: str
    region: str | None
    request: CertificateRequest

    @property
    def key(self) -> ChildKey:
        return ("Secret", self.name)


@dataclass(frozen=True)
class _Authority:
    """The authority's Secret as it is."""

    key: ChildKey
    live: Mapping[str, Any] | None
    pair: KeyPair
    problem: str
    """Why there is no authority that can be used."""
    previous: tuple[bytes, ...]
    recorded: bool
    """Whether the record is about this authority: not when a person has replaced it, or nothing was recorded yet."""
    since: datetime
    until: datetime | None
    """How long clients have."""

    @classmethod
    def read(cls, ref: StoreRef, observed: Observed, now: datetime) -> _Authority:
        key = ("Secret", names.authority_secret(ref.name))
        live = observed.children.get(key)
        annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
        stored = key_pair(live, secrets.CA_CERT, secrets.CA_KEY)
        pair = stored or KeyPair(b"", b"")
        problem = authority_problem(pair, now) if stored else ("it is lost" if live is None else "its Secret is empty")
        previous = authorities_in(secrets.secret_value(live, secrets.CA_PREVIOUS), now)
        since = _time(annotations.get(AUTHORITY_SINCE))
        return cls(
            key=key,
            live=live,
            pair=pair if problem else KeyPair(normalized(pair.certificate), pair.key),
            problem=problem,
            previous=tuple(item for item in previous if problem or fingerprint(item) != fingerprint(pair.certificate)),
            recorded=not problem and since is not None and annotations.get(AUTHORITY) == fingerprint(pair.certificate),
            since=since or now,
            until=_time(annotations.get(PREVIOUS_AUTHORITIES_UNTIL)),
        )

    @property
    def trusted(self) -> tuple[bytes, ...]:
        return (self.pair.certificate, *self.previous)

    @property
    def bundle(self) -> bytes:
        return b"".join(self.trusted)


def _succeed(
    ref: StoreRef, authority: _Authority, observed: Observed, settings: CertificateSettings, now: datetime
) -> CertificateAction | None:
    """What makes the record one about an authority that can be used; None when it is."""
    until = now + timedelta(seconds=settings.authority_transition_seconds)
    due = not authority.problem and authority_due(authority.pair.certificate, now)
    if authority.problem or (due and not authority.previous):
        current = () if authority.problem else (authority.pair.certificate,)
        previous = _trusted_before(current, authority, observed, now)
        return IssueAuthority(
            key=authority.key,
            manifest=with_hash(secrets.secret(ref, authority.key[1])),
            reason=authority.problem or "two thirds of its lifetime have passed",
            previous=previous,
            previous_until=until if previous else None,
            resource_version=_version(authority.live),
        )
    if not authority.recorded:
        previous = tuple(
            item for item in _trusted_before((), authority, observed, now) if item != authority.pair.certificate
        )
        notice = replaced_notice(ref, "Secret holds another authority", until) if previous else None
        return _record(ref, authority, previous, until if previous else None, since=now, notice=notice)
    if authority.previous and authority.until is None:
        return _record(ref, authority, authority.previous, until)
    return None


def _trusted_before(
    current: tuple[bytes, ...], authority: _Authority, observed: Observed, now: datetime
) -> tuple[bytes, ...]:
    """Authorities that the store's Secrets trust. Those that have signed a certificate in use come first, so that
    they stay when there are too many."""
    children = [
        child
        for (kind, _), child in sorted(observed.children.items(), key=lambda item: item[0])
        if kind == "Secret" and secrets.secret_value(child, secrets.TLS_CERT)
    ]
    bundles = [*current, *authority.previous]
    for child in children:
        bundles += authorities_in(secrets.secret_value(child, secrets.CA_CERT), now)
    trusted = tuple(dict.fromkeys(bundles))
    leaves = [secrets.secret_value(child, secrets.TLS_CERT) for child in children]
    in_use = [item for item in trusted if any(is_issued_by(leaf, item) for leaf in leaves)]
    return tuple(dict.fromkeys([*in_use, *trusted]))[:MAX_PREVIOUS]


def _rotation(
    ref: StoreRef, authority: _Authority, wanted: Iterable[_Wanted], observed: Observed, now: datetime
) -> Rotation:
    if not authority.previous:
        return Rotation(previous=False)
    newest = fingerprint(authority.pair.certificate)
    leaves = {item.name: secrets.secret_value(observed.children.get(item.key), secrets.TLS_CERT) for item in wanted}
    answers = {replica.name: replica for replica in observed.replicas()}
    distrusting, not_presenting = [], []
    for region in sorted(observed.regions):
        leaf = leaves.get(names.region_tls_secret(ref.name, region), b"")
        for pod in observed.region(region).pods:
            replica = answers.get(pod.name)
            if replica is None or not replica.trusted_authorities:
                if now < authority.since + SETTLE:
                    distrusting.append(pod.name)
                if leaf and now < _issue_time(leaf, now) + SETTLE:
                    not_presenting.append(pod.name)
                continue
            if newest not in replica.trusted_authorities:
                distrusting.append(pod.name)
            if leaf and replica.certificate != _fingerprint(leaf):
                not_presenting.append(pod.name)
    return Rotation(
        previous=True,
        distrusting=tuple(distrusting),
        clients_have_time=authority.until is None or now < authority.until,
        not_issued=tuple(name for name, leaf in leaves.items() if not is_issued_by(leaf, authority.pair.certificate)),
        not_presenting=tuple(not_presenting),
    )


def _certificate(
    ref: StoreRef,
    authority: _Authority,
    wanted: _Wanted,
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
    manifest = with_hash(secrets.secret(ref, wanted.name, wanted.region))
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
    return WriteSecret(wanted.key, _with_data(manifest, data, _version(live)))


def _record(
    ref: StoreRef,
    authority: _Authority,
    previous: tuple[bytes, ...],
    until: datetime | None,
    *,
    since: datetime | None = None,
    notice: Notice | None = None,
) -> WriteSecret:
    if not previous and authority.previous:
        text = f"only the certificate authority in Secret {authority.key[1]} is trusted now, the ones before it are not"
        notice = Notice("AuthorityDropped", text)
    manifest = authority_manifest(
        with_hash(secrets.secret(ref, authority.key[1])),
        authority.pair,
        previous,
        since=since or authority.since,
        until=until,
        resource_version=_version(authority.live),
    )
    return WriteSecret(authority.key, manifest, notice)


def authority_manifest(
    manifest: Mapping[str, Any],
    pair: KeyPair,
    previous: tuple[bytes, ...],
    *,
    since: datetime,
    until: datetime | None,
    resource_version: str = "",
) -> dict[str, Any]:
    """The authority's Secret with its keys and its record."""
    data = {secrets.CA_CERT: pair.certificate, secrets.CA_KEY: pair.key}
    if previous:
        data[secrets.CA_PREVIOUS] = b"".join(previous)
    annotations = {
        **manifest["metadata"].get("annotations", {}),
        AUTHORITY: fingerprint(pair.certificate),
        AUTHORITY_SINCE: format_time_seconds(since),
    }
    if until is not None:
        annotations[PREVIOUS_AUTHORITIES_UNTIL] = format_time_seconds(until)
    annotated = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
    return _with_data(annotated, data, resource_version)


def replaced_notice(ref: StoreRef, reason: str, until: datetime) -> Notice:
    """Tells people that clients need new certificates, and by when."""
    text = (
        f"Secret {names.authority_secret(ref.name)} has a new certificate authority ({reason}); clients need new "
        f"certificates from Secret {names.client_tls_secret(ref.name)} by {format_time_seconds(until)}, the old ones "
        "are accepted until then"
    )
    return Notice("AuthorityReplaced", text, warning=True)


def _message(ref: StoreRef, authority: _Authority, rotation: Rotation, stage: Stage) -> str:
    if stage is Stage.STEADY:
        return ""
    if stage is Stage.TRUST:
        waiting = ", ".join(rotation.distrusting)
        return f"the certificate authority was replaced; these replicas do not trust the new one yet: {waiting}"
    if stage is Stage.DROP:
        waiting = ", ".join(rotation.not_presenting) or "none"
        return f"the certificate authority before is dropped when these replicas present new certificates: {waiting}"
    until = format_time_seconds(authority.until) if authority.until else "later"
    if rotation.clients_have_time:
        return (
            f"the certificate authority was replaced and every replica trusts the new one; clients need new "
            f"certificates from Secret {names.client_tls_secret(ref.name)} by {until}, old ones are accepted until then"
        )
    return f"certificates of the new authority are issued: {', '.join(rotation.not_issued)}"


def _wanted_certificates(
    ref: StoreRef, effective: Effective, settings: CertificateSettings, observed: Observed
) -> Iterator[_Wanted]:
    """A region's comes once its Services have their addresses."""
    yield _Wanted(names.operator_tls_secret(ref.name), None, CertificateRequest(secrets.OPERATOR))
    yield _Wanted(names.client_tls_secret(ref.name), None, CertificateRequest(secrets.CLIENT))
    store_ips = _cluster_ips(observed, names.store_object(ref.name))
    for region in effective.region_names:
        region_ips = _cluster_ips(observed, names.region_object(ref.name, region))
        if store_ips and region_ips:
            addresses = (*store_ips, *region_ips)
            extra = effective.spec.subject_alt_names
            request = secrets.peer_request(ref, region, addresses, settings.cluster_domain, extra)
            yield _Wanted(names.region_tls_secret(ref.name, region), region, request)


def _cluster_ips(observed: Observed, service: str) -> tuple[str, ...]:
    spec = observed.children.get(("Service", service), {}).get("spec", {})
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return tuple(address for address in addresses if address and address != "None")


def key_pair(live: Mapping[str, Any] | None, cert_name: str, key_name: str) -> KeyPair | None:
    """A certificate and key from a live Secret; None when either is missing or not base64."""
    cert, key = secrets.secret_value(live, cert_name), secrets.secret_value(live, key_name)
    return KeyPair(cert, key) if cert and key else None


def _with_data(manifest: Mapping[str, Any], data: Mapping[str, bytes], resource_version: str) -> dict[str, Any]:
    filled = secrets.with_data(manifest, data)
    if resource_version:
        filled["metadata"] = {**filled["metadata"], "resourceVersion": resource_version}
    return filled


def _version(live: Mapping[str, Any] | None) -> str:
    return str((live or {}).get("metadata", {}).get("resourceVersion", ""))


def _time(text: object) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def _issue_time(leaf: bytes, now: datetime) -> datetime:
    try:
        return issued_at(leaf)
    except ValueError:
        return now


def _fingerprint(leaf: bytes) -> str:
    try:
        return fingerprint(leaf)
    except ValueError:
        return ""
