"""Checkpoints of the state machine on this replica's disk: made, validated, restored; the log before them let go.

A checkpoint is a directory ``<index>-<term>/`` with ``manifest.json`` and the machine's files under ``data/``. It is
complete and durable before it gets that name. It holds at least the effect of all entries up to ``index``; those after
it are applied again, which does nothing where the machine already has them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import msgspec

from rstore_replica.raft.checkpoints.rule import Growth, growth_at_last, growth_needed
from rstore_replica.raft.checkpoints.trailing import first_to_keep
from rstore_replica.raft.clock import Clock
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.membership import Membership
from rstore_replica.raft.storage.disk import Disk
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.types import JournalDamaged, RaftError, StateMachine

logger = logging.getLogger(__name__)

_READ_BYTES = 1 << 20


class FileSum(msgspec.Struct, frozen=True):
    """One file of a checkpoint, its path relative to ``data/``."""

    path: str
    size_bytes: int
    crc32c: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint stands for."""

    index: int
    term: int
    base_applied: int
    """The machine's own applied index is at least this after a restore."""
    files: tuple[FileSum, ...]
    membership: Membership | None = None
    """The one in force at ``index``; None when the log does not name it."""
    applied_at_most: int = 0
    """No entry after this one is in the data. It may be above ``index``: applying goes on while the copy is made."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size_bytes for file in self.files)

    def check(self) -> None:
        """``ValueError`` unless every path stays inside the checkpoint."""
        for file in self.files:
            parts = Path(file.path).parts
            if not parts or Path(file.path).is_absolute() or ".." in parts:
                raise ValueError(f"checkpoint file {file.path!r}")


class LiveStateError(RaftError):
    """The state machine's live state may not be what was applied."""


