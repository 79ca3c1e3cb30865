"""Which region becomes primary when the old one is lost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rstore_operator.facts.observed import FenceAnswer


@dataclass(frozen=True)
class Rules:
    """What the spec and the object's annotations say about this failover."""

    priorities: Mapping[str, int]
    """The regions that may become primary; the lowest number first."""
    tenure_ms: int
    max_data_loss_bytes: int | None = None
    """Of last known lag; None: without limit. In SemiSync 0 means that nothing acknowledged may be missing."""
    semi_sync: bool = False
    witness_in_sync_regions: int = 0
    """What the operator, as witness, was told last in the epoch that is left."""
    loss_accepted: bool = False
    abort: bool = False


def ranked(positions: Collection[FenceAnswer], priorities: Mapping[str, int]) -> list[FenceAnswer]:
    """Regions that may become primary, best first: most data, then lowest priority number, then name.

    A region of epoch 0 has never received anything: it is no copy of the store.
    """
    able = [found for found in positions if found.region in priorities and found.data_epoch > 0]
    return sorted(able, key=lambda a: (-a.data_epoch, -a.revision, priorities[a.region], a.region))
