"""Writes under load, remembers every acknowledgement, and checks that nothing acknowledged was lost.

Each key is written once: a request that certainly was not carried out is repeated, one whose outcome is unknown is
given up and remembered as unknown. So after the run every acknowledged key must exist in every region exactly
as acknowledged, at version 1; an unknown one may exist, but then once; and nothing else may exist.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rstore_api import errors

from rstore_testkit.patience import WAIT_SECONDS


@dataclass(frozen=True)
class Written:
    """What a region has for one key."""

    value: bytes
    mod_revision: int
    version: int


Writer = Callable[[bytes, bytes], Awaitable[int]]
"""What the load needs of a client: a put that returns its revision."""


@dataclass(frozen=True)
class Acknowledged:
    """One acknowledged write: its revision, and when it was sent and answered (monotonic seconds)."""

    revision: int
    asked_at: float
    answered_at: float


@dataclass
class Ledger:
    """All answers that the writers got, and when."""

    acknowledged: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)  # key: (value, revision)
    unknown: dict[bytes, bytes] = field(default_factory=dict)  # key: value
    acks: list[Acknowledged] = field(default_factory=list)  # in the order of their answers
    refused: int = 0  # attempts that certainly did not happen
    last_refusal: str = ""

    def longest_gap_seconds(self, since: float, until: float) -> float:
        """Returns the longest time without an acknowledgement between two moments (monotonic seconds), in seconds."""
        inside = [ack.answered_at for ack in self.acks if since <= ack.answered_at <= until]
        edges = [since, *inside, until]
        return max(later - earlier for earlier, later in itertools.pairwise(edges))

    def rate_per_second(self, since: float, until: float) -> float:
        """Returns the acknowledged writes per second between two moments."""
        return sum(since <= ack.answered_at <= until for ack in self.acks) / max(until - since, 1e-9)

    def overtaken(self) -> list[Acknowledged]:
        """Returns writes whose revision is below one that was acknowledged before they were sent.

        There are none while one region at a time acknowledges: a second one would go on from its own revision, which is
        below what the first has acknowledged meanwhile, or above, and then those of the first are below.
        """
        overtaken, highest, answered = [], 0, 0
        for ack in sorted(self.acks, key=lambda ack: ack.asked_at):
            while answered < len(self.acks) and self.acks[answered].answered_at <= ack.asked_at:
                highest = max(highest, self.acks[answered].revision)
                answered += 1
            if ack.revision < highest:
                overtaken.append(ack)
        return overtaken


class Load:
    """Writers that put until stopped. ``async with Load(...) as load: ...``."""

    def __init__(self, writers: Iterable[Writer], *, prefix: bytes = b"load/", pause_seconds: float = 0.0) -> None:
        self.ledger = Ledger()
        self.prefix = prefix
        self._writers = list(writers)
        self._pause_seconds = pause_seconds
        self._stopping = asyncio.Event()
        self._acknowledged = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._write(index, put)) for index, put in enumerate(self._writers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stops the writers after the request each has in flight, and surfaces a writer's bug, if any."""
        self._stopping.set()
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)

    async def wait_acknowledged(self, more: int, *, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Waits until that many further writes are acknowledged.

        Raises:
            TimeoutError: they were not, in time; the message says which errors the writers get.
        """
        goal = len(self.ledger.acknowledged) + more
        try:
            async with asyncio.timeout(timeout_seconds), self._acknowledged:
                await self._acknowledged.wait_for(lambda: len(self.ledger.acknowledged) >= goal)
        except TimeoutError:
            missing = goal - len(self.ledger.acknowledged)
            raise TimeoutError(
                f"{missing} of {more} writes not acknowledged within {timeout_seconds} s; "
                f"last refusal: {self.ledger.last_refusal or 'none'}"
            ) from None

    async def _write(self, index: int, put: Writer) -> None:
        for number in itertools.count():
            key = self.prefix + b"%d/%08d" % (index, number)
            value = b"v-%d-%d" % (index, number)
            while not self._stopping.is_set():
                asked_at = time.monotonic()
                try:
                    revision = await put(key, value)
                except errors.StoreError as error:
                    if error.outcome == "unknown":
                        self.ledger.unknown[key] = value
                        break
                    self.ledger.refused += 1
                    self.ledger.last_refusal = str(error)
                    await asyncio.sleep(0.01)
                    continue
                self.ledger.acknowledged[key] = (value, revision)
                self.ledger.acks.append(Acknowledged(revision, asked_at, time.monotonic()))
                async with self._acknowledged:
                    self._acknowledged.notify_all()
                break
            if self._stopping.is_set():
                return
            if self._pause_seconds:
                await asyncio.sleep(self._pause_seconds)


@dataclass(frozen=True)
class Verdict:
    """The result of comparing a region with the ledger; ``ok`` if all lists are empty."""

    lost: tuple[bytes, ...]
    altered: tuple[bytes, ...]
    duplicated: tuple[bytes, ...]
    unexpected: tuple[bytes, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is lost, altered, written twice, or unexpected."""
        return not (self.lost or self.altered or self.duplicated or self.unexpected)


def judge(ledger: Ledger, present: Mapping[bytes, Written]) -> Verdict:
    """Compares what a region has with the answers that the writers got."""
    lost, altered, duplicated = [], [], []
    for key, (value, revision) in ledger.acknowledged.items():
        there = present.get(key)
        if there is None:
            lost.append(key)
        elif there.version != 1:
            duplicated.append(key)
        elif there.value != value or there.mod_revision != revision:
            altered.append(key)
    for key, value in ledger.unknown.items():
        there = present.get(key)
        if there is not None and there.version != 1:
            duplicated.append(key)
        elif there is not None and there.value != value:
            altered.append(key)
    expected = ledger.acknowledged.keys() | ledger.unknown.keys()
    unexpected = [key for key in present if key not in expected]
    return Verdict(tuple(lost), tuple(altered), tuple(duplicated), tuple(unexpected))


async def wait_until(
    condition: Callable[[], Awaitable[bool]],
    *,
    what: str,
    timeout_seconds: float = WAIT_SECONDS,
    poll_seconds: float | None = None,
) -> None:
    """Polls a condition until it holds, by default with pauses of 0.1 s, or twice as long as the condition took.

    Raises:
        TimeoutError: it did not hold in time; the message names ``what``.
    """
    asked = time.monotonic()
    deadline = asked + timeout_seconds
    while not await condition():
        answered = time.monotonic()
        if answered > deadline:
            raise TimeoutError(f"not within {timeout_seconds} s: {what}")
        await asyncio.sleep(max(0.1, 2 * (answered - asked)) if poll_seconds is None else poll_seconds)
        asked = time.monotonic()
