"""The same random steps on a real etcd and on a store, comparing every answer and every event.

``python -m etcd.random_steps --steps 200000 --seed 7`` does many, in bounded memory, and prints how far it is. Where an
answer differs, the steps up to it are made fewer by repeating parts of them on fresh servers, and the rest is printed.
"""

from __future__ import annotations

import argparse
import copy
import re
import resource
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from etcd.relative_revisions import AHEAD, make_absolute
from etcd.servers import START_SECONDS, Answer, Server, running_pair
from etcd.steps import KEYS, LEASES, Ask, BeginWatch, EndWatch, NewStream, Step, random_steps
from etcd.watched import Expectation, Watches
from google.protobuf.message import Message
from rstore_api.proto.rpc_pb2 import (
    CompactionRequest,
    LeaseGrantRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    RangeRequest,
    WatchCreateRequest,
)

COMPARE_EVERY = 10
"""Steps after which all keys, and what watches were sent, are compared."""
MAX_WATCHES = 20
PROGRESS_SECONDS = 30.0
SHORTEST_END = 64
"""So many of the last steps are repeated first where an answer differs."""
_LEASE_SECONDS = 1_000_000_000
"""None ends by itself during a run."""
RENEW_SECONDS = 60.0
"""What is left of a lease that nobody renews is written every 5 minutes: a revision in a store, and none in etcd."""
_FILLER = b"filler"
EVERYTHING = RangeRequest(key=b"\0", range_end=b"\0")


class DifferenceError(AssertionError):
    """The two have not answered the same; the text says what each did."""


class Run:
    """Does steps on both, which are fresh."""

    def __init__(self, etcd: Server, ours: Server) -> None:
        self._servers = etcd, ours
        self._newest = self._compacted = _with_leases(etcd, ours)
        self._watches = Watches(etcd, self._newest), Watches(ours, self._newest)
        self._expected: dict[int, Expectation] = {}
        self._ends: set[int] = set()
        self._live: list[int] = []
        self._renewed_at = time.monotonic()

    def close(self) -> None:
        """Ends the watches."""
        for watches in self._watches:
            watches.close()

    def all(self, steps: Iterable[Step]) -> None:
        """Does the steps. Raises DifferenceError; its text begins with the number of the step, from 0 on."""
        number = -1
        try:
            for number, step in enumerate(steps):
                self._do(step)
                if number % COMPARE_EVERY == COMPARE_EVERY - 1:
                    self.compare()
            self.compare()
        except AssertionError as difference:
            raise DifferenceError(f"step {number}: {difference}") from difference

    def compare(self) -> None:
        """Compares all keys, and all that watches were sent."""
        if time.monotonic() - self._renewed_at > RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            _same("renewals of all leases", *(server.renew(LEASES) for server in self._servers))
        self._ask(EVERYTHING)
        for watches in self._watches:
            expected = copy.deepcopy(self._expected) if watches is self._watches[0] else self._expected
            watches.take_until(self._newest, expected, frozenset(self._ends))
        etcd, ours = self._watches
        _same("all events", etcd.everything, ours.everything)
        for watches in self._watches:
            watches.drop_before(self._newest - AHEAD)
        for watch_id in sorted(etcd.sent.keys() | ours.sent.keys()):
            theirs, mine = etcd.sent[watch_id], ours.sent[watch_id]
            _same(f"events of watch {watch_id}", theirs.events, mine.events)
            _same(f"other answers of watch {watch_id}", theirs.others, mine.others)

    def _do(self, step: Step) -> None:
        if isinstance(step, Ask):
            request = self._absolute(step.request)
            if isinstance(request, CompactionRequest):
                # A watch that is behind would be sent everything by one, and be ended by the other.
                self.compare()
                _wait_until_no_watch_is_behind(self._servers[0])
            if isinstance(request, LeaseRevokeRequest):
                # Without a key its end is a revision in a store, and none in etcd.
                self._ask(PutRequest(key=KEYS[0], lease=request.ID))
            self._ask(request)
        elif isinstance(step, BeginWatch):
            self._begin(step.request)
        elif isinstance(step, EndWatch):
            self._cancel(step.place)
        else:
            assert isinstance(step, NewStream)
            self.compare()
            for watches in self._watches:
                watches.new_stream()
            self._expected, self._ends, self._live = {}, set(), []

    def _absolute(self, relative: Message) -> Message:
        request = copy.deepcopy(relative)
        make_absolute(request, self._newest)
        return request

    def _ask(self, request: Message) -> None:
        theirs, mine = (_comparable(server.ask(request)) for server in self._servers)
        _same(f"{type(request).__name__} {request}", theirs, mine)
        if theirs.code == "OK":
            self._newest = theirs.message.header.revision
            if isinstance(request, CompactionRequest):
                self._compacted = request.revision

    def _begin(self, relative: WatchCreateRequest) -> None:
        if len(self._live) >= MAX_WATCHES:
            return
        request = self._absolute(relative)
        assert isinstance(request, WatchCreateRequest)
        if request.start_revision == self._compacted:
            # Up to 3.5.18 etcd leaves out a deletion in that revision.
            request.start_revision += 1
        theirs, mine = (watches.begin(request) for watches in self._watches)
        _same(f"WatchCreateRequest {request}", theirs, mine)
        if theirs.canceled:
            return
        if 0 < request.start_revision < self._compacted:
            self._ends.add(theirs.watch_id)
            return
        first = request.start_revision or theirs.header.revision + 1
        filters = frozenset(map(int, request.filters))
        self._expected[theirs.watch_id] = Expectation(request.key, request.range_end, filters, first)
        self._live.append(theirs.watch_id)

    def _cancel(self, place: int) -> None:
        if not self._live:
            return
        self.compare()
        watch_id = self._live.pop(place % len(self._live))
        for watches in self._watches:
            watches.cancel(watch_id)
        del self._expected[watch_id]


