"""A checkpoint on its way from the leader to a replica that needs entries which are gone; one chunk at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.checkpoints.store import CheckpointStore, Manifest, parse_manifest, validate, write_manifest
from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.storage.disk import Disk
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import JournalDamaged

logger = logging.getLogger(__name__)


class CheckpointSender:
    """The leader's side: at most one transfer per peer."""

    def __init__(
        self, core: RaftCore, checkpoints: CheckpointStore, disk: Disk, clock: Clock, config: RaftConfig
    ) -> None:
        self._core = core
        self._checkpoints = checkpoints
        self._disk = disk
        self._clock = clock
        self._config = config
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[tuple[str, int, int], asyncio.Future[pb.RaftCheckpointReply]] = {}

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is on its way to a peer."""
        return bool(self._tasks)

    def want(self, peer: str) -> None:
        """The peer needs a checkpoint; does nothing while one is under way."""
        if peer not in self._tasks:
            self._tasks[peer] = asyncio.create_task(self._transfer(peer))

    def on_reply(self, peer: str, reply: pb.RaftCheckpointReply) -> None:
        """An answer to a chunk."""
        future = self._answers.get((peer, reply.transfer, reply.sequence))
        if future is not None and not future.done():
            future.set_result(reply)

    async def stop(self) -> None:
        """Gives up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _transfer(self, peer: str) -> None:
        try:
            newest = self._checkpoints.newest()
            if newest is not None:
                logger.info("raft_checkpoint_started peer=%s index=%d", peer, newest[0].index)
                reply = await self._send(peer, *newest)
                if reply is not None and reply.installed and self._core.is_leader:
                    logger.info("raft_checkpoint_installed peer=%s next_index=%d", peer, reply.next_index)
                    self._core.checkpoint_installed(peer, reply.next_index)
                    return
            # Not again at once: the peer was restarted, the checkpoint was replaced, or this replica no longer leads.
            await self._pause()
        except (OSError, TimeoutError, JournalDamaged) as error:
            logger.warning("raft_checkpoint_failed peer=%s error=%s", peer, error)
            await self._pause()
        finally:
            self._tasks.pop(peer, None)

    async def _pause(self) -> None:
        over = asyncio.Event()
        self._clock.call_later(self._config.election_timeout_min_seconds, over.set)
        await over.wait()

    async def _send(self, peer: str, manifest: Manifest, path: Path) -> pb.RaftCheckpointReply | None:
        transfer, reply = secrets.randbits(63), None
        chunks = self._chunks(manifest)
        for sequence, (file, offset, size) in enumerate(chunks):
            data = b""
            if size:
                source = path / "data" / file
                data = await self._disk.run_aside(lambda source=source, at=offset, size=size: _read(source, at, size))  # type: ignore[misc]
            chunk = pb.RaftCheckpointChunk(
                transfer=transfer,
                sequence=sequence,
                file=file,
                offset=offset,
                data=data,
                last=sequence == len(chunks) - 1,
            )
            if sequence == 0:
                chunk.manifest = msgspec.json.encode(manifest)
            reply = await self._ask(peer, chunk)
            if reply is None or not reply.accepted:
                logger.warning("raft_checkpoint_refused peer=%s message=%s", peer, reply.message if reply else "")
                return None
            if reply.installed:
                return reply
        return reply

    def _chunks(self, manifest: Manifest) -> list[tuple[str, int, int]]:
        """(file, offset, size) of every chunk; an empty file has one of size 0."""
        step = self._config.checkpoint_chunk_bytes
        chunks: list[tuple[str, int, int]] = []
        for file in manifest.files:
            for offset in range(0, max(file.size_bytes, 1), step):
                chunks.append((file.path, offset, min(step, file.size_bytes - offset)))
        return chunks or [("", 0, 0)]

    async def _ask(self, peer: str, chunk: pb.RaftCheckpointChunk) -> pb.RaftCheckpointReply | None:
        """Sends the chunk and waits for its answer; None when this replica no longer leads."""
        if not self._core.is_leader:
            return None
        key = (peer, chunk.transfer, chunk.sequence)
        future: asyncio.Future[pb.RaftCheckpointReply] = asyncio.get_running_loop().create_future()
        self._answers[key] = future
        try:
            self._core.send_chunk(peer, chunk)
            # The last one is answered when it has been installed, which takes as long as the store is large.
            patience = self._config.checkpoint_chunk_timeout_seconds * (6 if chunk.last else 1)
            async with asyncio.timeout(patience):
                return await future
        finally:
            del self._answers[key]


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@dataclass
class _Incoming:
    peer: str
    transfer: int
    manifest: Manifest
    next_sequence: int = 0
    received_bytes: int = 0


