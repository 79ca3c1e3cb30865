from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from unit.server.server_certificates import Authority
from unit.server.server_processes import RegionProcesses, topology

STORE_ID = "4c1c6f2e-0000-4000-8000-000000000001"


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
async def start_regions(
    tmp_path: Path, authority: Authority
) -> AsyncIterator[Callable[..., Awaitable[list[RegionProcesses]]]]:
    """Starts and bootstraps regions given as (name, replicas); the first is primary. All processes end afterwards."""
    started: list[RegionProcesses] = []

    async def start(*shape: tuple[str, int], **settings: Any) -> list[RegionProcesses]:
        regions = [
            RegionProcesses(tmp_path, authority, region=name, replicas=count, **settings) for name, count in shape
        ]
        started.extend(regions)
        for region in regions:
            await region.start()
        where = topology(regions[0].region, *regions)
        for region in regions:
            await region.on_leader(lambda admin: admin.bootstrap(STORE_ID, where))
        return regions

    yield start
    for region in started:
        await region.stop()
