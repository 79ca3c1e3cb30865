"""Leaving a diverged tail, step by step: its rows go to quarantine, then out of the data.

Each step is part of one entry of the log and bounded by it, so that a tail of any length holds nobody up. What may
happen in between is decided in ``rules.py``. After a step the answer is the region's revision when nothing is left to
be done, else the :class:`.facts.Leaving` that says how far it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
from rstore_api import rows
from rstore_api.domain.epochs import settled
from rstore_api.errors import Compacted, StoreError
from rstore_api.proto.rstore_pb2 import Rewind

from rstore_replica.mvcc.data import deleted_ranges, hidden, index, layout
from rstore_replica.mvcc.data.outcome import Outcome
from rstore_replica.mvcc.data.store import Position, Store, Transaction
from rstore_replica.mvcc.data.undo import undo
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.tail_facts import Leaving, Phase
from rstore_replica.mvcc.tails import file as tail_file
from rstore_replica.mvcc.tails import rules
from rstore_replica.mvcc.tails.quarantine import Quarantine


class Leave:
    """One step, inside the transaction of its entry."""

    def __init__(
        self, store: Store, transaction: Transaction, files: Quarantine, *, max_rows: int, max_bytes: int
    ) -> None:
        """``max_rows`` and ``max_bytes`` 0: everything in one step."""
        self._store = store
        self._transaction = transaction
        self._files = files
        self._rows_left = max_rows or sys.maxsize
        self._bytes_left = max_bytes or sys.maxsize

    def begin(self, position: Position, state: RegionState, command: Rewind) -> Outcome:
        """Takes the first step, or one more when the region is on its way already."""
        compacted = settled(state.history, position.compact_revision)
        if command.keep_data:
            # Where compaction has begun, which rows are left differs between replicas; what the range is does not.
            first, last = command.fork_revision + 1, settled(state.history, position.revision)
        else:
            first, last = self._first_and_last(command.fork_revision)
        begun = rules.begin(state, position.revision, command, first, last)
        if isinstance(begun, StoreError):
            return Outcome(begun, position, state)
        if begun is None:
            return self.go_on(position, state)
        if command.fork_revision < compacted and not command.keep_data:
            refusal = Compacted(f"the fork is at {command.fork_revision}, the compaction at {compacted}")
            return Outcome(refusal, position, state)
        discard_unfinished(self._files, state)
        return self.go_on(position, begun)

    def go_on(self, position: Position, state: RegionState) -> Outcome:
        """One more step; nothing when no tail is being left."""
        leaving = state.leaving
        if leaving is not None and leaving.phase is Phase.EXPORTING:
            leaving, complete = self._export(position, state, leaving)
            state = msgspec.structs.replace(state, leaving=leaving)
            if complete:
                if leaving.tail is not None:
                    self._files.finish(leaving.tail)
                if not leaving.keep_data:
                    position = _at_fork(position, state, leaving.header.fork_revision)
                    hidden.hide(self._store, self._transaction)
                    deleted_ranges.forget_above(self._store, self._transaction, position.revision)
                state = rules.exported(state, leaving)
                leaving = state.leaving
        if leaving is not None and leaving.phase is Phase.UNDOING and self._undo(leaving.header.fork_revision):
            state = rules.undone(state)
        leaving = state.leaving
        done = leaving is None or leaving.phase is Phase.EXPORTED
        return Outcome(position.revision if done else leaving, position, state)

    def _undo(self, fork_revision: int) -> bool:
        if not self._rows_left or not undo(self._store, self._transaction, fork_revision, self._rows_left):
            return False
        hidden.show(self._store, self._transaction)
        return True

    def _first_and_last(self, fork_revision: int) -> tuple[int, int]:
        with self._transaction.cursor(self._store.rows) as cursor:
            if not cursor.set_range(layout.ROW_KEY.pack(fork_revision + 1, 0)):
                return fork_revision + 1, fork_revision
            first = layout.ROW_KEY.unpack(cursor.key())[0]
            cursor.last()
            return first, layout.ROW_KEY.unpack(cursor.key())[0]

    def _export(self, position: Position, state: RegionState, leaving: Leaving) -> tuple[Leaving, bool]:
        """Writes rows to the file; how far it is then, and whether that was the last of them."""
        compacted = settled(state.history, position.compact_revision)
        frames: list[bytes] = []
        size = 0

        def written(revision: int, sub: int) -> Leaving:
            grown = msgspec.structs.replace(leaving, count=count, revisions=revisions, newest=newest)
            return self._written(grown, frames, revision, sub)

        count, revisions, newest = leaving.count, leaving.revisions, leaving.newest
        after = leaving.next_revision, leaving.next_sub
        # A region that has left a revision may have got it back, from one that had it too; it is kept once.
        kept = [
            (tail.header.first_revision, tail.header.last_revision)
            for tail in state.tails
            if tail.header.last_revision >= leaving.header.first_revision
        ]
        with self._transaction.cursor(self._store.rows) as cursor:
            for row_key, body in _rows_from(cursor, leaving.next_revision, leaving.next_sub):
                revision, sub = layout.ROW_KEY.unpack(row_key)
                if revision <= compacted and self._superseded(revision, sub, body, compacted):
                    continue
                if any(first <= revision <= last for first, last in kept):
                    continue
                # Where a step ends depends on what is exported alone: of the rest, replicas may hold more or less.
                if not self._rows_left or self._bytes_left <= 0:
                    return written(*after), False
                self._rows_left -= 1
                after = revision, sub + 1
                frames += (row_key + len(body).to_bytes(4, "big"), body)
                size += len(body)
                self._bytes_left -= len(body)
                count += 1
                revisions += revision != newest
                newest = revision
                if size >= tail_file.PART_BYTES:
                    leaving = written(*after)
                    frames, size = [], 0
        leaving = written(layout.MAX_REVISION, 0)
        if leaving.count:
            end = tail_file.end_bytes(leaving.count, leaving.revisions)
            self._files.append(leaving.header.file, leaving.offset, end)
            leaving = msgspec.structs.replace(leaving, offset=leaving.offset + len(end))
        return leaving, True

    def _superseded(self, revision: int, sub: int, body: bytes, compacted: int) -> bool:
        """Whether compaction removes the row, or has not come to it yet: so that all replicas export the same."""
        row = rows.unpack(revision, sub, body)
        if row.deletion:
            return True
        entry = layout.pack_entry(revision, sub, row.create_revision, row.version)
        newest = index.newest_behind(self._store, self._transaction, row.kind, row.key, layout.newest_at(compacted))
        return newest != entry

    def _written(self, leaving: Leaving, frames: list[bytes], revision: int, sub: int) -> Leaving:
        if frames:
            data = tail_file.part_bytes(frames)
            if not leaving.offset:
                data = tail_file.start_bytes(leaving.header) + data
            self._files.append(leaving.header.file, leaving.offset, data)
            leaving = msgspec.structs.replace(leaving, offset=leaving.offset + len(data))
        return msgspec.structs.replace(leaving, next_revision=revision, next_sub=sub)


def discard_unfinished(files: Quarantine, state: RegionState) -> None:
    """Removes the file of the tail that the region is leaving, and does not leave after all."""
    if state.leaving is not None and all(tail.file != state.leaving.header.file for tail in state.tails):
        files.discard(state.leaving.header.file)


def staying(state: RegionState, files: Quarantine) -> RegionState:
    """The region keeps its revisions after all: what was exported of them is no tail."""
    discard_unfinished(files, state)
    return rules.stayed(state)


def _at_fork(position: Position, state: RegionState, fork_revision: int) -> Position:
    """The position of a store that goes from ``state`` to the fork, with rows above it that nobody sees any more."""
    compacted = settled(state.history, position.compact_revision)
    swept = min((position.swept_revision, position.swept_sub), (compacted, layout.MASK32))
    return msgspec.structs.replace(
        position,
        revision=fork_revision,
        compact_revision=compacted,
        swept_revision=swept[0],
        swept_sub=swept[1],
    )


def _rows_from(cursor: Transaction, revision: int, sub: int) -> Iterator[tuple[bytes, bytes]]:
    positioned = cursor.set_range(layout.ROW_KEY.pack(revision, sub))
    yield from cursor.iternext(keys=True, values=True) if positioned else ()
