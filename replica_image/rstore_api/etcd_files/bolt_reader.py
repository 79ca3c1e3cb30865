"""Reading a bbolt database that a stranger may have made: every offset, length and page is checked."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rstore_api.etcd_files import bolt


class Place(NamedTuple):
    """Where something is in the file."""

    offset: int
    size: int


class DamagedDatabase(ValueError):  # noqa: N818
    """The file is no bbolt database, or a damaged one; the text says where."""


class Database:
    """The buckets of a file. To be closed, also as a context manager."""

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises DamagedDatabase, OSError."""
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 2 * bolt.PAGE_BYTES // 4:
                raise DamagedDatabase(f"{path} has {size} bytes, too few for a database")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._page_bytes, self._pages, self._root = self._newest_meta()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._data.close()

    @property
    def size_bytes(self) -> int:
        """Bytes of the database, without what follows it in the file, such as the hash of a snapshot."""
        return self._pages * self._page_bytes

    def buckets(self) -> list[bytes]:
        """Returns the names of the buckets. Raises DamagedDatabase."""
        return [key for key, _ in self._tree(self._root, bolt.IS_BUCKET)]

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yields keys and values of a bucket in order, none of a missing one. Raises DamagedDatabase."""
        for key, place in self.places(bucket):
            yield key, self.value(place)

    def places(self, bucket: bytes) -> Iterator[tuple[bytes, Place]]:
        """As :meth:`items`, with where each value is in the file, for :meth:`value`."""
        for name, place in self._tree(self._root, bolt.IS_BUCKET):
            if name == bucket:
                if place.size < bolt.BUCKET.size:
                    raise DamagedDatabase(f"bucket {bucket!r} has no header")
                root, _ = bolt.BUCKET.unpack_from(self._data, place.offset)
                inline = Place(place.offset + bolt.BUCKET.size, place.size - bolt.BUCKET.size)
                yield from self._tree(root, 0) if root else self._leaf(inline, 0, "an inline bucket")
                return

    def value(self, place: Place) -> bytes:
        """Returns the value that is there."""
        return self._data[place.offset : place.offset + place.size]

    def _newest_meta(self) -> tuple[int, int, int]:
        """Returns bytes of a page, number of pages and page of the root bucket."""
        metas: list[tuple[int, int, int, int]] = []
        reasons: list[str] = []
        # The second copy is a page after the first, and a page has 1 KiB at least.
        for offset in (0, *(1024 << shift for shift in range(7))):
            end = offset + bolt.PAGE.size + bolt.META.size + bolt.CHECKSUM.size
            if end > len(self._data):
                break
            meta = self._data[offset + bolt.PAGE.size : end - bolt.CHECKSUM.size]
            magic, version, page_bytes, _, root, _, pages, transaction = bolt.META.unpack(meta)
            if magic != bolt.MAGIC or offset not in (0, page_bytes):
                continue
            (expected,) = bolt.CHECKSUM.unpack_from(self._data, end - bolt.CHECKSUM.size)
            if version != bolt.VERSION:
                reasons.append(f"version {version} is not {bolt.VERSION}")
            elif bolt.checksum(meta) != expected:
                reasons.append("the checksum of the meta data is wrong")
            elif not page_bytes or page_bytes & (page_bytes - 1) or not 512 <= page_bytes <= 1 << 16:
                reasons.append(f"pages of {page_bytes} bytes")
            elif pages * page_bytes > len(self._data):
                reasons.append(f"{pages} pages of {page_bytes} bytes are more than the file's {len(self._data)} bytes")
            else:
                metas.append((transaction, page_bytes, pages, bolt.BUCKET.unpack(root)[0]))
        if not metas:
            raise DamagedDatabase("; ".join(reasons) or "this is no database of etcd")
        return max(metas)[1:]

    def _tree(self, root: int, flags: int) -> Iterator[tuple[bytes, Place]]:
        """Yields the elements of the tree below ``root``, each with these flags, and checks their order."""
        previous: bytes | None = None
        to_visit, visited = [root], 0
        while to_visit:
            page = to_visit.pop()
            visited += 1
            kind, run = self._run(page)
            if visited > self._pages:
                raise DamagedDatabase(f"page {page} has no place in a tree: it has been there before")
            if kind == bolt.BRANCH_PAGE:
                to_visit += reversed(self._children(run, page))
                continue
            if kind != bolt.LEAF_PAGE:
                raise DamagedDatabase(f"page {page} has no place in a tree: its flags are {kind}")
            for key, place in self._leaf(run, flags, f"page {page}"):
                if previous is not None and key <= previous:
                    raise DamagedDatabase(f"key {key!r} follows {previous!r}")
                previous = key
                yield key, place

    def _run(self, page: int) -> tuple[int, Place]:
        """Returns the kind of a page, and where the run is that begins with it."""
        if not 2 <= page < self._pages:
            raise DamagedDatabase(f"page {page} is none of the file's {self._pages}")
        start = page * self._page_bytes
        number, kind, _, more = bolt.PAGE.unpack_from(self._data, start)
        if number != page or page + more >= self._pages:
            raise DamagedDatabase(f"page {page} says that it is page {number}, with {more} more")
        return kind, Place(start, (more + 1) * self._page_bytes)

    def _children(self, run: Place, page: int) -> list[int]:
        count = self._count(run, bolt.BRANCH.size, f"page {page}")
        first = run.offset + bolt.PAGE.size
        return [bolt.BRANCH.unpack_from(self._data, first + index * bolt.BRANCH.size)[2] for index in range(count)]

    def _leaf(self, run: Place, flags: int, where: str) -> Iterator[tuple[bytes, Place]]:
        count = self._count(run, bolt.LEAF.size, where)
        for index in range(count):
            offset = run.offset + bolt.PAGE.size + index * bolt.LEAF.size
            element_flags, key_offset, key_bytes, value_bytes = bolt.LEAF.unpack_from(self._data, offset)
            start = offset + key_offset
            end = start + key_bytes
            if end + value_bytes > run.offset + run.size or not key_bytes:
                raise DamagedDatabase(f"an element of {where} ends outside of it")
            if element_flags != flags:
                raise DamagedDatabase(f"an element of {where} has flags {element_flags}, not {flags}")
            yield self._data[start:end], Place(end, value_bytes)

    def _count(self, run: Place, element_bytes: int, where: str) -> int:
        """Returns how many elements a run has."""
        if run.size < bolt.PAGE.size:
            raise DamagedDatabase(f"{where} has no header")
        count: int = bolt.PAGE.unpack_from(self._data, run.offset)[2]
        if bolt.PAGE.size + count * element_bytes > run.size:
            raise DamagedDatabase(f"{where} is too short for {count} elements")
        return count
