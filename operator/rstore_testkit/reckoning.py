"""After a run: where every acknowledged write is, and whether anything is wrong."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rstore_testkit.load import Ledger, Load
from rstore_testkit.loss import account, tolerable
from rstore_testkit.store import RegionHash, Store

TOLD_SECONDS = 15.0
"""Within this the status tells of a tail that a region has put into quarantine; the operator looks every 2 s."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Reckoning:
    """What a store holds of what its writers were told. ``wrong`` says what must not be; nothing, if all is well."""

    acknowledged: int
    quarantined: tuple[bytes, ...]
    lost: tuple[bytes, ...]
    hashes: tuple[RegionHash, ...]
    wrong: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all regions hold the same."""
        return len({(found.revision, found.hash) for found in self.hashes}) == 1


async def _accounted(store: Store, missing: list[tuple[Ledger, set[bytes]]]) -> tuple[list[bytes], list[bytes]]:
    """Which of the missing are in quarantine, and which are nowhere. The operator takes a while to hear of a tail."""
    deadline = time.monotonic() + TOLD_SECONDS
    while True:
        status = await store.status()
        accounts = [account(ledger, keys, status) for ledger, keys in missing]
        lost = [key for found in accounts for key in found.lost]
        if not lost or time.monotonic() > deadline:
            return [key for found in accounts for key in found.quarantined], lost
        await asyncio.sleep(POLL_SECONDS)


async def reckon(store: Store, *loads: Load, timeout_seconds: float = 90) -> Reckoning:
    """Wait until every region holds the same revision, and look for every write in every one of them.

    Loads that ran at the same time need prefixes of their own. Raises TimeoutError when the regions do not converge.
    """
    revision = await store.wait_converged(timeout_seconds=timeout_seconds)
    missing: list[tuple[Ledger, set[bytes]]] = []
    wrong: list[str] = []
    for load in loads:
        verdicts = await store.judge(load.ledger, load.prefix)
        wrong += [f"{region}: {verdict}" for region, verdict in verdicts.items() if not tolerable(verdict)]
        missing.append((load.ledger, {key for verdict in verdicts.values() for key in verdict.lost}))
    quarantined, lost = await _accounted(store, missing)
    acks = sorted((ack for load in loads for ack in load.ledger.acks), key=lambda ack: ack.answered_at)
    if overtaken := Ledger(acks=acks).overtaken():
        wrong.append(f"two regions acknowledged at once: {overtaken}")
    if lost:
        wrong.append(f"acknowledged and nowhere: {lost}")
    hashes = tuple(await store.hashes(revision))
    reckoning = Reckoning(len(acks), tuple(quarantined), tuple(lost), hashes, ())
    if not reckoning.equal:
        wrong.append(f"regions differ: {hashes}")
    return Reckoning(len(acks), tuple(quarantined), tuple(lost), hashes, tuple(wrong))
