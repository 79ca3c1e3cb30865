"""Regions in memory, stopped after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from unit.replication.replication_fakes import FakeNetwork, FakeRegion


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
async def make_region(network: FakeNetwork) -> AsyncIterator[Callable[..., FakeRegion]]:
    made: list[FakeRegion] = []

    def make(name: str, **options: object) -> FakeRegion:
        region = FakeRegion(name, network, **options)  # type: ignore[arg-type]
        made.append(region)
        return region

    yield make
    for region in made:
        await region.replication.stop()
