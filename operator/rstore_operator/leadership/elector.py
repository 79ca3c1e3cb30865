"""Holds the Lease of this installation, or waits for it. :mod:`rstore_operator.leadership.rules` has the decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from rstore_api.domain.kubernetes import LEASE
from rstore_api.logs import get_logger
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError

from rstore_operator.leadership import rules
from rstore_operator.leadership.lease import lease_spec, new_lease, read_lease
from rstore_operator.leadership.rules import Move, Record, Standing
from rstore_operator.resource.state import OperatorName

log = get_logger(__name__)

REQUEST_SECONDS = 2.0
GRACE_SECONDS = 20.0
"""How long its Lease may be out of reach before the operator counts as unhealthy."""
SAY_AGAIN_SECONDS = 60.0
"""How often it is logged that the same requests fail with the same error."""
RELEASE_SECONDS = 3.0
"""How long the last write of a clean stop may take; without it the others wait for the Lease to run out."""


class Elector:
    """One candidate for the Lease."""

    def __init__(
        self,
        client: KubeClient,
        name: OperatorName,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``identity`` differs from that of every other process."""
        self.name = name
        self.identity = identity
        self._client = client
        self._began: Callable[[], None] = _nothing
        self._clock = clock
        self._now = now
        self._standing = Standing(identity)
        self._reported: tuple[str, str] | None = None
        self._failing_since: float | None = None
        self._error = ""
        """Of the last request that failed."""
        self._failed_move: Move | None = None
        self._said_at = float("-inf")

    def acts(self) -> bool:
        """Returns whether this operator may act now."""
        return rules.acts(self._standing, self._clock())

    @property
    def holder(self) -> str:
        """Who holds the Lease, as it was read last; "" when nobody does."""
        return self._standing.record.holder if self._standing.record is not None else ""

    def problems(self) -> tuple[str, ...]:
        """Returns why this operator can neither act nor stand by, once that has been so for GRACE_SECONDS."""
        if self._failing_since is None or self._clock() - self._failing_since < GRACE_SECONDS:
            return ()
        return (f"the Lease {self.name} cannot be used: {self._error}",)

    async def run(self, *, began: Callable[[], None], stopped: Callable[[], None]) -> None:
        """Hold the Lease whenever that is possible, until cancelled. ``began`` and ``stopped`` are called when the
        operator may begin to act and when it must not any more; :meth:`acts` is exact in between."""
        self._began = began
        try:
            while True:
                move, seconds = rules.decide(self._standing, self._clock())
                if move is Move.WAIT:
                    await asyncio.sleep(seconds)
                elif move is Move.STOP:
                    self._stop_acting()
                    stopped()
                else:
                    await self._try(move)
                    self._report()
        finally:
            if self._standing.acts_since is not None:
                self._stop_acting()
                stopped()

    async def release(self) -> None:
        """Let another operator take the Lease at once. Call it when :meth:`run` has ended and nothing is being done."""
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._carry_out(Move.READ)
                record = self._standing.record
                if record is not None and record.holder == self.identity:
                    await self._write(replace(record, holder="", renewed_at=self._now()))
                    log.info("lease_released", lease=str(self.name))
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("lease_not_released", reason=str(error) or type(error).__name__)

    async def _try(self, move: Move) -> None:
        try:
            async with asyncio.timeout(self._patience()):
                await self._carry_out(move)
        except (ApiError, OSError, TimeoutError) as error:
            self._standing = rules.has_failed(self._standing, self._clock())
            if not (isinstance(error, ApiError) and error.conflict):  # else another one was faster
                self._has_failed(move, str(error) or type(error).__name__)
        else:
            self._has_succeeded(move)

    def _has_failed(self, move: Move, error: str) -> None:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        if error != self._error or now - self._said_at >= SAY_AGAIN_SECONDS:
            log.warning("lease_request_failed", lease=str(self.name), reason=error)
            self._said_at = now
        self._failed_move, self._error = move, error

    def _has_succeeded(self, move: Move) -> None:
        """It works again; but a Lease that can be read, is free, and could not be written has still to be written."""
        if move is Move.READ and self._failed_move is not Move.READ and rules.is_free(self._standing, self._clock()):
            return
        self._failing_since, self._failed_move = None, None

    def _patience(self) -> float:
        """Returns how long a request may take: the deadline is kept while one is under way."""
        acts_since = self._standing.acts_since
        if acts_since is None:
            return REQUEST_SECONDS
        return max(0.0, min(REQUEST_SECONDS, acts_since + rules.DEADLINE_SECONDS - self._clock()))

    async def _carry_out(self, move: Move) -> None:
        if move is Move.READ:
            body = await self._client.find(LEASE, self.name.namespace, self.name.lease)
            record = read_lease(body) if body is not None else None
            self._standing = rules.was_read(self._standing, record, self._clock())
            return
        wanted, sent_at, acted = rules.next_record(self._standing, self._now()), self._clock(), self.acts()
        if move is Move.CREATE:
            manifest = new_lease(self.name.namespace, self.name.lease, wanted)
            written = read_lease(await self._client.create(LEASE, self.name.namespace, manifest))
        else:
            written = await self._write(wanted)
        self._standing = rules.was_written(self._standing, written, sent_at)
        if not acted:
            log.info("acting", identity=self.identity, lease=str(self.name), transitions=written.transitions)
            self._began()

    async def _write(self, record: Record) -> Record:
        patch = {"spec": lease_spec(record)}
        body = await self._client.merge(
            LEASE, self.name.namespace, self.name.lease, patch, resource_version=record.version
        )
        return read_lease(body)

    def _stop_acting(self) -> None:
        self._standing = rules.has_stopped(self._standing, self._clock())
        log.info("stopped_acting", holder=self.holder, lease=str(self.name))

    def _report(self) -> None:
        """Log who acts, when that has changed."""
        now = ("acting" if self.acts() else "standing_by", self.holder)
        if now != self._reported:
            self._reported = now
            if now[0] == "standing_by" and self.holder not in ("", self.identity):
                log.info("standing_by", holder=self.holder, lease=str(self.name))


def _nothing() -> None:
    """Does nothing."""
