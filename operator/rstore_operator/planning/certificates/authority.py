"""The Secret of the authority that signs a store's certificates: what it records, and when it gets a successor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rstore_api.domain import names
from rstore_api.domain.kubernetes import AUTHORITY, AUTHORITY_SINCE, PREVIOUS_AUTHORITIES_UNTIL

from rstore_operator.facts.actions import (
    IssueAuthority,
    IssueCertificate,
    Notice,
    WriteSecret,
)
from rstore_operator.facts.observed import ChildKey, Observed
from rstore_operator.resource.model import CertificateSettings, StoreRef
from rstore_operator.resource.units import format_time_seconds, parse_time
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import (
    KeyPair,
    authorities_in,
    authority_due,
    authority_problem,
    fingerprint,
    is_issued_by,
    normalized,
)
from rstore_operator.specs.labels import with_hash

CertificateAction = IssueAuthority | IssueCertificate | WriteSecret
MAX_PREVIOUS = 8
"""Authorities that are trusted besides the newest one."""


@dataclass(frozen=True)
class Authority:
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
    def read(cls, ref: StoreRef, observed: Observed, now: datetime) -> Authority:
        """Read the store's."""
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
        """Every authority that is trusted, the newest first."""
        return (self.pair.certificate, *self.previous)

    @property
    def bundle(self) -> bytes:
        """The content of ``ca.crt``."""
        return b"".join(self.trusted)


def succeed(
    ref: StoreRef, authority: Authority, observed: Observed, settings: CertificateSettings, now: datetime
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
            resource_version=version_of(authority.live),
        )
    if not authority.recorded:
        previous = tuple(
            item for item in _trusted_before((), authority, observed, now) if item != authority.pair.certificate
        )
        notice = replaced_notice(ref, "Secret holds another authority", until) if previous else None
        return record(ref, authority, previous, until if previous else None, since=now, notice=notice)
    if authority.previous and authority.until is None:
        return record(ref, authority, authority.previous, until)
    return None


def _trusted_before(
    current: tuple[bytes, ...], authority: Authority, observed: Observed, now: datetime
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


def record(
    ref: StoreRef,
    authority: Authority,
    previous: tuple[bytes, ...],
    until: datetime | None,
    *,
    since: datetime | None = None,
    notice: Notice | None = None,
) -> WriteSecret:
    """Write the record anew: which authorities are trusted besides, and how long clients have."""
    if not previous and authority.previous:
        text = f"only the certificate authority in Secret {authority.key[1]} is trusted now, the ones before it are not"
        notice = Notice("AuthorityDropped", text)
    manifest = authority_manifest(
        with_hash(secrets.secret(ref, authority.key[1])),
        authority.pair,
        previous,
        since=since or authority.since,
        until=until,
        resource_version=version_of(authority.live),
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
    return secrets.with_data(annotated, data, resource_version)


def replaced_notice(ref: StoreRef, reason: str, until: datetime) -> Notice:
    """Tells people that clients need new certificates, and by when."""
    text = (
        f"Secret {names.authority_secret(ref.name)} has a new certificate authority ({reason}); clients need new "
        f"certificates from Secret {names.client_tls_secret(ref.name)}, or their own, by "
        f"{format_time_seconds(until)}, the old ones are accepted until then"
    )
    return Notice("AuthorityReplaced", text, warning=True)


def key_pair(live: Mapping[str, Any] | None, cert_name: str, key_name: str) -> KeyPair | None:
    """A certificate and key from a live Secret; None when either is missing or not base64."""
    cert, key = secrets.secret_value(live, cert_name), secrets.secret_value(live, key_name)
    return KeyPair(cert, key) if cert and key else None


def version_of(live: Mapping[str, Any] | None) -> str:
    """The object's resourceVersion; "" when there is none."""
    return str((live or {}).get("metadata", {}).get("resourceVersion", ""))


def _time(text: object) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None
