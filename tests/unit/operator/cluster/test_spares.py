"""Connections that are not used: only those that were used last stay open."""

from __future__ import annotations

import functools

from rstore_operator.cluster.spares import Spares

retired: list[str] = []


async def _retire(name: str) -> None:
    retired.append(name)


async def _put(spares: Spares, *names: str) -> None:
    for name in names:
        await spares.put(name[0], name, functools.partial(_retire, name))


async def test_the_oldest_are_retired_once_there_are_too_many() -> None:
    retired.clear()
    spares = Spares(limit=3)
    await _put(spares, "a1", "a2", "b1")
    assert retired == []
    await _put(spares, "a1", "b2", "b3")
    assert retired == ["a2", "b1"]


async def test_one_that_is_used_again_is_not_retired() -> None:
    retired.clear()
    spares = Spares(limit=2)
    await _put(spares, "a1", "a2")
    spares.take("a", "a1")
    await _put(spares, "b1")
    assert retired == []
    spares.take_all("a")
    await _put(spares, "b2")
    assert retired == []
    await _put(spares, "b3")
    assert retired == ["b1"]
