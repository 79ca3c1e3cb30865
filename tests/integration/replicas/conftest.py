from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, bootstrap


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
            region.start()
        await bootstrap(*regions)
        return regions

    yield start
    for region in started:
        region.stop()


def _shared(directory: Path, authority: Authority, replicas: int) -> Iterator[RegionProcesses]:
    region = RegionProcesses(directory, authority, region="us-east", replicas=replicas)
    region.start()
    try:
        asyncio.run(bootstrap(region))
        yield region
    finally:
        region.stop()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RegionProcesses]:
    """A region of one replica that the tests of a module share; each uses keys of its own and leaves it as it is."""
    yield from _shared(tmp_path_factory.mktemp("single"), authority, 1)


@pytest.fixture(scope="module")
def triple(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RegionProcesses]:
    """A region of three replicas that the tests of a module share; each uses keys of its own and leaves it as it is."""
    yield from _shared(tmp_path_factory.mktemp("triple"), authority, 3)
