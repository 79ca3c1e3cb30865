"""Bounds of leases in the state machine, and that entries of the first feature level hold none."""

from __future__ import annotations

from pathlib import Path

from rstore_api.domain.limits import MAX_LEASE_SECONDS, MIN_LEASE_SECONDS
from rstore_api.errors import InvalidRequest, LeaseNotFound, LeaseTtlTooLarge, NoSpace, RequestTooWide
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest
from rstore_api.proto.rstore_pb2 import WriteBatch, WriteLimits, WriteRequest
from unit.mvcc.replicas import Replica


def grant(lease: int, seconds: int = 60) -> WriteRequest:
    return WriteRequest(lease_grant=LeaseGrantRequest(ID=lease, TTL=seconds))


def batch(*requests: WriteRequest, **limits: int) -> WriteBatch:
    return WriteBatch(epoch=1, requests=requests, limits=WriteLimits(max_txn_ops=128, **limits))


def test_a_lease_has_no_more_keys_than_one_revision_may_delete(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data")
    puts = [WriteRequest(put=PutRequest(key=b"%d" % number, lease=1)) for number in range(4)]
    answers = replica.apply(lease_write=batch(grant(1), *puts, max_revision_rows=3))
    assert isinstance(answers[-1], RequestTooWide)
    assert replica.machine.lease_keys(1) == [b"0", b"1", b"2"]
    replica.delete(b"1")
    assert not isinstance(replica.apply(write=batch(puts[3], max_revision_rows=3))[0], RequestTooWide)
    before = replica.machine.revision
    replica.apply(lease_write=batch(WriteRequest(lease_revoke=LeaseRevokeRequest(ID=1)), max_revision_rows=1))
    assert (replica.machine.revision, replica.range().count) == (before + 1, 0)


def test_keys_that_are_deleted_in_steps_are_attached_no_more(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data", deletion_step_keys=2)
    puts = [WriteRequest(put=PutRequest(key=b"%d" % number, lease=1)) for number in range(7)]
    replica.apply(lease_write=batch(grant(1), *puts))
    answer = replica.delete_in_steps(DeleteRangeRequest(key=b"1", range_end=b"6"))
    assert answer.deleted == 5
    assert replica.machine.lease_keys(1) == [b"0", b"6"]
    replica.machine.rewind(answer.header.revision - 1)
    assert replica.machine.lease_keys(1) == [b"%d" % number for number in range(7)]


def test_times_to_live_have_the_bounds_of_etcd(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data")
    answers = replica.apply(
        lease_write=batch(grant(1, -1), grant(2, MAX_LEASE_SECONDS), grant(3, MAX_LEASE_SECONDS + 1))
    )
    assert [answer.TTL for answer in answers[:2]] == [MIN_LEASE_SECONDS, MAX_LEASE_SECONDS]
    assert isinstance(answers[2], LeaseTtlTooLarge)


def test_an_entry_that_older_versions_apply_too_changes_no_lease(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data")
    answers = replica.apply(write=batch(grant(1), WriteRequest(put=PutRequest(key=b"k", lease=1))))
    assert [type(answer) for answer in answers] == [InvalidRequest, LeaseNotFound]
    assert replica.machine.state.feature_level == 1
    replica.apply(lease_write=batch(grant(1)))
    assert replica.machine.state.feature_level == 2


def test_without_room_no_lease_is_granted_and_each_can_be_revoked(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data")
    replica.apply(lease_write=batch(grant(1)))
    revoke = WriteRequest(lease_revoke=LeaseRevokeRequest(ID=1))
    full = batch(grant(2), revoke)
    full.limits.no_space = True
    answers = replica.apply(lease_write=full)
    assert isinstance(answers[0], NoSpace)
    assert replica.machine.leases(None, 10) == ([], None)
