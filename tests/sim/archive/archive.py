"""What is in an archive, read object by object: the rows of its lines, and the lines that were lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rstore_backup import names, segments
from rstore_backup.errors import Damaged
from rstore_backup.line import Line, Listed, line
from rstore_backup.segments import Kind, Segment
from sim.regions.ledger import Content, Written, contents

Rows = dict[int, tuple[Content, Content] | int]
"""By revision: what it has put and deleted, and of leases; of a deletion of a whole range, how many keys."""


@dataclass(frozen=True)
class Contents:
    """The segments of a store's archive that can be read."""

    segments: dict[str, Segment]
    damaged: tuple[str, ...]

    @classmethod
    def of(cls, objects: Mapping[str, bytes], store_id: str) -> Contents:
        """Returns what is in an object store of a store's archive."""
        whole: dict[str, Segment] = {}
        damaged: list[str] = []
        for path in sorted(objects):
            folder, _, name = path.partition("/")
            if folder == store_id and names.parse_segment(name) is not None:
                try:
                    whole[name] = segments.decode(name, objects[path])
                except Damaged:
                    damaged.append(name)
        return cls(whole, tuple(damaged))

    @property
    def lines(self) -> dict[int, Line]:
        """The line that ends with each epoch that has segments."""
        epochs = sorted({segment.header.epoch for segment in self.segments.values()})
        return {epoch: found for epoch in epochs if (found := self.line(epoch)) is not None}

    def line(self, epoch: int | None = None) -> Line | None:
        """Returns the line that ends with an epoch, by default with the newest."""
        return line([Listed(segment.header, segment.sha256) for segment in self.segments.values()], epoch)

    def rows(self, of: Line) -> Rows:
        """Returns all that a line has."""
        found: Rows = {}
        at = of.after_revision
        for piece in of.pieces:
            rows = rows_of(self.segments[piece.header.name])
            found |= {revision: row for revision, row in rows.items() if at < revision <= piece.until_revision}
            at = max(at, piece.until_revision)
        return found


def rows_of(segment: Segment) -> Rows:
    """Returns all that a segment has."""
    found: Rows = {}
    for record in segment.records:
        if record.kind is Kind.DELETED_RANGE:
            found[record.last_revision] = record.deleted().count
        else:
            found |= {revision: (keys, leases) for revision, keys, leases in contents(record.payload)}
    return found


def difference(revision: int, archived: tuple[Content, Content] | int, written: Written | None) -> str:
    """Returns how what is archived of a revision differs from what was written; "" where it does not."""
    if written is None:
        return f"revision {revision}, which was never made"
    if isinstance(archived, int):
        deleted = [value for _, value in written.content]
        same = len(deleted) == archived and not any(value is not None for value in deleted) and not written.leases
    else:
        same = archived == (written.content, written.leases)
    return "" if same else f"as revision {revision} {archived}, not {written.content} {written.leases}"
