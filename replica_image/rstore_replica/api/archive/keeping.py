"""What compaction leaves for the archive: everything after what it has confirmed, also while no archiver is there.

As for a region that is behind, only the removal of rows waits: the compact revision goes up at once, and readers see no
difference. Each replica of each region keeps them by itself, since any may be the one that is read next, and notes
beside its data from where on, since it may be restarted meanwhile. Beyond the bounds that are stated here the archive
has to begin anew, with a base.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import msgspec
from rstore_api.domain.epochs import count_at
from rstore_api.domain.forks import Chain, fork_revision
from rstore_api.errors import Compacted, InvalidRequest, NotBootstrapped, WrongStore
from rstore_api.logs import get_logger
from rstore_api.messages import history_of
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.durable_files import write_durably
from rstore_replica.mvcc.machine import Machine
from rstore_replica.raft.clock import Clock
from rstore_replica.replication.history import Contradiction, contradiction
from rstore_replica.replication.messages import chain_of
from rstore_replica.replication.retention import LAGGARD_FACTOR
from rstore_replica.replication.sending.history_hold import HistoryHold

_log = get_logger(__name__)

FILE_NAME = "archived.json"
KEPT_SECONDS = 4 * 3600.0
"""How long compaction waits for an archive that confirms nothing new. Nor for one that is behind by more than
LAGGARD_FACTOR retentions, nor where the store is nearly full."""
REVIEW_SECONDS = 5.0


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is kept, for the next start."""

    revision: int


class Keeping:
    """What one replica keeps. :meth:`begin` it before anything is applied, and then :meth:`run` it."""

    def __init__(self, *, machine: Machine, clock: Clock, directory: Path, retention: int) -> None:
        """``directory`` is the replica's volume, ``retention`` how many revisions stay without any archive."""
        self._machine = machine
        self._path = directory / FILE_NAME
        self._retention = retention
        self._hold = HistoryHold(
            "archive", machine=machine, clock=clock, idle_seconds=KEPT_SECONDS, total_seconds=math.inf
        )
        self._revision = 0
        self._data_id = machine.data_id

    @property
    def revision(self) -> int:
        """Everything after this revision is kept; 0: nothing is."""
        return self._revision if self._hold.active else 0

    def begin(self) -> None:
        """Keeps what was kept before the restart. Raises OSError."""
        self._machine.subscribe(lambda _revision: self._look())
        try:
            note = msgspec.json.decode(self._path.read_bytes(), type=_Note)
        except FileNotFoundError:
            return
        except msgspec.DecodeError as error:
            _log.warning("archive_note_unreadable", path=str(self._path), reason=str(error))
            return
        self._take(note.revision)

    async def run(self) -> None:
        """Lets go when it is time to."""
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            self.review()

    async def confirm(self, request: pb.ConfirmRequest) -> None:
        """The archive has everything up to the request's revision; one call at a time.

        Raises NotBootstrapped, WrongStore, InvalidRequest.
        """
        revision = self._fork(request)
        if revision == self._revision or (revision < self._revision and not self._hold.active):
            return  # what was given up is not kept again
        if self._is_gone(revision):
            return  # the archive has to begin anew, and says then what it has
        try:
            # First, so that a restart never looks for what may be gone by then.
            await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(_Note(revision)))
        except OSError as error:
            _log.warning("archive_note_not_written", path=str(self._path), reason=str(error))
        self._take(revision)

    def review(self) -> None:
        """Lets go when the bounds are reached; to be called now and then."""
        if not self._hold.active:
            return
        behind = self._behind()
        if self._machine.compact_revision > self._revision and behind > LAGGARD_FACTOR * self._retention:
            _log.warning("history_let_go", region="archive", revision=self._revision, behind_revisions=behind)
            self._hold.release()
        else:
            self._hold.review()
        if not self._hold.active:
            self._forget()

    def _fork(self, request: pb.ConfirmRequest) -> int:
        """Returns the last revision that both the archive and this replica have."""
        state = self._machine.state
        if not state.store_id:
            raise NotBootstrapped
        if request.store_id != state.store_id:
            raise WrongStore(f"it belongs to {state.store_id}")
        ours = chain_of(state, self._machine.revision)
        try:
            theirs = Chain.of(history_of(request.history), request.revision)
        except ValueError as error:
            raise InvalidRequest(f"the history cannot be: {error}") from error
        twice = contradiction(ours, theirs)
        if twice is not None:
            raise InvalidRequest(str(Contradiction(twice)))
        return fork_revision(ours, theirs)

    def _behind(self) -> int:
        history = self._machine.state.history
        return count_at(history, self._machine.revision) - count_at(history, self._revision)

    def _is_gone(self, revision: int) -> bool:
        try:
            self._machine.hold(revision).release()
        except Compacted:
            return True
        return False

    def _take(self, revision: int) -> None:
        self._revision, self._data_id = revision, self._machine.data_id
        if not self._hold.take(revision):
            _log.warning("history_gone", region="archive", revision=revision)
            self._hold.release()

    def _look(self) -> None:
        """A checkpoint or a snapshot that takes the place of the data ends every hold, though it may have the rows."""
        if self._machine.data_id != self._data_id:
            self._data_id = self._machine.data_id
            if self._hold.active:
                self._take(self._revision)

    def _forget(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("archive_note_not_removed", path=str(self._path), reason=str(error))
