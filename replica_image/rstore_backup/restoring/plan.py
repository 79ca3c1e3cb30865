"""Which base and which segments a restore needs, and how far it can go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from rstore_api.domain.epochs import BASE_REVISION, REVISION_JUMP, History, epoch_of, is_left_out, parent_of, settled

from rstore_backup.bases import Manifest
from rstore_backup.errors import ArchiveError
from rstore_backup.line import Hole, Line, Piece
from rstore_backup.segments import Record


class NotRestorable(ArchiveError):  # noqa: N818
    """The archive does not have all that the restore needs. The text says what it can restore instead."""


@dataclass(frozen=True)
class AtRevision:
    """The state at a revision."""

    revision: int


@dataclass(frozen=True)
class AtTime:
    """The last state that was archived with this time, or one before it; in milliseconds since 1970."""

    time_ms: int


@dataclass(frozen=True)
class Latest:
    """The last state that the archive has."""


Target = AtRevision | AtTime | Latest


@dataclass(frozen=True)
class Span:
    """Revisions ``first_revision`` to ``last_revision`` can be restored. Times are in milliseconds since 1970."""

    first_revision: int
    last_revision: int
    first_time_ms: int
    last_time_ms: int


@dataclass(frozen=True)
class Plan:
    """What a restore reads, in order."""

    base: Manifest | None
    """None: the rows begin with those of the empty store."""
    pieces: tuple[Piece, ...]
    after_revision: int
    """The rows after this one are taken, those of the base are up to it."""
    revision: int
    """The last one that is taken."""
    history: History

    @property
    def size_bytes(self) -> int:
        """Of the base's parts."""
        return self.base.size_bytes if self.base is not None else 0


