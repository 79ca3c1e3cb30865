"""Which segments of an archive are the store's history, in which order, and where it has holes.

Each epoch leaves the one before at a revision that the headers of its own segments say. What the epoch before has above
that is a *branch*: it was archived, and lost by the store in a failover. The line of the newest epoch is the history;
that of an older one is what the store was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rstore_api.domain.epochs import History, parent_of, settled
from rstore_api.domain.forks import Chain, fork_revision

from rstore_backup.segments import SegmentHeader


@dataclass(frozen=True)
class Listed:
    """A segment that is in the archive. ``sha256`` is "" where only its header was read."""

    header: SegmentHeader
    sha256: str = ""


@dataclass(frozen=True)
class Piece:
    """A segment's part in a line: its rows above the revision that the piece before ends with, up to
    ``until_revision``.
    """

    header: SegmentHeader
    until_revision: int


@dataclass(frozen=True)
class Hole:
    """What follows ``after_revision`` up to and with ``until_revision`` is not there."""

    after_revision: int
    until_revision: int
    reason: str


@dataclass(frozen=True)
class Branch:
    """Revisions of an epoch that its line has and the line asked for has not."""

    epoch: int
    fork_revision: int
    """The last that both share."""
    last_revision: int


@dataclass(frozen=True)
class Refused:
    """A segment that cannot be part of the line."""

    name: str
    reason: str


@dataclass(frozen=True)
class Line:
    """A history, as far as the archive has it."""

    history: History
    pieces: tuple[Piece, ...]
    """In order of their revisions."""
    holes: tuple[Hole, ...]
    branches: tuple[Branch, ...]
    refused: tuple[Refused, ...]

    @property
    def after_revision(self) -> int:
        """The revision that the first row follows."""
        return self.pieces[0].header.after_revision

    @property
    def last_revision(self) -> int:
        """The last revision that it has."""
        return self.pieces[-1].until_revision

    def reach(self, revision: int) -> int:
        """Returns up to which revision the rows go that follow ``revision`` without a hole; itself where none do."""
        if not self.after_revision <= revision < self.last_revision:
            return revision
        holes = [hole.after_revision for hole in self.holes if hole.until_revision > revision]
        return max(revision, min(holes, default=self.last_revision))

    def includes(self, revision: int, history: History) -> bool:
        """Whether a revision, with the epochs up to it, is one of this line's, and not of a branch."""
        ours = Chain.of(self.history, max(self.last_revision, revision))
        return fork_revision(ours, Chain.of(history, revision)) == revision


def epochs(segments: Iterable[Listed]) -> tuple[int, ...]:
    """Returns the epochs that have segments, the newest last."""
    return tuple(sorted({listed.header.epoch for listed in segments}))


def line(segments: Iterable[Listed], epoch: int | None = None) -> Line | None:
    """Returns the line that ends with an epoch's newest segment, the newest epoch's when none is named.

    None when the epoch has none. Segments may come in any order and may overlap, as two archivers at once make them.
    """
    sound, refused = _without_changed(sorted(segments, key=_place))
    of_epoch = [listed for listed in sound if epoch is None or listed.header.epoch == epoch]
    if not of_epoch:
        return None
    head = max(of_epoch, key=lambda listed: (listed.header.epoch, listed.header.last_revision)).header
    history = head.history
    own: list[SegmentHeader] = []
    others: list[SegmentHeader] = []
    for listed in sound:
        header = listed.header
        if header.history == history[: len(header.history)]:
            own.append(header)
        elif header.epoch in {start.epoch for start in history}:
            refused.append(Refused(header.name, f"it says that epoch {header.epoch} began elsewhere"))
        else:
            others.append(header)
    names = {listed.header.name for listed in sound}
    pieces, holes = _cover(own, history, head.last_revision, names, {each.name: each.reason for each in refused})
    chain = Chain.of(history, max(head.last_revision, head.after_revision))
    return Line(history, tuple(pieces), tuple(holes), tuple(_branches(own + others, chain)), tuple(refused))


def _place(listed: Listed) -> tuple[int, int, int]:
    header = listed.header
    return header.epoch, header.first_revision, header.last_revision


def _without_changed(segments: Sequence[Listed]) -> tuple[list[Listed], list[Refused]]:
    """Returns the segments but for those that are not what those that follow them say."""
    digests = {each.header.previous.name: each.header.previous.sha256 for each in segments if each.header.previous}
    sound: list[Listed] = []
    refused: list[Refused] = []
    for listed in segments:
        name = listed.header.name
        if listed.sha256 and digests.get(name, listed.sha256) != listed.sha256:
            refused.append(Refused(name, "it was replaced: its SHA-256 is not the one that the next segment follows"))
        else:
            sound.append(listed)
    return sound, refused


def _cover(
    headers: Sequence[SegmentHeader], history: History, last: int, names: set[str], refused: dict[str, str]
) -> tuple[list[Piece], list[Hole]]:
    """Returns the segments of a history that follow each other, and what is missing between them."""
    ends = {older.epoch: parent_of(newer) for older, newer in pairwise(history)}
    pieces: list[Piece] = []
    holes: list[Hole] = []
    at: int | None = None
    for header in headers:
        end = ends.get(header.epoch, last)
        after, until = header.after_revision, min(header.last_revision, end)
        if after > end:
            continue  # of a tail that was lost
        if at is not None:
            if header.rows and settled(history, until) <= settled(history, at):
                continue
            if settled(history, after) > settled(history, at):
                holes.append(Hole(at, after, _why(header, names, refused)))
        pieces.append(Piece(header, until))
        at = until if at is None else max(at, until)
    return pieces, holes


def _why(header: SegmentHeader, names: set[str], refused: dict[str, str]) -> str:
    if header.previous is None:
        return header.begins_because
    missing = header.previous.name
    if missing in refused:
        return f"{missing} cannot be used: {refused[missing]}"
    return f"{missing} is missing" if missing not in names else f"what {missing} follows is missing"


def _branches(headers: Sequence[SegmentHeader], chain: Chain) -> Iterator[Branch]:
    for epoch, of_epoch in groupby(sorted(headers, key=lambda header: header.epoch), key=lambda header: header.epoch):
        newest = max(of_epoch, key=lambda header: header.last_revision)
        fork = fork_revision(chain, Chain.of(newest.history, newest.last_revision))
        if fork < settled(newest.history, newest.last_revision):
            yield Branch(epoch, fork, newest.last_revision)