class CheckpointReceiver:
    """The follower's side: writes chunks beside the live state, then puts the whole in its place."""

    def __init__(
        self,
        core: RaftCore,
        checkpoints: CheckpointStore,
        journal: Journal,
        disk: Disk,
        *,
        installed: Callable[[int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """``installed`` gets the index at which log and machine stand anew."""
        self._core = core
        self._checkpoints = checkpoints
        self._journal = journal
        self._disk = disk
        self._installed = installed
        self._failed = failed
        self._incoming: _Incoming | None = None
        self._task: asyncio.Task[None] | None = None
        self.progress = ""
        """Describes the transfer or installation under way, for people; "" when there is none."""

    def on_chunk(self, peer: str, chunk: pb.RaftCheckpointChunk) -> None:
        """A chunk from the leader; ignored while the one before is being written (the leader asks one at a time)."""
        if self._task is None and self._core.leader == peer:
            self._task = asyncio.create_task(self._take(peer, chunk))

    async def stop(self) -> None:
        """Waits for the chunk, or the installation, under way."""
        if self._task is not None:
            await self._task

    async def _take(self, peer: str, chunk: pb.RaftCheckpointChunk) -> None:
        try:
            reply = await self._answer(peer, chunk)
            reply.transfer, reply.sequence = chunk.transfer, chunk.sequence
            self._core.answer_chunk(peer, reply)
        except Exception as error:
            self._failed(error)
        finally:
            self._task = None

    async def _answer(self, peer: str, chunk: pb.RaftCheckpointChunk) -> pb.RaftCheckpointReply:
        if chunk.sequence == 0:
            try:
                manifest = parse_manifest(chunk.manifest)
            except ValueError as error:
                return pb.RaftCheckpointReply(message=str(error))
            have = self._holds(manifest)
            if have:
                return pb.RaftCheckpointReply(accepted=True, installed=True, next_index=have + 1)
            await self._disk.run_aside(lambda: self._disk.remove(self._directory))
            self._disk.make_directory(self._directory / "data")
            self._incoming = _Incoming(peer, chunk.transfer, manifest)
        incoming = self._incoming
        if incoming is None or (incoming.transfer, incoming.next_sequence) != (chunk.transfer, chunk.sequence):
            return pb.RaftCheckpointReply(message="not the chunk that follows")
        sizes = {file.path: file.size_bytes for file in incoming.manifest.files}
        if chunk.file and chunk.offset + len(chunk.data) > sizes.get(chunk.file, -1):
            return pb.RaftCheckpointReply(message=f"{chunk.file!r} is not so in the manifest")
        if chunk.file:
            await self._disk.run_aside(lambda: _write(self._directory / "data" / chunk.file, chunk.offset, chunk.data))
        incoming.next_sequence += 1
        incoming.received_bytes += len(chunk.data)
        total = sum(sizes.values())
        self.progress = f"receiving a checkpoint from {peer}: {incoming.received_bytes} of {total} bytes"
        if not chunk.last:
            return pb.RaftCheckpointReply(accepted=True)
        self._incoming = None
        return await self._install(incoming.manifest)

    def _holds(self, manifest: Manifest) -> int:
        """The index this replica can go on from without the checkpoint; 0 when it needs it."""
        if manifest.index <= self._core.commit_index:
            return self._core.commit_index
        return manifest.index if self._journal.term_at(manifest.index) == manifest.term else 0

    async def _install(self, manifest: Manifest) -> pb.RaftCheckpointReply:
        def finish() -> Path:
            write_manifest(self._directory, manifest)
            validate(self._directory, manifest)
            return self._checkpoints.publish(self._directory, manifest.index, manifest.term)

        try:
            path = await self._disk.run_aside(finish)
        except (JournalDamaged, OSError) as error:
            self.progress = ""
            return pb.RaftCheckpointReply(message=str(error))
        have = self._holds(manifest)
        if have:
            self.progress = ""
            return pb.RaftCheckpointReply(accepted=True, installed=True, next_index=have + 1)
        self.progress = f"installing a checkpoint at entry {manifest.index}"
        self._core.pause(True)
        try:
            # From here to the end a crash is made up for at the next start: the log points at the checkpoint.
            self._journal.reset(manifest.index, manifest.term, manifest.base_applied, manifest.membership)
            await self._checkpoints.restore(path)
            self._checkpoints.adopted(manifest, self._journal)
            self._installed(manifest.index)
            self._checkpoints.remove_older(path)
        finally:
            self._core.pause(False)
            self.progress = ""
        return pb.RaftCheckpointReply(accepted=True, installed=True, next_index=manifest.index + 1)

    @property
    def _directory(self) -> Path:
        return self._checkpoints.directory / "incoming"


def _write(path: Path, offset: int, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(offset)
        file.write(data)
