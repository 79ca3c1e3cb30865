"""Writing a bbolt database from its first byte to its last, without going back, and in bounded memory.

Each bucket's keys come in their order, and its pages follow one another: leaves first, then the levels above. Only the
head of the file, which says where the root is, has to be known before: the same buckets are laid out once before they
are written, see :class:`Layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from rstore_api.etcd_files import bolt

NODE_BYTES = 32 << 10
"""A node is closed once it has so many bytes. More than a page, for fewer branches; bbolt splits it when it writes."""

T = TypeVar("T")
Item = tuple[bytes, bytes]
"""Key and value."""
FIRST_PAGE = 3
"""After the two copies of the meta data and the (empty) list of free pages."""


@dataclass(frozen=True)
class Head:
    """What the head of the file says: the page of the root bucket, and the number of pages."""

    root: int
    pages: int

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return self.pages * bolt.PAGE_BYTES

    def encode(self) -> bytes:
        """Returns the pages before :data:`FIRST_PAGE`."""
        root = bolt.BUCKET.pack(self.root, 0)
        result = bytearray()
        for page in (0, 1):
            # bbolt takes the copy of the newest transaction, and writes that of transaction n to page n mod 2.
            meta = bolt.META.pack(bolt.MAGIC, bolt.VERSION, bolt.PAGE_BYTES, 0, root, 2, self.pages, 2 - page)
            result += bolt.PAGE.pack(page, bolt.META_PAGE, 0, 0) + meta + bolt.CHECKSUM.pack(bolt.checksum(meta))
            result += bytes(-len(result) % bolt.PAGE_BYTES)
        result += bolt.PAGE.pack(2, bolt.FREELIST_PAGE, 0, 0)
        return bytes(result.ljust(FIRST_PAGE * bolt.PAGE_BYTES, b"\0"))


class Layout:
    """Lays out buckets, one after the other, from :data:`FIRST_PAGE` on."""

    def __init__(self) -> None:
        self._next_page = FIRST_PAGE
        self._buckets: list[tuple[bytes, bytes]] = []

    def bucket(self, name: bytes, items: Iterable[Item]) -> Iterator[bytes]:
        """Returns the pages of a bucket, a node at a time. ``items`` come in the order of their keys, each key once."""
        level: list[tuple[bytes, int]] = []
        for node in _nodes(items, lambda item: bolt.LEAF.size + len(item[0]) + len(item[1])):
            level.append((node[0][0], self._next_page))
            yield self._node(bolt.LEAF_PAGE, _leaf_elements(node, flags=0), len(node))
        if not level:
            self._buckets.append((name, bolt.BUCKET.pack(0, 0) + bolt.PAGE.pack(0, bolt.LEAF_PAGE, 0, 0)))
            return
        while len(level) > 1:
            above: list[tuple[bytes, int]] = []
            for children in _nodes(level, lambda child: bolt.BRANCH.size + len(child[0])):
                above.append((children[0][0], self._next_page))
                yield self._node(bolt.BRANCH_PAGE, _branch_elements(children), len(children))
            level = above
        self._buckets.append((name, bolt.BUCKET.pack(level[0][1], 0)))

    def end(self) -> tuple[bytes, Head]:
        """Returns the last pages, those of the root bucket, and what the head of the file says."""
        root = self._next_page
        buckets = sorted(self._buckets)
        pages = self._node(bolt.LEAF_PAGE, _leaf_elements(buckets, flags=bolt.IS_BUCKET), len(buckets))
        return pages, Head(root, self._next_page)

    def _node(self, kind: int, elements: bytes, count: int) -> bytes:
        size = bolt.PAGE.size + len(elements)
        pages = -(-size // bolt.PAGE_BYTES)
        header = bolt.PAGE.pack(self._next_page, kind, count, pages - 1)
        self._next_page += pages
        return (header + elements).ljust(pages * bolt.PAGE_BYTES, b"\0")


def _nodes(items: Iterable[T], bytes_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Splits items into nodes; each has two at least, but for the last one."""
    node: list[T] = []
    size = 0
    for item in items:
        added = bytes_of(item)
        if len(node) > 1 and (size + added > NODE_BYTES or len(node) == bolt.MAX_ELEMENTS):
            yield node
            node, size = [], 0
        node.append(item)
        size += added
    if node:
        yield node


def _leaf_elements(items: list[Item], *, flags: int) -> bytes:
    parts: list[bytes] = []
    data: list[bytes] = []
    offset = len(items) * bolt.LEAF.size
    for key, value in items:
        parts.append(bolt.LEAF.pack(flags, offset, len(key), len(value)))
        data += (key, value)
        offset += len(key) + len(value) - bolt.LEAF.size
    return b"".join(parts) + b"".join(data)


def _branch_elements(children: list[tuple[bytes, int]]) -> bytes:
    parts: list[bytes] = []
    offset = len(children) * bolt.BRANCH.size
    for key, page in children:
        parts.append(bolt.BRANCH.pack(offset, len(key), page))
        offset += len(key) - bolt.BRANCH.size
    return b"".join(parts) + b"".join(key for key, _ in children)
