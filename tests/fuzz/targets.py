"""What is fuzzed: each target takes any bytes, and raises only when the product does what it never should.

A target is a class: made once, then called with each input. Its seeds are inputs that reach far.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import grpc
from fuzz.http_targets import Http1Bytes, JsonTexts
from fuzz.target import Network, Target
from google.protobuf.message import DecodeError, Message
from rstore_api import rows
from rstore_api.domain.epochs import EpochStart
from rstore_api.errors import StoreError
from rstore_api.etcd_files.bolt_reader import DamagedDatabase, Database
from rstore_api.etcd_files.bolt_writer import Layout
from rstore_api.proto import raft_pb2, rpc_pb2, rstore_pb2
from rstore_backup import bases, names, sealed, segments
from rstore_backup.errors import Damaged
from rstore_replica.mvcc.commands.registry import COMMANDS, UnknownCommandError
from rstore_replica.mvcc.requests import validate
from rstore_replica.mvcc.tail_facts import TailHeader
from rstore_replica.mvcc.tails import file as tail_file
from rstore_replica.raft import JournalDamaged, LocalDisk
from rstore_replica.raft.checkpoints.store import parse_manifest
from rstore_replica.raft.storage.journal import Journal
from rstore_wire import frames
from rstore_wire.client import ClientConnection
from rstore_wire.frames import WireError
from rstore_wire.headers import HeaderReader, Headers, block, headers_problem
from rstore_wire.messages import MessageError, MessageReader, prefixed
from rstore_wire.server import Server
from rstore_wire.server_connection import ServerConnection

MAX_MESSAGE_BYTES = 1 << 20
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _headers(path: str, *more: tuple[bytes, bytes]) -> bytes:
    fields = [(b":method", b"POST"), (b":path", path.encode()), (b"content-type", b"application/grpc"), *more]
    return block(fields)


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


async def _chat(requests: Any, _context: Any) -> Any:
    async for request in requests:
        yield request


def _same(data: bytes) -> bytes:
    return data


class ServerFrames(Target):
    """Frames to a server: nothing is raised, and nothing is kept once the connection is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._make())

    async def _make(self) -> None:
        self._server = Server(max_message_bytes=MAX_MESSAGE_BYTES)
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(_echo, _same, _same),
            "Chat": grpc.stream_stream_rpc_method_handler(_chat, _same, _same),
        }
        self._server.add_registered_method_handlers("t.T", handlers)

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        self._loop.run_until_complete(self._run(data))

    async def _run(self, data: bytes) -> None:
        connection = ServerConnection(self._server)
        connection.connection_made(Network())
        connection.data_received(frames.PREFACE + frames.settings({}))
        # Two pieces: what comes in parts must be the same as what comes at once.
        connection.data_received(data[: len(data) // 2])
        await asyncio.sleep(0)
        connection.data_received(data[len(data) // 2 :])
        for _ in range(4):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        for _ in range(4):
            await asyncio.sleep(0)
        assert not connection.streams
        kept = self._server.kept
        assert not any(kept.values()), kept

    def seeds(self) -> list[bytes]:
        """Calls of each kind."""
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, _headers("/t.T/Unary", (b"grpc-timeout", b"1S")))
        body = frames.frame(frames.DATA, frames.END_STREAM, 1, prefixed(b"hello"))
        chat = frames.frame(frames.HEADERS, frames.END_HEADERS, 3, _headers("/t.T/Chat", (b"grpc-encoding", b"gzip")))
        padded = frames.frame(frames.DATA, frames.PADDED, 3, b"\x02" + prefixed(b"x") + b"\0\0")
        return [
            head + body + chat + padded,
            chat + frames.window_update(3, 5) + frames.rst_stream(3, frames.Code.CANCEL),
            frames.settings({4: 1, 5: 16_384}) + head + body + frames.window_update(1, 100),
            frames.frame(frames.HEADERS, 0, 1, b"\x83")
            + frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, b"\x84"),
            frames.frame(frames.PING, 0, 0, bytes(8)) + frames.goaway(0, frames.Code.NO_ERROR, "bye"),
        ]


class ClientFrames(Target):
    """Frames from a server to the client's end: nothing is raised, and the call ends with its connection."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        self._loop.run_until_complete(self._run(data))

    async def _run(self, data: bytes) -> None:
        connection = ClientConnection()
        connection.connection_made(Network())
        call = connection.begin("/t.T/Chat", "x", max_message_bytes=MAX_MESSAGE_BYTES)
        call.queue_message(b"hello")
        connection.data_received(frames.settings({}) + data)
        for _ in range(2):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        assert call.ended_there
        assert connection.pending_bytes == 0

    def seeds(self) -> list[bytes]:
        """An answer and its trailers."""
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block([(b":status", b"200")]))
        data = frames.frame(frames.DATA, 0, 1, prefixed(b"answer"))
        trailers = block([(b"grpc-status", b"13"), (b"grpc-message", b"a%20b")])
        return [head + data + frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, trailers)]


class HeaderBlocks(Target):
    """Header blocks, one after another: a WireError is the only error."""

    def __call__(self, data: bytes) -> None:
        """Takes one input: blocks with their length in front."""
        problems: list[str] = []

        def understand(headers: Headers) -> str:
            problems.append(headers_problem(headers))
            return problems[-1]

        reader = HeaderReader(understand)
        at = 0
        with contextlib.suppress(WireError):
            while at < len(data):
                size = data[at]
                reader.read(data[at + 1 : at + 1 + size])
                at += 1 + size

    def seeds(self) -> list[bytes]:
        """Literals, the static table, the dynamic table and changes of its size."""
        return [
            b"\x03\x82\x86\x84",
            b"\x0b\x40\x01a\x01b\xbe\x20\x3f\xe1\x1f\xbe",
            bytes([60]) + _headers("/t.T/U")[:60],
        ]


class Messages(Target):
    """gRPC's messages: in whatever pieces they come, the same messages, or a MessageError."""

    def __call__(self, data: bytes) -> None:
        """Takes one input: the size of pieces, the encoding, and the stream."""
        piece = 1 + (data[0] if data else 0)
        encoding = ("identity", "gzip", "deflate")[(data[1] if len(data) > 1 else 0) % 3]
        stream = data[2:]
        assert self._read(stream, len(stream) or 1, encoding) == self._read(stream, piece, encoding)

    @staticmethod
    def _read(stream: bytes, piece: int, encoding: str) -> list[bytes | None]:
        reader = MessageReader(max_bytes=MAX_MESSAGE_BYTES, encoding=encoding)
        out: list[bytes | None] = []
        try:
            for at in range(0, len(stream), piece):
                for message in reader.feed(stream[at : at + piece]):
                    try:
                        unpacked = reader.unpacked(message)
                    except MessageError:
                        out.append(None)
                        continue
                    assert len(unpacked) <= MAX_MESSAGE_BYTES
                    out.append(unpacked)
                assert reader.incomplete_bytes <= MAX_MESSAGE_BYTES + 5
        except MessageError:
            # How many messages before the broken one were handed out depends on the pieces.
            return []
        return out

    def seeds(self) -> list[bytes]:
        """Two messages in pieces."""
        return [b"\x03\0" + prefixed(b"one") + prefixed(b""), b"\x10\x01" + b"\x01\0\0\0\x02\x1f\x8b"]


class Requests(Target):
    """Requests of clients: a StoreError is the only answer to one that is wrong."""

    KINDS: tuple[type[Message], ...] = (
        rpc_pb2.RangeRequest,
        rpc_pb2.PutRequest,
        rpc_pb2.DeleteRangeRequest,
        rpc_pb2.TxnRequest,
        rstore_pb2.WriteRequest,
        raft_pb2.RaftFrame,
    )

    def __call__(self, data: bytes) -> None:
        """Takes one input: the kind, and the message."""
        kind = self.KINDS[(data[0] if data else 0) % len(self.KINDS)]
        try:
            request: Any = kind.FromString(data[1:])
        except DecodeError:
            return
        with contextlib.suppress(StoreError):
            if isinstance(request, rpc_pb2.RangeRequest):
                validate.check_range(request)
            elif isinstance(request, rpc_pb2.PutRequest):
                validate.check_put(request)
            elif isinstance(request, rpc_pb2.DeleteRangeRequest):
                validate.check_delete_range(request)
            elif isinstance(request, rpc_pb2.TxnRequest):
                validate.check_txn(request, 128)
            elif isinstance(request, rstore_pb2.WriteRequest):
                validate.check_write(request, 128)
                validate.is_wide(request)
                validate.adds_data(request)

    def seeds(self) -> list[bytes]:
        """One of each."""
        put = rpc_pb2.PutRequest(key=b"k", value=b"v")
        txn = rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=put)])
        return [
            b"\0" + rpc_pb2.RangeRequest(key=b"k", range_end=b"l", limit=3).SerializeToString(),
            b"\1" + put.SerializeToString(),
            b"\3" + txn.SerializeToString(),
            b"\4" + rstore_pb2.WriteRequest(txn=txn).SerializeToString(),
        ]


