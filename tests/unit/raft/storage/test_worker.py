"""The thread for what blocks."""

from __future__ import annotations

import asyncio
import threading

import pytest
from rstore_replica.raft.storage.worker import Worker


async def test_pieces_are_carried_out_one_by_one_in_order() -> None:
    worker, done, at_work = Worker("w"), [], threading.Lock()

    def piece(number: int) -> int:
        assert at_work.acquire(blocking=False)
        done.append((number, threading.current_thread().name))
        at_work.release()
        return number

    assert await asyncio.gather(*(worker.run(lambda n=n: piece(n)) for n in range(200))) == list(range(200))
    assert done == [(number, "w") for number in range(200)]
    worker.close()


async def test_an_error_reaches_the_caller_and_the_thread_goes_on() -> None:
    worker = Worker("w")

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await worker.run(fail)
    assert await worker.run(lambda: 1) == 1
    worker.close()


async def test_closing_waits_for_what_was_given_though_its_caller_is_gone() -> None:
    worker, release, done = Worker("w"), threading.Event(), []
    waiting = asyncio.create_task(worker.run(lambda: done.append(release.wait(5))))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    threading.Timer(0.1, release.set).start()
    worker.close()
    worker.close()
    assert done == [True]
    with pytest.raises(RuntimeError):
        await worker.run(lambda: 1)
