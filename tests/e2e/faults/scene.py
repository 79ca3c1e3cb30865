"""What fault tests share: a load that remembers, links to break, processes to stop, and the judgement afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from localkube.links.control import LinkFaults
from localkube.links.rules import HANG, Fault, LinkRule
from localkube.processes import hanging, pids_of
from rstore_testkit.load import Load, wait_until
from rstore_testkit.loss import wait_failed_over
from rstore_testkit.reckoning import reckon
from rstore_testkit.store import Store

LONG = os.environ.get("RSTORE_LONG_FAULTS", "") not in ("", "0")
"""Whether the long versions of the fault tests run, too."""

CUT = LinkRule(cut=HANG)
OPERATOR, API = "operator", "api"
TENURE_SECONDS = 3.0
"""The default."""


class Scene:
    """One store under faults."""

    def __init__(self, store: Store, prefix: bytes) -> None:
        self.store = store
        self.prefix = prefix

    # ---- who is who

    async def primary(self) -> str:
        """The primary region, by status."""
        region: str = (await self.store.status())["primaryRegion"]
        return region

    async def others(self, region: str) -> list[str]:
        """All regions but one."""
        return [name for name in await self.store.regions() if name != region]

    async def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the store; empty when it has none of that type."""
        conditions = (await self.store.status()).get("conditions", [])
        return next((found for found in conditions if found["type"] == kind), {})

    # ---- writing and judging

    @asynccontextmanager
    async def writing(
        self,
        through: list[str] | None = None,
        *,
        per_region: int = 1,
        timeout_seconds: float = 10.0,
        name: bytes = b"",
    ) -> AsyncIterator[Load]:
        """A load around a block, through these regions (default: all); nothing is judged yet. Two loads at once need a
        ``name`` each."""
        regions = through if through is not None else await self.store.regions()
        clients = [self.store.new_client(region) for region in regions for _ in range(per_region)]
        try:
            writers = [self.store.writer(client, timeout_seconds=timeout_seconds) for client in clients]
            async with Load(writers, prefix=self.prefix + name, pause_seconds=0.005) as load:
                await load.wait_acknowledged(10, timeout_seconds=30)
                yield load
        finally:
            for client in clients:
                await client.close()

    async def judge(self, *loads: Load, nothing_quarantined: bool = False) -> None:
        """All links whole, everything steady: no region differs, no acknowledged write is unaccounted for, and no two
        regions acknowledged at once. ``nothing_quarantined``: each is in the store itself, in every region."""
        found = await reckon(self.store, *loads)
        assert not found.wrong, "\n".join(found.wrong)
        assert not (nothing_quarantined and found.quarantined)

    async def failed_over(self, region: str, *, timeout_seconds: float = 60) -> dict[str, Any]:
        """Waits until another region is primary; the receipt."""
        return await wait_failed_over(self.store, region, timeout_seconds=timeout_seconds)

    async def wait(self, condition: Any, what: str, *, timeout_seconds: float = 60) -> None:
        """Waits for an asynchronous condition."""
        await wait_until(condition, timeout_seconds=timeout_seconds, what=what, poll_seconds=0.4)


class BreakableScene(Scene):
    """A store on the embedded cluster, whose links and processes tests break."""

    def __init__(self, store: Store, links: LinkFaults, data_dir: Path, prefix: bytes) -> None:
        super().__init__(store, prefix)
        self.links = links
        self._data_dir = data_dir

    # ---- links

    def isolate(self, place: str, *from_places: str) -> None:
        """Nothing comes through between a place and these others, and nobody is told."""
        both = [(place, other) for other in from_places] + [(other, place) for other in from_places]
        self.links.replace([*self.links.faults(), *(Fault(source, target, CUT) for source, target in both)])

    def every_link(self, rule: LinkRule, places: list[str]) -> None:
        """The same rule for every link between these places."""
        faults = [Fault(one, other, rule) for one in places for other in places if one != other]
        self.links.replace(faults)

    # ---- processes

    def pids(self, pod_prefix: str) -> list[int]:
        """Processes of this cluster's pods whose names begin like that."""
        return pids_of(self._data_dir, pod_prefix)

    def hanging(self, region: str) -> AbstractContextManager[list[int]]:
        """Every process of a region stops where it is for as long as the block lasts."""
        return hanging(self._data_dir, f"{self.store.name}-{region}-")

    def hanging_pod(self, name: str) -> AbstractContextManager[list[int]]:
        """The processes of pods whose names begin like that stop where they are for as long as the block lasts."""
        return hanging(self._data_dir, name)


def gap_since(load: Load, began: float) -> float:
    """The longest time without an acknowledged write since a moment, in seconds."""
    return load.ledger.longest_gap_seconds(began, time.monotonic())


def last_acknowledged(load: Load) -> float:
    """When the newest acknowledgement came."""
    return load.ledger.acks[-1].answered_at


def stopped_in_time(inside: Load, outside: Load, began: float) -> None:
    """Clients of a primary that was cut off at ``began`` were told of no write once its tenure was over, nor after the
    first that another region acknowledged to clients elsewhere."""
    stopped = last_acknowledged(inside)
    assert stopped - began <= TENURE_SECONDS
    # Until the links were cut, or a moment later, it was the old primary that answered outside.
    first = min(ack.answered_at for ack in outside.ledger.acks if ack.answered_at > began + TENURE_SECONDS / 2)
    assert stopped < first, "both acknowledged"
