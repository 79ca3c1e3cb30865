"""One region's Raft group: :class:`Group` is all that the layers above use."""

from .boot import RunningMarker, read_boot_id
from .clock import Clock, SystemClock
from .config import RaftConfig
from .disk import Disk, LocalDisk
from .group import Group
from .grpc_transport import GrpcTransport
from .transport import Transport
from .types import GroupStatus, JournalDamaged, Member, RaftError, Role, StateMachine

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
