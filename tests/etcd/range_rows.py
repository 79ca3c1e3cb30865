"""What is asked of Range: a name, and the request about the history of :mod:`etcd.kv_history`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from etcd.kv_history import History
from rstore_api.proto.rpc_pb2 import RangeRequest

Row = Callable[[History], RangeRequest]

ROWS: dict[str, Row] = {}
ALL = {"key": b"t/", "range_end": b"t0"}
MAX = (1 << 63) - 1


def row(name: str, **fields: Any) -> None:
    """Adds a row; a field that is a function is computed from the history."""

    def request(history: History) -> RangeRequest:
        return RangeRequest(**{key: value(history) if callable(value) else value for key, value in fields.items()})

    assert name not in ROWS, name
    ROWS[name] = request


row("a key", key=b"t/a")
row("a key that was deleted", key=b"t/gone")
row("a key that never was", key=b"t/never")
row("a key with an empty value", key=b"t/d")
row("no key", key=b"")
row("no key but an end", key=b"", range_end=b"t0")
row("no key and from key on", key=b"", range_end=b"\0")
row("a prefix", **ALL)
row("all", key=b"\0", range_end=b"\0")
row("from key on", key=b"t/c", range_end=b"\0")
row("an end below the key", key=b"t/c", range_end=b"t/a")
row("an end that is the key", key=b"t/c", range_end=b"t/c")
row("an end that is the next key", key=b"t/b", range_end=b"t/b\0")
row("key zero alone", key=b"\0")
row("a long key", key=b"t" * 5000)
row("a long key of the prefix", key=b"t/" + b"l" * 600)
row("from a long key on", key=b"t/" + b"l" * 599, range_end=b"\0")
row("up to a long key", key=b"t/", range_end=b"t/" + b"l" * 601)
row("between long keys", key=b"t/" + b"l" * 598, range_end=b"t/" + b"l" * 601)
row("ends of 255", key=b"t/\xff", range_end=b"t/\xff\xff\xff")

for limit in (0, 1, 2, 6, 7, 8, 100, MAX, -1, -MAX - 1):
    row(f"limit {limit}", **ALL, limit=limit)
    row(f"limit {limit} and count only", **ALL, limit=limit, count_only=True)
    row(f"limit {limit} of one key", key=b"t/a", limit=limit)
row("limit of no key", key=b"t/never", limit=1)

row("keys only", **ALL, keys_only=True)
row("count only", **ALL, count_only=True)
row("keys only and count only", **ALL, keys_only=True, count_only=True)
row("count only of one key", key=b"t/a", count_only=True)
row("count only of no key", key=b"t/never", count_only=True)
row("keys only of one key", key=b"t/a", keys_only=True)
row("count only of the past", **ALL, count_only=True, revision=lambda h: h.compacted + 2)

for order in (0, 1, 2):
    for target in range(5):
        for limit in (0, 1, 3):
            row(
                f"order {order} target {target} limit {limit}", **ALL, sort_order=order, sort_target=target, limit=limit
            )
        row(f"order {order} target {target} keys only", **ALL, sort_order=order, sort_target=target, keys_only=True)
        row(
            f"order {order} target {target} of the past",
            **ALL,
            sort_order=order,
            sort_target=target,
            revision=lambda h: h.last - 3,
        )

for bound in ("min_mod", "max_mod", "min_create", "max_create"):
    field = f"{bound}_revision"
    for label, offset in (("first", 0), ("middle", 7), ("last", 13), ("beyond", 1000)):
        at = {field: lambda h, offset=offset: h.first + offset}
        row(f"{bound} {label}", **ALL, **at)
        row(f"{bound} {label} limit 2", **ALL, **at, limit=2)
        row(f"{bound} {label} count only", **ALL, **at, count_only=True)
    row(f"{bound} of one key that passes", key=b"t/d", **{field: lambda h: h.first + 5})
    row(f"{bound} of one key", key=b"t/a", **{field: lambda h: h.first + 2})
    row(f"{bound} 0", **ALL, **{field: 0})
    row(f"{bound} 1", **ALL, **{field: 1})
    row(f"{bound} negative", **ALL, **{field: -1})
    row(f"{bound} largest", **ALL, **{field: MAX})
row(
    "all bounds at once",
    **ALL,
    min_mod_revision=lambda h: h.first + 4,
    max_mod_revision=lambda h: h.first + 12,
    min_create_revision=lambda h: h.first,
    max_create_revision=lambda h: h.first + 7,
    sort_order=2,
    sort_target=4,
    limit=2,
)
row("bounds that exclude each other", **ALL, min_mod_revision=lambda h: h.last, max_mod_revision=lambda h: h.first)

for label, revision in (
    ("first of all", 1),
    ("below the compacted", lambda h: h.compacted - 1),
    ("compacted", lambda h: h.compacted),
    ("above the compacted", lambda h: h.compacted + 1),
    ("of a deletion", lambda h: h.compacted + 2),
    ("last", lambda h: h.last),
    ("newest", lambda h: h.newest),
    ("next", lambda h: h.newest + 1),
    ("largest", MAX),
    ("negative", -1),
    ("smallest", -MAX - 1),
):
    row(f"revision {label}", **ALL, revision=revision)
    row(f"revision {label} of a key", key=b"t/a", revision=revision)
    row(f"revision {label} of a deleted key", key=b"t/gone", revision=revision)
    row(f"revision {label} of an empty range", key=b"t/c", range_end=b"t/a", revision=revision)
    row(f"revision {label} count only", **ALL, revision=revision, count_only=True)
    row(f"revision {label} with a limit", **ALL, revision=revision, limit=2)
row("no key of a revision to come", key=b"", revision=MAX)
