"""The callers that wait for an entry each, and how much may be under way."""

from __future__ import annotations

import asyncio

from rstore_api import errors

from rstore_replica.raft.config import RaftConfig


class Proposals:
    """The leader's open proposals by (index, term), bounded in number and bytes."""

    def __init__(self, config: RaftConfig) -> None:
        self._config = config
        self._waiting: dict[int, dict[int, tuple[asyncio.Future[object], int]]] = {}
        self._count = 0
        self._bytes = 0

    def admit(self, size: int) -> None:
        """Raises TooManyRequests when ``size`` more bytes would be too many."""
        if self._count >= self._config.max_inflight_proposals:
            raise errors.TooManyRequests(f"{self._count} proposals are under way")
        if self._count and self._bytes + size > self._config.max_inflight_bytes:
            raise errors.TooManyRequests(f"{self._bytes} bytes of proposals are under way")

    def add(self, index: int, term: int, size: int) -> asyncio.Future[object]:
        """The future that gets the result of the entry proposed at (index, term)."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(index, {})[term] = (future, size)
        self._count += 1
        self._bytes += size
        return future

    def release(self, index: int, term: int) -> None:
        """The caller no longer waits."""
        by_term = self._waiting.get(index, {})
        proposal = by_term.pop(term, None)
        if not by_term:
            self._waiting.pop(index, None)
        if proposal is not None:
            future, size = proposal
            self._count -= 1
            self._bytes -= size
            # Nobody will look at it any more; an exception in it has been delivered or does not matter.
            if future.done() and not future.cancelled():
                future.exception()

    def applied(self, index: int, term: int, result: object) -> None:
        """The entry (index, term) has been applied. Another entry proposed for that place can never be committed."""
        for proposed_term, (future, _) in self._waiting.get(index, {}).items():
            if future.done():
                continue
            if proposed_term == term:
                future.set_result(result)
            else:
                future.set_exception(errors.NotLeader("another leader's entry took its place; nothing was written"))

    def overtaken(self, index: int) -> None:
        """A checkpoint stands for all up to ``index``; whether its entries are those proposed here is unknown."""
        for waiting_index, by_term in self._waiting.items():
            for future, _ in by_term.values() if waiting_index <= index else ():
                if not future.done():
                    future.set_exception(errors.OutcomeUnknown("a checkpoint of a later state was installed"))

    def fail(self, error: errors.StoreError) -> None:
        """Ends all waiting with ``error``."""
        for by_term in self._waiting.values():
            for future, _ in by_term.values():
                if not future.done():
                    future.set_exception(error)
