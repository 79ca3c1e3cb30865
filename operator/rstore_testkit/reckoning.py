"""Finds, after a run, where every acknowledged write is, and whether anything is wrong."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rstore_testkit.load import Ledger, Load
from rstore_testkit.loss import account, tolerable
from rstore_testkit.patience import WAIT_SECONDS
from rstore_testkit.store import RegionHash, Store

REPORTED_SECONDS = 60.0
"""How soon the status shows a tail that a region has put into quarantine; the operator looks every 2 s."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Reckoning:
    """Where the acknowledged writes are. ``wrong`` lists violations; it is empty if there are none."""

    acknowledged: int
    quarantined: tuple[bytes, ...]
    lost: tuple[bytes, ...]
    hashes: tuple[RegionHash, ...]
    wrong: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all regions have the same data."""
        return len({(answer.revision, answer.hash) for answer in self.hashes}) == 1


async def _accounted(store: Store, missing: list[tuple[Ledger, set[bytes]]]) -> tuple[list[bytes], list[bytes]]:
    """Returns which missing writes are in quarantine, and which are nowhere. The operator reports a tail within
    seconds."""
    deadline = time.monotonic() + REPORTED_SECONDS
    while True:
        status = await store.status()
        accounts = [account(ledger, keys, status) for ledger, keys in missing]
        lost = [key for account in accounts for key in account.lost]
        if not lost or time.monotonic() > deadline:
            return [key for account in accounts for key in account.quarantined], lost
        await asyncio.sleep(POLL_SECONDS)


async def reckon(store: Store, *loads: Load, timeout_seconds: float = WAIT_SECONDS) -> Reckoning:
    """Waits until every region has the same revision, and looks for every write in each of them.

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
