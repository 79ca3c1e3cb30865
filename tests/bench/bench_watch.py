"""Watches of three replicas beside those of three members of etcd: how many events are shown, how late, at what cost.

One stream has 1, 100 or 1,000 watches of the same range; a writer puts keys of it at the leader. "events" is with 16
puts outstanding, all the time; "p99" is with 50 puts a second. The last lines compare puts and reads beside 1,000 idle
watches, of other keys, with the same beside none; the two alternate, and the ratio should be 0.97 at least. With
``BENCH_WATCHERS``, a number, ``watch_scale`` is measured with so many watches in the place of all this. Other
environment: as ``bench_etcd``. Updates ``build/bench.json``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from bench import calls, contenders, unary_load, watch_scale
from bench.results import BUILD, Row, head, row, save, show, wanted
from bench.watch_load import Found, Plan, Watching, stamp
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc

WATCHES = (1, 100, 1000)
WRITERS = 16
PUTS_PER_SECOND = 50
IDLE = 1000
"""So many watch other keys than those of a load."""
IDLE_LOADS = {
    "put": (calls.PUT, calls.puts()),
    "linearizable read": (calls.RANGE, calls.reads(serializable=False)),
    "serializable read": (calls.RANGE, calls.reads(serializable=True)),
}
_PREFIX = "watched/"


@contextmanager
def writing(contender: contenders.Contender, writers: int, pause_seconds: float) -> Iterator[None]:
    """So many put one key after the other meanwhile, each with a pause between two."""
    stop = threading.Event()
    credentials = contenders.credentials(contender.tls_directory)
    channel = grpc.secure_channel(f"{contender.leader_host()}:{CLIENT_PORT}", credentials)
    kv = rpc_pb2_grpc.KVStub(channel)  # type: ignore[no-untyped-call]

    def write(number: int) -> None:
        while not stop.wait(pause_seconds):
            kv.Put(rpc_pb2.PutRequest(key=f"{_PREFIX}{number}".encode(), value=stamp()), timeout=30)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        channel.close()


def watched(contender: contenders.Contender, watches: int, seconds: float, *, steady: bool) -> Found:
    """What so many watches are shown."""
    tls = str(contender.tls_directory)
    watching = Watching(Plan(contender.leader_host(), CLIENT_PORT, tls, watches, _PREFIX))
    with writing(contender, 1 if steady else WRITERS, 1 / PUTS_PER_SECOND if steady else 0.0):
        time.sleep(seconds)
    time.sleep(0.3)
    return watching.end()


def idle_watches(contender: contenders.Contender, seconds: float, rounds: int) -> Iterator[Row]:
    """Puts and reads beside idle watches, and beside none: now these come first, now those."""
    idle = Plan(contender.leader_host(), CLIENT_PORT, str(contender.tls_directory), IDLE, "nothing/")
    for what, (method, messages) in IDLE_LOADS.items():
        name = f"{what}, {unary_load.OUTSTANDING} outstanding, {IDLE} idle watches"
        if not wanted(name):
            continue
        alone, beside = [], []
        for number in range(rounds):
            for with_watches in (number % 2 == 1, number % 2 == 0):
                if with_watches:
                    with Watching(idle) as watching:
                        beside.append(unary_load.measure(contender, method, messages, seconds))
                        watching.end()
                else:
                    alone.append(unary_load.measure(contender, method, messages, seconds))
        for unit, pick, less in unary_load.FIGURES:
            yield row(name, unit, list(map(pick, beside)), "none", list(map(pick, alone)), less_is_better=less)


def shown(servers: Sequence[contenders.Contender], seconds: float, rounds: int) -> Iterator[Row]:
    """What watches of one stream are shown by ours, beside the others; and a load beside idle watches."""
    for watches in WATCHES:
        for name, steady in (("events", False), ("p99", True)):
            title = f"watch, {watches} watches, {name}"
            if not wanted(title):
                continue
            found = {
                server.name: [watched(server, watches, seconds, steady=steady) for _ in range(rounds)]
                for server in servers
            }
            figures = {
                server: [item.p99_ms if steady else item.events_per_second for item in items]
                for server, items in found.items()
            }
            mine = figures.pop(servers[0].name)
            for peer, theirs in figures.items():
                unit = "ms" if steady else "events/s"
                yield row(title, unit, mine, peer, theirs, less_is_better=steady)
    yield from idle_watches(servers[0], seconds, rounds)


def main() -> None:
    """The whole run."""
    seconds, rounds = float(os.environ.get("BENCH_SECONDS", "2")), int(os.environ.get("BENCH_ROUNDS", "3"))
    many = int(os.environ.get("BENCH_WATCHERS", "0"))
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    rows: list[Row] = []
    try:
        head()
        with contenders.running(directory, None) as servers:
            lines = watch_scale.rows(servers, many, seconds, rounds) if many else shown(servers, seconds, rounds)
            for line in lines:
                rows.append(line)
                show(line)
    finally:
        shutil.rmtree(directory)
    save(rows)


if __name__ == "__main__":
    main()
