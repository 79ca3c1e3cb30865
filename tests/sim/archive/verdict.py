"""What must be true of an archive at any moment, and when everything in it has come to rest."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from rstore_api.domain.epochs import History, settled
from rstore_backup.errors import ArchiveError, WrongStore
from rstore_backup.line import Line
from rstore_backup.objects import ObjectStore
from rstore_backup.restoring.catalogue import read_catalogue
from rstore_backup.restoring.plan import AtRevision, AtTime, Latest, Plan, Span, Target
from rstore_backup.restoring.restore import Restorable, restorable
from rstore_backup.restoring.verifying import verify
from rstore_backup.stores import Below
from sim.archive.archive import Contents, Rows, difference, rows_of
from sim.archive.archivers import SKEW_MS, START_MS
from sim.archive.damage import damage_one
from sim.archive.states import State, Stored, states_along
from sim.regions.ledger import Ledger
from unit.backup.memory_store import MemoryStore


class ArchiveVerdict:
    """Holds archives against the ledger. ``notes`` count what was looked at."""

    def __init__(self, ledger: Ledger, rng: random.Random, directory: Path) -> None:
        """``directory`` is where restores have their temporary files."""
        self._ledger = ledger
        self._rng = rng
        self._directory = directory
        self.notes: Counter[str] = Counter()
        self.damaged: Collection[str] = ()
        """Objects that were damaged where they are."""

    def _violated(self, what: str) -> None:
        self._ledger.violated(f"archive: {what}")

    # ------------------------------------------------------------------ restores

    async def check_now(self, live: ObjectStore, copy: MemoryStore) -> None:
        """Compares the lines of the archive as it was at this moment with what was written; and restores at some
        revision or time from it, or from what it becomes meanwhile.
        """
        for store_id in await copy.folders(""):
            contents = Contents.of(copy.objects, store_id)
            for line in contents.lines.values():
                self._check_line(contents, line)
            chosen = await self._some_targets(copy, store_id, 1)
            if not chosen:
                continue
            ((target, epoch),) = chosen
            if self._rng.random() < 0.4:
                self.notes["restores_meanwhile"] += await self._check_restore(
                    live, store_id, target, epoch, may_fail=True
                )
            else:
                self.notes["restores"] += await self._check_restore(
                    copy, store_id, target, epoch, may_fail=bool(self.damaged)
                )

    async def _some_targets(self, store: MemoryStore, store_id: str, count: int) -> list[tuple[Target, int | None]]:
        """Returns revisions, and once in a while times, that can be restored, of any line."""
        try:
            catalogue = await read_catalogue(Below(store, store_id), store_id)
        except WrongStore:
            return []
        epochs = sorted({listed.header.epoch for listed in catalogue.segments})
        targets: list[tuple[Target, int | None]] = []
        for _ in range(count):
            epoch = self._rng.choice(epochs) if epochs and self._rng.random() < 0.3 else None
            recoverable = catalogue.recoverable(epoch)
            spans = recoverable.spans()
            if not spans:
                continue
            span = self._rng.choice(spans)
            if self._rng.random() < 0.3:
                targets.append((AtTime(self._rng.randint(span.first_time_ms, span.last_time_ms)), epoch))
            else:
                targets.append((AtRevision(self._some_revision(span, recoverable.history)), epoch))
        return targets

    def _some_revision(self, span: Span, history: History) -> int:
        between = [
            revision
            for revision in self._ledger.chain(settled(history, span.last_revision))
            if span.first_revision <= revision <= span.last_revision
        ]
        ends = [span.first_revision, span.last_revision]
        return self._rng.choice(sorted(between) if between and self._rng.random() < 0.7 else ends)

    async def _check_restore(
        self, store: ObjectStore, store_id: str, target: Target, epoch: int | None, *, may_fail: bool
    ) -> bool:
        """Compares what a restore gives with what there was; whether it gives anything."""
        try:
            restored = await self._restored(store, store_id, target, epoch)
        except ArchiveError as error:
            if not may_fail:
                self._violated(f"{target} of epoch {epoch} cannot be restored: {error}")
            return False
        with restored.table:
            self._compare(restored, target, epoch)
        if isinstance(target, AtTime) and isinstance(store, MemoryStore):
            catalogue = await read_catalogue(Below(store, store_id), store_id)
            spans = catalogue.recoverable(epoch).spans()
            self._check_until(restored.plan, target, Contents.of(store.objects, store_id), epoch, spans)
        return True

    async def _restored(self, store: ObjectStore, store_id: str, target: Target, epoch: int | None) -> Restorable:
        return await restorable(
            Below(store, store_id),
            store_id,
            target,
            epoch=epoch,
            directory=self._directory,
            begin=lambda _objects: None,
            advance=lambda _objects: None,
        )

    def _compare(self, restored: Restorable, target: Target, epoch: int | None) -> None:
        plan = restored.plan
        wrong = [start for start in plan.history if self._ledger.starts.get(start.epoch) != start]
        if wrong or (epoch is not None and plan.history[-1].epoch != epoch):
            self._violated(f"{target} of epoch {epoch} is restored with the history {plan.history}")
            return
        if isinstance(target, AtRevision) and plan.revision != target.revision:
            self._violated(f"{target} is restored at revision {plan.revision}")
        if isinstance(target, AtTime):
            self._check_time(plan.revision, plan.history, target)
        state = self._state_at(plan.revision, plan.history)
        given = _state_of(restored)
        if given != state:
            self._violated(f"{target} of epoch {epoch} is restored as {given}, not {state}")

    def _state_at(self, revision: int, history: History) -> State | None:
        chain = self._ledger.chain(settled(history, revision))
        return states_along(chain, self._ledger.revisions, history).get(revision)

    def _check_time(self, revision: int, history: History, target: AtTime) -> None:
        """Nothing is restored that was not there yet at the time."""
        written = self._ledger.revisions.get(settled(history, revision))
        if written is not None and START_MS + 1000 * written.at_seconds > target.time_ms + 2 * SKEW_MS:
            self._violated(f"{target} is restored at revision {revision}, made at {written.at_seconds:.3f}")

    def _check_until(
        self, plan: Plan, target: AtTime, contents: Contents, epoch: int | None, spans: Collection[Span]
    ) -> None:
        """Everything is restored that had been archived with the time, or one before it, but for what is behind rows
        that are missing, and cannot be restored at that time.
        """
        line = contents.line(epoch)
        holding = [span for span in spans if span.first_time_ms <= target.time_ms <= span.last_time_ms]
        most = max((span.last_revision for span in holding), default=0)
        for piece in line.pieces if line is not None else ():
            for record in contents.segments[piece.header.name].records:
                last = min(piece.until_revision, most)
                if record.time_ms <= target.time_ms and plan.revision < record.last_revision <= last:
                    self._violated(f"{target} is restored at {plan.revision}, without {record.last_revision}")
                    return

    # ------------------------------------------------------------------ at the end

    async def check(self, copy: MemoryStore, store_id: str, newest: int, history: History, newest_hash: int) -> None:
        """All is archived: what there is in the archive, of the store's line and of those that were lost."""
        contents = Contents.of(copy.objects, store_id)
        unknown = [name for name in contents.damaged if f"{store_id}/{name}" not in self.damaged]
        if unknown:
            self._violated(f"{unknown} cannot be read")
        line = contents.line()
        if line is None or (line.history, line.last_revision) != (history, newest):
            self._violated(f"it ends at {line and (line.history, line.last_revision)}, not at {(history, newest)}")
            return
        rows = {epoch: self._check_line(contents, found) for epoch, found in contents.lines.items()}
        self._check_tails(contents, line, rows, newest)
        await self._check_all(copy, store_id)
        await self._check_newest(copy, store_id, newest, newest_hash)
        for target, epoch in await self._some_targets(copy, store_id, 8):
            self.notes["restores"] += await self._check_restore(
                copy, store_id, target, epoch, may_fail=bool(self.damaged)
            )
        await self._check_damage(copy, store_id, newest)
        self.notes.update(
            segments=len(contents.segments),
            branches=len(line.branches),
            holes=len(line.holes),
            lost_archived=len(set().union(*rows.values()) - self._ledger.chain(newest)),
            archived=len(rows[line.history[-1].epoch]),
        )

    def _check_line(self, contents: Contents, line: Line) -> Rows:
        """Every row of a line is what was written, in a chain of epochs that there was, and none is missing."""
        epoch = line.history[-1].epoch
        wrong = [start for start in line.history if self._ledger.starts.get(start.epoch) != start]
        if wrong or (line.refused and not self.damaged):
            self._violated(f"the line of epoch {epoch} has the history {line.history}, refused {line.refused}")
            return {}
        rows = contents.rows(line)
        for revision, archived in rows.items():
            if problem := difference(revision, archived, self._ledger.revisions.get(revision)):
                self._violated(f"the line of epoch {epoch} has {problem}")
                return rows
        chain = self._ledger.chain(settled(line.history, line.last_revision))
        wanted = {
            revision
            for revision in chain
            if revision > line.after_revision
            and not any(hole.after_revision < revision <= hole.until_revision for hole in line.holes)
        }
        if extra := sorted(set(rows) - chain):
            self._violated(f"revisions {extra} are in the line of epoch {epoch}, which was without them")
        elif missing := sorted(wanted - set(rows)):
            self._violated(f"revisions {missing} are not in the line of epoch {epoch}, and in no hole")
        reasons = {segment.header.begins_because for segment in contents.segments.values()}
        for hole in line.holes:
            if hole.reason not in reasons and not self.damaged:
                self._violated(f"the line of epoch {epoch} has a hole, {hole}")
        return rows

    def _check_tails(self, contents: Contents, line: Line, rows: dict[int, Rows], newest: int) -> None:
        """What was archived and lost by the store is in a branch, and what was not lost in the main line."""
        chain = self._ledger.chain(newest)
        last_epoch = line.history[-1].epoch
        for name, segment in contents.segments.items():
            epoch = segment.header.epoch
            branches = [branch for branch in line.branches if branch.epoch == epoch]
            for revision in rows_of(segment):
                if revision in chain:
                    kept = revision in rows[last_epoch] or bool(self.damaged)
                else:
                    ours = any(branch.fork_revision < revision <= branch.last_revision for branch in branches)
                    kept = ours and (revision in rows[epoch] or bool(self.damaged))
                if not kept:
                    self._violated(f"revision {revision} of {name} is in no line: {line.branches}")
                    return

    async def _check_all(self, copy: MemoryStore, store_id: str) -> None:
        """What the user's own check says of the archive."""
        checked = await verify(
            Below(copy, store_id),
            store_id,
            directory=self._directory,
            begin=lambda _objects: None,
            advance=lambda _objects: None,
        )
        self.notes["bases"] += len(checked.catalogue.bases)
        self.notes["compared_bases"] += len(checked.compared_bases)
        if (checked.catalogue.damaged and not self.damaged) or checked.different_bases:
            self._violated(f"verified: {checked.catalogue.damaged}, different bases {checked.different_bases}")

    async def _check_newest(self, copy: MemoryStore, store_id: str, newest: int, newest_hash: int) -> None:
        """The latest state is that of the store, leases of keys too."""
        try:
            restored = await self._restored(copy, store_id, Latest(), None)
        except ArchiveError as error:
            if not self.damaged:
                self._violated(f"the latest state cannot be restored: {error}")
            return
        with restored.table as table:
            self._compare(restored, Latest(), None)
            if (restored.plan.revision, table.hash()) != (newest, newest_hash):
                self._violated(f"the latest state is that of {restored.plan.revision}, another one than {newest} has")

    async def _check_damage(self, copy: MemoryStore, store_id: str, newest: int) -> None:
        """Whatever one object is turned into, a restore says that it cannot, or is right."""
        for _ in range(4):
            targets = await self._some_targets(copy, store_id, 1)
            for target, epoch in targets:
                damaged = MemoryStore(copy.objects)
                near = target.revision if isinstance(target, AtRevision) else newest
                damage_one(damaged.objects, store_id, self._rng, near)
                right = await self._check_restore(damaged, store_id, target, epoch, may_fail=True)
                self.notes["restores_of_damaged" if right else "refused_of_damaged"] += 1


def _state_of(restored: Restorable) -> State:
    keys = {
        item.kv.key: Stored(item.kv.value, item.kv.create_revision, item.kv.mod_revision, item.kv.version)
        for item in restored.table.imported_keys()
    }
    return State(keys, dict(restored.table.leases))
