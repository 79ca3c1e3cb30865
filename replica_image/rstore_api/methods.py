"""The methods that replicas serve: path, messages, and whether a call changes something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from rstore_api.proto import rpc_pb2, rstore_pb2, v3election_pb2, v3lock_pb2

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True)
class Method(Generic[RequestT, ResponseT]):
    """A method: its path, what it takes and gives, and whether it changes the store."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]
    changes: bool


RANGE = Method("/etcdserverpb.KV/Range", rpc_pb2.RangeRequest, rpc_pb2.RangeResponse, changes=False)
PUT = Method("/etcdserverpb.KV/Put", rpc_pb2.PutRequest, rpc_pb2.PutResponse, changes=True)
DELETE_RANGE = Method(
    "/etcdserverpb.KV/DeleteRange", rpc_pb2.DeleteRangeRequest, rpc_pb2.DeleteRangeResponse, changes=True
)
TXN = Method("/etcdserverpb.KV/Txn", rpc_pb2.TxnRequest, rpc_pb2.TxnResponse, changes=True)
COMPACT = Method("/etcdserverpb.KV/Compact", rpc_pb2.CompactionRequest, rpc_pb2.CompactionResponse, changes=True)
WATCH = Method("/etcdserverpb.Watch/Watch", rpc_pb2.WatchRequest, rpc_pb2.WatchResponse, changes=False)
LEASE_GRANT = Method(
    "/etcdserverpb.Lease/LeaseGrant", rpc_pb2.LeaseGrantRequest, rpc_pb2.LeaseGrantResponse, changes=True
)
LEASE_REVOKE = Method(
    "/etcdserverpb.Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest, rpc_pb2.LeaseRevokeResponse, changes=True
)
LEASE_KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", rpc_pb2.LeaseKeepAliveRequest, rpc_pb2.LeaseKeepAliveResponse, changes=False
)
LEASE_TIME_TO_LIVE = Method(
    "/etcdserverpb.Lease/LeaseTimeToLive",
    rpc_pb2.LeaseTimeToLiveRequest,
    rpc_pb2.LeaseTimeToLiveResponse,
    changes=False,
)
LEASE_LEASES = Method(
    "/etcdserverpb.Lease/LeaseLeases", rpc_pb2.LeaseLeasesRequest, rpc_pb2.LeaseLeasesResponse, changes=False
)
LOCK = Method("/v3lockpb.Lock/Lock", v3lock_pb2.LockRequest, v3lock_pb2.LockResponse, changes=True)
UNLOCK = Method("/v3lockpb.Lock/Unlock", v3lock_pb2.UnlockRequest, v3lock_pb2.UnlockResponse, changes=True)
CAMPAIGN = Method(
    "/v3electionpb.Election/Campaign", v3election_pb2.CampaignRequest, v3election_pb2.CampaignResponse, changes=True
)
PROCLAIM = Method(
    "/v3electionpb.Election/Proclaim", v3election_pb2.ProclaimRequest, v3election_pb2.ProclaimResponse, changes=True
)
LEADER = Method(
    "/v3electionpb.Election/Leader", v3election_pb2.LeaderRequest, v3election_pb2.LeaderResponse, changes=False
)
OBSERVE = Method(
    "/v3electionpb.Election/Observe", v3election_pb2.LeaderRequest, v3election_pb2.LeaderResponse, changes=False
)
RESIGN = Method(
    "/v3electionpb.Election/Resign", v3election_pb2.ResignRequest, v3election_pb2.ResignResponse, changes=True
)
RENEW_LEASES = Method(
    "/rstore.v1.Leases/Renew", rstore_pb2.RenewLeasesRequest, rstore_pb2.RenewLeasesResponse, changes=False
)
"""Between replicas, on the client port."""
AUTH_ENABLE = Method(
    "/etcdserverpb.Auth/AuthEnable", rpc_pb2.AuthEnableRequest, rpc_pb2.AuthEnableResponse, changes=True
)
AUTH_DISABLE = Method(
    "/etcdserverpb.Auth/AuthDisable", rpc_pb2.AuthDisableRequest, rpc_pb2.AuthDisableResponse, changes=True
)
AUTH_STATUS = Method(
    "/etcdserverpb.Auth/AuthStatus", rpc_pb2.AuthStatusRequest, rpc_pb2.AuthStatusResponse, changes=False
)
AUTHENTICATE = Method(
    "/etcdserverpb.Auth/Authenticate", rpc_pb2.AuthenticateRequest, rpc_pb2.AuthenticateResponse, changes=False
)
USER_ADD = Method("/etcdserverpb.Auth/UserAdd", rpc_pb2.AuthUserAddRequest, rpc_pb2.AuthUserAddResponse, changes=True)
USER_GET = Method("/etcdserverpb.Auth/UserGet", rpc_pb2.AuthUserGetRequest, rpc_pb2.AuthUserGetResponse, changes=False)
USER_LIST = Method(
    "/etcdserverpb.Auth/UserList", rpc_pb2.AuthUserListRequest, rpc_pb2.AuthUserListResponse, changes=False
)
USER_DELETE = Method(
    "/etcdserverpb.Auth/UserDelete", rpc_pb2.AuthUserDeleteRequest, rpc_pb2.AuthUserDeleteResponse, changes=True
)
USER_CHANGE_PASSWORD = Method(
    "/etcdserverpb.Auth/UserChangePassword",
    rpc_pb2.AuthUserChangePasswordRequest,
    rpc_pb2.AuthUserChangePasswordResponse,
    changes=True,
)
USER_GRANT_ROLE = Method(
    "/etcdserverpb.Auth/UserGrantRole",
    rpc_pb2.AuthUserGrantRoleRequest,
    rpc_pb2.AuthUserGrantRoleResponse,
    changes=True,
)
USER_REVOKE_ROLE = Method(
    "/etcdserverpb.Auth/UserRevokeRole",
    rpc_pb2.AuthUserRevokeRoleRequest,
    rpc_pb2.AuthUserRevokeRoleResponse,
    changes=True,
)
ROLE_ADD = Method("/etcdserverpb.Auth/RoleAdd", rpc_pb2.AuthRoleAddRequest, rpc_pb2.AuthRoleAddResponse, changes=True)
ROLE_GET = Method("/etcdserverpb.Auth/RoleGet", rpc_pb2.AuthRoleGetRequest, rpc_pb2.AuthRoleGetResponse, changes=False)
ROLE_LIST = Method(
    "/etcdserverpb.Auth/RoleList", rpc_pb2.AuthRoleListRequest, rpc_pb2.AuthRoleListResponse, changes=False
)
ROLE_DELETE = Method(
    "/etcdserverpb.Auth/RoleDelete", rpc_pb2.AuthRoleDeleteRequest, rpc_pb2.AuthRoleDeleteResponse, changes=True
)
ROLE_GRANT_PERMISSION = Method(
    "/etcdserverpb.Auth/RoleGrantPermission",
    rpc_pb2.AuthRoleGrantPermissionRequest,
    rpc_pb2.AuthRoleGrantPermissionResponse,
    changes=True,
)
ROLE_REVOKE_PERMISSION = Method(
    "/etcdserverpb.Auth/RoleRevokePermission",
    rpc_pb2.AuthRoleRevokePermissionRequest,
    rpc_pb2.AuthRoleRevokePermissionResponse,
    changes=True,
)
MEMBER_LIST = Method(
    "/etcdserverpb.Cluster/MemberList", rpc_pb2.MemberListRequest, rpc_pb2.MemberListResponse, changes=False
)
MEMBER_ADD = Method(
    "/etcdserverpb.Cluster/MemberAdd", rpc_pb2.MemberAddRequest, rpc_pb2.MemberAddResponse, changes=False
)
MEMBER_REMOVE = Method(
    "/etcdserverpb.Cluster/MemberRemove", rpc_pb2.MemberRemoveRequest, rpc_pb2.MemberRemoveResponse, changes=False
)
MEMBER_UPDATE = Method(
    "/etcdserverpb.Cluster/MemberUpdate", rpc_pb2.MemberUpdateRequest, rpc_pb2.MemberUpdateResponse, changes=False
)
MEMBER_PROMOTE = Method(
    "/etcdserverpb.Cluster/MemberPromote", rpc_pb2.MemberPromoteRequest, rpc_pb2.MemberPromoteResponse, changes=False
)
STATUS = Method("/etcdserverpb.Maintenance/Status", rpc_pb2.StatusRequest, rpc_pb2.StatusResponse, changes=False)
ALARM = Method("/etcdserverpb.Maintenance/Alarm", rpc_pb2.AlarmRequest, rpc_pb2.AlarmResponse, changes=False)
DEFRAGMENT = Method(
    "/etcdserverpb.Maintenance/Defragment", rpc_pb2.DefragmentRequest, rpc_pb2.DefragmentResponse, changes=False
)
MOVE_LEADER = Method(
    "/etcdserverpb.Maintenance/MoveLeader", rpc_pb2.MoveLeaderRequest, rpc_pb2.MoveLeaderResponse, changes=True
)
DOWNGRADE = Method(
    "/etcdserverpb.Maintenance/Downgrade", rpc_pb2.DowngradeRequest, rpc_pb2.DowngradeResponse, changes=False
)
HASH = Method("/etcdserverpb.Maintenance/Hash", rpc_pb2.HashRequest, rpc_pb2.HashResponse, changes=False)
HASH_KV = Method("/etcdserverpb.Maintenance/HashKV", rpc_pb2.HashKVRequest, rpc_pb2.HashKVResponse, changes=False)
SNAPSHOT = Method(
    "/etcdserverpb.Maintenance/Snapshot", rpc_pb2.SnapshotRequest, rpc_pb2.SnapshotResponse, changes=False
)

