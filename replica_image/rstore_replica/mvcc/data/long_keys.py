"""Keys that are longer than a key of LMDB may be: how they are named in LMDB, and how they stay in order.

A long key is cut into chunks of ``CHUNK_BYTES``, the last of which has 1 to ``CHUNK_BYTES`` bytes. The chunks are a
trie: a node stands for the chunks before it, and is named by their digest, so that a key is found without a walk from
the root. In LMDB's order a node holds::

    digest of the node | last chunk                 a key that ends here: its entries, as in ``index``
    digest of the node | chunk of full size | 0x01  a link: longer keys begin with this chunk

A walk in the order of LMDB that goes down at each link yields the keys in their own order: a link comes right after the
key that ends with its chunk, and before every other chunk that is greater, for none of those begins with it. A link is
there as long as its node holds something.

Digests are BLAKE2b-256 of the digest before and the chunk, so that two nodes never have the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from rstore_replica.mvcc.data import layout
from rstore_replica.mvcc.data.store import Database, Transaction

CHUNK_BYTES = 470
DIGEST_BYTES = 32
ROOT = bytes(DIGEST_BYTES)
_LINK = b"\x01"
_BEHIND_LINK = b"\x02"
LINK_BYTES = DIGEST_BYTES + CHUNK_BYTES + len(_LINK)
MAX_NAME_BYTES = DIGEST_BYTES + CHUNK_BYTES


def name_of(key: bytes) -> bytes:
    """Returns the name of a long key in LMDB: of up to ``MAX_NAME_BYTES`` bytes, and of no other key."""
    node, at = ROOT, 0
    while at + CHUNK_BYTES < len(key):
        node = _below(node, key[at : at + CHUNK_BYTES])
        at += CHUNK_BYTES
    return node + key[at:]


def add(transaction: Transaction, database: Database, key: bytes, entry: bytes) -> None:
    """Adds an entry of a key."""
    name = name_of(key)
    is_new = transaction.get(name, db=database) is None
    transaction.put(name, entry, db=database)
    if not is_new:
        return
    for link in reversed(_links_to(key)):
        # Where a link is there, those above it are, too.
        if transaction.get(link, db=database) is not None:
            return
        transaction.put(link, layout.NO_ENTRY, db=database)


def remove(transaction: Transaction, database: Database, key: bytes, entry: bytes) -> bool:
    """Removes an entry of a key; returns whether it was there."""
    name = name_of(key)
    if not transaction.delete(name, entry, db=database):
        return False
    links = _links_to(key)
    node = name[:DIGEST_BYTES]
    with transaction.cursor(database) as cursor:
        while links and not (cursor.set_range(node) and cursor.key().startswith(node)):
            link = links.pop()
            cursor.set_key(link)
            cursor.delete()
            node = link[:DIGEST_BYTES]
    return True


def least_from(transaction: Transaction, database: Database, start: bytes) -> bytes | None:
    """Returns a lower bound of the long keys from ``start`` on, found without a walk to the first of them; None where
    there are none.
    """
    with transaction.cursor(database) as cursor:
        node, path, rest = _descend(cursor, start)
        while not (cursor.set_range(node + rest) and cursor.key().startswith(node)):
            if not path:
                return None
            node, chunk = path.pop()
            rest = chunk + _BEHIND_LINK
        name: bytes = cursor.key()
        return _joined(path) + name[DIGEST_BYTES : DIGEST_BYTES + CHUNK_BYTES]


def entries(
    transaction: Transaction, database: Database, start: bytes, end: bytes | None, bound: bytes | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Yields every long key in [start, end), in order, with its newest entry, or its newest behind ``bound``: an entry
    that counts as a deletion where there is none.

    Nothing may be written in the transaction meanwhile.
    """
    with transaction.cursor(database) as cursor:
        node, path, rest = _descend(cursor, start)
        positioned = cursor.set_range(node + rest)
        shared = 0  # so many chunks of the path are those with which ``end`` begins
        while end is not None and shared < len(path) and end.startswith(path[shared][1], shared * CHUNK_BYTES):
            shared += 1
        while True:
            if not (positioned and cursor.key().startswith(node)):
                if not path:
                    return
                node, chunk = path.pop()
                shared = min(shared, len(path))
                positioned = cursor.set_range(node + chunk + _BEHIND_LINK)
                continue
            name: bytes = cursor.key()
            if len(name) == LINK_BYTES:
                chunk = name[DIGEST_BYTES:-1]
                if end is not None and shared == len(path):
                    at = shared * CHUNK_BYTES
                    if chunk >= end[at : at + CHUNK_BYTES + 1]:
                        return
                    shared += end.startswith(chunk, at)
                path.append((node, chunk))
                node = _below(node, chunk)
                positioned = cursor.set_range(node)
            else:
                key = _joined(path) + name[DIGEST_BYTES:]
                if end is not None and key >= end:
                    return
                entry: bytes = cursor.value()
                if bound is not None and entry < bound:
                    if cursor.set_range_dup(name, bound):
                        entry = cursor.value()
                    else:
                        entry = layout.NO_ENTRY
                        cursor.set_key(name)  # a failed seek leaves the cursor nowhere
                yield key, entry
                positioned = cursor.next_nodup()


def _joined(path: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([chunk for _, chunk in path])


def _descend(cursor: Transaction, start: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Returns the node where the keys from ``start`` on begin, the way to it, and from where on they are in it."""
    node, at = ROOT, 0
    path: list[tuple[bytes, bytes]] = []
    while at + CHUNK_BYTES < len(start):
        chunk = start[at : at + CHUNK_BYTES]
        if not cursor.set_key(node + chunk + _LINK):
            # A key that is this chunk, or ends in it, is below ``start``; one behind it is above.
            return node, path, chunk + _LINK
        path.append((node, chunk))
        node = _below(node, chunk)
        at += CHUNK_BYTES
    return node, path, start[at:]


def _links_to(key: bytes) -> list[bytes]:
    """Returns the links on the way to a key, from the root on."""
    node, at = ROOT, 0
    links: list[bytes] = []
    while at + CHUNK_BYTES < len(key):
        chunk = key[at : at + CHUNK_BYTES]
        links.append(node + chunk + _LINK)
        node = _below(node, chunk)
        at += CHUNK_BYTES
    return links


def _below(node: bytes, chunk: bytes) -> bytes:
    return blake2b(node + chunk, digest_size=DIGEST_BYTES).digest()
