"""Regions in memory, stopped after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from unit.replication.fakes.network import FakeNetwork
from unit.replication.fakes.regions import FakeRegion


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


class Log:
    """Takes the place of the sender's logger; ``lines`` holds event names, ``text`` everything."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.text = ""

    def _take(self, event: str, **fields: object) -> None:
        self.lines.append(event)
        self.text += f"{event} {fields}\n"

    debug = info = warning = error = exception = _take


@pytest.fixture
def sender_log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr("rstore_replica.replication.sending.sender.log", log)
    return log
