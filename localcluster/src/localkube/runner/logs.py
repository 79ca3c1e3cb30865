"""Container logs: one file per run, in the format of container runtimes, read back as `kubectl logs` asks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from localkube.runner.process import Stream

MAX_FILE_BYTES = 32 * 1024 * 1024
FOLLOW_SECONDS = 0.1
CHUNK_BYTES = 256 * 1024
TERMINATION_LINES, TERMINATION_BYTES = 80, 2048
"""How much of a log a kubelet shows of a container that failed."""


class LogFile:
    """The log of one run of a container. Grows to a limit, then the older half is dropped."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: BinaryIO | None = path.open("wb", buffering=0)
        self._bytes = 0

    def write(self, stream: Stream, line: bytes, complete: bool) -> None:
        """Append one line, with the time it arrived."""
        if self._file is None:
            return
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        record = f"{stamp} {stream} {'F' if complete else 'P'} ".encode() + line + b"\n"
        self._file.write(record)
        self._bytes += len(record)
        if self._bytes > MAX_FILE_BYTES:
            self._rotate(self._file)

    def close(self) -> None:
        """No more lines come."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self, file: BinaryIO) -> None:
        file.close()
        content = self.path.read_bytes()
        tail = content[content.find(b"\n", len(content) // 2) + 1 :]
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(tail)
        fresh.replace(self.path)
        self._file = self.path.open("ab", buffering=0)
        self._bytes = len(tail)


@dataclass(frozen=True)
class LogQuery:
    """What to read, as the query parameters of `pods/log` say it."""

    follow: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None


def render(record: bytes, query: LogQuery) -> bytes | None:
    """Returns one record as it is shown; None when it is older than asked for."""
    stamp, _, rest = record.partition(b" ")
    _stream, _, rest = rest.partition(b" ")
    tag, _, content = rest.partition(b" ")
    if query.since is not None and datetime.fromisoformat(stamp.decode().replace("Z", "+00:00")) < query.since:
        return None
    end = b"\n" if tag == b"F" else b""
    return (stamp + b" " + content if query.timestamps else content) + end


async def read(path: Path, query: LogQuery, finished: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yields the log in chunks; with `follow`, until `finished` says that no more comes."""
    left = query.limit_bytes
    position, rest = 0, b""
    first = True
    while True:
        ending = finished()
        identity = path.stat().st_ino
        with path.open("rb") as file:
            if first and query.tail_lines is not None:
                position = _tail_position(file, query.tail_lines)
            file.seek(position)
            while chunk := file.read(CHUNK_BYTES):
                position += len(chunk)
                *records, rest = (rest + chunk).split(b"\n")
                shown = b"".join(s for r in records if (s := render(r, query)) is not None)
                if left is not None:
                    shown, left = shown[:left], left - len(shown)
                if shown:
                    yield shown
                if left is not None and left <= 0:
                    return
        first = False
        if not query.follow or ending:
            return
        await asyncio.sleep(FOLLOW_SECONDS)
        if path.stat().st_ino != identity:
            position, rest = path.stat().st_size, b""


def last_words(path: Path) -> str:
    """Returns the end of a log as a kubelet puts it into a container's termination message."""
    with path.open("rb") as file:
        file.seek(_tail_position(file, TERMINATION_LINES))
        records = file.read().split(b"\n")
    shown = b"".join(line for record in records if record and (line := render(record, LogQuery())) is not None)
    return shown[-TERMINATION_BYTES:].decode(errors="replace")


def _tail_position(file: BinaryIO, lines: int) -> int:
    """Returns where the last `lines` lines begin."""
    starts: deque[int] = deque(maxlen=lines) if lines > 0 else deque(maxlen=1)
    position = 0
    for line in file:
        starts.append(position)
        position += len(line)
    if lines <= 0:
        return position
    return starts[0] if starts else 0
