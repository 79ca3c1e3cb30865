"""The keys and the requests of etcd's locks and elections, as etcd's ``clientv3/concurrency`` has them.

A client that wants a lock, or to lead, has the key ``<name>/<lease in hexadecimal>`` created, attached to its lease.
The oldest key of a name, by its create revision, holds the lock or leads; each other one waits until the key that is
next older is deleted. So a release wakes one waiter, and a lease that ends releases what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api.proto import rpc_pb2 as rpc

LEASE_SECONDS = 60
"""Of the lease that is granted for a request that names none, as in etcd; nobody renews it."""


@dataclass(frozen=True)
class Candidate:
    """Who holds a lock, leads, or waits for that."""

    name: bytes
    key: bytes
    lease: int
    revision: int
    """The create revision of its key."""
    value: bytes = b""


def candidates_of(name: bytes) -> tuple[bytes, bytes]:
    """Returns key and range end of all candidates for a lock or an election."""
    return name + b"/", name + b"0"  # "0" follows "/"


def key_of(name: bytes, lease: int) -> bytes:
    """Returns the key of a candidate."""
    return name + b"/%x" % lease


def stand(name: bytes, lease: int, value: bytes) -> rpc.TxnRequest:
    """Returns the request that creates a candidate's key, where it does not exist yet, and reads the oldest one."""
    key = key_of(name, lease)
    oldest = rpc.RequestOp(request_range=oldest_of(name))
    create = rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))
    return rpc.TxnRequest(
        compare=[_created_at(key, 0)],
        success=[create, oldest],
        failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key)), oldest],
    )


def stood(name: bytes, lease: int, value: bytes, response: rpc.TxnResponse) -> tuple[Candidate, bool]:
    """Returns the candidate that the answer to :func:`stand` is about, and whether its key is the oldest."""
    key, revision = key_of(name, lease), response.header.revision
    if not response.succeeded:
        [own] = response.responses[0].response_range.kvs
        revision, value = own.create_revision, own.value
    oldest = response.responses[1].response_range.kvs
    first = not oldest or oldest[0].create_revision == revision
    return Candidate(name, key, lease, revision, value), first


def oldest_of(name: bytes) -> rpc.RangeRequest:
    """Returns the request for the candidate that holds the lock, or leads."""
    key, range_end = candidates_of(name)
    return rpc.RangeRequest(
        key=key, range_end=range_end, limit=1, sort_target=rpc.RangeRequest.CREATE, sort_order=rpc.RangeRequest.ASCEND
    )


def next_older(candidate: Candidate) -> rpc.RangeRequest:
    """Returns the request for the key for whose deletion a candidate waits."""
    key, range_end = candidates_of(candidate.name)
    return rpc.RangeRequest(
        key=key,
        range_end=range_end,
        limit=1,
        sort_target=rpc.RangeRequest.CREATE,
        sort_order=rpc.RangeRequest.DESCEND,
        max_create_revision=candidate.revision - 1,
        keys_only=True,
    )


def replace(candidate: Candidate, value: bytes) -> rpc.TxnRequest:
    """Returns the request that gives a candidate's key another value, if it still has the key."""
    put = rpc.PutRequest(key=candidate.key, value=value, lease=candidate.lease)
    return rpc.TxnRequest(
        compare=[_created_at(candidate.key, candidate.revision)], success=[rpc.RequestOp(request_put=put)]
    )


def withdraw(candidate: Candidate) -> rpc.TxnRequest:
    """Returns the request that deletes a candidate's key, if it still has it."""
    delete = rpc.DeleteRangeRequest(key=candidate.key)
    return rpc.TxnRequest(
        compare=[_created_at(candidate.key, candidate.revision)],
        success=[rpc.RequestOp(request_delete_range=delete)],
    )


def _created_at(key: bytes, revision: int) -> rpc.Compare:
    return rpc.Compare(key=key, target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL, create_revision=revision)
