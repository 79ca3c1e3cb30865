"""Watch: the same requests to a real etcd and to a store, the same answers: fields, texts, order.

Each case is done on both, and what it returns is compared. Left out of the comparison is how events are spread over
answers, which etcd does not promise either; that each revision comes whole is checked for itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from etcd.servers import Server
from etcd.watch_session import Ended, WatchSession
from rstore_api.proto import rpc_pb2 as rpc

NOPUT, NODELETE = rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE


def events_by_watch(answers: list[rpc.WatchResponse]) -> dict[int, list[Any]]:
    """Joins the events of each watch."""
    found: dict[int, list[Any]] = {}
    for answer in answers:
        found.setdefault(answer.watch_id, []).extend(answer.events)
    return found


Case = Callable[[Server, bytes], Any]
_CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Adds a case; it is given a server, and a prefix for the keys that it uses."""
    _CASES[function.__name__] = function
    return function


@case
def a_put_after_the_watch_began(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    created = session.created(key=key)
    server.put(key, b"1")
    server.put(key + b"x", b"not watched")
    server.put(key, b"2")
    server.delete(key)
    server.put(key, b"3")
    found = created, session.events(4)
    session.close()
    return found


@case
def from_a_revision_of_the_past(server: Server, key: bytes) -> Any:
    first = server.put(key, b"1")
    for number in range(5):
        server.put(key, b"%d" % number)
    server.delete(key)
    session = WatchSession(server)
    found = session.created(key=key, start_revision=first + 2), session.events(5)
    session.close()
    return found


@case
def many_revisions_of_the_past(server: Server, key: bytes) -> Any:
    first = server.put(key, b"1")
    for number in range(1200):
        server.put(key + b"%d" % (number % 7), b"%d" % number)
    session = WatchSession(server)
    found = session.created(key=key, range_end=key + b"\xff", start_revision=first), session.events(1201)
    session.close()
    return found


@case
def from_a_revision_to_come(server: Server, key: bytes) -> Any:
    now = server.put(key, b"1")
    session = WatchSession(server)
    created = session.created(key=key, start_revision=now + 3)
    for number in range(4):
        server.put(key, b"%d" % number)
    found = created, session.events(2)
    session.close()
    return found


@case
def the_key_before_the_change(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    first = session.created(key=key, prev_kv=True)
    second = session.created(key=key)
    server.put(key, b"1")
    server.put(key, b"2")
    server.delete(key)
    server.put(key, b"3")
    told = session.until(lambda told: [len(one.events) for one in told.values()] == [4, 4])
    session.close()
    return first, second, told


@case
def the_key_before_the_change_of_the_past(server: Server, key: bytes) -> Any:
    first = server.put(key, b"1")
    server.put(key, b"2")
    server.put_all(key, key + b"1", value=b"3")
    server.delete(key, key + b"\xff")
    session = WatchSession(server)
    created = session.created(key=key, range_end=key + b"\xff", start_revision=first, prev_kv=True)
    found = created, session.events(6)
    session.close()
    return found


@case
def ranges(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    spans = [
        (key + b"b", b""),
        (key + b"b", key + b"d"),
        (key + b"b", b"\0"),
        (b"", b""),
        (b"", b"\0"),
        (b"\0", b"\0"),
        (key, key + b"c\0"),
        (key + b"bb", key + b"bc"),
    ]
    created = [session.created(key=start, range_end=end) for start, end in spans]
    for name in (b"a", b"b", b"bb", b"bc", b"c", b"d"):
        server.put(key + name)
    answers = list(session.everything())
    session.close()
    by_watch = {
        number: [event for one in answers if one.watch_id == number for event in one.events] for number in range(8)
    }
    return created, by_watch, answers[-1]


@case
def filters(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    chosen = [[NOPUT], [NODELETE], [NOPUT, NODELETE], [5], [NOPUT, NOPUT]]
    created = [session.created(key=key, filters=each) for each in chosen]
    server.put(key)
    server.put(key)
    server.delete(key)
    answers = list(session.everything())
    session.close()
    by_watch = {
        number: [event for one in answers if one.watch_id == number for event in one.events] for number in range(5)
    }
    return created, by_watch


@case
def one_revision_of_many_keys(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    created = session.created(key=key, range_end=key + b"\xff")
    revision = server.put_all(*(key + b"%d" % number for number in range(20)))
    answer = session.answer()
    session.close()
    assert isinstance(answer, rpc.WatchResponse)
    assert {event.kv.mod_revision for event in answer.events} == {revision}
    return created, answer


@case
def ids_that_the_client_chooses(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    found = [session.created(key=key, watch_id=number) for number in (0, 7, 7, 2, 0, 0, -5, 0)]
    server.put(key)
    answers = list(session.everything())
    session.close()
    return found, sorted(one.watch_id for one in answers)


@case
def ranges_that_hold_nothing(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    found = [session.created(key=key, range_end=end) for end in (key, b"\x01", key[:-1])]
    found.append(session.created(key=key))
    session.close()
    return found


@case
def cancelling(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    found: list[Any] = [session.created(key=key), session.created(key=key)]
    session.cancel(0)
    found.append(session.answer())
    session.cancel(777)
    session.cancel(0)
    server.put(key)
    found += session.events(1, watch_id=1)
    found.append(session.created(key=key, watch_id=0))
    session.close()
    return found


@case
def progress_on_demand(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    found: list[Any] = [session.created(key=key)]
    server.put(key + b"other")
    session.progress()
    found.append(session.answer())
    server.put(key)
    found += session.events(1)
    session.progress()
    found.append(session.answer())
    session.close()
    return found


@case
def a_request_that_asks_for_nothing(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    session.send(rpc.WatchRequest())
    found = session.created(key=key)
    session.close()
    return found


@case
def compacted(server: Server, key: bytes) -> Any:
    first = server.put(key, b"1")
    for number in range(4):
        server.put(key, b"%d" % number)
    server.delete(key)
    at = server.put(key, b"at")
    server.put(key, b"after")
    server.compact(at)
    session = WatchSession(server)
    found: list[Any] = []
    for revision in (first, at - 1):
        found += [session.created(key=key, start_revision=revision), session.answer()]
    found.append(session.created(key=key, start_revision=at, prev_kv=True))
    found += session.events(2, watch_id=2)
    session.close()
    return found


@case
def compacted_behind_a_watch_that_has_been_shown_all(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    found: list[Any] = [session.created(key=key)]
    for number in range(20):
        server.put(key, b"%d" % number)
    server.compact(server.revision)
    server.put(key, b"after")
    found += session.events(21)
    session.close()
    return found


@case
def large_events_whole_and_in_parts(server: Server, key: bytes) -> Any:
    before = server.revision
    server.put_all(*(key + b"%d" % number for number in range(3)), value=b"v" * 450_000)
    session = WatchSession(server)
    found: list[Any] = []
    for fragment in (False, True):
        number = int(fragment)
        found.append(
            session.created(key=key, range_end=key + b"\xff", start_revision=before, fragment=fragment, prev_kv=True)
        )
        answer = session.answer()
        assert isinstance(answer, rpc.WatchResponse)
        found.append((number, answer.watch_id, answer.fragment, len(answer.events)))
    server.put_all(*(key + b"%d" % number for number in range(3)), value=b"w" * 450_000)
    told = session.until(lambda told: [len(one.events) for one in told.values()] == [3, 3])
    session.close()
    return found, told


@case
def parts_are_marked(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    server.put_all(*(key + b"%d" % number for number in range(3)), value=b"v" * 450_000)
    found: list[Any] = [session.created(key=key, range_end=key + b"\xff", fragment=True, prev_kv=True)]
    server.put_all(*(key + b"%d" % number for number in range(3)), value=b"w" * 450_000)
    for _ in range(2):
        answer = session.answer()
        assert isinstance(answer, rpc.WatchResponse)
        found.append((answer.fragment, len(answer.events), answer.header.revision))
    session.close()
    return found


@case
def a_leader_is_asked_for(server: Server, key: bytes) -> Any:
    session = WatchSession(server, metadata=(("hasleader", "true"),))
    found = [session.created(key=key)]
    server.put(key)
    found += session.events(1)
    session.close()
    return found


@case
def long_keys(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    found: list[Any] = [
        session.created(key=key + b"k" * 2000),
        session.created(key=key, range_end=key + b"\xff" * 3000),
        session.created(key=key, start_revision=1 << 62),
    ]
    server.put(key)
    found += session.events(1, watch_id=1)
    session.close()
    return found


@case
def leaving(server: Server, key: bytes) -> Any:
    session = WatchSession(server)
    session.created(key=key)
    session.close()
    answer = session.answer()
    assert isinstance(answer, Ended)
    return answer.code


_NUMBERS = itertools.count(1)


@pytest.mark.parametrize("name", list(_CASES))
def test_watch_is_etcds(servers: tuple[Server, Server], name: str) -> None:
    etcd, ours = servers
    key = b"%03d/" % next(_NUMBERS)
    expected = _CASES[name](etcd, key)
    assert _CASES[name](ours, key) == expected
