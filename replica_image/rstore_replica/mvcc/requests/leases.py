"""Requests about leases, and what a Put needs of the lease that it names.

Each is a revision, for its rows go to the other regions in the order of revisions; one that grants or checkpoints
leases has no events.
"""

from __future__ import annotations

from rstore_api.domain.limits import MIN_LEASE_SECONDS
from rstore_api.errors import LeaseExists, LeaseNotFound, RequestTooWide
from rstore_api.proto.rpc_pb2 import LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse
from rstore_api.proto.rstore_pb2 import LeaseCheckpoints, LeaseCheckpointsResponse, WriteRequest

from rstore_replica.mvcc.data.leases import Lease
from rstore_replica.mvcc.data.writer import Writer
from rstore_replica.mvcc.requests import validate
from rstore_replica.mvcc.requests.budget import Budget

LeaseResponse = LeaseGrantResponse | LeaseRevokeResponse | LeaseCheckpointsResponse


def execute(writer: Writer, request: WriteRequest) -> LeaseResponse:
    """Carries out one request. Raises what ``validate.check_lease`` does, LeaseExists or LeaseNotFound."""
    validate.check_lease(request)
    kind = request.WhichOneof("request")
    response: LeaseResponse
    if kind == "lease_grant":
        response = _grant(writer, request.lease_grant)
    elif kind == "lease_revoke":
        response = _revoke(writer, request.lease_revoke)
    else:
        response = _checkpoint(writer, request.lease_checkpoints)
    writer.end_revision()
    response.header.revision = writer.revision
    return response


def check_attaching(writer: Writer, lease: int, budget: Budget) -> None:
    """Raises LeaseNotFound; RequestTooWide when the lease has as many keys as one revision may delete."""
    if writer.lease(lease) is None:
        raise LeaseNotFound
    if writer.count_lease_keys(lease) >= budget.max_rows:
        raise RequestTooWide(
            f"lease {lease:016x} has {budget.max_rows} keys, as many as can be deleted at once when it ends"
        )
    if writer.long_lease_key_bytes(lease) >= budget.max_bytes:
        raise RequestTooWide(
            f"lease {lease:016x} has keys of {budget.max_bytes} bytes, as many as can be deleted at once when it ends"
        )


def _grant(writer: Writer, request: LeaseGrantRequest) -> LeaseGrantResponse:
    if writer.lease(request.ID) is not None:
        raise LeaseExists
    seconds = max(MIN_LEASE_SECONDS, request.TTL)
    writer.put_lease(Lease(request.ID, seconds, revision=writer.revision + 1))
    return LeaseGrantResponse(ID=request.ID, TTL=seconds)


def _revoke(writer: Writer, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
    if writer.lease(request.ID) is None:
        raise LeaseNotFound
    writer.revoke_lease(request.ID)
    return LeaseRevokeResponse()


def _checkpoint(writer: Writer, request: LeaseCheckpoints) -> LeaseCheckpointsResponse:
    """Leases that are gone by now are left out, as in etcd."""
    for checkpoint in request.leases:
        lease = writer.lease(checkpoint.id)
        if lease is not None:
            remaining = min(max(0, checkpoint.remaining_seconds), lease.ttl_seconds)
            writer.put_lease(Lease(lease.id, lease.ttl_seconds, remaining, writer.revision + 1))
    return LeaseCheckpointsResponse()
