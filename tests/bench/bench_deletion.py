"""How long a deletion of very many keys takes, and what it does to everybody else, beside etcd.

Three members each, as in ``bench_etcd``. While the range is deleted one client asks the leader for one key,
serializably and one call at a time: the longest wait is how late the leader's event loop was. ``BENCH_DELETED_KEYS``
(default ``100000,1000000``) lists numbers of keys. Updates ``build/bench.json``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from bench import contenders
from bench.contenders import Contender, credentials
from bench.results import BUILD, Row, head, save, show, wanted
from integration.replicas.server_processes import CLIENT_PORT
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.proto import rpc_pb2_grpc

PREFIX = b"registry/pods/"
FILL_OPERATIONS = 120
FILL_OUTSTANDING = 32
SECONDS = 300.0
WARM_UP_ANSWERS = 100


@dataclass
class Waits:
    """Asks for one key again and again, in a thread."""

    stub: rpc_pb2_grpc.KVStub
    longest_seconds: float = 0.0
    answered: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.stub.Range(rpc.RangeRequest(key=b"other", serializable=True), timeout=SECONDS)
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
            self.answered += 1

    def warm_up(self) -> None:
        """Returns once so many questions were answered that the connection is in use, and begins to measure."""
        deadline = time.monotonic() + SECONDS
        while self.answered < WARM_UP_ANSWERS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.answered} answers within {SECONDS:g} s")
            time.sleep(0.005)
        self.longest_seconds = 0.0

    def stop(self) -> None:
        self._over.set()


def fill(stub: rpc_pb2_grpc.KVStub, count: int) -> None:
    """Puts the keys, each with a value of 128 bytes."""
    pending: list[grpc.Future] = []
    for first in range(0, count, FILL_OPERATIONS):
        puts = [
            rpc.RequestOp(request_put=rpc.PutRequest(key=PREFIX + b"%010d" % number, value=bytes(128)))
            for number in range(first, min(first + FILL_OPERATIONS, count))
        ]
        pending.append(stub.Txn.future(rpc.TxnRequest(success=puts), timeout=SECONDS))
        if len(pending) == FILL_OUTSTANDING:
            for future in pending:
                future.result()
            pending = []
    for future in pending:
        future.result()


def memory_mebibytes(server: Contender) -> float:
    """Returns the anonymous memory of the member that has most."""
    most = 0
    for process in server.processes():
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        most = max(most, int(fields["RssAnon"].split()[0]))
    return most / 1024


def delete_all(server: Contender, stub: rpc_pb2_grpc.KVStub) -> None:
    """Deletes the keys, and returns once they are gone: etcd gives up waiting for its own answer after 7 s."""
    keys = {"key": PREFIX, "range_end": PREFIX[:-1] + b"0"}
    try:
        stub.DeleteRange(rpc.DeleteRangeRequest(**keys), timeout=SECONDS)  # type: ignore[arg-type]
    except grpc.RpcError as error:
        print(f"{server.name} does not answer: {error.details()}", flush=True)
    while stub.Range(rpc.RangeRequest(**keys, count_only=True, serializable=True), timeout=SECONDS).count:  # type: ignore[arg-type]
        time.sleep(0.05)


def delete(server: Contender, count: int) -> tuple[float, float, float, float]:
    """Returns seconds until the keys are gone, the longest wait of others meanwhile, and memory before and after."""
    address = f"{server.leader_host()}:{CLIENT_PORT}"
    with grpc.secure_channel(address, credentials(server.tls_directory)) as channel:
        stub = rpc_pb2_grpc.KVStub(channel)  # type: ignore[no-untyped-call]
        fill(stub, count)
        with grpc.secure_channel(address, credentials(server.tls_directory)) as other:
            waits = Waits(rpc_pb2_grpc.KVStub(other))  # type: ignore[no-untyped-call]
            thread = threading.Thread(target=waits.run)
            thread.start()
            waits.warm_up()
            before, began = memory_mebibytes(server), time.monotonic()
            try:
                delete_all(server, stub)
            finally:
                seconds = time.monotonic() - began
                waits.stop()
                thread.join()
        return seconds, waits.longest_seconds, before, memory_mebibytes(server)


def main() -> None:
    """Prints lines for each number of keys."""
    counts = [int(count) for count in os.environ.get("BENCH_DELETED_KEYS", "100000,1000000").split(",")]
    if not wanted("deletion"):
        return
    BUILD.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=BUILD))
    rows: list[Row] = []
    try:
        head()
        with contenders.running(directory, None) as servers:
            for count in counts:
                ours, etcd = (delete(server, count) for server in servers[:2])
                what = f"deletion of {count:,} keys"
                names = ("", ", longest wait of others", ", memory before", ", memory after")
                for name, unit, mine, theirs in zip(names, ("s", "s", "MiB", "MiB"), ours, etcd, strict=True):
                    line = Row(what + name, round(mine, 3), round(theirs, 3), "etcd", round(theirs / mine, 3), unit)
                    rows.append(line)
                    show(line)
    finally:
        shutil.rmtree(directory)
    save(rows)


if __name__ == "__main__":
    main()
