"""The stages in which an authority is replaced, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from rstore_api.domain import names

from rstore_operator.facts.actions import (
    CertificateRequest,
)
from rstore_operator.facts.observed import ChildKey, Observed, ReplicaStatus
from rstore_operator.planning.certificates.authority import Authority
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.units import format_time_seconds
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import (
    fingerprint,
    is_issued_by,
    issued_at,
)

SETTLE = timedelta(minutes=5)
"""A replica that does not report which certificates it uses counts as using those in its Secret after this time: a
kubelet needs one to two minutes."""


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
class Wanted:
    """A certificate that the store should have; ``region`` is None where it is no region's, ``client`` where it is not
    one client's own, and ``component`` where it is not a component's."""

    name: str
    region: str | None
    request: CertificateRequest
    client: str | None = None
    component: str | None = None

    @property
    def key(self) -> ChildKey:
        """Its Secret."""
        return ("Secret", self.name)


def rotation_of(
    ref: StoreRef, authority: Authority, wanted: Iterable[Wanted], observed: Observed, now: datetime
) -> Rotation:
    """What has not followed a replacement of the authority yet, as the Secrets and the replicas show it."""
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
            elif newest not in replica.trusted_authorities:
                distrusting.append(pod.name)
            if leaf and not presents(replica, leaf, now):
                not_presenting.append(pod.name)
    return Rotation(
        previous=True,
        distrusting=tuple(distrusting),
        clients_have_time=authority.until is None or now < authority.until,
        not_issued=tuple(name for name, leaf in leaves.items() if not is_issued_by(leaf, authority.pair.certificate)),
        not_presenting=tuple(not_presenting),
    )


def presents(replica: ReplicaStatus | None, leaf: bytes, now: datetime) -> bool:
    """Whether a replica presents the certificate in its Secret, as far as can be known; None: it has not answered."""
    if replica is None or not replica.trusted_authorities:
        return now >= _issue_time(leaf, now) + SETTLE
    return replica.certificate == _fingerprint(leaf)


def message_of(ref: StoreRef, authority: Authority, rotation: Rotation, stage: Stage) -> str:
    """What the stage waits for, for a person; "" when no authority is being replaced."""
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
            f"certificates from Secret {names.client_tls_secret(ref.name)}, or their own, by {until}, old ones are "
            "accepted until then"
        )
    return f"certificates of the new authority are issued: {', '.join(rotation.not_issued)}"


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
