"""Asks replicas for their HashKV, in the background, when :mod:`rstore_operator.planning.hashes` says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from rstore_api.domain.hashes import HashAnswer
from rstore_api.errors import Compacted, FutureRevision, StoreError

from rstore_operator.cluster.replicas import Replicas
from rstore_operator.facts.actions import Target
from rstore_operator.facts.observed import HashRound, Observed
from rstore_operator.planning import hashes
from rstore_operator.resource.state import StoreStatus

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 300.0
"""How long one replica may take: a large store is hashed in many small steps."""
CATCH_UP_SECONDS = 5.0
"""How long a follower that has not applied the revision yet is waited for."""
ASK_AGAIN_SECONDS = 0.2
PARALLEL_REPLICAS = 9


class HashRounds:
    """The comparisons of one store: at most one is under way."""

    def __init__(
        self, replicas: Replicas, *, interval_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``interval_seconds`` 0 switches them off."""
        self._replicas = replicas
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._memory = hashes.Memory()
        self._round: asyncio.Task[HashRound] | None = None
        self._latest: HashRound | None = None

    async def close(self) -> None:
        """Stop asking."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
            self._round = None

    def latest(self) -> HashRound | None:
        """The newest round that has ended."""
        if self._round is not None and self._round.done():
            ended, self._round = self._round, None
            self._latest = ended.result()  # a round reports by itself; anything it raises is a bug
            self._memory = hashes.answered(self._memory, self._latest, self._clock())
            log.debug("hashes_compared", revision=self._latest.revision, replicas=len(self._latest.answers))
        return self._latest

    def look(self, observed: Observed, status: StoreStatus) -> None:
        """Begin a round if one is due; ``status`` is what is to be recorded of what was observed."""
        now = self._clock()
        asked = hashes.question(observed, status)
        self._memory = hashes.look(self._memory, asked, now)
        if self._round is not None or asked is None:
            return
        if hashes.due(self._memory, asked, status, interval_seconds=self._interval_seconds, now=now):
            self._memory = hashes.asking(self._memory, asked, now)
            self._round = asyncio.create_task(self._ask_all(asked, self._targets(asked, observed)), name="hash-round")

    def _targets(self, asked: hashes.Question, observed: Observed) -> list[tuple[str, Target]]:
        pods = [(region, observed.region(region).pod(name)) for region, name in sorted(asked.targets)]
        return [(region, Target.of(pod)) for region, pod in pods if pod is not None and pod.ip]

    async def _ask_all(self, asked: hashes.Question, targets: list[tuple[str, Target]]) -> HashRound:
        gate = asyncio.Semaphore(PARALLEL_REPLICAS)

        async def ask(region: str, target: Target) -> HashAnswer:
            async with gate:
                return await self._ask(region, target, asked.revision)

        answers = await asyncio.gather(*(ask(region, target) for region, target in targets))
        return HashRound(asked.epoch, asked.revision, tuple(answers), asked.left_out)

    async def _ask(self, region: str, target: Target, revision: int) -> HashAnswer:
        patience_ends = self._clock() + CATCH_UP_SECONDS
        while True:
            try:
                found = await self._replicas.hash_kv(target, revision, timeout_seconds=ANSWER_SECONDS)
                return HashAnswer(region, target.pod, hash=int(found.hash))
            except FutureRevision:
                if self._clock() >= patience_ends:
                    return HashAnswer(region, target.pod, problem=f"has not reached revision {revision}")
            except Compacted:
                return HashAnswer(region, target.pod, problem=f"has compacted revision {revision} meanwhile")
            except StoreError as error:
                return HashAnswer(region, target.pod, problem=str(error) or type(error).__name__)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