ADMIN_STATUS = Method("/rstore.v1.Admin/Status", rstore_pb2.StatusRequest, rstore_pb2.StatusResponse, changes=False)
ADMIN_BOOTSTRAP = Method(
    "/rstore.v1.Admin/Bootstrap", rstore_pb2.BootstrapRequest, rstore_pb2.BootstrapResponse, changes=True
)
ADMIN_SET_TOPOLOGY = Method(
    "/rstore.v1.Admin/SetTopology", rstore_pb2.SetTopologyRequest, rstore_pb2.SetTopologyResponse, changes=True
)
ADMIN_DEMOTE = Method("/rstore.v1.Admin/Demote", rstore_pb2.DemoteRequest, rstore_pb2.DemoteResponse, changes=True)
ADMIN_PROMOTE = Method("/rstore.v1.Admin/Promote", rstore_pb2.PromoteRequest, rstore_pb2.PromoteResponse, changes=True)
ADMIN_FENCE = Method("/rstore.v1.Admin/Fence", rstore_pb2.FenceRequest, rstore_pb2.FenceResponse, changes=True)
ADMIN_WITNESS_GRANT = Method(
    "/rstore.v1.Admin/WitnessGrant", rstore_pb2.WitnessGrantRequest, rstore_pb2.WitnessGrantResponse, changes=True
)
ADMIN_TRANSFER_LEADERSHIP = Method(
    "/rstore.v1.Admin/TransferLeadership",
    rstore_pb2.TransferLeadershipRequest,
    rstore_pb2.TransferLeadershipResponse,
    changes=True,
)
ADMIN_ADD_MEMBER = Method(
    "/rstore.v1.Admin/AddMember", rstore_pb2.AddMemberRequest, rstore_pb2.MembersResponse, changes=True
)
ADMIN_REMOVE_MEMBER = Method(
    "/rstore.v1.Admin/RemoveMember", rstore_pb2.RemoveMemberRequest, rstore_pb2.MembersResponse, changes=True
)
ADMIN_SET_ACCESS = Method(
    "/rstore.v1.Admin/SetAccess", rstore_pb2.SetAccessRequest, rstore_pb2.SetAccessResponse, changes=True
)

