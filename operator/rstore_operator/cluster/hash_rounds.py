"""Asks replicas for their HashKV, in the background, when :mod:`rstore_operator.planning.hashes` says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rstore_api.domain.hashes import HashAnswer
from rstore_api.errors import Compacted, FutureRevision, StoreError
from rstore_api.logs import get_logger

from rstore_operator.cluster.replicas import Replicas
from rstore_operator.facts.actions import Target
from rstore_operator.facts.observed import HashQuestion, HashRound, Observed

log = get_logger(__name__)

ANSWER_SECONDS = 300.0
"""How long one replica may take to answer: a large store is hashed in many small steps."""
CATCH_UP_SECONDS = 5.0
"""How long a follower is waited for that has not applied the revision yet."""
ASK_AGAIN_SECONDS = 0.2
PARALLEL_REPLICAS = 9


class HashRounds:
    """The comparisons of one store, at most one at a time."""

    def __init__(self, replicas: Replicas, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._clock = clock
        self._round: asyncio.Task[HashRound] | None = None

    async def close(self) -> None:
        """Stop asking."""
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
            self._round = None

    @property
    def under_way(self) -> bool:
        """Whether a round has begun that :meth:`ended` has not returned."""
        return self._round is not None

    def ended(self) -> HashRound | None:
        """Returns the round that has ended since this was called last, None if there is none."""
        if self._round is None or not self._round.done():
            return None
        ended, self._round = self._round, None
        round_ = ended.result()  # a round reports by itself; anything it raises is a bug
        log.debug("hashes_compared", revision=round_.revision, replicas=len(round_.answers))
        return round_

    def begin(self, asked: HashQuestion, observed: Observed) -> None:
        """Begin a round; the one before has ended."""
        self._round = asyncio.create_task(self._ask_all(asked, self._targets(asked, observed)), name="hash-round")

    def _targets(self, asked: HashQuestion, observed: Observed) -> list[tuple[str, Target]]:
        pods = [(region, observed.region(region).pod(name)) for region, name in sorted(asked.targets)]
        return [(region, Target.of(pod)) for region, pod in pods if pod is not None and pod.ip]

    async def _ask_all(self, asked: HashQuestion, targets: list[tuple[str, Target]]) -> HashRound:
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
                answer = await self._replicas.hash_kv(target, revision, timeout_seconds=ANSWER_SECONDS)
                return HashAnswer(region, target.pod, hash=int(answer.hash))
            except FutureRevision:
                if self._clock() >= patience_ends:
                    return HashAnswer(region, target.pod, problem=f"has not reached revision {revision}")
            except Compacted:
                return HashAnswer(region, target.pod, problem=f"has compacted revision {revision} meanwhile")
            except StoreError as error:
                return HashAnswer(region, target.pod, problem=str(error) or type(error).__name__)
            await asyncio.sleep(ASK_AGAIN_SECONDS)
