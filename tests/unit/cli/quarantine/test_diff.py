"""rstore quarantine diff of tails that are larger than memory should hold: keys in a file, output as it comes."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rstore_api.proto.rstore_pb2 import QuarantinedRow
from rstore_cli.options import Output
from rstore_cli.quarantine.changes import KeyChange, Selection, Verdict
from rstore_cli.quarantine.compare import Compared
from rstore_cli.quarantine.diff import MEASURED_KEYS, Printer
from rstore_cli.quarantine.tail_keys import TailKeys
from unit.cli.quarantine.fakes import FORK, delete, put

KEYS = st.sampled_from([b"a", b"b", b"\xff", b"a\0"])


@settings(max_examples=100)
@given(st.lists(st.tuples(KEYS, st.booleans(), st.integers(1, FORK + 3)), max_size=12))
def test_the_last_change_of_a_key_is_its_last_row_and_whether_it_existed_before(
    rows: list[tuple[bytes, bool, int]],
) -> None:
    keys, expected = TailKeys(), dict[bytes, list[QuarantinedRow]]()
    for revision, (key, deletion, created) in enumerate(rows, start=FORK + 1):
        row = delete(revision, key) if deletion else put(revision, key, b"v", created=created)
        keys.add(row, FORK)
        expected.setdefault(key, []).append(row)
    assert len(keys) == len(expected)
    for key, found in expected.items():
        existed = found[0].deletion or found[0].create_revision <= FORK
        change = KeyChange(found[-1].revision, 0, found[-1].deletion, existed, len(found))
        assert keys.get(key) == change
        assert change.is_of(found[-1])
    assert keys.get(b"none") is None
    assert Selection.of(["a", "none"], None).missing_from(keys) == [
        key for key in (b"a", b"none") if key not in expected
    ]


def compared(number: int) -> Compared:
    change = KeyChange(FORK + number, 0, deletion=False, existed=False)
    return Compared(b"key-%d" % number, change, b"\xff", None, Verdict.ABSENT if number % 2 else Verdict.DELETED)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("output", [Output.JSON, Output.YAML])
def test_what_is_printed_piece_by_piece_is_one_document(
    output: Output, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    printer = Printer(output)
    for number in range(count):
        printer.take(compared(number))
        assert f"key-{number}" in capsys.readouterr().out
    printer = Printer(output)
    for number in range(count):
        printer.take(compared(number))
    printer.end()
    found = (json.loads if output is Output.JSON else yaml.safe_load)(capsys.readouterr().out)
    assert [one["key"] for one in found["keys"]] == [f"key-{number}" for number in range(count)]
    assert sum(found["counts"].values()) == count


def test_a_table_begins_before_all_keys_are_there_and_keeps_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(Output.TABLE)
    for number in range(MEASURED_KEYS):
        printer.take(compared(number))
    begun = capsys.readouterr().out.splitlines()
    assert len(begun) == MEASURED_KEYS + 1
    printer.take(compared(9))
    printer.end()
    line, counts = capsys.readouterr().out.splitlines()
    assert line == begun[10], "the same key stands in the same columns"
    assert begun[0].split("  ")[0] == "KEY"
    assert counts == f"{MEASURED_KEYS // 2 + 1} absent, {MEASURED_KEYS // 2} deleted"
    printer = Printer(Output.TABLE)
    printer.end()
    assert capsys.readouterr().out.splitlines()[-1] == "no such keys"
