"""Who may use the memory map at the same time."""

from __future__ import annotations

import threading

import pytest
from rstore_replica.mvcc.data.gate import MapGate, ReadInterruptedError

WAIT_SECONDS = 60.0


def test_the_writer_waits_for_every_reader_and_readers_wait_for_it() -> None:
    gate, order = MapGate(), []
    writing, may_end, reading = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        with gate.exclusive():
            order.append("alone")
            writing.set()
            may_end.wait(WAIT_SECONDS)
            order.append("ends")

    def read() -> None:
        with gate.shared:
            order.append("reads")
            reading.set()

    writer, reader = threading.Thread(target=write), threading.Thread(target=read)
    gate.enter()
    gate.enter()
    writer.start()
    while True:  # the writer comes first from here on
        try:
            gate.give_way()
        except ReadInterruptedError:
            break
    reader.start()
    gate.leave()
    assert not writing.wait(0.05)  # one is left
    gate.leave()
    assert writing.wait(WAIT_SECONDS)
    assert not reading.wait(0.05)
    may_end.set()
    for thread in (writer, reader):
        thread.join(WAIT_SECONDS)
    assert order == ["alone", "ends", "reads"]


def test_a_read_that_fails_lets_the_writer_in() -> None:
    gate = MapGate()
    with pytest.raises(ZeroDivisionError), gate.shared:
        raise ZeroDivisionError
    with gate.exclusive():
        pass