class LogCommands(Target):
    """Entries of the log: a kind that is known, or UnknownCommandError before anything is applied."""

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        with contextlib.suppress(UnknownCommandError):
            COMMANDS.required_level(data)
        with contextlib.suppress(UnknownCommandError, DecodeError):
            COMMANDS.find(rstore_pb2.LogEntry.FromString(data))

    def seeds(self) -> list[bytes]:
        """A known and an unknown kind."""
        return [rstore_pb2.LogEntry(noop=rstore_pb2.Noop()).SerializeToString(), b"\xfa\x7f\x00"]


class JournalFiles(Target):
    """A journal's newest file: a beginning of what was written, or JournalDamaged."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self._directory = Path(self._temporary.name) / "journal"
        with contextlib.closing(self._opened()) as journal:
            for index in range(2, 12):
                journal.set_state(index // 4 + 1, "n1")
                journal.append(index, index // 4 + 1, b"\0%d" % index)
                journal.set_commit(index - 1)
                pending = journal.take_sync()
                pending.work()
                pending.done()
        (self._file,) = self._directory.iterdir()
        self._written = self._file.read_bytes()

    def _opened(self) -> Journal:
        return Journal(self._directory, LocalDisk(), segment_bytes=1 << 20, cache_bytes=100)

    def __call__(self, data: bytes) -> None:
        """Takes one input: where the file is cut, and what stands there instead."""
        at = int.from_bytes(data[:2], "big") % (len(self._written) + 1)
        for path in self._directory.iterdir():
            path.unlink()
        self._file.write_bytes(self._written[:at] + data[2:])
        try:
            journal = self._opened()
        except JournalDamaged:
            return
        with contextlib.closing(journal):
            for index in range(journal.first_index, journal.last_index + 1):
                journal.entry(index)

    def seeds(self) -> list[bytes]:
        """The whole file, and parts of it."""
        size = len(self._written)
        return [(at).to_bytes(2, "big") + self._written[at:] for at in (0, size // 2, size)]


class TailFiles(Target):
    """Quarantine files: the rows that were written, or DamagedTail."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self._path = Path(self._temporary.name) / "tail.wal"

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        self._path.write_bytes(data)
        with contextlib.suppress(tail_file.DamagedTail):
            tail_file.read_summary(self._path)
        with contextlib.suppress(tail_file.DamagedTail):
            for _ in tail_file.read_rows(self._path):
                pass

    def seeds(self) -> list[bytes]:
        """A file with two rows."""
        header = TailHeader(
            "s", "r", 1, first_revision=5, last_revision=6, fork_revision=4, replaced_by_epoch=2, history=()
        )
        batch = [rows.join_frames([rows.pack(row)], 1) for row in ROWS]
        parts = [len(one).to_bytes(4, "big") + one for one in batch]
        return [tail_file.start_bytes(header) + b"".join(parts) + tail_file.end_bytes(2, 2)]