QUARANTINE_LIST = Method(
    "/rstore.v1.Quarantine/List", rstore_pb2.QuarantineListRequest, rstore_pb2.QuarantineListResponse, changes=False
)
QUARANTINE_READ = Method(
    "/rstore.v1.Quarantine/Read", rstore_pb2.QuarantineReadRequest, rstore_pb2.QuarantineReadResponse, changes=False
)
QUARANTINE_DROP = Method(
    "/rstore.v1.Quarantine/Drop", rstore_pb2.QuarantineDropRequest, rstore_pb2.QuarantineDropResponse, changes=True
)

GRANT = Method("/rstore.v1.Replication/Grant", rstore_pb2.GrantRequest, rstore_pb2.GrantResponse, changes=True)
STREAM = Method("/rstore.v1.Replication/Stream", rstore_pb2.StreamRequest, rstore_pb2.StreamResponse, changes=True)
SHOWN = Method("/rstore.v1.Replication/Shown", rstore_pb2.ShownRequest, rstore_pb2.ShownResponse, changes=False)

ARCHIVE_FOLLOW = Method("/rstore.v1.Archive/Follow", rstore_pb2.FollowRequest, rstore_pb2.FollowResponse, changes=False)
ARCHIVE_BASE = Method("/rstore.v1.Archive/Base", rstore_pb2.BaseRequest, rstore_pb2.SnapshotChunk, changes=False)
ARCHIVE_CONFIRM = Method(
    "/rstore.v1.Archive/Confirm", rstore_pb2.ConfirmRequest, rstore_pb2.ConfirmResponse, changes=False
)
"""Both answer one request with a stream."""

IMPORT_STEP = Method("/rstore.v1.Import/Step", rstore_pb2.ImportRequest, rstore_pb2.ImportResponse, changes=True)
"""On the client port, and forwarded like writes."""
