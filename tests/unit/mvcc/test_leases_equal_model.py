"""Whatever happens to leases and keys, every region has the leases and attachments that a model has: after writes,
compaction, a stream, a snapshot, a restart, and a failover that takes some of it back.
"""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api import rows
from rstore_api.domain.epochs import settled
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.errors import StoreError
from rstore_api.proto.rpc_pb2 import DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, TxnRequest
from rstore_api.proto.rstore_pb2 import LeaseCheckpoint, LeaseCheckpoints, WriteBatch, WriteRequest
from rstore_replica.mvcc.requests.validate import puts_long_key
from unit.mvcc.replicas import Replica, operations
from unit.mvcc.tails.regions import follow, leave, promote
from unit.mvcc.transfer.transfers import install

LEASES = st.sampled_from([1, 2, 3, -4])
KEYS = st.sampled_from([b"a", b"b", b"\xff\xff", b"k" * 600, b"k" * 601])
WRITES = st.one_of(
    st.tuples(st.just("grant"), LEASES),
    st.tuples(st.just("grant"), LEASES),
    st.tuples(st.just("revoke"), LEASES),
    st.tuples(st.just("checkpoint"), st.tuples(st.lists(LEASES, min_size=1, max_size=3), st.integers(0, 50))),
    st.tuples(st.just("put"), st.tuples(KEYS, st.one_of(st.just(0), LEASES))),
    st.tuples(st.just("put"), st.tuples(KEYS, LEASES)),
    st.tuples(st.just("keep"), KEYS),
    st.tuples(st.just("puts"), st.sets(KEYS, min_size=1)),
    st.tuples(st.just("txn"), st.dictionaries(KEYS, st.one_of(st.just(0), LEASES), min_size=1)),
    st.tuples(st.just("delete"), st.tuples(KEYS, st.sampled_from([b"", b"\0"]))),
)
STEPS: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just("write"), st.lists(WRITES, min_size=1, max_size=5)),
    st.tuples(st.just("write"), st.lists(WRITES, min_size=1, max_size=5)),
    st.tuples(st.just("write"), st.lists(WRITES, min_size=1, max_size=5)),
    st.tuples(st.just("compact"), st.integers(0, 6)),
    st.tuples(st.just("sweep"), st.integers(1, 5)),
    st.tuples(st.just("follow"), st.integers(1, 4)),
    st.tuples(st.just("fail_over"), st.integers(0, 3)),
    st.tuples(st.just("lose"), st.lists(WRITES, min_size=1, max_size=4)),
    st.tuples(st.just("lose"), st.lists(WRITES, min_size=1, max_size=4)),
    st.tuples(st.just("snapshot"), st.integers(1, 4)),
    st.tuples(st.just("reopen"), st.none()),
)
TTL = 100

State = tuple[dict[int, tuple[int, int]], dict[bytes, int]]
"""Leases with the time they were granted and what is left of it; the keys there are, with their lease."""


