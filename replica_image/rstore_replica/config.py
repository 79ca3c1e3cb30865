"""A replica's configuration: ``replica.json``, read once at the start.

File-system paths and the pod's identity are arguments, never in the file. Where other regions are and which one is
primary is not configuration either: it lives in the replicated state.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from rstore_api.dialling.channels import Address
from rstore_api.domain import limits, names
from rstore_api.domain.limits import MEBIBYTE

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
DnsLabel = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]

MAX_BATCH_BYTES = 8 * MEBIBYTE
"""A batch for another region is cut here, whatever is configured."""
MAX_ENTRY_BYTES = 24 * MEBIBYTE
"""An entry of the log; above all that the limits let come into being: a request, a batch, a revision (17 MiB)."""


class ConfigError(Exception):
    """The configuration cannot be used; the text names the field and what is wrong with it."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of the sections: camelCase in the file, and a misspelt field is an error."""


class MemberConfig(Settings, frozen=True):
    """One replica of the region: its pod's name and ``host:port`` of its peer port."""

    name: DnsLabel
    peer_address: str


class RaftTiming(Settings, frozen=True):
    """Timing of the region's Raft group, in milliseconds."""

    election_timeout_min_ms: PositiveInt = limits.ELECTION_TIMEOUT_MIN_MS
    election_timeout_max_ms: PositiveInt = limits.ELECTION_TIMEOUT_MAX_MS
    heartbeat_ms: PositiveInt = limits.HEARTBEAT_MS


class ReplicationConfig(Settings, frozen=True):
    """How the primary streams to the other regions."""

    batch_interval_ms: Annotated[int, msgspec.Meta(ge=0, le=limits.BATCH_INTERVAL_MS.high)] = (
        limits.BATCH_INTERVAL_MS.default
    )
    max_batch_bytes: Annotated[int, msgspec.Meta(ge=limits.MAX_BATCH_BYTES.low, le=limits.MAX_BATCH_BYTES.high)] = (
        limits.MAX_BATCH_BYTES.default
    )
    window_bytes: PositiveInt = limits.WINDOW_BYTES.default
    retention_revisions: PositiveInt = limits.RETENTION_REVISIONS.default


class Failover(Settings, frozen=True):
    """The tenure by which the primary region may acknowledge, and how long the last replicas of a primary region that
    were asked to stop wait until another region has what they have; in milliseconds.
    """

    lease_duration_ms: Annotated[
        int, msgspec.Meta(ge=limits.LEASE_DURATION_MS.low, le=limits.LEASE_DURATION_MS.high)
    ] = limits.LEASE_DURATION_MS.default
    drain_timeout_ms: Annotated[int, msgspec.Meta(ge=limits.DRAIN_TIMEOUT_MS.low, le=limits.DRAIN_TIMEOUT_MS.high)] = (
        limits.DRAIN_TIMEOUT_MS.default
    )


class Limits(Settings, frozen=True):
    """What one request, one transaction and the whole store may take."""

    max_request_bytes: Annotated[
        int, msgspec.Meta(ge=limits.MAX_REQUEST_BYTES.low, le=limits.MAX_REQUEST_BYTES.high)
    ] = limits.MAX_REQUEST_BYTES.default
    max_txn_ops: Annotated[int, msgspec.Meta(ge=limits.MAX_TXN_OPS.low, le=limits.MAX_TXN_OPS.high)] = (
        limits.MAX_TXN_OPS.default
    )
    max_revision_rows: Annotated[int, msgspec.Meta(ge=128, le=100_000)] = 10_000
    quota_bytes: PositiveInt = limits.QUOTA_BYTES

    @property
    def max_revision_bytes(self) -> int:
        """What the rows of one revision may take: those of the largest request, and some more for deletions."""
        return 2 * self.max_request_bytes + MEBIBYTE


class Routing(Settings, frozen=True):
    """What a secondary region does with writes and linearizable reads."""

    forward: bool = True


class ReplicaConfig(Settings, frozen=True):
    """The whole file."""

    store: DnsLabel
    namespace: DnsLabel
    region: DnsLabel
    members: Annotated[tuple[MemberConfig, ...], msgspec.Meta(min_length=1, max_length=limits.MAX_REPLICAS)]
    client_port: Port = names.CLIENT_PORT
    peer_port: Port = names.PEER_PORT
    http_port: Port = names.HTTP_PORT
    client_auth: Literal["mTLS", "None"] = "mTLS"
    raft: RaftTiming = RaftTiming()
    replication: ReplicationConfig = ReplicationConfig()
    limits: Limits = Limits()
    routing: Routing = Routing()
    failover: Failover = Failover()

    def member(self, name: str) -> MemberConfig | None:
        """Returns the member of that name, if there is one."""
        return next((member for member in self.members if member.name == name), None)


def parse_config(text: bytes) -> ReplicaConfig:
    """Returns the configuration in ``text`` (JSON). Raises ConfigError naming the field."""
    try:
        config = msgspec.json.decode(text, type=ReplicaConfig)
    except msgspec.DecodeError as error:
        raise ConfigError(_readable(str(error))) from error
    _check(config)
    return config


def load_config(path: Path, *, name: str) -> ReplicaConfig:
    """Read and check the file for the replica ``name``. Raises ConfigError naming the file and the field."""
    try:
        config = parse_config(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if config.member(name) is None:
        names = ", ".join(member.name for member in config.members)
        raise ConfigError(f"{path}: members: this replica, {name!r}, is not among them ({names})")
    return config


def _check(config: ReplicaConfig) -> None:
    """What types cannot say."""
    names = [member.name for member in config.members]
    if len(set(names)) != len(names):
        raise ConfigError("members: names are not unique")
    addresses = [member.peer_address for member in config.members]
    if len(set(addresses)) != len(addresses):
        raise ConfigError("members: peerAddress values are not unique")
    for index, address in enumerate(addresses):
        try:
            Address.parse(address)
        except ValueError as error:
            raise ConfigError(f"members[{index}].peerAddress: {error}") from error
    if len({config.client_port, config.peer_port, config.http_port}) != 3:
        raise ConfigError("clientPort, peerPort and httpPort must differ")
    raft = config.raft
    if raft.election_timeout_max_ms <= raft.election_timeout_min_ms:
        raise ConfigError("raft.electionTimeoutMaxMs: must be above raft.electionTimeoutMinMs")
    if raft.heartbeat_ms * 3 >= raft.election_timeout_min_ms:
        raise ConfigError("raft.heartbeatMs: must be below a third of raft.electionTimeoutMinMs")
    if config.replication.window_bytes < config.replication.max_batch_bytes:
        raise ConfigError("replication.windowBytes: must be at least replication.maxBatchBytes")


def _readable(message: str) -> str:
    """msgspec's ``Expected `int`, got `str` - at `$.limits.quotaBytes``` as ``limits.quotaBytes: expected …``."""
    match = re.fullmatch(r"(?P<what>.*) - at `\$\.?(?P<where>.*)`", message, re.DOTALL)
    if match is None:
        return message
    what, where = match["what"], match["where"]
    return f"{where or 'file'}: {what[:1].lower()}{what[1:]}"
