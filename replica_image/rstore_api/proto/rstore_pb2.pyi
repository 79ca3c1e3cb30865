from rstore_api.proto import auth_pb2 as _auth_pb2
from rstore_api.proto import kv_pb2 as _kv_pb2
from rstore_api.proto import rpc_pb2 as _rpc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EpochStart(_message.Message):
    __slots__ = ("epoch", "first_revision", "region", "parent_revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_REVISION_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    PARENT_REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_revision: int
    region: str
    parent_revision: int
    def __init__(self, epoch: _Optional[int] = ..., first_revision: _Optional[int] = ..., region: _Optional[str] = ..., parent_revision: _Optional[int] = ...) -> None: ...

class ReplicaAddress(_message.Message):
    __slots__ = ("name", "peer_address", "client_address", "advertised_client_addresses")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_CLIENT_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    peer_address: str
    client_address: str
    advertised_client_addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., peer_address: _Optional[str] = ..., client_address: _Optional[str] = ..., advertised_client_addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class RegionTopology(_message.Message):
    __slots__ = ("name", "replicas")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    name: str
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaAddress]
    def __init__(self, name: _Optional[str] = ..., replicas: _Optional[_Iterable[_Union[ReplicaAddress, _Mapping]]] = ...) -> None: ...

class Topology(_message.Message):
    __slots__ = ("epoch", "version", "primary_region", "regions", "sync")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_REGION_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    version: int
    primary_region: str
    regions: _containers.RepeatedCompositeFieldContainer[RegionTopology]
    sync: SyncRule
    def __init__(self, epoch: _Optional[int] = ..., version: _Optional[int] = ..., primary_region: _Optional[str] = ..., regions: _Optional[_Iterable[_Union[RegionTopology, _Mapping]]] = ..., sync: _Optional[_Union[SyncRule, _Mapping]] = ...) -> None: ...

