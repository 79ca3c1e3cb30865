"""Random histories: writes, failovers that lose tails, compactions, archivers that end or read the other region."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from rstore_api.domain.epochs import existing
from rstore_backup.errors import StoreUnavailable
from rstore_replica.api.archive import feed
from unit.backup.archiver.worlds import World
from unit.mvcc.replicas import Replica
from unit.mvcc.tails.regions import contents, follow, leave, promote

STEPS = 30


class Store:
    """Two regions, one of them primary."""

    def __init__(self, directory: Path) -> None:
        self.primary, self.secondary = Replica(directory / "us"), Replica(directory / "eu", "eu")
        self.epoch = 1

    def write(self, rng: random.Random) -> None:
        for _ in range(rng.randrange(1, 8)):
            key = b"k%d" % rng.randrange(6)
            if rng.random() < 0.2:
                self.primary.delete(key)
            else:
                self.primary.put(key, rng.randbytes(rng.randrange(30)))

    def replicate(self) -> None:
        follow(self.primary, self.secondary)

    def fail_over(self) -> None:
        """The secondary takes over with what it has; what the primary has besides is lost."""
        self.epoch += 1
        promote(self.secondary, self.epoch)
        self.primary, self.secondary = self.secondary, self.primary
        leave(self.primary, self.secondary)
        self.replicate()

    def compact(self, rng: random.Random) -> None:
        self.replicate()
        revision = existing(self.primary.machine.state.history, self.primary.machine.revision - rng.randrange(4))
        if revision > self.primary.machine.compact_revision:
            self.primary.compact(revision)
            while self.primary.machine.compact_step():
                pass


@pytest.mark.parametrize("seed", range(12))
async def test_the_archive_has_the_history(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_BATCH_ROWS", 3)
    rng = random.Random(seed)
    store = Store(tmp_path)
    store.write(rng)
    store.replicate()
    world = World(store.primary)

    def lose(_name: str) -> None:
        if rng.random() < 0.1:
            raise StoreUnavailable("the answer was lost")

    world.objects.after = lose
    left = STEPS
    while left:
        world.replica = world.source.replica = rng.choice((store.primary, store.secondary))
        async with world.running() as progress:
            for _ in range(min(left, rng.randrange(1, 9))):
                left -= 1
                step = rng.choice(("write", "write", "replicate", "fail over", "compact", "wait"))
                if step == "write":
                    store.write(rng)
                elif step == "replicate":
                    store.replicate()
                elif step == "fail over":
                    store.fail_over()
                elif step == "compact":
                    store.compact(rng)
                else:
                    store.replicate()  # else the region may have less than the archive
                    await world.until(lambda p=progress: world.is_complete(p))
    store.replicate()
    world.replica = world.source.replica = rng.choice((store.primary, store.secondary))
    await world.archive_all()

    of_line = world.objects.line()
    machine = store.primary.machine
    assert of_line.history == machine.state.history
    assert of_line.last_revision == machine.revision
    assert not of_line.refused
    usable = [each for each in world.objects.manifests() if of_line.reach(each.revision) == machine.revision]
    usable = [each for each in usable if of_line.includes(each.revision, each.history)]
    assert usable
    rows = world.objects.rows(of_line)
    for manifest in usable:
        keys = world.objects.base_rows(manifest)
        for place in sorted(place for place in rows if place[0] > manifest.revision):
            row = rows[place]
            if row.deletion:
                keys.pop(row.key, None)
            else:
                keys[row.key] = row.value
        assert keys == contents(store.primary)
    for branch in of_line.branches:
        lost = world.objects.line(branch.epoch)
        assert lost.last_revision == branch.last_revision
    store.primary.machine.close()
    store.secondary.machine.close()
