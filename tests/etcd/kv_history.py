"""The history that the rows about Range ask about."""

from __future__ import annotations

from dataclasses import dataclass

from etcd.servers import Server


@dataclass(frozen=True)
class History:
    """Revisions of the history: of its first change, of the compaction, of its last change, and the newest now."""

    first: int
    compacted: int
    last: int
    newest: int


def write_history(server: Server) -> History:
    """Writes keys ``t/…`` of various versions, ages and values; some are gone, and some revisions are compacted.

    Six keys are left: of more, etcd's sort puts equal ones in an order that nothing specifies.
    """
    first = server.put(b"t/a", b"1")
    server.put(b"t/b", b"3")
    server.put(b"t/gone", b"x")
    server.put(b"t/c", b"2")
    compacted = server.put(b"t/a", b"4")
    server.put_all(b"t/d", b"t/e", value=b"")
    server.delete(b"t/c")
    server.put(b"t/c", b"5")
    server.put(b"t/e", b"6")
    server.delete(b"t/e", b"t/f")
    server.put(b"t/b", b"0")
    server.delete(b"t/gone")
    server.put(b"t/b\0", b"behind b")
    last = server.put(b"t/\xff\xfe", b"last")
    server.put(b"u", b"outside")
    newest = server.put(b"s", b"outside")
    server.compact(compacted)
    return History(first, compacted, last, newest)
