"""What one write may change and look at.

Rows of a revision are not split: on their way to another region they are one entry of a log and one message, and
applying it holds up whatever else the replica does; but for deletions of ranges, which are made in steps
(``deletion.py``). So the leader puts limits into each entry (``WriteLimits``), and a request
beyond them is refused before it has changed anything, by every replica alike.
"""

from __future__ import annotations

from itertools import islice

from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_api.errors import RequestTooWide
from rstore_api.proto.rstore_pb2 import WriteLimits
from rstore_api.rows import BODY_HEADER_BYTES, FRAME_HEADER

from rstore_replica.mvcc.data.walks import Found
from rstore_replica.mvcc.data.writer import Writer

DEFAULT_MAX_ROWS = 10_000
DEFAULT_MAX_BYTES = 4 << 20
ROW_OVERHEAD_BYTES = BODY_HEADER_BYTES + FRAME_HEADER.size
"""What a row takes in a batch besides its key and value."""


class Budget:
    """Counts what one request will change and read; every method raises RequestTooWide when that is too much."""

    def __init__(self, limits: WriteLimits) -> None:
        self.max_rows = limits.max_revision_rows or DEFAULT_MAX_ROWS
        self.max_bytes = limits.max_revision_bytes or DEFAULT_MAX_BYTES
        self._rows = 0
        self._row_bytes = 0
        self._looked_at = 0
        self._read_bytes = 0

    def change(self, rows: int, key_and_value_bytes: int) -> None:
        """So many rows will be written, with so many bytes of keys and values."""
        self._rows += rows
        self._row_bytes += key_and_value_bytes + rows * ROW_OVERHEAD_BYTES
        if self._rows > self.max_rows:
            raise RequestTooWide(f"it changes more than {self.max_rows} keys; split it into several requests")
        if self._row_bytes > self.max_bytes:
            raise RequestTooWide(
                f"it writes more than {self.max_bytes} bytes in one revision; split it into several requests"
            )

    def look(self, writer: Writer, start: bytes, end: bytes | None, revision: int | None = None) -> list[Found]:
        """Returns the keys in [start, end) that exist at ``revision``."""
        left = self.max_rows - self._looked_at
        scan = islice(writer.scan(start, end, revision), left + 1)
        pairs: list[Found] = []
        if writer.holds_long_keys(start, end):
            for pair in scan:
                self.read(len(pair[0]) if len(pair[0]) > SHORT_KEY_BYTES else 0)
                pairs.append(pair)
        else:
            pairs += scan
        if len(pairs) > left:
            raise RequestTooWide(
                f"its ranges hold more than {self.max_rows} keys; go through them in parts: read keys with keys_only "
                f"and a limit of at most {self.max_rows}, delete up to the last of them, and go on from there"
            )
        self._looked_at += len(pairs)
        return pairs

    def read(self, value_bytes: int) -> None:
        """A value of that size will be read, to be compared or returned, or a long key."""
        self._read_bytes += value_bytes
        if self._read_bytes > self.max_bytes:
            raise RequestTooWide(
                f"the values that it compares or returns, and the long keys, have more than {self.max_bytes} bytes; "
                "ask for fewer keys, or read them outside of the write"
            )