def _with_leases(etcd: Server, ours: Server) -> int:
    """Grants the leases, and brings both to the same revision, which is returned: all before it is compacted."""
    for server in (etcd, ours):
        for number in LEASES:
            assert server.ask(LeaseGrantRequest(ID=number, TTL=_LEASE_SECONDS)).code == "OK"
        server.put(_FILLER)
    while etcd.revision < ours.revision:
        etcd.put(_FILLER)
    newest = {server.delete(_FILLER) for server in (etcd, ours)}
    assert len(newest) == 1, newest
    for server in (etcd, ours):
        server.compact(max(newest))
    return max(newest)


def _wait_until_no_watch_is_behind(etcd: Server) -> None:
    """Returns once the watches of an etcd, also those to which nothing has happened, have been brought up to date."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with urllib.request.urlopen(f"{etcd.address}/metrics", timeout=START_SECONDS) as answer:
            metrics = answer.read().decode()
        (behind,) = re.findall(r"^etcd_debugging_mvcc_slow_watcher_total (\S+)$", metrics, re.MULTILINE)
        if float(behind) == 0:
            return
        assert time.monotonic() < deadline, f"{behind} watches of etcd are behind"
        time.sleep(0.02)


def _comparable(answer: Answer) -> Answer:
    """Takes out what nothing specifies: seconds that have gone by, and the order of leases and of a lease's keys."""
    message = answer.message
    if isinstance(message, LeaseTimeToLiveResponse):
        message.TTL = min(message.TTL, 1)
        message.keys.sort()
    elif isinstance(message, LeaseLeasesResponse):
        message.leases.sort(key=lambda lease: lease.ID)
    return answer


def _same(what: str, theirs: object, mine: object) -> None:
    if mine != theirs:
        raise AssertionError(f"{what}\netcd: {theirs}\nours: {mine}")


def run_fresh(steps: Iterable[Step]) -> str:
    """Does the steps on fresh servers; returns what differs, "" if nothing does."""
    with tempfile.TemporaryDirectory(prefix="random-steps-") as directory, running_pair(Path(directory)) as pair:
        run = Run(*pair)
        try:
            run.all(steps)
        except DifferenceError as difference:
            return str(difference)
        finally:
            run.close()
    return ""


def fewer(steps: Sequence[Step], fails: Callable[[Sequence[Step]], str], seconds: float) -> Sequence[Step]:
    """Returns fewer steps that still fail: the last ones, if they suffice; of these parts are left out, larger ones
    first, for so many seconds.
    """
    deadline = time.monotonic() + seconds
    size = SHORTEST_END
    while size < len(steps) and time.monotonic() < deadline:
        if fails(steps[-size:]):
            steps = steps[-size:]
        size *= 4
    size = len(steps) // 2
    while size:
        start = 0
        while start < len(steps):
            if time.monotonic() > deadline:
                return steps
            without = [*steps[:start], *steps[start + size :]]
            if fails(without):
                steps = without
            else:
                start += size
        size //= 2
    return steps


class Progress:
    """Counts steps as they are taken, and prints how many there were, now and then."""

    def __init__(self) -> None:
        self.count = 0
        self._began_at = self._printed_at = time.monotonic()

    def of(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Yields the steps."""
        for step in steps:
            now = time.monotonic()
            if now - self._printed_at >= PROGRESS_SECONDS:
                self._printed_at = now
                print(self, flush=True)
            self.count += 1
            yield step

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began_at
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return f"{self.count} steps in {seconds:.0f} s, {self.count / seconds:.0f}/s, at most {peak_mib:.0f} MiB"


def main() -> int:
    """Does steps and prints the first difference; 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shrink-seconds", type=float, default=300)
    chosen = parser.parse_args()
    progress = Progress()
    difference = run_fresh(progress.of(random_steps(chosen.seed, chosen.steps)))
    print(f"seed {chosen.seed}: {difference or 'no difference'}; {progress}", flush=True)
    if not difference:
        return 0
    # How many steps are asked for decides about their leases, so it is the same number again.
    steps = list(islice(random_steps(chosen.seed, chosen.steps), progress.count))
    for step in fewer(steps, run_fresh, chosen.shrink_seconds):
        print(" ".join(str(step).split()))
    return 1


if __name__ == "__main__":
    sys.exit(main())
