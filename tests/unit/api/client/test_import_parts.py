"""A source in parts: all of it, in order, each part about as large as is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from rstore_api.client.import_parts import AUTH_SUBS_FROM, LEASE_SUBS_FROM, parts
from rstore_api.proto.kv_pb2 import KeyValue
from rstore_api.proto.rstore_pb2 import ImportedKey


@dataclass
class Source:
    sizes: list[int]
    leases: list[tuple[int, int]] = field(default_factory=list)
    auth: list[tuple[bytes, bytes]] = field(default_factory=list)
    revision: int = 9

    def __len__(self) -> int:
        return len(self.sizes)

    def imported_keys(self) -> Iterator[ImportedKey]:
        for number, size in enumerate(self.sizes):
            yield ImportedKey(kv=KeyValue(key=b"%03d" % number, value=b"v" * size), sub=number)


@pytest.mark.parametrize("max_bytes", [1, 100, 1 << 20])
def test_parts_are_all_of_the_source_in_its_order(max_bytes: int) -> None:
    source = Source([10, 5000, 0, 30] * 5, [(7, 60), (-1, 5)], [(b"rx", b"1"), (b"s", b"2")])
    made = list(parts(source, max_bytes=max_bytes, revision_jump=5))
    assert [key.kv.key for part in made for key in part.keys] == [b"%03d" % number for number in range(20)]
    assert [(lease.id, lease.ttl_seconds, lease.sub) for part in made for lease in part.leases] == [
        (7, 60, LEASE_SUBS_FROM),
        (-1, 5, LEASE_SUBS_FROM + 1),
    ]
    assert [(one.key, one.value, one.sub) for part in made for one in part.auth] == [
        (b"rx", b"1", AUTH_SUBS_FROM),
        (b"s", b"2", AUTH_SUBS_FROM + 1),
    ]
    assert [part.last for part in made] == [False] * (len(made) - 1) + [True]
    assert {(part.revision, part.revision_jump) for part in made} == {(9, 5)}
    for part in made:
        assert part.ByteSize() <= max_bytes + 40 or len(part.keys) + len(part.leases) + len(part.auth) == 1


def test_an_empty_source_is_one_part() -> None:
    assert [part.last for part in parts(Source([]), max_bytes=100)] == [True]
