"""What is asked of Put, DeleteRange, Txn and Compact: a name, and requests about keys of the row's own, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from google.protobuf.message import Message
from rstore_api.proto.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

Row = Callable[[bytes, int], Sequence[Message]]
"""Makes the requests of a row, from a prefix for its keys and the newest revision."""

ROWS: dict[str, Row] = {}
MAX = (1 << 63) - 1
_FIELDS = {
    RangeRequest: "request_range",
    PutRequest: "request_put",
    DeleteRangeRequest: "request_delete_range",
    TxnRequest: "request_txn",
}
_TARGETS = {"version": 0, "create_revision": 1, "mod_revision": 2, "value": 3, "lease": 4}


def row(name: str, function: Row) -> None:
    """Adds a row."""
    assert name not in ROWS, name
    ROWS[name] = function


def put(key: bytes, value: bytes = b"v", **fields: int) -> PutRequest:
    return PutRequest(key=key, value=value, **fields)


def get(key: bytes, range_end: bytes = b"", **fields: int) -> RangeRequest:
    return RangeRequest(key=key, range_end=range_end, **fields)


def delete(key: bytes, range_end: bytes = b"", **fields: int) -> DeleteRangeRequest:
    return DeleteRangeRequest(key=key, range_end=range_end, **fields)


def compact(revision: int, *, physical: bool = False) -> CompactionRequest:
    return CompactionRequest(revision=revision, physical=physical)


def compare(key: bytes, result: int, range_end: bytes = b"", **target: object) -> Compare:
    """Compares what the name of the field says: ``compare(b"a", 0, version=1)``."""
    [(name, _)] = target.items()
    return Compare(key=key, range_end=range_end, result=result, target=_TARGETS[name], **target)  # type: ignore[arg-type]


def op(request: Message) -> RequestOp:
    return RequestOp(**{_FIELDS[type(request)]: request})  # type: ignore[arg-type]


def txn(*success: Message, when: Iterable[Compare] = (), orelse: Iterable[Message] = ()) -> TxnRequest:
    return TxnRequest(compare=when, success=map(op, success), failure=map(op, orelse))


# ------------------------------------------------------------------------------------------------------------ Put
row("put anew, again and after deletion", lambda k, _: [put(k), put(k), delete(k), put(k), get(k)])
row("put returns what was", lambda k, _: [put(k, b"1", prev_kv=True), put(k, b"2", prev_kv=True)])
row("put returns nothing after a deletion", lambda k, _: [put(k), delete(k), put(k, b"2", prev_kv=True)])
row("put of nothing", lambda k, _: [put(k, b""), get(k), put(k, b"", prev_kv=True)])
row("put without a key", lambda k, _: [put(b"", b"v")])
row("put of bytes that are no text", lambda k, _: [put(k + bytes(range(256)), bytes(range(256))), get(k, k + b"\xff")])
for length in (511, 512, 513, 940, 941, 5000, 100_000):
    row(
        f"put of a key of {length} bytes",
        lambda k, _, n=length: [
            put(k.ljust(n, b"k"), b"1"),
            put(k.ljust(n - 1, b"k"), b"shorter", prev_kv=True),
            put(k.ljust(n + 1, b"k"), b"longer"),
            put(k.ljust(n, b"k"), b"2", prev_kv=True),
            put(k.ljust(n, b"k"), b"", ignore_value=True),
            get(k.ljust(n, b"k")),
            get(k, k + b"\xff"),
            get(k.ljust(n, b"k"), k.ljust(n, b"k") + b"\0"),
            get(k.ljust(n, b"k"), k + b"\xff", limit=1),
            get(k.ljust(n + 1, b"\0"), k.ljust(n, b"l"), count_only=True),
            delete(k.ljust(n, b"k"), prev_kv=True),
            get(k, k + b"\xff", sort_order=2),
            delete(k.ljust(n, b"k"), k + b"\xff", prev_kv=True),
            get(k, k + b"\xff"),
        ],
    )
    row(
        f"txn with a key of {length} bytes",
        lambda k, _, n=length: [
            txn(put(k.ljust(n, b"k"), b"1"), get(k, k + b"\xff"), put(k, b"short")),
            txn(
                txn(put(k.ljust(n, b"k"), b"2")),
                when=[compare(k.ljust(n, b"k"), 0, version=1), compare(k, 0, k + b"\xff", version=1)],
                orelse=[delete(k.ljust(n, b"k"))],
            ),
            txn(put(k.ljust(n, b"k")), put(k.ljust(n, b"k"))),
            txn(delete(k, k + b"\xff"), get(k, k + b"\xff")),
        ],
    )
row("put ignoring value", lambda k, _: [put(k, b"1"), put(k, b"", ignore_value=True, prev_kv=True), get(k)])
row("put ignoring value of no key", lambda k, _: [put(k, b"", ignore_value=True)])
row("put ignoring value of a deleted key", lambda k, _: [put(k), delete(k), put(k, b"", ignore_value=True)])
row("put ignoring value with a value", lambda k, _: [put(k), put(k, b"2", ignore_value=True)])
row("put ignoring lease", lambda k, _: [put(k, b"1"), put(k, b"2", ignore_lease=True, prev_kv=True), get(k)])
row("put ignoring lease of no key", lambda k, _: [put(k, b"1", ignore_lease=True)])
row("put ignoring lease with a lease", lambda k, _: [put(k), put(k, b"1", ignore_lease=True, lease=5)])
row("put ignoring both", lambda k, _: [put(k, b"1"), put(k, b"", ignore_lease=True, ignore_value=True), get(k)])
row("put ignoring both of no key", lambda k, _: [put(k, b"", ignore_lease=True, ignore_value=True)])
row("put ignoring both with both", lambda k, _: [put(k, b"2", ignore_lease=True, ignore_value=True, lease=5)])
row("put with a lease that is none", lambda k, _: [put(k, b"1", lease=4711), get(k)])
row("put without a key and a value to ignore", lambda k, _: [put(b"", b"v", ignore_value=True)])
row("put with a negative lease", lambda k, _: [put(k, b"1", lease=-1), get(k)])
row("put of the largest value", lambda k, _: [put(k, b"v" * 1_500_000)])
row("put above the largest request", lambda k, _: [put(k, b"v" * 1_573_000)])
row("put far above the largest request", lambda k, _: [put(k, b"v" * 1_900_000)])

# ---------------------------------------------------------------------------------------------------- DeleteRange
_THREE = (b"a", b"b", b"c")
row("delete a key", lambda k, _: [put(k), delete(k), get(k), delete(k)])
row("delete returns what was", lambda k, _: [put(k), put(k, b"2"), delete(k, prev_kv=True), delete(k, prev_kv=True)])
row("delete without a key", lambda k, _: [delete(b""), delete(b"", b"z")])
row("delete no key makes no revision", lambda k, _: [delete(k), delete(k, k + b"\xff", prev_kv=True), put(k)])
row("delete a range", lambda k, _: [*(put(k + one) for one in _THREE), delete(k + b"a", k + b"c"), get(k, k + b"\xff")])
row("delete a prefix", lambda k, _: [*(put(k + one) for one in _THREE), delete(k, k + b"\xff", prev_kv=True)])
row("delete an empty range", lambda k, _: [put(k + b"a"), delete(k + b"b", k + b"a"), delete(k + b"a", k + b"a")])
row("delete from key on", lambda k, _: [put(b"\xfe" + k), put(b"\xff" + k), delete(b"\xfe", b"\0", prev_kv=True)])
row("delete key and next", lambda k, _: [put(k), put(k + b"\0"), delete(k, k + b"\0"), get(k, k + b"\xff")])

# ------------------------------------------------------------------------------------------------------------ Txn
row("txn of nothing", lambda k, _: [txn(), txn(when=[compare(k, 0, version=1)]), put(k)])
row("txn that reads makes no revision", lambda k, _: [put(k), txn(get(k), get(k + b"x")), put(k)])
row("txn of all kinds", lambda k, _: [txn(put(k), get(k), delete(k + b"other"), get(k, k + b"z"))])
row("txn puts two keys", lambda k, _: [txn(put(k + b"1"), put(k + b"2")), get(k, k + b"\xff")])
row("txn puts a key twice", lambda k, _: [txn(put(k), put(k)), get(k)])
row("txn puts a key twice in failure", lambda k, _: [txn(orelse=[put(k), put(k)]), get(k)])
row("txn puts in either path", lambda k, _: [txn(put(k), orelse=[put(k)]), get(k)])
row("txn puts and deletes a key", lambda k, _: [put(k), txn(put(k), delete(k)), txn(delete(k), put(k))])
row("txn puts inside a deleted range", lambda k, _: [txn(put(k + b"1"), delete(k, k + b"\xff"))])
row("txn puts outside a deleted range", lambda k, _: [put(k + b"1"), txn(put(k), delete(k + b"1", k + b"2"))])
row("txn puts and deletes from key on", lambda k, _: [txn(put(b"\xfe" + k), delete(b"\xfd" + k, b"\0"))])
row("txn deletes twice", lambda k, _: [put(k), txn(delete(k), delete(k, prev_kv=True), get(k))])
row("txn deletes overlapping ranges", lambda k, _: [put(k), txn(delete(k, k + b"z"), delete(k, k + b"\xff"))])
row("txn reads before and after", lambda k, _: [put(k, b"1"), txn(get(k), put(k, b"2"), get(k)), get(k)])
row("txn returns what was", lambda k, _: [put(k, b"1"), txn(put(k, b"2", prev_kv=True)), txn(delete(k, prev_kv=True))])
row("txn without a key in an operation", lambda k, _: [txn(put(b"")), txn(get(b"")), txn(delete(b"")), put(k)])
row("txn without a key in the path not taken", lambda k, _: [txn(put(k), orelse=[put(b"")]), get(k)])
row("txn without a key in a comparison", lambda k, _: [txn(when=[compare(b"", 0, version=0)])])
row("txn with an operation of no kind", lambda k, _: [TxnRequest(success=[RequestOp()]), put(k)])
row("txn with an inner operation of no kind", lambda k, _: [txn(TxnRequest(failure=[RequestOp()])), put(k)])
row("txn of 128 operations", lambda k, _: [txn(*(put(k + b"%d" % n) for n in range(128)))])
row("txn of 129 operations", lambda k, _: [txn(*(put(k + b"%d" % n) for n in range(129)))])
row("txn of 129 comparisons", lambda k, _: [txn(put(k), when=[compare(k, 0, version=0)] * 129)])
row("txn of 129 operations not taken", lambda k, _: [txn(put(k), orelse=[get(k)] * 129)])
row(
    "txn of 128 in each",
    lambda k, _: [txn(*[get(k)] * 128, when=[compare(k, 0, version=0)] * 128, orelse=[get(k)] * 128)],
)
row("txn of 127 and one with one", lambda k, _: [txn(txn(put(k)), *[get(k)] * 127), txn(txn(put(k)), *[get(k)] * 126)])
row("txn within a txn", lambda k, _: [txn(put(k + b"1"), txn(put(k + b"2"), get(k, k + b"\xff")), get(k, k + b"\xff"))])
row("txn five deep", lambda k, _: [txn(txn(txn(txn(txn(put(k), get(k)))))), get(k)])
row(
    "txn within a txn sees what was before its comparison",
    lambda k, _: [put(k, b"1"), txn(put(k, b"2"), txn(put(k + b"x"), when=[compare(k, 0, value=b"2")]), get(k))],
)
row("txn within a txn puts the key", lambda k, _: [txn(put(k), txn(put(k))), txn(txn(put(k)), txn(put(k)))])
row("txn within a txn puts in either path", lambda k, _: [txn(txn(put(k), orelse=[put(k)])), get(k)])
row("txn deletes what an inner one puts", lambda k, _: [txn(delete(k, k + b"z"), txn(put(k + b"a")))])
row("txn's inner one deletes what it puts", lambda k, _: [txn(put(k + b"a"), txn(delete(k, k + b"z")))])
row("txn's inner one deletes after one that puts", lambda k, _: [txn(txn(put(k + b"a")), txn(delete(k, k + b"z")))])
row("txn reads the future", lambda k, now: [txn(put(k), get(k, revision=now + 5)), get(k)])
row("txn reads its own revision", lambda k, now: [txn(put(k), get(k, revision=now + 1)), get(k)])
row("txn reads the past", lambda k, now: [put(k, b"1"), put(k, b"2"), txn(put(k), get(k, revision=now + 1))])
row("txn reads the compacted", lambda k, now: [compact(now), txn(put(k), get(k, revision=now - 1)), get(k)])
row(
    "txn reads the compacted in the path not taken",
    lambda k, now: [compact(now), txn(put(k), orelse=[get(k, revision=1)])],
)
row("txn puts with a lease that is none", lambda k, _: [txn(put(k + b"a"), put(k, lease=4711)), get(k, k + b"\xff")])
row(
    "txn ignores the value of no key",
    lambda k, _: [txn(put(k + b"a"), put(k, b"", ignore_value=True)), get(k, k + b"\xff")],
)
row("txn ignores the value of a key it makes", lambda k, _: [txn(txn(put(k)), put(k + b"1", b"", ignore_value=True))])
row(
    "txn ignores the value in the path not taken",
    lambda k, _: [txn(put(k), orelse=[put(k + b"1", b"", ignore_value=True)])],
)
row("txn with a value to ignore", lambda k, _: [put(k), txn(put(k, b"2", ignore_value=True)), get(k)])
row("txn with a lease to ignore", lambda k, _: [put(k), txn(put(k, b"2", ignore_lease=True, lease=3)), get(k)])
row(
    "txn ignores value and lease",
    lambda k, _: [put(k, b"1"), txn(put(k, b"", ignore_value=True, ignore_lease=True)), get(k)],
)
row("txn is too large", lambda k, _: [txn(put(k, b"v" * 800_000), put(k + b"1", b"v" * 800_000))])

for (target, values), result in product(
    {
        "version": (0, 1, 2),
        "create_revision": (0, 1, MAX),
        "mod_revision": (0, 1, MAX),
        "value": (b"", b"1", b"2", b"3"),
        "lease": (0, 1),
    }.items(),
    range(4),
):
    for value in values:

        def _comparisons(
            k: bytes, _: int, target: str = target, value: object = value, result: int = result
        ) -> Sequence[Message]:
            whats = [(k + b"a", b""), (k + b"none", b""), (k, k + b"\xff"), (k + b"n", k + b"m"), (k + b"x", k + b"z")]
            return [
                txn(put(k + b"a", b"2"), put(k + b"b", b"1")),
                put(k + b"a", b"2"),
                *(txn(get(k), when=[compare(key, result, end, **{target: value})]) for key, end in whats),
            ]

        row(f"compare {target} {value!r} by {result}", _comparisons)
row("compare an unknown target", lambda k, _: [put(k), txn(when=[Compare(key=k, target=9, version=1)])])  # type: ignore[arg-type]
row("compare by an unknown result", lambda k, _: [put(k), txn(when=[Compare(key=k, result=9, version=1)])])  # type: ignore[arg-type]
row(
    "compare without what to compare with",
    lambda k, _: [put(k), *(txn(when=[Compare(key=k, target=t)]) for t in range(5))],
)  # type: ignore[arg-type]
row(
    "compare with another target's field",
    lambda k, _: [put(k), *(txn(when=[Compare(key=k, target=t, lease=7)]) for t in range(5))],
)  # type: ignore[arg-type]
row("compare all of several", lambda k, _: [put(k), txn(when=[compare(k, 0, version=1), compare(k, 0, version=2)])])
row("compare from key on", lambda k, _: [put(b"\xff" + k), txn(when=[compare(b"\xff" + k, 0, b"\0", version=1)])])

# -------------------------------------------------------------------------------------------------------- Compact
row("compact", lambda k, now: [put(k), put(k), compact(now + 1), get(k, revision=now), get(k, revision=now + 1)])
row("compact physically", lambda k, now: [put(k), put(k), compact(now + 2, physical=True), get(k, revision=now + 1)])
row("compact twice", lambda k, now: [put(k), compact(now + 1), compact(now + 1), compact(now)])
row("compact the future", lambda k, now: [compact(now + 1), compact(now + 100), compact(MAX)])
row("compact nothing", lambda k, now: [compact(0), compact(-1), compact(-MAX - 1), get(k)])
row(
    "compact the newest",
    lambda k, now: [put(k), delete(k), compact(now + 2), get(k, revision=now + 1), get(k, revision=now + 2)],
)
row(
    "compact a deletion", lambda k, now: [put(k), delete(k), put(k), compact(now + 3), get(k, revision=now + 2), get(k)]
)
