"""Which region becomes primary when the old one is lost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rstore_operator.facts.observed import FenceAnswer


def ranked(positions: Collection[FenceAnswer], priorities: Mapping[str, int]) -> list[FenceAnswer]:
    """Regions that may become primary, best first: most data, then lowest priority number, then name.

    A region of epoch 0 has never received anything: it is no copy of the store.
    """
    able = [found for found in positions if found.region in priorities and found.data_epoch > 0]
    return sorted(able, key=lambda a: (-a.data_epoch, -a.revision, priorities[a.region], a.region))