class Model:
    """What there is, at every revision."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self.leases: dict[int, tuple[int, int]] = {}
        self.keys: dict[bytes, int] = {}
        self.states: dict[int, State] = {revision: ({}, {})}

    def write(self, kind: str, detail: Any) -> str:
        """Carries it out; returns the code of its refusal."""
        refusal = getattr(self, f"_{kind}")(detail)
        if isinstance(refusal, str):
            return refusal
        if refusal:
            self.revision += 1
            self.states[self.revision] = dict(self.leases), dict(self.keys)
        return ""

    def back_to(self, revision: int, next_revision: int) -> None:
        self.leases, self.keys = (dict(part) for part in self.states[revision])
        self.states = {each: state for each, state in self.states.items() if each <= revision}
        self.revision = next_revision

    def _grant(self, lease: int) -> str | bool:
        if lease in self.leases:
            return "lease-exists"
        self.leases[lease] = TTL, 0
        return True

    def _revoke(self, lease: int) -> str | bool:
        if lease not in self.leases:
            return "lease-not-found"
        del self.leases[lease]
        self.keys = {key: held for key, held in self.keys.items() if held != lease}
        return True

    def _checkpoint(self, detail: tuple[list[int], int]) -> bool:
        there = [lease for lease in detail[0] if lease in self.leases]
        self.leases.update(dict.fromkeys(there, (TTL, detail[1])))
        return bool(there)

    def _put(self, detail: tuple[bytes, int]) -> str | bool:
        return self._txn(dict([detail]))

    def _keep(self, key: bytes) -> str | bool:
        return True if key in self.keys else "key-not-found"

    def _puts(self, keys: set[bytes]) -> str | bool:
        return self._txn(dict.fromkeys(keys, 0))

    def _txn(self, puts: dict[bytes, int]) -> str | bool:
        if any(lease and lease not in self.leases for lease in puts.values()):
            return "lease-not-found"
        self.keys.update(puts)
        return True

    def _delete(self, detail: tuple[bytes, bytes]) -> bool:
        key, end = detail
        gone = [each for each in self.keys if each == key or (end and each >= key)]
        for each in gone:
            del self.keys[each]
        return bool(gone)


def request_of(kind: str, detail: Any) -> WriteRequest:
    match kind:
        case "grant":
            return WriteRequest(lease_grant=LeaseGrantRequest(ID=detail, TTL=TTL))
        case "revoke":
            return WriteRequest(lease_revoke=LeaseRevokeRequest(ID=detail))
        case "checkpoint":
            leases = [LeaseCheckpoint(id=lease, remaining_seconds=detail[1]) for lease in detail[0]]
            return WriteRequest(lease_checkpoints=LeaseCheckpoints(leases=leases))
        case "put":
            return WriteRequest(put=PutRequest(key=detail[0], lease=detail[1]))
        case "keep":
            return WriteRequest(put=PutRequest(key=detail, value=b"kept", ignore_lease=True))
        case "puts":
            return WriteRequest(txn=TxnRequest(success=operations([PutRequest(key=key) for key in sorted(detail)])))
        case "txn":
            puts = [PutRequest(key=key, lease=lease) for key, lease in detail.items()]
            return WriteRequest(txn=TxnRequest(success=operations(list(puts))))
    return WriteRequest(delete_range=DeleteRangeRequest(key=detail[0], range_end=detail[1]))


def write(replica: Replica, writes: list[tuple[str, Any]]) -> list[str]:
    answers: list[Any] = []
    for has_long_key, some in groupby((request_of(*each) for each in writes), puts_long_key):
        limits = replica.machine.write_limits()
        batch = WriteBatch(epoch=replica.machine.state.epoch, requests=some, limits=limits)
        answers += replica.apply(**{"long_key_write" if has_long_key else "lease_write": batch})
    return [answer.code if isinstance(answer, StoreError) else "" for answer in answers]


def held(replica: Replica) -> State:
    """What a replica has, as what it serves says; attachments are the same read from either side."""
    machine = replica.machine
    leases, after = {}, None
    while True:
        found, after = machine.leases(after, 2)
        leases.update({lease.id: (lease.ttl_seconds, lease.remaining_seconds) for lease in found})
        if after is None:
            break
    keys = {kv.key: kv.lease for kv in replica.range().kvs}
    by_lease = {lease: sorted(key for key, of in keys.items() if of == lease) for lease in leases}
    assert {lease: machine.lease_keys(lease) for lease in leases} == by_lease
    assert {lease: machine.count_lease_keys(lease) for lease in leases} == {
        lease: len(keys) for lease, keys in by_lease.items()
    }
    store = machine._store
    with store.read() as transaction:
        attached = sum(map(len, by_lease.values()))
        for databases in ((store.attached, store.long_attached), (store.lease_keys, store.long_lease_keys)):
            assert sum(transaction.stat(database)["entries"] for database in databases) == attached
    return leases, keys


def level_of(model: Model) -> int:
    """What a region has to know that gets all there is."""
    if any(len(key) > SHORT_KEY_BYTES for key in model.keys):
        return rows.LONG_KEYS_LEVEL
    return 2 if model.leases else 1


class Regions:
    """A primary, a secondary, and what they should have."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.primary, self.secondary = Replica(directory / "us"), Replica(directory / "eu", "eu")
        self.model = Model(self.primary.machine.revision)
        self.snapshots = 0

    def write(self, writes: list[tuple[str, Any]]) -> None:
        assert write(self.primary, writes) == [self.model.write(*each) for each in writes]

    def compact(self, behind: int) -> None:
        machine = self.primary.machine
        self.primary.compact(settled(machine.state.history, machine.revision - behind))

    def sweep(self, max_rows: int) -> None:
        self.primary.machine.compact_step(max_rows)

    def follow(self, max_rows: int) -> None:
        if self.secondary.machine.revision >= self.primary.machine.compact_revision:
            follow(self.primary, self.secondary, max_rows=max_rows)
        else:
            install(self.primary, self.secondary, max_rows=max_rows)
        assert held(self.secondary) == (self.model.leases, self.model.keys)

    def fail_over(self, max_rows: int) -> None:
        """The secondary becomes primary; the other one leaves what only it has."""
        fork = self.secondary.machine.revision
        follows = self.secondary.machine.state.history == self.primary.machine.state.history
        if not follows or fork < self.primary.machine.compact_revision:
            return
        first = promote(self.secondary, self.primary.machine.state.epoch + 1)
        self.primary, self.secondary = self.secondary, self.primary
        leave(self.primary, self.secondary, max_rows=max_rows)
        self.model.back_to(max(each for each in self.model.states if each <= fork), first - 1)
        assert held(self.secondary) == (self.model.leases, self.model.keys)
        self.follow(10)

    def lose(self, writes: list[tuple[str, Any]]) -> None:
        """Some writes do not reach the region that takes over."""
        self.follow(10)
        self.write(writes)
        self.fail_over(2)

    def snapshot(self, max_rows: int) -> None:
        """Another region begins."""
        self.snapshots += 1
        third = Replica(self.directory / f"third-{self.snapshots}", "ap")
        install(self.primary, third, max_rows=max_rows)
        assert held(third) == (self.model.leases, self.model.keys)
        assert third.machine.state.feature_level == level_of(self.model)
        third.machine.close()

    def reopen(self, _: None) -> None:
        self.primary.reopen()
        self.secondary.reopen()

    def check(self) -> None:
        assert self.primary.machine.revision == self.model.revision
        assert held(self.primary) == (self.model.leases, self.model.keys)

    def end(self) -> None:
        for revision, (_, keys) in self.model.states.items():
            if revision >= self.primary.machine.compact_revision:
                assert {kv.key: kv.lease for kv in self.primary.range(revision=revision).kvs} == keys
        self.primary.machine.close()
        self.secondary.machine.close()


@settings(max_examples=120)
@given(steps=st.lists(STEPS, max_size=16))
def test_any_sequence(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        regions = Regions(Path(directory))
        for kind, detail in steps:
            getattr(regions, kind)(detail)
            regions.check()
        regions.end()