ROWS = [
    rows.Row(revision=5, sub=0, key=b"a", value=b"v", create_revision=5, version=1, lease=0),
    rows.Row(revision=6, sub=0, key=b"b", value=b"w", create_revision=6, version=1, lease=0),
]


class Batches(Target):
    """Batches of rows as regions send them: rows in order, or DamagedRows."""

    def __call__(self, data: bytes) -> None:
        """Takes one input: raw, and as the payload behind a right checksum."""
        for packed in (data, rows.join_frames([data], data[0] if data else 0)):
            with contextlib.suppress(rows.DamagedRows):
                for row, _ in rows.unpack_batch(packed):
                    assert row.key

    def seeds(self) -> list[bytes]:
        """A batch, and the frames of one."""
        return [rows.pack_batch(ROWS), b"".join(map(rows.pack, ROWS))]


class EtcdFiles(Target):
    """A database of etcd, from whoever has one to restore from."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(dir=IN_MEMORY)
        self._path = Path(self._directory.name) / "db"

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        with contextlib.suppress(DamagedDatabase), Database(self._path) as database:
            for name in database.buckets():
                keys = [key for key, _ in database.items(name)]
                assert keys == sorted(set(keys))

    def seeds(self) -> list[bytes]:
        layout = Layout()
        pages = [
            page for name in (b"key", b"meta") for page in layout.bucket(name, [(b"a", b"1"), (b"b", bytes(5000))])
        ]
        pages += layout.bucket(b"lease", ())
        last, head = layout.end()
        return [b"".join((head.encode(), *pages, last))]


class Manifests(Target):
    """Manifests of checkpoints: one that names files inside it, or ValueError."""

    def __call__(self, data: bytes) -> None:
        """Takes one input."""
        try:
            manifest = parse_manifest(data)
        except ValueError:
            return
        assert all(not Path(each.path).is_absolute() and ".." not in Path(each.path).parts for each in manifest.files)

    def seeds(self) -> list[bytes]:
        """One that is right."""
        return [b'{"index":3,"term":1,"base_applied":3,"files":[{"path":"data.mdb","size_bytes":1,"crc32c":0}]}']


STORE_ID, EPOCHS = "store", (EpochStart(1, 2, "us"),)


class Segments(Target):
    """Segments of an archive: whole, or Damaged; also behind right checksums, which whoever writes there can make."""

    NAME = names.segment(1, 5)

    def __call__(self, data: bytes) -> None:
        header = segments.SegmentHeader(STORE_ID, EPOCHS, 4, 5, 6, 2, 0, 9, begins_because="fuzzing")
        for packed in (data, sealed.seal(segments.MAGIC, header, [data])):
            with contextlib.suppress(Damaged):
                segment = segments.decode(self.NAME, packed)
                assert segment.header.name == self.NAME
                assert not segment.records or segment.records[-1].last_revision == segment.header.last_revision

    def seeds(self) -> list[bytes]:
        record = segments.Record(segments.Kind.ROWS, 1, 4, 6, rows.pack_batch(ROWS))
        header = segments.SegmentHeader(STORE_ID, EPOCHS, 4, 5, 6, 2, 0, 9, begins_because="fuzzing")
        whole = segments.encode(header, [record])
        return [whole, b"".join(sealed.unseal(self.NAME, segments.MAGIC, whole).pieces())]


class Bases(Target):
    """Parts and manifests of bases in an archive: whole, or Damaged."""

    NAME, MANIFEST = names.part(6, 0, "a"), names.manifest(6)

    def __call__(self, data: bytes) -> None:
        header = bases.PartHeader(STORE_ID, EPOCHS, 6, 0, 2)
        for packed in (data, sealed.seal(bases.MAGIC, header, [data])):
            with contextlib.suppress(Damaged):
                assert len(list(bases.decode_part(self.NAME, packed).frames())) == 2
        with contextlib.suppress(Damaged):
            assert bases.decode_manifest(self.MANIFEST, data).revision == 6

    def seeds(self) -> list[bytes]:
        part = bases.encode_part(bases.PartHeader(STORE_ID, EPOCHS, 6, 0, 2), [rows.pack_batch(ROWS)])
        listed = bases.PartInfo(self.NAME, len(part), 2, sealed.digest_of(part))
        manifest = bases.Manifest(STORE_ID, "team", "orders", EPOCHS, 6, 1, 1, 2, len(part), (listed,))
        return [part, b"".join(sealed.unseal(self.NAME, bases.MAGIC, part).pieces()), bases.encode_manifest(manifest)]


TARGETS: dict[str, type[Target]] = {
    "server-frames": ServerFrames,
    "client-frames": ClientFrames,
    "header-blocks": HeaderBlocks,
    "messages": Messages,
    "requests": Requests,
    "http1": Http1Bytes,
    "json": JsonTexts,
    "log-commands": LogCommands,
    "journal": JournalFiles,
    "quarantine": TailFiles,
    "batches": Batches,
    "manifests": Manifests,
    "etcd-files": EtcdFiles,
    "segments": Segments,
    "bases": Bases,
}
