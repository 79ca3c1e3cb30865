"""Client libraries of others do the same with a real etcd, with a store's primary region, and with a secondary."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clients.libraries import LIBRARIES, Library
from etcd.etcd_process import is_installed
from etcd.servers import running_etcd
from integration.replicas.moves import fail_over
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, bootstrap, eventually
from rstore_api.tls import TlsFiles

START_SECONDS = 90.0
WAIT_SECONDS = 120.0
SOME = 20
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Place:
    """Where a program connects to."""

    address: str
    files: TlsFiles | None = None


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """An etcd, and both regions of a store."""
    if not is_installed():
        pytest.skip("etcd is not installed in this environment")
    with (
        running_regions(tmp_path_factory.mktemp("store"), "us-east", "eu-west") as regions,
        running_etcd(tmp_path_factory.mktemp("etcd")) as etcd,
    ):
        at = [Place(region.replicas[0].client_address, region.client_files) for region in regions]
        yield {"etcd": Place(etcd.address.removeprefix("http://")), "primary": at[0], "secondary": at[1]}


@contextmanager
def running_regions(directory: Path, *names: str) -> Iterator[list[RegionProcesses]]:
    """A store of these regions, each of one replica; the first is primary."""
    authority = Authority.make()
    regions = [RegionProcesses(directory, authority, region=name, replicas=1) for name in names]
    try:
        for region in regions:
            region.start()
        asyncio.run(_bootstrap(regions))
        yield regions
    finally:
        for region in regions:
            region.stop()


async def _bootstrap(regions: list[RegionProcesses]) -> None:
    for region in regions:
        await region.leader(timeout_seconds=START_SECONDS)
    await bootstrap(*regions)


@pytest.fixture(scope="module", params=LIBRARIES, ids=lambda library: library.name)
def library(request: pytest.FixtureRequest) -> Library:
    request.param.install()
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def expected(library: Library, places: dict[str, Place]) -> dict[str, Any]:
    """What the operations come to with etcd."""
    return library.outcomes(places["etcd"].address, "through-etcd", None)


@pytest.mark.parametrize("where", ["primary", "secondary"])
def test_a_library_does_with_a_store_what_it_does_with_etcd(
    places: dict[str, Place], library: Library, expected: dict[str, Any], where: str
) -> None:
    found = library.outcomes(places[where].address, f"through-{where}", places[where].files)
    assert found == expected


class Writing:
    """A program that puts one key after another until it is asked to end; what it prints is taken by a thread."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        assert self._program.stdout is not None
        self._lines.extend(self._program.stdout)

    async def written(self) -> int:
        """How many puts have been acknowledged. Raises AssertionError when the program has ended."""
        assert self._program.poll() is None, self._program.stderr and self._program.stderr.read()
        return len(self._lines)

    def end(self) -> tuple[int, list[int] | None]:
        """Returns how many puts were acknowledged, and which of them a watch was shown; None if it has none."""
        assert self._program.stdin is not None
        self._program.stdin.close()
        assert self._program.wait(WAIT_SECONDS) == 0
        self._thread.join()
        return len(self._lines) - 1, json.loads(self._lines[-1])

    def kill(self) -> None:
        """Ends the program, if it still runs."""
        self._program.kill()


def test_libraries_go_on_through_a_failover(tmp_path: Path) -> None:
    """They are connected to the region that becomes primary, and those that take several addresses to the lost one."""
    for library in LIBRARIES:
        library.install()
    with running_regions(tmp_path, "us-east", "eu-west", "ap-south") as regions:
        lost, target, _ = regions
        addresses = ",".join(region.replicas[0].client_address for region in (lost, target))
        writing = {
            library.name: Writing(
                library.start(addresses, library.name, files=lost.client_files, mode="through-failover")
            )
            for library in LIBRARIES
        }
        try:
            asyncio.run(_fail_over(regions, list(writing.values())))
            ends = {name: one.end() for name, one in writing.items()}
        finally:
            for one in writing.values():
                one.kill()
        asyncio.run(_check(target, ends))


async def _fail_over(regions: list[RegionProcesses], writing: list[Writing]) -> None:
    lost, target, other = regions
    for one in writing:
        await eventually(one.written, accept=lambda count: count >= SOME, timeout_seconds=WAIT_SECONDS)
    await fail_over(lost, target, other, epoch=2)
    for one in writing:
        before = await one.written()
        await eventually(
            one.written, accept=lambda count, before=before: count >= before + SOME, timeout_seconds=WAIT_SECONDS
        )


async def _check(target: RegionProcesses, ends: dict[str, tuple[int, list[int] | None]]) -> None:
    async with target.client() as client:
        for name, (written, watched) in ends.items():
            answer = await client.get_prefix(f"{name}/")
            assert {kv.key.decode() for kv in answer.kvs} >= {f"{name}/{number}" for number in range(written)}
            if watched is not None:
                assert sorted(set(watched)) == list(range(written)), name
