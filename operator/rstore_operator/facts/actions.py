"""What the planner may ask for. The actions are data; :mod:`rstore_operator.act` knows how each is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rstore_api.domain.access import AccessRules
from rstore_api.domain.topology import Topology

from rstore_operator.facts.observed import ChildKey, Pod
from rstore_operator.resource.requested_base import BaseStatus


@dataclass(frozen=True)
class Notice:
    """A Kubernetes Event about the store."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Target:
    """A replica to call: its pod's address and the name that its certificate has."""

    pod: str
    ip: str
    server_name: str

    @classmethod
    def of(cls, pod: Pod) -> Target:
        """Return the target of that pod's replica."""
        return cls(pod.name, pod.ip, pod.host)


@dataclass(frozen=True)
class Apply:
    """Server-side apply of a child. ``change`` says why: ``create``, ``update`` (we want it otherwise), ``drift``
    (somebody else changed it)."""

    key: ChildKey
    manifest: Mapping[str, Any]
    change: str


@dataclass(frozen=True)
class LookUp:
    """Look for objects by name, whatever store they belong to, before something with these names is made."""

    keys: tuple[ChildKey, ...]
    regions: Mapping[ChildKey, str]
    """The regions to which claims among them would belong."""


@dataclass(frozen=True)
class Adopt:
    """Make the store the owner of an orphan, if it still is as it was seen."""

    key: ChildKey
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Delete:
    """Delete a child, if it still is the one that was seen."""

    key: ChildKey
    uid: str


@dataclass(frozen=True)
class Orphan:
    """Delete a child, if it still is the one that was seen, and leave what it owns: another one adopts that."""

    key: ChildKey
    uid: str


@dataclass(frozen=True)
class DeletePod:
    """Delete a pod that is out of date, if it still is as it was seen. ``why`` is for people. ``claim`` is deleted
    before, where it is named, and only in its ``claim_version`` where there is one: the pod that comes next gets a new
    volume."""

    region: str
    name: str
    uid: str
    resource_version: str
    why: str
    claim: str = ""
    claim_uid: str = ""
    claim_version: str = ""


@dataclass(frozen=True)
class GrowClaim:
    """Ask for a larger volume, if the claim still is as it was seen."""

    name: str
    size: str
    resource_version: str


@dataclass(frozen=True)
class CertificateRequest:
    """A certificate that should exist: its holder, and the names by which servers are called."""

    common_name: str
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    server: bool = False
    organization: str = ""
    valid_from: int = 0
    """In seconds since 1970: one that begins before is not accepted any more."""


@dataclass(frozen=True)
class IssueAuthority:
    """Make a certificate authority for the store; ``manifest`` is its Secret without data.

    ``previous`` are the authorities (PEM) that are trusted besides it, until ``previous_until`` at least; ``reason``
    says why there is none that can be used. A Secret that exists is replaced only while it has ``resource_version``.
    """

    key: ChildKey
    manifest: Mapping[str, Any]
    reason: str
    previous: tuple[bytes, ...] = ()
    previous_until: datetime | None = None
    resource_version: str = ""


@dataclass(frozen=True)
class IssueCertificate:
    """Make a certificate and its Secret. ``authority`` is the Secret of the authority, which must exist; ``trusted``
    are the authorities (PEM) that its holder shall trust."""

    key: ChildKey
    manifest: Mapping[str, Any]
    authority: ChildKey
    request: CertificateRequest
    change: str
    trusted: bytes


@dataclass(frozen=True)
class WriteSecret:
    """Write a Secret whose content is known, data included, while it has the resourceVersion in ``manifest``."""

    key: ChildKey
    manifest: Mapping[str, Any]
    notice: Notice | None = None


@dataclass(frozen=True)
class Bootstrap:
    """Give a fresh region its store id; it promises ``promised_epoch`` at once, 0: nothing."""

    region: str
    target: Target
    store_id: str
    topology: Topology
    promised_epoch: int = 0


@dataclass(frozen=True)
class PushTopology:
    """Send a region the topology: where the others are and which is primary."""

    region: str
    target: Target
    store_id: str
    topology: Topology


@dataclass(frozen=True)
class SetAccess:
    """Put access rules in force on one replica."""

    region: str
    target: Target
    rules: AccessRules


@dataclass(frozen=True)
class Demote:
    """Stop the primary in favour of ``epoch``."""

    region: str
    target: Target
    store_id: str
    epoch: int


@dataclass(frozen=True)
class Promote:
    """Make a region primary of ``epoch``."""

    region: str
    target: Target
    store_id: str
    epoch: int
    min_revision: int
    topology: Topology
    revision_jump: int = 0


@dataclass(frozen=True)
class Fence:
    """Make a voter promise ``epoch``: it grants and accepts nothing of lower ones any more."""

    region: str
    target: Target
    store_id: str
    epoch: int


@dataclass(frozen=True)
class GrantTenure:
    """As witness, grant the round of the tenure that the primary's leader offered."""

    region: str
    target: Target
    store_id: str
    epoch: int
    round: int
    tenure_ms: int
    """For how long the round runs, from when it was offered."""


@dataclass(frozen=True)
class AddMember:
    """Take a replica into its region's Raft group."""

    region: str
    target: Target
    name: str
    peer_address: str


@dataclass(frozen=True)
class RemoveMember:
    """Take a replica out of its region's Raft group."""

    region: str
    target: Target
    name: str


@dataclass(frozen=True)
class HandOver:
    """Have the region's leader hand leadership to the replica ``name``."""

    region: str
    target: Target
    name: str


@dataclass(frozen=True)
class RemoveAnnotations:
    """Take annotations that were acted on off the object; each only while it still has the value that was read."""

    values: Mapping[str, str]


@dataclass(frozen=True)
class UpdateRequestedBase:
    """Write the status of a ReplicatedStoreBackup, and its owners where they are given, if it still is as it was
    seen."""

    name: str
    uid: str
    resource_version: str
    status: BaseStatus
    owners: tuple[Mapping[str, Any], ...] | None


RegionCall = (
    Bootstrap | PushTopology | SetAccess | Demote | Promote | Fence | GrantTenure | AddMember | RemoveMember | HandOver
)
"""What a replica is asked to do; all but SetAccess is for the region's leader."""
ObjectAction = (
    Apply
    | LookUp
    | Adopt
    | Delete
    | DeletePod
    | Orphan
    | GrowClaim
    | IssueAuthority
    | IssueCertificate
    | WriteSecret
    | UpdateRequestedBase
)
Action = ObjectAction | RemoveAnnotations | RegionCall
