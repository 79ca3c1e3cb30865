"""What /health, /livez and /readyz ask, as etcd's members are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from rstore_api.errors import StoreError

READ_SECONDS = 7.0
"""How long a read may take until it counts as failed: as of etcd with its default election timeout."""
NO_LEADER = "RAFT NO LEADER"


@dataclass(frozen=True)
class Sources:
    """Where the answers come from."""

    read: Callable[[bool, float], Awaitable[object]]
    """Reads one key, serializably or else linearizably, in so many seconds at most. Raises StoreError."""
    alarms: Callable[[], Awaitable[Sequence[str]]]
    """Returns the names of all alarms that ``AlarmList`` would list, such as NOSPACE."""
    own_alarms: Callable[[], Sequence[str]]
    """Returns the names of this replica's alarms, without asking another one."""
    has_leader: Callable[[], bool]
    is_learner: Callable[[], bool]


class Checks:
    """The checks of one replica. However many ask, one read of each kind is under way at most."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._reads: dict[bool, asyncio.Task[str]] = {}
        self._checks: Mapping[str, Callable[[], Awaitable[str]]] = {
            "data_corruption": self._no_corruption,
            "serializable_read": self._serializable_read,
            "linearizable_read": self._linearizable_read,
            "non_learner": self._has_vote,
        }
        self.kinds: Mapping[str, tuple[str, ...]] = {"livez": ("serializable_read",), "readyz": tuple(self._checks)}
        """The checks behind each path."""

    async def health(self, *, excluded_alarms: Collection[str], serializable: bool) -> str:
        """Returns why the replica is not healthy, in etcd's words; "" when it is; ``serializable``: by itself."""
        alarms = self._sources.own_alarms() if serializable else await self._sources.alarms()
        for alarm in alarms:
            if alarm not in excluded_alarms:
                return f"ALARM {alarm}"
        if not serializable and not self._sources.has_leader():
            return NO_LEADER
        error = await self._read(serializable)
        return f"RANGE ERROR:{error}" if error else ""

    async def run(self, names: Sequence[str]) -> dict[str, str]:
        """Returns what each check of these names finds wrong, "" where nothing is."""
        return {name: await self._checks[name]() for name in names}

    async def _no_corruption(self) -> str:
        return "alarm activated: CORRUPT" if "CORRUPT" in self._sources.own_alarms() else ""

    async def _has_vote(self) -> str:
        return "not supported for learner" if self._sources.is_learner() else ""

    async def _serializable_read(self) -> str:
        return await self._read(True)

    async def _linearizable_read(self) -> str:
        return await self._read(False)

    async def _read(self, serializable: bool) -> str:
        """Returns what is wrong with the read that is under way, or else with a new one."""
        reading = self._reads.get(serializable)
        if reading is None:
            reading = self._reads[serializable] = asyncio.create_task(self._begin_read(serializable))
            reading.add_done_callback(lambda _task: self._reads.pop(serializable, None))
        return await asyncio.shield(reading)

    async def _begin_read(self, serializable: bool) -> str:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._sources.read(serializable, READ_SECONDS)
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return "context deadline exceeded"
        return ""
