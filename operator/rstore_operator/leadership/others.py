"""Whether another installation of the operator, which a store's status names, still acts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rstore_api.domain.kubernetes import LEASE
from rstore_api.logs import get_logger
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError

from rstore_operator.leadership import rules
from rstore_operator.leadership.lease import read_lease
from rstore_operator.leadership.rules import Standing
from rstore_operator.resource.state import OperatorName

log = get_logger(__name__)

READ_EVERY_SECONDS = 1.0
MAX_OTHERS = 100
"""How many other installations are known at once; stores that name more are left alone."""


@dataclass
class _Other:
    standing: Standing = field(default_factory=lambda: Standing(""))
    tried_at: float | None = None
    error: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Others:
    """The other installations, each with its Lease as it was read last."""

    def __init__(self, client: KubeClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._others: dict[OperatorName, _Other] = {}

    async def acting(self, name: OperatorName) -> str:
        """Returns who acts for that installation, for a person, or why that is not known; "" when nobody does.

        Its Lease must have been unchanged for its whole duration, so the first answer about a dead one takes as long.
        """
        other = self._others.get(name)
        if other is None:
            if len(self._others) >= MAX_OTHERS:
                return f"{name}, whose Lease is not read: too many others are known"
            other = self._others[name] = _Other()
        async with other.lock:
            if other.tried_at is None or self._clock() - other.tried_at >= READ_EVERY_SECONDS:
                await self._read(name, other)
        if other.error:
            return (
                f"{name}, whose Lease cannot be read: {other.error}; if it is gone for good, remove status.operator: "
                'kubectl patch rstore … --subresource=status --type=merge -p \'{"status":{"operator":null}}\''
            )
        if rules.is_free(other.standing, self._clock()):
            return ""
        holder = other.standing.record.holder if other.standing.record is not None else "its Lease was deleted just now"
        return f"{name} ({holder})"

    async def _read(self, name: OperatorName, other: _Other) -> None:
        try:
            body = await self._client.find(LEASE, name.namespace, name.lease)
            record = read_lease(body) if body is not None else None
            other.standing = rules.was_read(other.standing, record, self._clock())
            other.error = ""
        except (ApiError, OSError, TimeoutError) as error:
            other.error = str(error) or type(error).__name__
        other.tried_at = self._clock()
