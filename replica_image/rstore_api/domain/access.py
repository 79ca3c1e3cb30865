"""Who may do what with a store's data: the document that the operator writes and replicas enforce.

The same bytes are in the ConfigMap of every region and in the operator's call to every replica. Of two documents the
one with the higher version counts.
"""

from __future__ import annotations

from enum import Enum
from hashlib import sha256
from typing import Annotated

import msgspec

from rstore_api.domain.limits import MAX_CLIENTS, MAX_PREFIX_LENGTH, MAX_PREFIXES, MAX_REQUESTS

FILE_NAME = "access.json"
"""In a region's ConfigMap, and on a replica's volume."""
APPLICATION = "client"
"""The organization in the certificate of an application; its common name is the client's name in the rules."""

ARCHIVER = "archiver"
"""The common name in the certificate of a store's archiver, which may only read what it archives."""

RESTORER = "restorer"
"""The common name in the certificate of what fills a new store: it may do that, and read what came of it, while the
rules say that the store is being restored."""

COMMON_NAME = "x509_common_name"
ORGANIZATION = "x509_organization"
NOT_BEFORE = "x509_not_before"
"""What a server knows of a caller's certificate, by gRPC's names where it has some: lists of bytes. The last one is
when the certificate begins to be valid, in seconds since 1970."""

ClientName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Prefix = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PREFIX_LENGTH)]
Seconds = Annotated[int, msgspec.Meta(ge=0)]


class RulesError(ValueError):
    """The bytes are no document that this version understands; the text says where and why."""


class Access(Enum):
    """What a client may do with the keys that it may use."""

    READ = "Read"
    READ_WRITE = "ReadWrite"

    @property
    def writes(self) -> bool:
        """Whether it may change them."""
        return self is Access.READ_WRITE


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A rule that this version does not know must not be taken for one that is not there: unknown fields are errors."""


class SharedClient(_Document, frozen=True):
    """The rule about the certificate that all applications without one of their own share; it may use every key."""

    enabled: bool = True
    revoked_before: Seconds = 0
    """Certificates that begin to be valid before this second since 1970 are shut out."""


class ClientRule(_Document, frozen=True):
    """The rule about one client."""

    name: ClientName
    prefixes: Annotated[tuple[Prefix, ...], msgspec.Meta(max_length=MAX_PREFIXES)] = ()
    """Keys that begin with one of them may be used; every key where there is none."""
    access: Access = Access.READ_WRITE
    revoked_before: Seconds = 0
    """As in :class:`SharedClient`."""
    max_requests: Annotated[int, msgspec.Meta(ge=0, le=MAX_REQUESTS)] = 0
    """Requests and streams of the client at a time, on one replica; 0: as many as everybody may have."""


class AccessRules(_Document, frozen=True):
    """The whole document."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    shared_client: SharedClient = SharedClient()
    clients: Annotated[tuple[ClientRule, ...], msgspec.Meta(max_length=MAX_CLIENTS)] = ()
    restoring: bool = False
    """Whether the store is being filled from an archive: until then no client gets in, whatever its certificate is."""

    def encode(self) -> bytes:
        """Returns the document as JSON, equal for equal rules."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def decode(cls, data: bytes) -> AccessRules:
        """Returns the rules in a document. Raises RulesError."""
        try:
            rules = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RulesError(str(error)) from error
        names = [rule.name for rule in rules.clients]
        if len(set(names)) != len(names):
            raise RulesError("two clients have the same name")
        return rules

    @property
    def digest(self) -> str:
        """The SHA-256 of the document, in hexadecimal."""
        return sha256(self.encode()).hexdigest()


OPEN = AccessRules()
"""What counts where nobody has written rules: the shared certificate may do everything, there are no others."""
CLOSED = AccessRules(shared_client=SharedClient(enabled=False))
"""What counts where there are rules that cannot be read: only replicas and the operator get in."""
