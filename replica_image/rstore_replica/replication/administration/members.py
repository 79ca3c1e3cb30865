"""What the operator can ask of a region's Raft group: the logic behind the Admin service's calls about members."""

from __future__ import annotations

from rstore_api import errors
from rstore_api.dialling.channels import Address
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.raft.types import GroupStatus, Member
from rstore_replica.replication.ports import RaftGroup

log = get_logger(__name__)

ANSWER_SECONDS = 2.0
"""A replica that is taken in goes on catching up after this; asking again tells how far that is."""


async def add_member(group: RaftGroup, request: pb.AddMemberRequest) -> pb.MembersResponse:
    """Takes a replica in: as a learner first, and by itself as a full member once it has caught up.

    Returns the members of the group by then; asking again is safe. Raises NotLeader, NoLeader, InvalidRequest,
    TooManyRequests while another change is under way, DeadlineExceeded when the replica does not answer.
    """
    name, address = request.name, request.peer_address
    try:
        Address.parse(address)
    except ValueError as error:
        raise errors.InvalidRequest(f"peer_address: {error}") from error
    if not name:
        raise errors.InvalidRequest("a replica's name is required")
    try:
        await group.change_members(add=Member(name, address), timeout_seconds=ANSWER_SECONDS)
    except errors.DeadlineExceeded:
        if name not in group.status().learners:
            raise
    else:
        log.info("member_added", member=name)
    return _answer(group.status())


async def remove_member(group: RaftGroup, request: pb.RemoveMemberRequest) -> pb.MembersResponse:
    """Takes a replica out; it is not the leader. Asking again is safe.

    Raises NotLeader, NoLeader, InvalidRequest, TooManyRequests, DeadlineExceeded, and NotReady when too few of those
    that stay answer.
    """
    if not request.name:
        raise errors.InvalidRequest("a replica's name is required")
    await group.change_members(remove=request.name, timeout_seconds=ANSWER_SECONDS)
    log.info("member_removed", member=request.name)
    return _answer(group.status())


def _answer(status: GroupStatus) -> pb.MembersResponse:
    return pb.MembersResponse(members=[member.name for member in status.members], learners=status.learners)