@dataclass(frozen=True)
class Recoverable:
    """A line and the bases of the same history: all that a restore may use."""

    history: History
    line: Line | None
    """None: there are bases alone."""
    bases: tuple[Manifest, ...]
    """In order of their revisions."""

    @classmethod
    def of(cls, line: Line | None, bases: Iterable[Manifest], epoch: int | None = None) -> Recoverable:
        """Returns what belongs together. Without segments the history is that of the newest base, of ``epoch`` where
        one is named.
        """
        ordered = sorted(bases, key=lambda base: (base.epoch, base.revision))
        if line is None:
            of_epoch = [base for base in ordered if epoch is None or base.epoch == epoch]
            history = of_epoch[-1].history if of_epoch else ()
            line_bases = [base for base in ordered if base.history == history[: len(base.history)]]
            return cls(history, None, tuple(line_bases))
        return cls(line.history, line, tuple(base for base in ordered if line.includes(base.revision, base.history)))

    @property
    def last_revision(self) -> int:
        """The newest revision that it has, behind whatever holes; 0: it has nothing."""
        of_bases = self.bases[-1].revision if self.bases else 0
        return max(of_bases, self.line.last_revision if self.line is not None else 0)

    def spans(self) -> tuple[Span, ...]:
        """Returns what can be restored, in order; what is between them cannot."""
        spans: list[Span] = []
        for base, start in self._starts():
            first, first_ms = start, base.time_ms if base is not None else self._time_after(start)
            last = self._reach(start)
            # A base says that the store was still at its last revision when the base was made.
            last_ms = max(self._time_at(last), base.time_ms if base is not None else 0)
            if spans and start <= spans[-1].last_revision:
                before = spans.pop()
                first, first_ms = before.first_revision, before.first_time_ms
                last, last_ms = max(last, before.last_revision), max(last_ms, before.last_time_ms)
            spans.append(Span(first, last, first_ms, last_ms))
        return tuple(spans)

    def plan(self, revision: int) -> Plan:
        """Returns what is needed for a revision. Raises NotRestorable."""
        if is_left_out(self.history, revision):
            raise NotRestorable(self._why_left_out(revision))
        wanted = settled(self.history, revision)
        for base, start in reversed(self._starts()):
            if settled(self.history, start) <= wanted <= max(start, self._reach(start)):
                pieces = self._pieces(start, wanted)
                return Plan(base, pieces, start, revision, self.history)
        raise NotRestorable(self._why_not(revision))

    def at_time(self, time_ms: int) -> Piece | int:
        """Returns the piece whose records say which revision was the last one at a time, or that revision itself.

        Raises NotRestorable when the time is outside of what can be restored.
        """
        spans = self.spans()
        if not spans:
            raise NotRestorable(self._why_not(0))
        if time_ms < spans[0].first_time_ms:
            raise NotRestorable(
                f"{time_of(time_ms)} is before what the archive can restore, which begins with {described(spans[0])}"
            )
        if time_ms > spans[-1].last_time_ms:
            raise NotRestorable(
                f"{time_of(time_ms)} is after the last rows and bases in the archive, of "
                f"{time_of(spans[-1].last_time_ms)}; what was written after them is not in it. The last state that it "
                f"has is revision {spans[-1].last_revision}"
            )
        for before, after in pairwise(spans):
            if before.last_time_ms < time_ms < after.first_time_ms:
                raise NotRestorable(
                    f"{time_of(time_ms)} is where rows are missing: {described(before)}, and then {described(after)}"
                )
        # Rows behind a hole may have the same time as the last ones before it.
        holding = [span.last_revision for span in spans if span.first_time_ms <= time_ms <= span.last_time_ms]
        most = max(holding, default=self.last_revision)
        pieces = [piece for piece in (self.line.pieces if self.line else ()) if piece.header.after_revision < most]
        begun = [piece for piece in pieces if piece.header.first_time_ms <= time_ms]
        of_bases = [base.revision for base in self.bases if base.time_ms <= time_ms and base.revision <= most]
        if begun and begun[-1].header.last_time_ms > time_ms:
            return begun[-1]
        return max((*of_bases, *(piece.until_revision for piece in begun[-1:])), default=BASE_REVISION)

    def _starts(self) -> list[tuple[Manifest | None, int]]:
        """Returns where a restore can begin, in order: the bases, and the empty store."""
        starts: list[tuple[Manifest | None, int]] = [(base, base.revision) for base in self.bases]
        if self.line is not None and self.line.after_revision == BASE_REVISION:
            starts.insert(0, (None, BASE_REVISION))
        return starts

    def _reach(self, start: int) -> int:
        return self.line.reach(start) if self.line is not None else start

    def _pieces(self, start: int, until: int) -> tuple[Piece, ...]:
        pieces = self.line.pieces if self.line is not None else ()
        first = settled(self.history, start)
        return tuple(
            piece
            for piece in pieces
            if piece.header.rows
            and settled(self.history, piece.until_revision) > first
            and settled(self.history, piece.header.after_revision) < until
        )

    def _time_after(self, revision: int) -> int:
        pieces = self.line.pieces if self.line is not None else ()
        return next((piece.header.first_time_ms for piece in pieces if piece.until_revision >= revision), 0)

    def _time_at(self, revision: int) -> int:
        pieces = self.line.pieces if self.line is not None else ()
        times = [piece.header.last_time_ms for piece in pieces if piece.until_revision <= revision]
        return times[-1] if times else 0

    def _why_left_out(self, revision: int) -> str:
        start = next(start for start in self.history if parent_of(start) < revision < start.first_revision - 1)
        lost = max((each.epoch for each in self.history if each.epoch < start.epoch), default=0)
        return (
            f"revision {revision} is not in the history of epoch {epoch_of(self.history)}: epoch {start.epoch} goes "
            f"on from revision {parent_of(start)} at {start.first_revision}. --epoch {lost} restores what was lost then"
        )

    def _why_not(self, revision: int) -> str:
        spans = self.spans()
        if not spans:
            return "the archive has no base, and its rows do not begin with the empty store: nothing can be restored"
        can = ", and ".join(described(span) for span in spans)
        if revision < spans[0].first_revision:
            return f"revision {revision} is before what the archive can restore, {can}"
        if revision > self.last_revision:
            return f"revision {revision} is not in the archive; it can restore {can}"
        holes = [hole for hole in (self.line.holes if self.line is not None else ()) if hole.after_revision < revision]
        why = missing(holes[-1]) if holes else "there is no base before it"
        return f"revision {revision} cannot be restored, since {why}; the archive can restore {can}"


def revision_at(records: Iterable[Record], piece: Piece, time_ms: int) -> int:
    """Returns the last revision of a piece that was archived with this time or one before it."""
    revision = piece.header.after_revision
    for record in records:
        if record.time_ms > time_ms or record.last_revision > piece.until_revision:
            break
        revision = record.last_revision
    return revision


def jump_above(plan: Plan, newest_revisions: Iterable[int]) -> int:
    """Returns how far above the restored revision the new store goes on: REVISION_JUMP above all that the archive has
    of any branch, so that no client takes a revision of the new store for one of the old.
    """
    return max((plan.revision, *newest_revisions)) - plan.revision + REVISION_JUMP


def described(span: Span) -> str:
    """Returns a span for a person."""
    if span.first_revision == span.last_revision:
        return f"revision {span.first_revision} ({time_of(span.first_time_ms)})"
    return (
        f"revisions {span.first_revision} to {span.last_revision} "
        f"({time_of(span.first_time_ms)} to {time_of(span.last_time_ms)})"
    )


def missing(hole: Hole) -> str:
    """Returns a hole for a person."""
    return f"the rows after revision {hole.after_revision} up to {hole.until_revision} are missing: {hole.reason}"


def time_of(time_ms: int) -> str:
    """Returns a time for a person, in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
