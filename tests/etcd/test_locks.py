"""Locks and elections: the same requests to a real etcd and to a store, the same answers and texts.

etcd answers every error of these services with UNKNOWN; a store, where it is the error of a Put or a Txn, with that
one's code. As revisions count grants of leases in a store, those are left out of what is compared.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pytest
from etcd import etcd_process
from etcd.servers import Answer, Server
from etcd.test_lease import get, grant, revoke, strip
from rstore_api import methods
from rstore_api.proto.v3election_pb2 import (
    CampaignRequest,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ResignRequest,
)
from rstore_api.proto.v3lock_pb2 import LockRequest, UnlockRequest

SECONDS = 20.0
Case = Callable[[Server, bytes, int], Any]
_CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Adds a case; it is given a server, a name, and an id for its leases, which may count up to 99."""
    _CASES[function.__name__] = function
    return function


def lock(server: Server, name: bytes, lease: int) -> Answer:
    return server.call(methods.LOCK, LockRequest(name=name, lease=lease))


def unlock(server: Server, key: bytes) -> Answer:
    return server.call(methods.UNLOCK, UnlockRequest(key=key))


def campaign(server: Server, name: bytes, lease: int, value: bytes) -> Answer:
    return server.call(methods.CAMPAIGN, CampaignRequest(name=name, lease=lease, value=value))


def leader(server: Server, name: bytes) -> Answer:
    return server.call(methods.LEADER, LeaderRequest(name=name))


def proclaim(server: Server, key: LeaderKey, value: bytes) -> Answer:
    return server.call(methods.PROCLAIM, ProclaimRequest(leader=key, value=value))


def resign(server: Server, key: LeaderKey) -> Answer:
    return server.call(methods.RESIGN, ResignRequest(leader=key))


