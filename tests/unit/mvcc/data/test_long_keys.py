"""The trie of long keys against a sorted dict, with chunks so short that every way to share and to end is met."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rstore_api.domain.limits import SHORT_KEY_BYTES
from rstore_replica.mvcc.data import layout, long_keys
from rstore_replica.mvcc.data.store import Store

CHUNK = 2
KEYS = st.lists(st.sampled_from([0, 1, 97, 255]), min_size=1, max_size=9).map(bytes)
POINTS = KEYS | st.just(b"")
STEPS = st.lists(st.tuples(st.booleans(), KEYS, st.integers(1, 5)), max_size=60)


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_keys, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(long_keys, "LINK_BYTES", long_keys.DIGEST_BYTES + CHUNK + 1)


def test_names_and_what_stands_for_them_fit_into_a_key_of_lmdb(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.environment.max_key_size() == SHORT_KEY_BYTES
    store.close()
    names = [len(long_keys.name_of(b"k" * size)) for size in range(SHORT_KEY_BYTES + 1, 2000)]
    assert max(names) == long_keys.MAX_NAME_BYTES < long_keys.LINK_BYTES < SHORT_KEY_BYTES
    assert max(names) + 4 <= SHORT_KEY_BYTES  # among the keys of a lease


def entry_of(revision: int) -> bytes:
    return layout.pack_entry(revision, 0, revision, 1)


@pytest.mark.usefixtures("short_chunks")
@settings(
    max_examples=150,
    suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, looks=st.lists(st.tuples(POINTS, POINTS | st.none(), st.integers(0, 6)), min_size=4, max_size=12))
def test_the_trie_holds_what_a_sorted_dict_holds(
    steps: list[tuple[bool, bytes, int]], looks: list[tuple[bytes, bytes | None, int]]
) -> None:
    with TemporaryDirectory() as directory:
        store = Store(Path(directory), map_bytes=1 << 22)
        model: dict[bytes, set[int]] = {}
        with store.write() as transaction:
            database = store.long_index
            for is_added, key, revision in steps:
                held = model.setdefault(key, set())
                if is_added:
                    long_keys.add(transaction, database, key, entry_of(revision))
                    held.add(revision)
                else:
                    removed = long_keys.remove(transaction, database, key, entry_of(revision))
                    assert removed == (revision in held)
                    held.discard(revision)
                if not held:
                    del model[key]
                links = {key[:at] for key in model for at in range(CHUNK, len(key), CHUNK)}
                entries = sum(map(len, model.values()))
                assert transaction.stat(database)["entries"] == entries + len(links)
            for start, end, revision in looks:
                inside = [key for key in sorted(model) if key >= start and (end is None or key < end)]
                found = list(long_keys.entries(transaction, database, start, end))
                assert found == [(key, entry_of(max(model[key]))) for key in inside]
                bound = layout.newest_at(revision)
                past = [
                    (key, entry_of(max(below)) if (below := {r for r in model[key] if r <= revision}) else bytes(28))
                    for key in inside
                ]
                assert list(long_keys.entries(transaction, database, start, end, bound)) == past
                least = long_keys.least_from(transaction, database, start)
                above = [key for key in sorted(model) if key >= start]
                assert (least is None) == (not above)
                assert least is None or least <= above[0]
            for key in model:
                assert transaction.get(long_keys.name_of(key), db=database) == entry_of(max(model[key]))
        store.close()
