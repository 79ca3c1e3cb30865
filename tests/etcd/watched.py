"""The watches of a run of steps on one server, and what they have been sent."""

from __future__ import annotations

import queue
from collections import defaultdict
from dataclasses import dataclass, field

from etcd.servers import Server
from etcd.watch_session import WatchSession
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto.kv_pb2 import Event


@dataclass
class Expectation:
    """How many events a watch must have been sent, computed from those of a watch of everything."""

    key: bytes
    range_end: bytes
    filters: frozenset[int]
    first_revision: int
    count: int = 0
    counted_up_to: int = 0
    """The newest revision whose events are counted."""

    def look_at(self, everything: list[Event]) -> None:
        """Counts the events of revisions that are not counted yet."""
        self.count += sum(self._matches(event) for event in everything if event.kv.mod_revision > self.counted_up_to)
        if everything:
            self.counted_up_to = everything[-1].kv.mod_revision

    def _matches(self, event: Event) -> bool:
        key = event.kv.key
        if self.range_end == b"\0":
            inside = key >= self.key
        elif self.range_end:
            inside = self.key <= key < self.range_end
        else:
            inside = key == self.key
        return inside and event.kv.mod_revision >= self.first_revision and int(event.type) not in self.filters


@dataclass
class Sent:
    """What a watch was sent: events, in order, and other answers."""

    events: list[Event] = field(default_factory=list)
    others: list[rpc.WatchResponse] = field(default_factory=list)


class Watches:
    """A stream of watches, beside another stream with one watch of everything that comes after a revision."""

    def __init__(self, server: Server, revision: int) -> None:
        self._server = server
        self.everything_up_to = revision
        """The newest revision whose events have come."""
        self._history = WatchSession(server)
        self._history.created(key=b"\0", range_end=b"\0", start_revision=revision + 1)
        self.everything: list[Event] = []
        """The events of all keys, but for those that were dropped."""
        self._session = WatchSession(server)
        self.sent: dict[int, Sent] = defaultdict(Sent)

    def close(self) -> None:
        """Ends both streams."""
        self._history.close()
        self._session.close()

    def begin(self, request: rpc.WatchCreateRequest) -> rpc.WatchResponse:
        """Begins a watch; returns the answer to that. Events of other watches may come before it."""
        self._session.send(rpc.WatchRequest(create_request=request))
        while True:
            answer = self._take(self._session, "that a watch has begun")
            if answer.created:
                return answer
            self._add(answer)

    def cancel(self, watch_id: int) -> None:
        """Cancels a watch, and returns once that has been answered."""
        self._session.cancel(watch_id)
        while True:
            answer = self._take(self._session, f"the end of watch {watch_id}")
            self._add(answer)
            if answer.canceled and answer.watch_id == watch_id:
                return

    def new_stream(self) -> None:
        """Ends the stream of watches and begins another."""
        self._session.close()
        self._session = WatchSession(self._server)
        self.sent.clear()

    def take_until(self, revision: int, expected: dict[int, Expectation], ends: frozenset[int]) -> None:
        """Takes what is sent until everything up to a revision is there, every watch was sent as many events as it
        must, and those of ``ends`` have ended. Raises AssertionError when that takes too long.
        """
        while self.everything_up_to < revision:
            answer = self._take(self._history, f"the events up to revision {revision}")
            assert not answer.canceled, answer
            if answer.events:
                self.everything += answer.events
                self.everything_up_to = answer.events[-1].kv.mod_revision
        for expectation in expected.values():
            expectation.look_at(self.everything)
        while missing := self._missing(expected, ends):
            self._add(self._take(self._session, missing))

    def drop_before(self, revision: int) -> None:
        """Drops from ``everything`` the events of earlier revisions, at which no watch will begin any more."""
        self.everything = [event for event in self.everything if event.kv.mod_revision >= revision]

    def _missing(self, expected: dict[int, Expectation], ends: frozenset[int]) -> str:
        for watch_id, expectation in expected.items():
            count = len(self.sent[watch_id].events)
            if count < expectation.count:
                return f"{expectation.count} events to watch {watch_id}, only {count}"
        for watch_id in ends:
            if not any(answer.canceled for answer in self.sent[watch_id].others):
                return f"the end of watch {watch_id}"
        return ""

    def _take(self, session: WatchSession, awaited: str) -> rpc.WatchResponse:
        try:
            answer = session.answer()
        except queue.Empty:
            raise AssertionError(f"{self._server.name} has not sent {awaited}") from None
        assert isinstance(answer, rpc.WatchResponse), answer
        return answer

    def _add(self, answer: rpc.WatchResponse) -> None:
        sent = self.sent[answer.watch_id]
        sent.events += answer.events
        if not answer.events:
            sent.others.append(answer)
