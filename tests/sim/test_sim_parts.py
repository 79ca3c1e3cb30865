"""The simulated world does what the real one may."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from sim.disk import SimDisk, Volume
from sim.loop import START_SECONDS, Stuck, VirtualLoop
from sim.main import main, seeds_of
from sim.process import Process
from sim.regions.ledger import Ledger
from sim.scopes import run_seed
from sim.world import simulate


def run(work: object) -> object:
    loop = VirtualLoop(max_callbacks=10_000)
    try:
        return loop.run_until_complete(work)  # type: ignore[arg-type]
    finally:
        loop.close()


def test_an_hour_passes_at_once() -> None:
    async def work() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(work()) == START_SECONDS + 3600


def test_waiting_for_nothing_is_reported() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(work())


def test_sets_of_tasks_and_futures_are_walked_in_the_same_order_in_every_process() -> None:
    async def order() -> tuple[list[int], list[int]]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(50)]
        tasks = [asyncio.ensure_future(asyncio.sleep(0)) for _ in range(50)]
        await asyncio.wait(tasks)
        return [futures.index(future) for future in set(futures)], [tasks.index(task) for task in set(tasks)]

    assert run(order()) == run(order())


class Forgotten:
    """A scenario in which a task ends with an error that nobody waits for."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def run(self) -> None:
        task = asyncio.ensure_future(self._work())
        await asyncio.wait([task])

    async def _work(self) -> None:
        raise self._error

    def close(self) -> None:
        pass


def test_a_task_that_ends_with_a_mistake_is_a_violation_though_nobody_waits_for_it() -> None:
    report = simulate(1, "none", lambda _world, _root: Forgotten(AttributeError("gone")))
    assert (report.violation or "").startswith("a task ended with AttributeError('gone') at test_sim_parts.py:")


def test_a_task_that_ends_with_an_error_of_the_world_is_none() -> None:
    assert simulate(1, "none", lambda _world, _root: Forgotten(ConnectionError("cut"))).violation is None


def test_a_check_of_an_answer_that_fails_itself_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_answer(*_given: object) -> None:
        raise AttributeError("gone")

    monkeypatch.setattr(Ledger, "on_answer", on_answer)
    assert "AttributeError: gone" in (run_seed(0, "regions").violation or "")


def test_a_process_that_is_killed_does_nothing_more() -> None:
    said: list[str] = []

    async def live() -> None:
        try:
            while True:
                said.append("alive")
                await asyncio.sleep(1)
        finally:
            said.append("cleaned up")

    async def work() -> list[str]:
        process = Process("p", 1)
        task = process.spawn(live())
        await asyncio.sleep(2.5)
        process.kill()
        await asyncio.sleep(5)
        before = list(said)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return before

    assert run(work()) == ["alive"] * 3


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_of_power_takes_what_was_not_synced(tmp_path: Path, seed: int) -> None:
    volume = Volume(tmp_path / "disk", random.Random(seed))
    process = Process("p", 1)
    disk = SimDisk(volume, process, random.Random(seed), lambda: None)
    kept, lost = tmp_path / "disk" / "kept", tmp_path / "disk" / "lost"
    for path in (kept, lost):
        disk.open(path).append(b"first")
    disk.sync_directory(tmp_path / "disk")
    file = disk.open(kept)
    file.sync()
    file.append(b"second")
    disk.remove(lost)
    volume.lose_power()
    data = kept.read_bytes()
    assert data.startswith(b"first")
    assert len(data) <= len(b"firstsecond")


def test_some_power_losses_undo_a_removal_and_tear_a_write(tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(40):
        root = tmp_path / str(seed)
        volume = Volume(root, random.Random(seed))
        disk = SimDisk(volume, Process("p", 1), random.Random(seed), lambda: None)
        file = disk.open(root / "file")
        disk.sync_directory(root)
        file.append(b"x" * 50)
        disk.remove(root / "file") if seed % 2 else None
        volume.lose_power()
        outcomes.add((seed % 2, (root / "file").stat().st_size if (root / "file").exists() else None))
    assert (1, None) in outcomes
    assert len({size for removed, size in outcomes if not removed}) > 5
    assert len({size for removed, size in outcomes if removed}) > 1


def test_make_sim_says_what_it_ran(capsys: pytest.CaptureFixture[str]) -> None:
    assert seeds_of("7") == range(7, 8)
    assert seeds_of("1000-1999") == range(1000, 2000)
    assert main(["3-4", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "sim: 2 histories, 0 violations"
