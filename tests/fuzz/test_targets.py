"""Every target takes its seeds, and what a few hundred random changes make of them."""

from __future__ import annotations

import random

import pytest
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_changes_of_them(name: str) -> None:
    target = TARGETS[name]()
    rng = random.Random(name)
    for seed in target.seeds():
        target(seed)
        for _ in range(100):
            data = bytearray(seed)
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(data) + 1)
                data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
            target(bytes(data))
    target(b"")