class SyncRule(_message.Message):
    __slots__ = ("min_in_sync_regions", "timeout_ms", "degrade")
    MIN_IN_SYNC_REGIONS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADE_FIELD_NUMBER: _ClassVar[int]
    min_in_sync_regions: int
    timeout_ms: int
    degrade: bool
    def __init__(self, min_in_sync_regions: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., degrade: _Optional[bool] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RegionProgress(_message.Message):
    __slots__ = ("region", "connected", "acked_revision", "lag_revisions", "lag_bytes", "lag_seconds", "last_error")
    REGION_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    ACKED_REVISION_FIELD_NUMBER: _ClassVar[int]
    LAG_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    LAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAG_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    region: str
    connected: bool
    acked_revision: int
    lag_revisions: int
    lag_bytes: int
    lag_seconds: float
    last_error: str
    def __init__(self, region: _Optional[str] = ..., connected: _Optional[bool] = ..., acked_revision: _Optional[int] = ..., lag_revisions: _Optional[int] = ..., lag_bytes: _Optional[int] = ..., lag_seconds: _Optional[float] = ..., last_error: _Optional[str] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("store_id", "region", "replica", "version", "is_leader", "leader", "term", "commit_index", "applied_index", "revision", "compact_revision", "epoch", "promised_epoch", "primary", "writable", "history", "topology", "progress", "members", "learners", "joining", "ready", "not_ready_reason", "db_size_bytes", "tenure", "granted", "quarantined", "leaving", "quarantine", "staged", "transfers", "sync", "ending", "ending_ms", "trusted_authorities", "certificate", "keeps_advertised_addresses", "feature_level", "access")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IS_LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    APPLIED_INDEX_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    JOINING_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_REASON_FIELD_NUMBER: _ClassVar[int]
    DB_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TENURE_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    ENDING_MS_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_AUTHORITIES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    KEEPS_ADVERTISED_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    ACCESS_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    region: str
    replica: str
    version: str
    is_leader: bool
    leader: str
    term: int
    commit_index: int
    applied_index: int
    revision: int
    compact_revision: int
    epoch: int
    promised_epoch: int
    primary: bool
    writable: bool
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    topology: Topology
    progress: _containers.RepeatedCompositeFieldContainer[RegionProgress]
    members: _containers.RepeatedScalarFieldContainer[str]
    learners: _containers.RepeatedScalarFieldContainer[str]
    joining: bool
    ready: bool
    not_ready_reason: str
    db_size_bytes: int
    tenure: TenureStatus
    granted: GrantStatus
    quarantined: _containers.RepeatedCompositeFieldContainer[QuarantinedTail]
    leaving: LeavingTail
    quarantine: QuarantineCounts
    staged: StagedSnapshot
    transfers: _containers.RepeatedCompositeFieldContainer[SnapshotTransfer]
    sync: SyncStatus
    ending: bool
    ending_ms: int
    trusted_authorities: _containers.RepeatedScalarFieldContainer[bytes]
    certificate: bytes
    keeps_advertised_addresses: bool
    feature_level: int
    access: AccessStatus
    def __init__(self, store_id: _Optional[str] = ..., region: _Optional[str] = ..., replica: _Optional[str] = ..., version: _Optional[str] = ..., is_leader: _Optional[bool] = ..., leader: _Optional[str] = ..., term: _Optional[int] = ..., commit_index: _Optional[int] = ..., applied_index: _Optional[int] = ..., revision: _Optional[int] = ..., compact_revision: _Optional[int] = ..., epoch: _Optional[int] = ..., promised_epoch: _Optional[int] = ..., primary: _Optional[bool] = ..., writable: _Optional[bool] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., topology: _Optional[_Union[Topology, _Mapping]] = ..., progress: _Optional[_Iterable[_Union[RegionProgress, _Mapping]]] = ..., members: _Optional[_Iterable[str]] = ..., learners: _Optional[_Iterable[str]] = ..., joining: _Optional[bool] = ..., ready: _Optional[bool] = ..., not_ready_reason: _Optional[str] = ..., db_size_bytes: _Optional[int] = ..., tenure: _Optional[_Union[TenureStatus, _Mapping]] = ..., granted: _Optional[_Union[GrantStatus, _Mapping]] = ..., quarantined: _Optional[_Iterable[_Union[QuarantinedTail, _Mapping]]] = ..., leaving: _Optional[_Union[LeavingTail, _Mapping]] = ..., quarantine: _Optional[_Union[QuarantineCounts, _Mapping]] = ..., staged: _Optional[_Union[StagedSnapshot, _Mapping]] = ..., transfers: _Optional[_Iterable[_Union[SnapshotTransfer, _Mapping]]] = ..., sync: _Optional[_Union[SyncStatus, _Mapping]] = ..., ending: _Optional[bool] = ..., ending_ms: _Optional[int] = ..., trusted_authorities: _Optional[_Iterable[bytes]] = ..., certificate: _Optional[bytes] = ..., keeps_advertised_addresses: _Optional[bool] = ..., feature_level: _Optional[int] = ..., access: _Optional[_Union[AccessStatus, _Mapping]] = ...) -> None: ...

class AccessStatus(_message.Message):
    __slots__ = ("version", "digest", "anonymous")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: str
    anonymous: bool
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[str] = ..., anonymous: _Optional[bool] = ...) -> None: ...

class SetAccessRequest(_message.Message):
    __slots__ = ("rules",)
    RULES_FIELD_NUMBER: _ClassVar[int]
    rules: bytes
    def __init__(self, rules: _Optional[bytes] = ...) -> None: ...

class SetAccessResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class SyncStatus(_message.Message):
    __slots__ = ("min_in_sync_regions", "in_sync", "in_sync_revision", "degraded", "waiting")
    MIN_IN_SYNC_REGIONS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REVISION_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    min_in_sync_regions: int
    in_sync: bool
    in_sync_revision: int
    degraded: bool
    waiting: int
    def __init__(self, min_in_sync_regions: _Optional[int] = ..., in_sync: _Optional[bool] = ..., in_sync_revision: _Optional[int] = ..., degraded: _Optional[bool] = ..., waiting: _Optional[int] = ...) -> None: ...

class QuarantinedTail(_message.Message):
    __slots__ = ("epoch", "first_revision", "last_revision", "count", "size_bytes", "file", "replaced_by_epoch", "revisions", "held", "damage", "unknown", "fork_revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_REVISION_FIELD_NUMBER: _ClassVar[int]
    LAST_REVISION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    REPLACED_BY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    FORK_REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_revision: int
    last_revision: int
    count: int
    size_bytes: int
    file: str
    replaced_by_epoch: int
    revisions: int
    held: bool
    damage: str
    unknown: bool
    fork_revision: int
    def __init__(self, epoch: _Optional[int] = ..., first_revision: _Optional[int] = ..., last_revision: _Optional[int] = ..., count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., file: _Optional[str] = ..., replaced_by_epoch: _Optional[int] = ..., revisions: _Optional[int] = ..., held: _Optional[bool] = ..., damage: _Optional[str] = ..., unknown: _Optional[bool] = ..., fork_revision: _Optional[int] = ...) -> None: ...

class QuarantineCounts(_message.Message):
    __slots__ = ("tails", "rows", "size_bytes")
    TAILS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    tails: int
    rows: int
    size_bytes: int
    def __init__(self, tails: _Optional[int] = ..., rows: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class LeavingTail(_message.Message):
    __slots__ = ("phase", "file", "fork_revision", "last_revision", "exported_rows")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    FORK_REVISION_FIELD_NUMBER: _ClassVar[int]
    LAST_REVISION_FIELD_NUMBER: _ClassVar[int]
    EXPORTED_ROWS_FIELD_NUMBER: _ClassVar[int]
    phase: str
    file: str
    fork_revision: int
    last_revision: int
    exported_rows: int
    def __init__(self, phase: _Optional[str] = ..., file: _Optional[str] = ..., fork_revision: _Optional[int] = ..., last_revision: _Optional[int] = ..., exported_rows: _Optional[int] = ...) -> None: ...

class QuarantineListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QuarantineListResponse(_message.Message):
    __slots__ = ("region", "replica", "is_leader", "tails", "leaving")
    REGION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    IS_LEADER_FIELD_NUMBER: _ClassVar[int]
    TAILS_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    region: str
    replica: str
    is_leader: bool
    tails: _containers.RepeatedCompositeFieldContainer[QuarantinedTail]
    leaving: LeavingTail
    def __init__(self, region: _Optional[str] = ..., replica: _Optional[str] = ..., is_leader: _Optional[bool] = ..., tails: _Optional[_Iterable[_Union[QuarantinedTail, _Mapping]]] = ..., leaving: _Optional[_Union[LeavingTail, _Mapping]] = ...) -> None: ...

class QuarantineReadRequest(_message.Message):
    __slots__ = ("file", "offset", "key", "range_end", "raw")
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RANGE_END_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    file: str
    offset: int
    key: bytes
    range_end: bytes
    raw: bool
    def __init__(self, file: _Optional[str] = ..., offset: _Optional[int] = ..., key: _Optional[bytes] = ..., range_end: _Optional[bytes] = ..., raw: _Optional[bool] = ...) -> None: ...

class QuarantineReadResponse(_message.Message):
    __slots__ = ("rows", "next_offset", "data")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[QuarantinedRow]
    next_offset: int
    data: bytes
    def __init__(self, rows: _Optional[_Iterable[_Union[QuarantinedRow, _Mapping]]] = ..., next_offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class QuarantinedRow(_message.Message):
    __slots__ = ("revision", "sub", "key", "value", "deletion", "create_revision", "version", "lease")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SUB_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DELETION_FIELD_NUMBER: _ClassVar[int]
    CREATE_REVISION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    revision: int
    sub: int
    key: bytes
    value: bytes
    deletion: bool
    create_revision: int
    version: int
    lease: int
    def __init__(self, revision: _Optional[int] = ..., sub: _Optional[int] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., deletion: _Optional[bool] = ..., create_revision: _Optional[int] = ..., version: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class QuarantineDropRequest(_message.Message):
    __slots__ = ("store_id", "file")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    file: str
    def __init__(self, store_id: _Optional[str] = ..., file: _Optional[str] = ...) -> None: ...

class QuarantineDropResponse(_message.Message):
    __slots__ = ("dropped",)
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    dropped: bool
    def __init__(self, dropped: _Optional[bool] = ...) -> None: ...

class SnapshotTransfer(_message.Message):
    __slots__ = ("region", "revision", "rows", "size_bytes")
    REGION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    region: str
    revision: int
    rows: int
    size_bytes: int
    def __init__(self, region: _Optional[str] = ..., revision: _Optional[int] = ..., rows: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class TenureStatus(_message.Message):
    __slots__ = ("required", "held", "remaining_ms", "witness_round", "duration_ms", "in_sync_regions", "longest_ms", "granted_version", "missing_revision", "held_ms")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    WITNESS_ROUND_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REGIONS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_MS_FIELD_NUMBER: _ClassVar[int]
    GRANTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    MISSING_REVISION_FIELD_NUMBER: _ClassVar[int]
    HELD_MS_FIELD_NUMBER: _ClassVar[int]
    required: bool
    held: bool
    remaining_ms: int
    witness_round: int
    duration_ms: int
    in_sync_regions: int
    longest_ms: int
    granted_version: int
    missing_revision: int
    held_ms: int
    def __init__(self, required: _Optional[bool] = ..., held: _Optional[bool] = ..., remaining_ms: _Optional[int] = ..., witness_round: _Optional[int] = ..., duration_ms: _Optional[int] = ..., in_sync_regions: _Optional[int] = ..., longest_ms: _Optional[int] = ..., granted_version: _Optional[int] = ..., missing_revision: _Optional[int] = ..., held_ms: _Optional[int] = ...) -> None: ...

class GrantStatus(_message.Message):
    __slots__ = ("epoch", "age_ms", "remaining_ms", "in_sync_regions")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    REMAINING_MS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REGIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    age_ms: int
    remaining_ms: int
    in_sync_regions: int
    def __init__(self, epoch: _Optional[int] = ..., age_ms: _Optional[int] = ..., remaining_ms: _Optional[int] = ..., in_sync_regions: _Optional[int] = ...) -> None: ...

class FenceRequest(_message.Message):
    __slots__ = ("store_id", "epoch")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    epoch: int
    def __init__(self, store_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class FenceResponse(_message.Message):
    __slots__ = ("region", "promised_epoch", "epoch", "revision", "remaining_grant_ms", "history", "in_sync_epoch", "in_sync_regions")
    REGION_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REMAINING_GRANT_MS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_EPOCH_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REGIONS_FIELD_NUMBER: _ClassVar[int]
    region: str
    promised_epoch: int
    epoch: int
    revision: int
    remaining_grant_ms: int
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    in_sync_epoch: int
    in_sync_regions: int
    def __init__(self, region: _Optional[str] = ..., promised_epoch: _Optional[int] = ..., epoch: _Optional[int] = ..., revision: _Optional[int] = ..., remaining_grant_ms: _Optional[int] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., in_sync_epoch: _Optional[int] = ..., in_sync_regions: _Optional[int] = ...) -> None: ...

class WitnessGrantRequest(_message.Message):
    __slots__ = ("store_id", "epoch", "round")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    epoch: int
    round: int
    def __init__(self, store_id: _Optional[str] = ..., epoch: _Optional[int] = ..., round: _Optional[int] = ...) -> None: ...

class WitnessGrantResponse(_message.Message):
    __slots__ = ("counted",)
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    counted: bool
    def __init__(self, counted: _Optional[bool] = ...) -> None: ...

class BootstrapRequest(_message.Message):
    __slots__ = ("store_id", "topology", "promised_epoch")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    topology: Topology
    promised_epoch: int
    def __init__(self, store_id: _Optional[str] = ..., topology: _Optional[_Union[Topology, _Mapping]] = ..., promised_epoch: _Optional[int] = ...) -> None: ...

class BootstrapResponse(_message.Message):
    __slots__ = ("store_id", "epoch")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    epoch: int
    def __init__(self, store_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class SetTopologyRequest(_message.Message):
    __slots__ = ("store_id", "topology")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    topology: Topology
    def __init__(self, store_id: _Optional[str] = ..., topology: _Optional[_Union[Topology, _Mapping]] = ...) -> None: ...

class SetTopologyResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: _Optional[bool] = ...) -> None: ...

class DemoteRequest(_message.Message):
    __slots__ = ("store_id", "epoch")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    epoch: int
    def __init__(self, store_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class DemoteResponse(_message.Message):
    __slots__ = ("epoch", "final_revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FINAL_REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    final_revision: int
    def __init__(self, epoch: _Optional[int] = ..., final_revision: _Optional[int] = ...) -> None: ...

class PromoteRequest(_message.Message):
    __slots__ = ("store_id", "epoch", "min_revision", "topology", "revision_jump")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    REVISION_JUMP_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    epoch: int
    min_revision: int
    topology: Topology
    revision_jump: int
    def __init__(self, store_id: _Optional[str] = ..., epoch: _Optional[int] = ..., min_revision: _Optional[int] = ..., topology: _Optional[_Union[Topology, _Mapping]] = ..., revision_jump: _Optional[int] = ...) -> None: ...

class PromoteResponse(_message.Message):
    __slots__ = ("epoch", "first_revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    first_revision: int
    def __init__(self, epoch: _Optional[int] = ..., first_revision: _Optional[int] = ...) -> None: ...

class TransferLeadershipRequest(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: str
    def __init__(self, target: _Optional[str] = ...) -> None: ...

class TransferLeadershipResponse(_message.Message):
    __slots__ = ("leader",)
    LEADER_FIELD_NUMBER: _ClassVar[int]
    leader: str
    def __init__(self, leader: _Optional[str] = ...) -> None: ...

class AddMemberRequest(_message.Message):
    __slots__ = ("name", "peer_address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    peer_address: str
    def __init__(self, name: _Optional[str] = ..., peer_address: _Optional[str] = ...) -> None: ...

class RemoveMemberRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class MembersResponse(_message.Message):
    __slots__ = ("members", "learners")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedScalarFieldContainer[str]
    learners: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, members: _Optional[_Iterable[str]] = ..., learners: _Optional[_Iterable[str]] = ...) -> None: ...

class ShownRequest(_message.Message):
    __slots__ = ("epoch", "after_revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    after_revision: int
    def __init__(self, epoch: _Optional[int] = ..., after_revision: _Optional[int] = ...) -> None: ...

class ShownResponse(_message.Message):
    __slots__ = ("epoch", "revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    revision: int
    def __init__(self, epoch: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("store_id", "region", "epoch", "round", "duration_ms", "in_sync_regions", "voter_term", "topology_version", "feature_level")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REGIONS_FIELD_NUMBER: _ClassVar[int]
    VOTER_TERM_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    region: str
    epoch: int
    round: int
    duration_ms: int
    in_sync_regions: int
    voter_term: int
    topology_version: int
    feature_level: int
    def __init__(self, store_id: _Optional[str] = ..., region: _Optional[str] = ..., epoch: _Optional[int] = ..., round: _Optional[int] = ..., duration_ms: _Optional[int] = ..., in_sync_regions: _Optional[int] = ..., voter_term: _Optional[int] = ..., topology_version: _Optional[int] = ..., feature_level: _Optional[int] = ...) -> None: ...

class GrantResponse(_message.Message):
    __slots__ = ("granted", "round", "promised_epoch", "region", "duration_ms", "voter_term", "feature_level", "data_epoch", "revision", "learners")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    VOTER_TERM_FIELD_NUMBER: _ClassVar[int]
    FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    DATA_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    granted: bool
    round: int
    promised_epoch: int
    region: str
    duration_ms: int
    voter_term: int
    feature_level: int
    data_epoch: int
    revision: int
    learners: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, granted: _Optional[bool] = ..., round: _Optional[int] = ..., promised_epoch: _Optional[int] = ..., region: _Optional[str] = ..., duration_ms: _Optional[int] = ..., voter_term: _Optional[int] = ..., feature_level: _Optional[int] = ..., data_epoch: _Optional[int] = ..., revision: _Optional[int] = ..., learners: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("hello", "batch", "heartbeat", "snapshot")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    hello: StreamHello
    batch: StreamBatch
    heartbeat: StreamHeartbeat
    snapshot: SnapshotChunk
    def __init__(self, hello: _Optional[_Union[StreamHello, _Mapping]] = ..., batch: _Optional[_Union[StreamBatch, _Mapping]] = ..., heartbeat: _Optional[_Union[StreamHeartbeat, _Mapping]] = ..., snapshot: _Optional[_Union[SnapshotChunk, _Mapping]] = ...) -> None: ...

class StreamHello(_message.Message):
    __slots__ = ("store_id", "region", "replica", "epoch", "history", "revision")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    region: str
    replica: str
    epoch: int
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    revision: int
    def __init__(self, store_id: _Optional[str] = ..., region: _Optional[str] = ..., replica: _Optional[str] = ..., epoch: _Optional[int] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class StreamBatch(_message.Message):
    __slots__ = ("epoch", "prev_revision", "last_revision", "rows", "row_count", "history", "compact_revision", "deleted")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PREV_REVISION_FIELD_NUMBER: _ClassVar[int]
    LAST_REVISION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    prev_revision: int
    last_revision: int
    rows: bytes
    row_count: int
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    compact_revision: int
    deleted: DeletedRange
    def __init__(self, epoch: _Optional[int] = ..., prev_revision: _Optional[int] = ..., last_revision: _Optional[int] = ..., rows: _Optional[bytes] = ..., row_count: _Optional[int] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., compact_revision: _Optional[int] = ..., deleted: _Optional[_Union[DeletedRange, _Mapping]] = ...) -> None: ...

class DeletedRange(_message.Message):
    __slots__ = ("revision", "key", "range_end", "count", "checksum")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    RANGE_END_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    revision: int
    key: bytes
    range_end: bytes
    count: int
    checksum: int
    def __init__(self, revision: _Optional[int] = ..., key: _Optional[bytes] = ..., range_end: _Optional[bytes] = ..., count: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...

class StreamHeartbeat(_message.Message):
    __slots__ = ("epoch", "revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    revision: int
    def __init__(self, epoch: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class SnapshotChunk(_message.Message):
    __slots__ = ("store_id", "epoch", "history", "revision", "after_key", "last_key", "rows", "row_count", "last")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AFTER_KEY_FIELD_NUMBER: _ClassVar[int]
    LAST_KEY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    epoch: int
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    revision: int
    after_key: bytes
    last_key: bytes
    rows: bytes
    row_count: int
    last: bool
    def __init__(self, store_id: _Optional[str] = ..., epoch: _Optional[int] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., revision: _Optional[int] = ..., after_key: _Optional[bytes] = ..., last_key: _Optional[bytes] = ..., rows: _Optional[bytes] = ..., row_count: _Optional[int] = ..., last: _Optional[bool] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("welcome", "ack", "refusal", "snapshot_ack")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ACK_FIELD_NUMBER: _ClassVar[int]
    welcome: StreamWelcome
    ack: StreamAck
    refusal: StreamRefusal
    snapshot_ack: SnapshotAck
    def __init__(self, welcome: _Optional[_Union[StreamWelcome, _Mapping]] = ..., ack: _Optional[_Union[StreamAck, _Mapping]] = ..., refusal: _Optional[_Union[StreamRefusal, _Mapping]] = ..., snapshot_ack: _Optional[_Union[SnapshotAck, _Mapping]] = ...) -> None: ...

class StreamWelcome(_message.Message):
    __slots__ = ("store_id", "region", "replica", "history", "promised_epoch", "revision", "compact_revision", "staged", "needs_snapshot")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    NEEDS_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    region: str
    replica: str
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    promised_epoch: int
    revision: int
    compact_revision: int
    staged: StagedSnapshot
    needs_snapshot: bool
    def __init__(self, store_id: _Optional[str] = ..., region: _Optional[str] = ..., replica: _Optional[str] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., promised_epoch: _Optional[int] = ..., revision: _Optional[int] = ..., compact_revision: _Optional[int] = ..., staged: _Optional[_Union[StagedSnapshot, _Mapping]] = ..., needs_snapshot: _Optional[bool] = ...) -> None: ...

class StagedSnapshot(_message.Message):
    __slots__ = ("store_id", "history", "revision", "last_key", "rows", "size_bytes")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LAST_KEY_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    revision: int
    last_key: bytes
    rows: int
    size_bytes: int
    def __init__(self, store_id: _Optional[str] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., revision: _Optional[int] = ..., last_key: _Optional[bytes] = ..., rows: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class SnapshotAck(_message.Message):
    __slots__ = ("last_key", "installed")
    LAST_KEY_FIELD_NUMBER: _ClassVar[int]
    INSTALLED_FIELD_NUMBER: _ClassVar[int]
    last_key: bytes
    installed: bool
    def __init__(self, last_key: _Optional[bytes] = ..., installed: _Optional[bool] = ...) -> None: ...

class StreamAck(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class StreamRefusal(_message.Message):
    __slots__ = ("reason", "message", "leader_address", "promised_epoch")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[StreamRefusal.Reason]
        NOT_LEADER: _ClassVar[StreamRefusal.Reason]
        STALE_EPOCH: _ClassVar[StreamRefusal.Reason]
        WRONG_STORE: _ClassVar[StreamRefusal.Reason]
        GAP: _ClassVar[StreamRefusal.Reason]
        DIVERGED: _ClassVar[StreamRefusal.Reason]
        NOT_BOOTSTRAPPED: _ClassVar[StreamRefusal.Reason]
        COMPACTED: _ClassVar[StreamRefusal.Reason]
        UNAVAILABLE: _ClassVar[StreamRefusal.Reason]
    UNSPECIFIED: StreamRefusal.Reason
    NOT_LEADER: StreamRefusal.Reason
    STALE_EPOCH: StreamRefusal.Reason
    WRONG_STORE: StreamRefusal.Reason
    GAP: StreamRefusal.Reason
    DIVERGED: StreamRefusal.Reason
    NOT_BOOTSTRAPPED: StreamRefusal.Reason
    COMPACTED: StreamRefusal.Reason
    UNAVAILABLE: StreamRefusal.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LEADER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    reason: StreamRefusal.Reason
    message: str
    leader_address: str
    promised_epoch: int
    def __init__(self, reason: _Optional[_Union[StreamRefusal.Reason, str]] = ..., message: _Optional[str] = ..., leader_address: _Optional[str] = ..., promised_epoch: _Optional[int] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ("store_id", "history", "revision")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    revision: int
    def __init__(self, store_id: _Optional[str] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class FollowResponse(_message.Message):
    __slots__ = ("begin", "batch", "position")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    begin: FollowBegin
    batch: StreamBatch
    position: FollowPosition
    def __init__(self, begin: _Optional[_Union[FollowBegin, _Mapping]] = ..., batch: _Optional[_Union[StreamBatch, _Mapping]] = ..., position: _Optional[_Union[FollowPosition, _Mapping]] = ...) -> None: ...

class FollowBegin(_message.Message):
    __slots__ = ("store_id", "region", "replica", "history", "after_revision", "compacted", "fork_revision")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPACTED_FIELD_NUMBER: _ClassVar[int]
    FORK_REVISION_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    region: str
    replica: str
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    after_revision: int
    compacted: bool
    fork_revision: int
    def __init__(self, store_id: _Optional[str] = ..., region: _Optional[str] = ..., replica: _Optional[str] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., after_revision: _Optional[int] = ..., compacted: _Optional[bool] = ..., fork_revision: _Optional[int] = ...) -> None: ...

class FollowPosition(_message.Message):
    __slots__ = ("revision", "compact_revision")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    compact_revision: int
    def __init__(self, revision: _Optional[int] = ..., compact_revision: _Optional[int] = ...) -> None: ...

class BaseRequest(_message.Message):
    __slots__ = ("store_id", "min_revision")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    min_revision: int
    def __init__(self, store_id: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ConfirmRequest(_message.Message):
    __slots__ = ("store_id", "history", "revision")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    history: _containers.RepeatedCompositeFieldContainer[EpochStart]
    revision: int
    def __init__(self, store_id: _Optional[str] = ..., history: _Optional[_Iterable[_Union[EpochStart, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class ConfirmResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("write", "rows", "bootstrap", "topology", "promise", "promotion", "compaction", "noop", "lease_write", "auth_write", "long_key_write", "rewind", "rewind_step", "drop_tail", "snapshot", "import_step", "long_key_import", "tenure_bound", "deletion", "deleted_rows")
    WRITE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BOOTSTRAP_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    PROMOTION_FIELD_NUMBER: _ClassVar[int]
    COMPACTION_FIELD_NUMBER: _ClassVar[int]
    NOOP_FIELD_NUMBER: _ClassVar[int]
    LEASE_WRITE_FIELD_NUMBER: _ClassVar[int]
    AUTH_WRITE_FIELD_NUMBER: _ClassVar[int]
    LONG_KEY_WRITE_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    REWIND_STEP_FIELD_NUMBER: _ClassVar[int]
    DROP_TAIL_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    IMPORT_STEP_FIELD_NUMBER: _ClassVar[int]
    LONG_KEY_IMPORT_FIELD_NUMBER: _ClassVar[int]
    TENURE_BOUND_FIELD_NUMBER: _ClassVar[int]
    DELETION_FIELD_NUMBER: _ClassVar[int]
    DELETED_ROWS_FIELD_NUMBER: _ClassVar[int]
    write: WriteBatch
    rows: ReplicatedRows
    bootstrap: BootstrapRequest
    topology: Topology
    promise: Promise
    promotion: PromoteRequest
    compaction: Compaction
    noop: Noop
    lease_write: WriteBatch
    auth_write: WriteBatch
    long_key_write: WriteBatch
    rewind: Rewind
    rewind_step: RewindStep
    drop_tail: DropTail
    snapshot: SnapshotStep
    import_step: ImportStep
    long_key_import: ImportStep
    tenure_bound: TenureBound
    deletion: Deletion
    deleted_rows: ReplicatedRows
    def __init__(self, write: _Optional[_Union[WriteBatch, _Mapping]] = ..., rows: _Optional[_Union[ReplicatedRows, _Mapping]] = ..., bootstrap: _Optional[_Union[BootstrapRequest, _Mapping]] = ..., topology: _Optional[_Union[Topology, _Mapping]] = ..., promise: _Optional[_Union[Promise, _Mapping]] = ..., promotion: _Optional[_Union[PromoteRequest, _Mapping]] = ..., compaction: _Optional[_Union[Compaction, _Mapping]] = ..., noop: _Optional[_Union[Noop, _Mapping]] = ..., lease_write: _Optional[_Union[WriteBatch, _Mapping]] = ..., auth_write: _Optional[_Union[WriteBatch, _Mapping]] = ..., long_key_write: _Optional[_Union[WriteBatch, _Mapping]] = ..., rewind: _Optional[_Union[Rewind, _Mapping]] = ..., rewind_step: _Optional[_Union[RewindStep, _Mapping]] = ..., drop_tail: _Optional[_Union[DropTail, _Mapping]] = ..., snapshot: _Optional[_Union[SnapshotStep, _Mapping]] = ..., import_step: _Optional[_Union[ImportStep, _Mapping]] = ..., long_key_import: _Optional[_Union[ImportStep, _Mapping]] = ..., tenure_bound: _Optional[_Union[TenureBound, _Mapping]] = ..., deletion: _Optional[_Union[Deletion, _Mapping]] = ..., deleted_rows: _Optional[_Union[ReplicatedRows, _Mapping]] = ...) -> None: ...

class Deletion(_message.Message):
    __slots__ = ("epoch", "request")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    request: WriteRequest
    def __init__(self, epoch: _Optional[int] = ..., request: _Optional[_Union[WriteRequest, _Mapping]] = ...) -> None: ...

class ImportStep(_message.Message):
    __slots__ = ("chunk", "revision_jump")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    REVISION_JUMP_FIELD_NUMBER: _ClassVar[int]
    chunk: SnapshotChunk
    revision_jump: int
    def __init__(self, chunk: _Optional[_Union[SnapshotChunk, _Mapping]] = ..., revision_jump: _Optional[int] = ...) -> None: ...

class TenureBound(_message.Message):
    __slots__ = ("duration_ms",)
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    duration_ms: int
    def __init__(self, duration_ms: _Optional[int] = ...) -> None: ...

class Rewind(_message.Message):
    __slots__ = ("fork_revision", "epoch", "tail_epoch", "max_rows", "max_bytes", "keep_data")
    FORK_REVISION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TAIL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEEP_DATA_FIELD_NUMBER: _ClassVar[int]
    fork_revision: int
    epoch: int
    tail_epoch: int
    max_rows: int
    max_bytes: int
    keep_data: bool
    def __init__(self, fork_revision: _Optional[int] = ..., epoch: _Optional[int] = ..., tail_epoch: _Optional[int] = ..., max_rows: _Optional[int] = ..., max_bytes: _Optional[int] = ..., keep_data: _Optional[bool] = ...) -> None: ...

class RewindStep(_message.Message):
    __slots__ = ("max_rows", "max_bytes")
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_rows: int
    max_bytes: int
    def __init__(self, max_rows: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class DropTail(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: str
    def __init__(self, file: _Optional[str] = ...) -> None: ...

class WriteBatch(_message.Message):
    __slots__ = ("epoch", "requests", "limits")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    requests: _containers.RepeatedCompositeFieldContainer[WriteRequest]
    limits: WriteLimits
    def __init__(self, epoch: _Optional[int] = ..., requests: _Optional[_Iterable[_Union[WriteRequest, _Mapping]]] = ..., limits: _Optional[_Union[WriteLimits, _Mapping]] = ...) -> None: ...

class WriteLimits(_message.Message):
    __slots__ = ("max_txn_ops", "no_space", "max_revision_rows", "max_revision_bytes")
    MAX_TXN_OPS_FIELD_NUMBER: _ClassVar[int]
    NO_SPACE_FIELD_NUMBER: _ClassVar[int]
    MAX_REVISION_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_REVISION_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_txn_ops: int
    no_space: bool
    max_revision_rows: int
    max_revision_bytes: int
    def __init__(self, max_txn_ops: _Optional[int] = ..., no_space: _Optional[bool] = ..., max_revision_rows: _Optional[int] = ..., max_revision_bytes: _Optional[int] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("put", "delete_range", "txn", "lease_grant", "lease_revoke", "lease_checkpoints", "auth", "request_id")
    PUT_FIELD_NUMBER: _ClassVar[int]
    DELETE_RANGE_FIELD_NUMBER: _ClassVar[int]
    TXN_FIELD_NUMBER: _ClassVar[int]
    LEASE_GRANT_FIELD_NUMBER: _ClassVar[int]
    LEASE_REVOKE_FIELD_NUMBER: _ClassVar[int]
    LEASE_CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    put: _rpc_pb2.PutRequest
    delete_range: _rpc_pb2.DeleteRangeRequest
    txn: _rpc_pb2.TxnRequest
    lease_grant: _rpc_pb2.LeaseGrantRequest
    lease_revoke: _rpc_pb2.LeaseRevokeRequest
    lease_checkpoints: LeaseCheckpoints
    auth: AuthChange
    request_id: RequestId
    def __init__(self, put: _Optional[_Union[_rpc_pb2.PutRequest, _Mapping]] = ..., delete_range: _Optional[_Union[_rpc_pb2.DeleteRangeRequest, _Mapping]] = ..., txn: _Optional[_Union[_rpc_pb2.TxnRequest, _Mapping]] = ..., lease_grant: _Optional[_Union[_rpc_pb2.LeaseGrantRequest, _Mapping]] = ..., lease_revoke: _Optional[_Union[_rpc_pb2.LeaseRevokeRequest, _Mapping]] = ..., lease_checkpoints: _Optional[_Union[LeaseCheckpoints, _Mapping]] = ..., auth: _Optional[_Union[AuthChange, _Mapping]] = ..., request_id: _Optional[_Union[RequestId, _Mapping]] = ...) -> None: ...

class AuthChange(_message.Message):
    __slots__ = ("enable", "disable", "user_add", "user_delete", "user_change_password", "user_grant_role", "user_revoke_role", "role_add", "role_delete", "role_grant_permission", "role_revoke_permission")
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    DISABLE_FIELD_NUMBER: _ClassVar[int]
    USER_ADD_FIELD_NUMBER: _ClassVar[int]
    USER_DELETE_FIELD_NUMBER: _ClassVar[int]
    USER_CHANGE_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    USER_GRANT_ROLE_FIELD_NUMBER: _ClassVar[int]
    USER_REVOKE_ROLE_FIELD_NUMBER: _ClassVar[int]
    ROLE_ADD_FIELD_NUMBER: _ClassVar[int]
    ROLE_DELETE_FIELD_NUMBER: _ClassVar[int]
    ROLE_GRANT_PERMISSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_REVOKE_PERMISSION_FIELD_NUMBER: _ClassVar[int]
    enable: AuthSwitch
    disable: _rpc_pb2.AuthDisableRequest
    user_add: _rpc_pb2.AuthUserAddRequest
    user_delete: _rpc_pb2.AuthUserDeleteRequest
    user_change_password: _rpc_pb2.AuthUserChangePasswordRequest
    user_grant_role: _rpc_pb2.AuthUserGrantRoleRequest
    user_revoke_role: _rpc_pb2.AuthUserRevokeRoleRequest
    role_add: _rpc_pb2.AuthRoleAddRequest
    role_delete: _rpc_pb2.AuthRoleDeleteRequest
    role_grant_permission: _rpc_pb2.AuthRoleGrantPermissionRequest
    role_revoke_permission: _rpc_pb2.AuthRoleRevokePermissionRequest
    def __init__(self, enable: _Optional[_Union[AuthSwitch, _Mapping]] = ..., disable: _Optional[_Union[_rpc_pb2.AuthDisableRequest, _Mapping]] = ..., user_add: _Optional[_Union[_rpc_pb2.AuthUserAddRequest, _Mapping]] = ..., user_delete: _Optional[_Union[_rpc_pb2.AuthUserDeleteRequest, _Mapping]] = ..., user_change_password: _Optional[_Union[_rpc_pb2.AuthUserChangePasswordRequest, _Mapping]] = ..., user_grant_role: _Optional[_Union[_rpc_pb2.AuthUserGrantRoleRequest, _Mapping]] = ..., user_revoke_role: _Optional[_Union[_rpc_pb2.AuthUserRevokeRoleRequest, _Mapping]] = ..., role_add: _Optional[_Union[_rpc_pb2.AuthRoleAddRequest, _Mapping]] = ..., role_delete: _Optional[_Union[_rpc_pb2.AuthRoleDeleteRequest, _Mapping]] = ..., role_grant_permission: _Optional[_Union[_rpc_pb2.AuthRoleGrantPermissionRequest, _Mapping]] = ..., role_revoke_permission: _Optional[_Union[_rpc_pb2.AuthRoleRevokePermissionRequest, _Mapping]] = ...) -> None: ...

class AuthChanged(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _rpc_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_rpc_pb2.ResponseHeader, _Mapping]] = ...) -> None: ...

class AuthSwitch(_message.Message):
    __slots__ = ("enabled", "revision", "token_key")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_KEY_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    revision: int
    token_key: bytes
    def __init__(self, enabled: _Optional[bool] = ..., revision: _Optional[int] = ..., token_key: _Optional[bytes] = ...) -> None: ...

class AuthUser(_message.Message):
    __slots__ = ("name", "password_hash", "no_password", "roles", "password_revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_HASH_FIELD_NUMBER: _ClassVar[int]
    NO_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    password_hash: bytes
    no_password: bool
    roles: _containers.RepeatedScalarFieldContainer[str]
    password_revision: int
    def __init__(self, name: _Optional[str] = ..., password_hash: _Optional[bytes] = ..., no_password: _Optional[bool] = ..., roles: _Optional[_Iterable[str]] = ..., password_revision: _Optional[int] = ...) -> None: ...

class AuthRole(_message.Message):
    __slots__ = ("name", "permissions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    permissions: _containers.RepeatedCompositeFieldContainer[_auth_pb2.Permission]
    def __init__(self, name: _Optional[str] = ..., permissions: _Optional[_Iterable[_Union[_auth_pb2.Permission, _Mapping]]] = ...) -> None: ...

class LeaseCheckpoints(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[LeaseCheckpoint]
    def __init__(self, leases: _Optional[_Iterable[_Union[LeaseCheckpoint, _Mapping]]] = ...) -> None: ...

class LeaseCheckpoint(_message.Message):
    __slots__ = ("id", "remaining_seconds")
    ID_FIELD_NUMBER: _ClassVar[int]
    REMAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    remaining_seconds: int
    def __init__(self, id: _Optional[int] = ..., remaining_seconds: _Optional[int] = ...) -> None: ...

class LeaseCheckpointsResponse(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: _rpc_pb2.ResponseHeader
    def __init__(self, header: _Optional[_Union[_rpc_pb2.ResponseHeader, _Mapping]] = ...) -> None: ...

class RenewLeasesRequest(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class RenewLeasesResponse(_message.Message):
    __slots__ = ("seconds",)
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    seconds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, seconds: _Optional[_Iterable[int]] = ...) -> None: ...

class RequestId(_message.Message):
    __slots__ = ("client", "sequence", "revision")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    client: bytes
    sequence: int
    revision: int
    def __init__(self, client: _Optional[bytes] = ..., sequence: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class ReplicatedRows(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: StreamBatch
    def __init__(self, batch: _Optional[_Union[StreamBatch, _Mapping]] = ...) -> None: ...

class SnapshotStep(_message.Message):
    __slots__ = ("chunk", "held_revision", "held_epoch", "fork_revision")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    HELD_REVISION_FIELD_NUMBER: _ClassVar[int]
    HELD_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FORK_REVISION_FIELD_NUMBER: _ClassVar[int]
    chunk: SnapshotChunk
    held_revision: int
    held_epoch: int
    fork_revision: int
    def __init__(self, chunk: _Optional[_Union[SnapshotChunk, _Mapping]] = ..., held_revision: _Optional[int] = ..., held_epoch: _Optional[int] = ..., fork_revision: _Optional[int] = ...) -> None: ...

class Promise(_message.Message):
    __slots__ = ("epoch",)
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    def __init__(self, epoch: _Optional[int] = ...) -> None: ...

class Compaction(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class Noop(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ImportRequest(_message.Message):
    __slots__ = ("revision", "revision_jump", "after_key", "keys", "leases", "last", "auth")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REVISION_JUMP_FIELD_NUMBER: _ClassVar[int]
    AFTER_KEY_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    AUTH_FIELD_NUMBER: _ClassVar[int]
    revision: int
    revision_jump: int
    after_key: bytes
    keys: _containers.RepeatedCompositeFieldContainer[ImportedKey]
    leases: _containers.RepeatedCompositeFieldContainer[ImportedLease]
    last: bool
    auth: _containers.RepeatedCompositeFieldContainer[ImportedAuth]
    def __init__(self, revision: _Optional[int] = ..., revision_jump: _Optional[int] = ..., after_key: _Optional[bytes] = ..., keys: _Optional[_Iterable[_Union[ImportedKey, _Mapping]]] = ..., leases: _Optional[_Iterable[_Union[ImportedLease, _Mapping]]] = ..., last: _Optional[bool] = ..., auth: _Optional[_Iterable[_Union[ImportedAuth, _Mapping]]] = ...) -> None: ...

class ImportedKey(_message.Message):
    __slots__ = ("kv", "sub")
    KV_FIELD_NUMBER: _ClassVar[int]
    SUB_FIELD_NUMBER: _ClassVar[int]
    kv: _kv_pb2.KeyValue
    sub: int
    def __init__(self, kv: _Optional[_Union[_kv_pb2.KeyValue, _Mapping]] = ..., sub: _Optional[int] = ...) -> None: ...

class ImportedLease(_message.Message):
    __slots__ = ("id", "ttl_seconds", "sub")
    ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SUB_FIELD_NUMBER: _ClassVar[int]
    id: int
    ttl_seconds: int
    sub: int
    def __init__(self, id: _Optional[int] = ..., ttl_seconds: _Optional[int] = ..., sub: _Optional[int] = ...) -> None: ...

class ImportedAuth(_message.Message):
    __slots__ = ("key", "value", "sub")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SUB_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    sub: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., sub: _Optional[int] = ...) -> None: ...

class ImportResponse(_message.Message):
    __slots__ = ("header", "last_key")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    LAST_KEY_FIELD_NUMBER: _ClassVar[int]
    header: _rpc_pb2.ResponseHeader
    last_key: bytes
    def __init__(self, header: _Optional[_Union[_rpc_pb2.ResponseHeader, _Mapping]] = ..., last_key: _Optional[bytes] = ...) -> None: ...
