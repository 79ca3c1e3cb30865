"""Data from elsewhere becomes the data of a store in which nothing was written, with all regions."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_api.domain.limits import MAX_KEY_BYTES
from rstore_api.errors import Gap, InvalidRequest, KeyTooLong, NotBootstrapped, NotPrimary, WrongStore
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import (
    AuthRole,
    AuthSwitch,
    AuthUser,
    ImportedAuth,
    ImportedKey,
    ImportedLease,
    ImportRequest,
    ImportStep,
)
from rstore_api.rows import LONG_KEYS_LEVEL
from rstore_replica.mvcc.data.auth import with_token_key
from rstore_replica.mvcc.transfer.importing import holds_long_key, step_of
from unit.mvcc.replicas import Replica, topology
from unit.mvcc.transfer.transfers import install

REVISION, JUMP = 700, 1000


def kv(number: int, **fields: int) -> ImportedKey:
    numbers = {"create_revision": 5, "mod_revision": 10 + number, "version": 3, **fields}
    return ImportedKey(kv=KeyValue(key=b"key-%02d" % number, value=b"v%d" % number, **numbers), sub=number % 3)


def parts(count: int = 10, per_part: int = 3, **fields: int) -> list[ImportRequest]:
    keys = [kv(number, **fields) for number in range(count)]
    requests = [
        ImportRequest(revision=REVISION, revision_jump=JUMP, keys=keys[at : at + per_part])
        for at in range(0, count, per_part)
    ]
    requests[-1].leases.append(ImportedLease(id=7, ttl_seconds=60, sub=1 << 31))
    requests[-1].last = True
    return requests


def send(replica: Replica, requests: list[ImportRequest]) -> object:
    after, answer = b"", None
    for request in requests:
        request.after_key = after
        step = step_of(request, replica.machine.state)
        answer = replica.apply(import_step=step)
        after = step.chunk.last_key
    return answer


@pytest.fixture
def us(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "us")


def test_nothing_is_seen_before_all_is_there_and_then_everything_is(us: Replica) -> None:
    requests = parts()
    send(us, requests[:-1])
    assert (us.machine.revision, list(us.range().kvs)) == (1, [])
    assert send(us, requests) == REVISION + JUMP
    assert [(item.key, item.mod_revision, item.create_revision, item.version) for item in us.range().kvs] == [
        (b"key-%02d" % number, 10 + number, 5, 3) for number in range(10)
    ]
    assert (us.machine.revision, us.machine.compact_revision) == (REVISION + JUMP, REVISION + JUMP)
    assert us.put(b"key-03").header.revision == REVISION + JUMP + 1
    assert us.range(b"key-03", b"").kvs[0].version == 4
    assert [lease.id for lease in us.machine.leases(None, 10)[0]] == [7]


def test_keys_are_attached_to_the_leases_that_come_with_them(us: Replica) -> None:
    changes: list[dict[int, object]] = []
    us.machine.subscribe_leases(lambda change: changes.append(dict(change)))
    send(us, parts(lease=7))
    assert [sorted(change) for change in changes] == [[7]]
    assert len(us.machine.lease_keys(7)) == 10


AUTH = [
    (b"rreader", AuthRole(name="reader").SerializeToString()),
    (b"s", AuthSwitch(enabled=True, revision=4, token_key=b"k" * 32).SerializeToString()),
    (b"uroot", AuthUser(name="root", roles=["root"], no_password=True).SerializeToString()),
]


def with_auth(requests: list[ImportRequest], records: list[tuple[bytes, bytes]]) -> list[ImportRequest]:
    for number, (key, value) in enumerate(records):
        requests[-1].auth.append(ImportedAuth(key=key, value=value, sub=(3 << 30) + number))
    return requests


def test_users_and_roles_come_with_it_and_are_in_force(us: Replica, tmp_path: Path) -> None:
    assert send(us, with_auth(parts(), AUTH)) == REVISION + JUMP
    eu = Replica(tmp_path / "eu", "eu")
    install(us, eu)
    for replica in (us, eu):
        state = replica.machine.auth
        assert (state.enabled, state.revision, state.token_key) == (True, 4, b"k" * 32)
        assert replica.machine.read_auth(lambda records: (records.users(), records.roles())) == (["root"], ["reader"])


@pytest.mark.parametrize(
    "record",
    [
        (b"x", b""),
        (b"u", AuthUser().SerializeToString()),
        (b"uroot", AuthUser(name="toor").SerializeToString()),
        (b"rroot", b"\xff"),
        (b"u\xff", b""),
        (b"s", AuthSwitch(enabled=True, token_key=b"short").SerializeToString()),
    ],
)
def test_what_is_no_user_and_no_role_is_refused(us: Replica, record: tuple[bytes, bytes]) -> None:
    with pytest.raises(InvalidRequest, match="no user, no role"):
        step_of(with_auth(parts(), [record])[-1], us.machine.state)


def test_the_key_of_tokens_is_another_one_where_auth_is_on() -> None:
    changed = {key: with_token_key(key, value, b"n" * 32) for key, value in AUTH}
    assert AuthSwitch.FromString(changed[b"s"]) == AuthSwitch(enabled=True, revision=4, token_key=b"n" * 32)
    assert {key: value for key, value in changed.items() if key != b"s"} == dict(AUTH[:1] + AUTH[2:])
    off = AuthSwitch(revision=4).SerializeToString()
    assert with_token_key(b"s", off, b"n" * 32) == off


def test_another_region_gets_all_of_it_and_what_follows(us: Replica, tmp_path: Path) -> None:
    eu = Replica(tmp_path / "eu", "eu")
    send(us, parts())
    us.put(b"key-03", b"later")
    install(us, eu)
    eu.follow(us)
    assert eu.machine.revision == us.machine.revision == REVISION + JUMP + 1
    assert eu.hash().hash == us.hash().hash
    assert [lease.id for lease in eu.machine.leases(None, 10)[0]] == [7]


def test_a_replica_that_starts_again_goes_on(us: Replica) -> None:
    requests = parts()
    send(us, requests[:2])
    us.reopen()
    requests[2].after_key = requests[1].keys[-1].kv.key
    requests[3].after_key = requests[2].keys[-1].kv.key
    for request in requests[2:]:
        answer = us.apply(import_step=step_of(request, us.machine.state))
    assert answer == REVISION + JUMP
    assert len(us.range().kvs) == 10


def test_a_part_may_come_again_and_none_may_be_left_out(us: Replica) -> None:
    requests = parts()
    send(us, requests[:2])
    again = step_of(requests[1], us.machine.state)
    assert us.apply(import_step=again) == again.chunk.last_key
    requests[3].after_key = requests[2].keys[-1].kv.key
    assert isinstance(us.apply(import_step=step_of(requests[3], us.machine.state)), Gap)
    assert send(us, requests) == REVISION + JUMP


def test_a_store_that_has_data_keeps_it(us: Replica) -> None:
    requests = parts()
    send(us, requests[:-1])
    us.put(b"written")
    refused = us.apply(import_step=step_of(requests[-1], us.machine.state))
    assert isinstance(refused, InvalidRequest)
    assert "nothing was written" in str(refused)
    assert [item.key for item in us.range().kvs] == [b"written"]


def test_only_the_primary_of_a_store_takes_it(us: Replica, tmp_path: Path) -> None:
    step = step_of(parts()[0], us.machine.state)
    fresh = Replica(tmp_path / "fresh", bootstrap=None)
    assert isinstance(fresh.apply(import_step=step), NotBootstrapped)
    fresh.bootstrap(topology("us"), store="another")
    assert isinstance(fresh.apply(import_step=step), WrongStore)
    secondary = Replica(tmp_path / "eu", "eu")
    assert isinstance(secondary.apply(import_step=step), NotPrimary)
    us.promise(2)
    assert isinstance(us.apply(import_step=step), NotPrimary)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"mod_revision": REVISION + 1}, InvalidRequest),
        ({"create_revision": 0}, InvalidRequest),
        ({"create_revision": 50}, InvalidRequest),
        ({"version": 0}, InvalidRequest),
    ],
)
def test_keys_that_cannot_be_are_refused(us: Replica, wrong: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        step_of(ImportRequest(revision=REVISION, keys=[kv(1, **wrong)]), us.machine.state)


def test_keys_of_every_length_come_in_with_leases(us: Replica) -> None:
    keys = sorted([b"a", b"k" * 511, b"k" * 512, b"k" * 940, *(b"\xff" * size for size in (511, 512, 600))])
    whole = [ImportedKey(kv=KeyValue(key=key, create_revision=5, mod_revision=9, version=1, lease=7)) for key in keys]
    for number, imported in enumerate(whole):
        imported.sub = number
    requests = [ImportRequest(revision=REVISION, keys=whole[at : at + 2]) for at in range(0, len(whole), 2)]
    requests.append(ImportRequest(revision=REVISION, leases=[ImportedLease(id=7, ttl_seconds=60, sub=1)], last=True))
    assert [holds_long_key(request) for request in requests] == [False, True, True, True, False]
    after, answer = b"", None
    for request in requests:
        request.after_key = after
        step = step_of(request, us.machine.state)
        kind = "long_key_import" if holds_long_key(request) else "import_step"
        answer = us.apply(**{kind: step})
        after = step.chunk.last_key
    assert answer == REVISION
    assert [kv.key for kv in us.range().kvs] == keys == us.machine.lease_keys(7)
    assert us.machine.state.feature_level == LONG_KEYS_LEVEL


def test_lengths_of_keys_and_leases_that_cannot_be_are_refused(us: Replica) -> None:
    long, empty = kv(1), kv(1)
    long.kv.key, empty.kv.key = b"x" * (MAX_KEY_BYTES + 1), b""
    with pytest.raises(KeyTooLong):
        step_of(ImportRequest(revision=REVISION, keys=[long]), us.machine.state)
    with pytest.raises(InvalidRequest):
        step_of(ImportRequest(revision=REVISION, keys=[empty]), us.machine.state)
    with pytest.raises(InvalidRequest):
        step_of(ImportRequest(revision=REVISION, leases=[ImportedLease(id=0, ttl_seconds=5)]), us.machine.state)


def test_keys_out_of_order_are_refused(us: Replica) -> None:
    step = step_of(ImportRequest(revision=REVISION, keys=[kv(2), kv(1)]), us.machine.state)
    assert isinstance(us.apply(import_step=step), InvalidRequest)


@pytest.mark.parametrize("jump", [-1, (1 << 40) + 1])
def test_a_jump_that_cannot_be_is_refused(us: Replica, jump: int) -> None:
    step = step_of(ImportRequest(revision=REVISION, keys=[kv(1)]), us.machine.state)
    refused = us.apply(import_step=ImportStep(chunk=step.chunk, revision_jump=jump))
    assert isinstance(refused, InvalidRequest)