def plain(value: Any) -> Any:
    """Returns what a case has returned in the form that is compared."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    value = strip(value)
    if isinstance(value, Answer):
        if value.message is not None and hasattr(value.message, "leader"):
            value.message.leader.rev = 0
        is_of_write = value.text.startswith("etcdserver: ")
        return Answer(value.message, "UNKNOWN" if is_of_write else value.code, value.text)
    return value


class Waiting:
    """A call that is under way in a thread."""

    def __init__(self, call: Callable[[], Answer]) -> None:
        self._answers: Queue[Answer] = Queue()
        self._thread = threading.Thread(target=lambda: self._answers.put(call()), daemon=True)
        self._thread.start()

    @property
    def waits(self) -> bool:
        return self._answers.empty()

    def answer(self) -> Answer:
        return self._answers.get(timeout=SECONDS)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keys_of(server: Server, name: bytes) -> list[bytes]:
    return [item.key for item in get(server, name + b"/", range_end=name + b"0").message.kvs]


def waiting_lock(server: Server, name: bytes, lease: int) -> Waiting:
    """Returns a call of Lock whose key exists."""
    waiting = Waiting(lambda: lock(server, name, lease))
    until(lambda: name + b"/%x" % lease in keys_of(server, name))
    return waiting


@case
def a_lock_that_is_free(server: Server, name: bytes, lease: int) -> Any:
    grant(server, lease)
    grant(server, -lease)
    return [
        lock(server, name, lease),
        lock(server, name, lease),
        get(server, name, range_end=name + b"\xff"),
        unlock(server, name + b"/%x" % lease),
        unlock(server, name + b"/%x" % lease),
        lock(server, name, -lease),
        revoke(server, -lease),
        lock(server, name, -lease),
        unlock(server, b""),
        lock(server, b"", lease),
    ]


@case
def a_lock_without_a_lease(server: Server, name: bytes, lease: int) -> Any:
    answer = lock(server, name, 0)
    assert answer.message.key.startswith(name + b"/")
    [held] = get(server, name, range_end=name + b"\xff").message.kvs
    assert b"%x" % held.lease == answer.message.key.removeprefix(name + b"/")
    return unlock(server, answer.message.key)


@case
def those_that_wait_get_the_lock_in_their_order(server: Server, name: bytes, lease: int) -> Any:
    for number in range(4):
        grant(server, lease + number)
    done: list[Any] = [lock(server, name, lease)]
    waiting = [waiting_lock(server, name, lease + number) for number in (1, 2, 3)]
    assert all(each.waits for each in waiting)
    unlock(server, name + b"/%x" % (lease + 2))
    unlock(server, name + b"/%x" % lease)
    done.append(waiting[0].answer())
    assert waiting[2].waits
    revoke(server, lease + 1)
    return [*done, waiting[1].answer(), waiting[2].answer()]


@case
def a_lease_that_ends_while_its_lock_is_waited_for(server: Server, name: bytes, lease: int) -> Any:
    for number in range(2):
        grant(server, lease + number)
    lock(server, name, lease)
    waiting = waiting_lock(server, name, lease + 1)
    revoke(server, lease + 1)
    assert waiting.waits
    unlock(server, name + b"/%x" % lease)
    return waiting.answer()


@case
def a_client_that_goes_away_waits_no_more(server: Server, name: bytes, lease: int) -> Any:
    for number in range(2):
        grant(server, lease + number)
    lock(server, name, lease)
    invoke = server.channel.unary_unary(
        methods.LOCK.path,
        request_serializer=LockRequest.SerializeToString,
        response_deserializer=methods.LOCK.response.FromString,
    )
    call = invoke.future(LockRequest(name=name, lease=lease + 1), timeout=SECONDS)
    until(lambda: len(keys_of(server, name)) == 2)
    call.cancel()
    until(lambda: len(keys_of(server, name)) == 1)
    with pytest.raises(grpc.RpcError):
        invoke(LockRequest(name=name, lease=lease + 1), timeout=0.5)
    until(lambda: len(keys_of(server, name)) == 1)
    return get(server, name, range_end=name + b"\xff")


@case
def an_election(server: Server, name: bytes, lease: int) -> Any:
    for number in range(2):
        grant(server, lease + number)
    done: list[Any] = [leader(server, name)]
    elected = campaign(server, name, lease, b"1")
    key = LeaderKey.FromString(elected.message.leader.SerializeToString())
    done += [elected, leader(server, name), campaign(server, name, lease, b"2"), leader(server, name)]
    done += [proclaim(server, key, b"3"), leader(server, name)]
    other = LeaderKey.FromString(key.SerializeToString())
    other.rev += 1
    done += [proclaim(server, other, b"4"), resign(server, other), leader(server, name)]
    waiting = Waiting(lambda: campaign(server, name, lease + 1, b"5"))
    until(lambda: len(keys_of(server, name)) == 2)
    assert waiting.waits
    done += [resign(server, key), waiting.answer(), leader(server, name)]
    done += [proclaim(server, key, b"6"), resign(server, key), revoke(server, lease + 1), leader(server, name)]
    return done


@case
def elections_that_are_refused(server: Server, name: bytes, lease: int) -> Any:
    grant(server, lease)
    elected = campaign(server, name, lease, b"1").message.leader
    elected.lease = lease + 50
    return [
        campaign(server, name, lease + 50, b"1"),
        server.call(methods.PROCLAIM, ProclaimRequest(value=b"x")),
        server.call(methods.RESIGN, ResignRequest()),
        proclaim(server, LeaderKey(), b"x"),
        resign(server, LeaderKey()),
        proclaim(server, elected, b"x"),
    ]


@contextmanager
def observed(server: Server, name: bytes) -> Iterator[Callable[[], Any]]:
    """Yields what returns the next answer of an Observe."""
    invoke = server.channel.unary_stream(
        methods.OBSERVE.path,
        request_serializer=LeaderRequest.SerializeToString,
        response_deserializer=LeaderResponse.FromString,
    )
    answers = invoke(LeaderRequest(name=name), timeout=SECONDS)
    try:
        yield lambda: next(answers)
    finally:
        answers.cancel()


@case
def observing(server: Server, name: bytes, lease: int) -> Any:
    for number in range(3):
        grant(server, lease + number)
    with observed(server, name) as following:
        key = campaign(server, name, lease, b"1").message.leader
        done = [following()]
        proclaim(server, key, b"2")
        done.append(following())
        proclaim(server, key, b"3")
        done.append(following())
        waiting = Waiting(lambda: campaign(server, name, lease + 1, b"4"))
        until(lambda: len(keys_of(server, name)) == 2)
        revoke(server, lease)
        waiting.answer()
        done.append(following())
        revoke(server, lease + 1)
        campaign(server, name, lease + 2, b"5")
        done.append(following())
    with observed(server, name) as following:
        done.append(following())
    for answer in done:
        assert answer.header.revision >= answer.kv.mod_revision
    return done


@pytest.mark.parametrize("name", _CASES)
def test_a_store_answers_as_etcd_does(servers: tuple[Server, Server], name: str) -> None:
    lease = 1_000_000 + 100 * list(_CASES).index(name)
    theirs, ours = (plain(_CASES[name](server, name.encode(), lease)) for server in servers)
    assert ours == theirs


class Etcdctl:
    """etcdctl, with a store as its endpoint."""

    def __init__(self, server: Server) -> None:
        assert server.files is not None
        files = server.files
        tls = [f"--cacert={files.ca}", f"--cert={files.cert}", f"--key={files.key}"]
        self._command = [
            str(etcd_process.directory() / "etcdctl"),
            f"--endpoints={server.address}",
            "--insecure-skip-tls-verify",
            *tls,
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._command, *arguments], stdout=subprocess.PIPE, text=True)


def test_etcdctl_locks(servers: tuple[Server, Server], tmp_path: Path) -> None:
    """One that is killed loses its lock when its lease ends; one that ends releases it."""
    ours, etcdctl = servers[1], Etcdctl(servers[1])
    killed = etcdctl.start("lock", "ctl-lock", "--ttl=2")
    assert killed.stdout is not None
    assert killed.stdout.readline().startswith("ctl-lock/")
    waiting = etcdctl.start("lock", "ctl-lock", "--", "sh", "-c", f"echo held; cat > {tmp_path}/stopped")
    until(lambda: len(keys_of(ours, b"ctl-lock")) == 2)
    assert waiting.poll() is None
    killed.kill()
    killed.wait()
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "held\n"
    assert waiting.wait(SECONDS) == 0
    assert keys_of(ours, b"ctl-lock") == []


def test_etcdctl_elects(servers: tuple[Server, Server]) -> None:
    ours, etcdctl = servers[1], Etcdctl(servers[1])
    first = etcdctl.start("elect", "ctl-election", "one")
    assert first.stdout is not None
    assert [first.stdout.readline().startswith("ctl-election/"), first.stdout.readline()] == [True, "one\n"]
    second = etcdctl.start("elect", "ctl-election", "two")
    listening = etcdctl.start("elect", "--listen", "ctl-election")
    assert listening.stdout is not None
    assert second.stdout is not None
    assert [listening.stdout.readline().startswith("ctl-election/"), listening.stdout.readline()] == [True, "one\n"]
    until(lambda: len(keys_of(ours, b"ctl-election")) == 2)
    first.terminate()
    assert [second.stdout.readline().startswith("ctl-election/"), second.stdout.readline()] == [True, "two\n"]
    assert [listening.stdout.readline().startswith("ctl-election/"), listening.stdout.readline()] == [True, "two\n"]
    for process in (second, listening):
        process.terminate()
        process.wait(SECONDS)