class CheckpointStore:
    """The checkpoints below one directory, and the decision when to make the next one."""

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        machine: StateMachine,
        clock: Clock,
        config: RaftConfig,
        failed: Callable[[BaseException], None],
    ) -> None:
        """``failed`` is called when the live state turns out to be lost, so that no checkpoint of it may be made."""
        self._failed = failed
        self._directory = directory
        self._disk = disk
        self._machine = machine
        self._clock = clock
        self._not_before = 0.0
        self._config = config
        self._task: asyncio.Task[None] | None = None
        self._last_index = 0
        self._last_bytes = 0
        self._needed = growth_needed(0, config)
        self._retry_index = 0
        self.directory = directory

    # ------------------------------------------------------------------ start

    async def recover(self, journal: Journal) -> int:
        """Brings machine and journal together after a start; returns the index up to which entries are applied.

        Restores the newest checkpoint when the machine lacks what the log no longer holds. Raises :class:`RaftError`
        when that cannot be done without losing something.
        """
        disk = self._disk
        disk.make_directory(self._directory)
        for leftover in ("making", "incoming", "removing"):
            disk.remove(self._directory / leftover)
        newest = self.newest()
        index, size_bytes = (newest[0].index, newest[0].size_bytes) if newest else (0, 0)
        self._note_last(index, journal.total_bytes - journal.size_between(index + 1, journal.last_index), size_bytes)
        if self._marker.exists() or self._machine.applied_index < journal.base_applied:
            if newest is None:
                raise RaftError(
                    f"{self._directory}: the state machine has applied {self._machine.applied_index}, the log begins "
                    f"at {journal.first_index} and there is no checkpoint; remove this replica's data to fetch it anew"
                )
            manifest, path = newest
            await disk.run_aside(lambda: validate(path, manifest))
            if manifest.index > journal.last_index:
                journal.reset(manifest.index, manifest.term, manifest.base_applied, manifest.membership)
            logger.warning("raft_checkpoint_restored path=%s index=%d", path, manifest.index)
            await self.restore(path)
        applied = self._machine.applied_index
        if applied < journal.base_applied:
            raise RaftError(f"the checkpoint brought the state machine to {applied}, needed is {journal.base_applied}")
        if applied > journal.last_index and not (
            newest and newest[0].index <= journal.last_index and applied <= newest[0].applied_at_most
        ):
            raise RaftError(
                f"the state machine has applied entry {applied} but the journal ends at {journal.last_index}: the "
                "journal was lost; remove this replica's data to fetch it anew"
            )
        return min(max(applied, journal.first_index), journal.last_index)

    async def restore(self, path: Path) -> None:
        """Restores the machine from a validated checkpoint; a crash in the middle is made up for at the next start."""
        self._disk.open(self._marker).close()
        self._disk.sync_directory(self._directory)
        await self._disk.run_aside(lambda: self._machine.restore(path / "data"))
        self._disk.remove(self._marker)
        self._disk.sync_directory(self._directory)

    @property
    def _marker(self) -> Path:
        return self._directory / "restoring"

    # ------------------------------------------------------------------ what there is

    def all(self) -> list[tuple[Manifest, Path]]:
        """Complete checkpoints, oldest first. :class:`JournalDamaged` when a manifest cannot be read."""
        checkpoints = []
        for name in self._disk.list_directory(self._directory):
            if "-" in name:
                checkpoints.append((read_manifest(self._directory / name), self._directory / name))
        return sorted(checkpoints, key=lambda item: item[0].index)

    def newest(self) -> tuple[Manifest, Path] | None:
        """The newest complete checkpoint."""
        checkpoints = self.all()
        return checkpoints[-1] if checkpoints else None

    # ------------------------------------------------------------------ making

    def consider(self, core: RaftCore, journal: Journal, *, wanted: bool) -> None:
        """Begins a checkpoint when enough has been applied since the last one and none is being made.

        Making them takes at most a tenth of the time, and while a peer is being sent one (``wanted``) none takes its
        place, unless the log has by then grown to many times what it should be.
        """
        applied = core.last_applied
        growth = Growth(applied - self._last_index, journal.total_bytes - self._last_bytes)
        if not growth.reaches(self._needed):
            return
        may_wait = growth.size_bytes < growth_at_last(self._needed, self._config)
        if may_wait and (wanted or self._clock.monotonic() < self._not_before):
            return
        if self._task is not None or core.paused or applied < self._retry_index:
            return
        self._task = asyncio.create_task(self._make(core, journal))

    async def _make(self, core: RaftCore, journal: Journal) -> None:
        index, total_bytes, base_applied = core.last_applied, journal.total_bytes, self._machine.applied_index
        term, membership = journal.term_at(index), journal.memberships.at(index)
        assert term is not None
        making = self._directory / "making"
        started = self._clock.monotonic()

        def work() -> tuple[Path, int]:
            self._disk.remove(making)
            self._disk.make_directory(making / "data")
            self._machine.checkpoint(making / "data")
            self._check_live_state()
            sums = sums_of(making / "data")
            at_most = self._machine.applied_index
            manifest = Manifest(index, term, base_applied, sums, membership, at_most)
            write_manifest(making, manifest)
            return self.publish(making, index, term), manifest.size_bytes

        try:
            path, size_bytes = await self._disk.run_aside(work)
            if not core.paused and journal.first_index < index <= journal.last_index:
                journal.compact(first_to_keep(core, journal, index, self._config), base_applied)
            self._note_last(index, total_bytes, size_bytes)
            self.remove_older(path)
            logger.info("raft_checkpoint_made index=%d first_index=%d", index, journal.first_index)
        except LiveStateError as error:
            self._failed(error)
        except Exception:
            # Nothing is lost: the log stays as it is. Tried again after as many entries.
            logger.exception("raft_checkpoint_failed index=%d", index)
            self._retry_index = index + self._config.checkpoint_entries
        finally:
            now = self._clock.monotonic()
            self._not_before = now + 9 * (now - started)
            self._task = None

    def _check_live_state(self) -> None:
        """The copy was read from the page cache; had a write of that to the disk failed, it is reported now."""
        try:
            self._machine.sync()
        except Exception as error:
            raise LiveStateError(
                f"the live state cannot be synced, so a copy of it cannot be trusted: {error}"
            ) from error

    def publish(self, unfinished: Path, index: int, term: int) -> Path:
        """Gives a complete checkpoint its name, durably. Blocking."""
        target = self._directory / f"{index:020d}-{term}"
        self._disk.sync_tree(unfinished)
        self._discard(target)
        self._disk.rename(unfinished, target)
        self._disk.sync_directory(self._directory)
        return target

    def remove_older(self, kept: Path) -> None:
        """Removes every checkpoint before ``kept``."""
        for name in self._disk.list_directory(self._directory):
            if "-" in name and name < kept.name:
                self._discard(self._directory / name)

    def _discard(self, path: Path) -> None:
        """Removes a checkpoint that may be looked at: half removed it must not have its name any more."""
        if not path.exists():
            return
        removing = self._directory / "removing"
        self._disk.remove(removing)
        self._disk.rename(path, removing)
        self._disk.sync_directory(self._directory)
        self._disk.remove(removing)

    def adopted(self, manifest: Manifest, journal: Journal) -> None:
        """A checkpoint from the leader is in force."""
        self._note_last(manifest.index, journal.total_bytes, manifest.size_bytes)

    def _note_last(self, index: int, total_bytes: int, size_bytes: int) -> None:
        """There is a checkpoint of ``size_bytes``, of ``index``, made when the journal had written ``total_bytes``."""
        self._last_index, self._last_bytes = index, total_bytes
        self._needed = growth_needed(size_bytes, self._config)

    async def stop(self) -> None:
        """Waits for the checkpoint being made."""
        if self._task is not None:
            await self._task


def sums_of(data: Path) -> tuple[FileSum, ...]:
    """Sizes and checksums of all files below ``data``. Blocking."""
    files = sorted(path for path in data.rglob("*") if path.is_file())
    return tuple(FileSum(str(path.relative_to(data)), *_sum(path)) for path in files)


def _sum(path: Path) -> tuple[int, int]:
    size = crc = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            size += len(block)
            crc = google_crc32c.extend(crc, block)
    return size, crc


def write_manifest(checkpoint: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json``."""
    (checkpoint / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def read_manifest(checkpoint: Path) -> Manifest:
    """The checkpoint's manifest; :class:`JournalDamaged` when it is missing or not one."""
    path = checkpoint / "manifest.json"
    try:
        return parse_manifest(path.read_bytes())
    except (OSError, ValueError) as error:
        raise JournalDamaged(f"{path}: {error}") from error


def parse_manifest(data: bytes) -> Manifest:
    """A manifest from its JSON; ``ValueError`` when it is not one."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    manifest.check()
    return manifest


def validate(checkpoint: Path, manifest: Manifest) -> None:
    """Reads every file against the manifest; :class:`JournalDamaged` names the first that differs. Blocking."""
    files = sums_of(checkpoint / "data")
    if files != manifest.files:
        differing = set(files) ^ set(manifest.files)
        names = sorted({file.path for file in differing})
        raise JournalDamaged(f"{checkpoint}: the checkpoint is damaged in {', '.join(names)}")
