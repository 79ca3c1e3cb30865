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
from rstore_api.domain.epochs import REVISION_JUMP
from rstore_testkit.load import Acknowledged, Load, wait_until
from rstore_testkit.loss import wait_failed_over
from rstore_testkit.reckoning import reckon
from rstore_testkit.store import Store

LONG = os.environ.get("RSTORE_LONG_FAULTS", "") not in ("", "0")
"""Whether the long versions of the fault tests run, too."""

CUT = LinkRule(cut=HANG)
OPERATOR, API = "operator", "api"
TENURE_SECONDS = 3.0
"""The default of ``leaseDuration``."""
GAP_SECONDS = 40.0
"""Within this time another region acknowledges writes: several times what is usual, for a machine that is busy.
`make bench ARGS=failover` measures the gap on a quiet one."""
UNNOTICED_SECONDS = 6.0
"""No write waits that long where nothing happened to its way: several times what is usual, too."""


class Scene:
    """One store under faults."""

    def __init__(self, store: Store, prefix: bytes) -> None:
        self.store = store
        self.prefix = prefix

    # ---- regions

    async def primary(self) -> str:
        """Returns the primary region, by status."""
        region: str = (await self.store.status())["primaryRegion"]
        return region

    async def others(self, region: str) -> list[str]:
        """Returns all regions but one."""
        return [name for name in await self.store.regions() if name != region]

    async def condition(self, kind: str) -> dict[str, Any]:
        """Returns a condition of the store; empty if it has none of that type."""
        conditions = (await self.store.status()).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

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
        """Runs a load around a block, through these regions (default: all), without judging it. Two loads at once
        need a ``name`` each."""
        regions = through if through is not None else await self.store.regions()
        clients = [self.store.new_client(region) for region in regions for _ in range(per_region)]
        try:
            writers = [self.store.writer(client, timeout_seconds=timeout_seconds) for client in clients]
            async with Load(writers, prefix=self.prefix + name, pause_seconds=0.005) as load:
                await load.wait_acknowledged(10)
                yield load
        finally:
            for client in clients:
                await client.close()

    async def judge(self, *loads: Load, nothing_quarantined: bool = False) -> None:
        """Asserts, with all links whole and everything steady, that no region differs, that no acknowledged write is
        unaccounted for, and that no two regions acknowledged at once; with ``nothing_quarantined``, also that each
        acknowledged write is in every region."""
        reckoning = await reckon(self.store, *loads)
        assert not reckoning.wrong, "\n".join(reckoning.wrong)
        assert not (nothing_quarantined and reckoning.quarantined)

    async def failed_over(self, region: str) -> dict[str, Any]:
        """Waits until another region is primary, and returns the receipt."""
        return await wait_failed_over(self.store, region)

    async def wait(self, condition: Any, what: str) -> None:
        """Waits for an asynchronous condition."""
        await wait_until(condition, what=what, poll_seconds=0.4)


class BreakableScene(Scene):
    """A store on the embedded cluster, whose links and processes tests break."""

    def __init__(self, store: Store, links: LinkFaults, data_dir: Path, prefix: bytes) -> None:
        super().__init__(store, prefix)
        self.links = links
        self._data_dir = data_dir

    # ---- links

    def isolate(self, place: str, *from_places: str) -> None:
        """Drops everything between a place and these others, in both directions, without an error to either."""
        both = [(place, other) for other in from_places] + [(other, place) for other in from_places]
        self.links.replace([*self.links.faults(), *(Fault(source, target, CUT) for source, target in both)])

    def every_link(self, rule: LinkRule, places: list[str]) -> None:
        """Sets one rule for every link between these places."""
        faults = [Fault(one, other, rule) for one in places for other in places if one != other]
        self.links.replace(faults)

    # ---- processes

    def pids(self, pod_prefix: str) -> list[int]:
        """Returns the processes of this cluster's pods whose names begin with the prefix."""
        return pids_of(self._data_dir, pod_prefix)

    def hanging(self, region: str) -> AbstractContextManager[list[int]]:
        """Stops every process of a region while the block runs."""
        return hanging(self._data_dir, f"{self.store.name}-{region}-")

    def hanging_pod(self, name: str) -> AbstractContextManager[list[int]]:
        """Stops the processes of pods whose names begin with the name while the block runs."""
        return hanging(self._data_dir, name)


def gap_since(load: Load, began: float) -> float:
    """Returns the longest time without an acknowledged write since a moment, in seconds."""
    return load.ledger.longest_gap_seconds(began, time.monotonic())


def last_acknowledged(load: Load) -> float:
    """Returns when the newest acknowledgement came."""
    return load.ledger.acks[-1].answered_at


def sent_after(load: Load, moment: float) -> list[Acknowledged]:
    """Returns the acknowledged writes that were sent after a moment. When they were answered shows less: an answer of
    before may be late."""
    return [ack for ack in load.ledger.acks if ack.asked_at > moment]


def stopped_in_time(inside: Load, outside: Load, cut_at: float) -> None:
    """Asserts that a primary that is cut off since ``cut_at`` has acknowledged no write that was sent when its tenure
    was over, nor one that was sent after the first that another region had acknowledged to clients elsewhere."""
    assert not sent_after(inside, cut_at + TENURE_SECONDS), "the tenure was over"
    epoch_begins = max(ack.revision for ack in inside.ledger.acks) + REVISION_JUMP // 2
    first = min(ack.answered_at for ack in outside.ledger.acks if ack.revision > epoch_begins)
    assert not sent_after(inside, first), "both acknowledged"
