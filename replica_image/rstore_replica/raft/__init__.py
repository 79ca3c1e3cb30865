"""One region's Raft group: :class:`Group` is all that the layers above use."""

from rstore_replica.raft.clock import Clock, SystemClock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.group import Group
from rstore_replica.raft.links.grpc_transport import GrpcTransport
from rstore_replica.raft.links.transport import Transport
from rstore_replica.raft.storage.boot import RunningMarker, read_boot_id
from rstore_replica.raft.storage.disk import Disk, LocalDisk
from rstore_replica.raft.types import GroupStatus, JournalDamaged, Member, RaftError, Role, StateMachine

__all__ = [
    "Clock",
    "Disk",
    "Group",
    "GroupStatus",
    "GrpcTransport",
    "JournalDamaged",
    "LocalDisk",
    "Member",
    "RaftConfig",
    "RaftError",
    "Role",
    "RunningMarker",
    "StateMachine",
    "SystemClock",
    "Transport",
    "read_boot_id",
]
