"""PURE. What is known of a diverged tail in quarantine."""

from __future__ import annotations

import msgspec


class TailHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tail is: revisions ``first_revision`` to ``last_revision`` of a history that ended in ``epoch``."""

    store_id: str
    region: str
    epoch: int
    first_revision: int
    last_revision: int
    fork_revision: int
    replaced_by_epoch: int
    history: tuple[tuple[int, int, str, int], ...]


class Tail(msgspec.Struct, frozen=True):
    """A file of the quarantine."""

    file: str
    header: TailHeader
    count: int
    size_bytes: int
