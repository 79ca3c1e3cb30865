"""The rules of Raft as traces that can be read: ``traces/*.txt``. ``RSTORE_REWRITE_TRACES=1`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from unit.raft.consensus.trace_group import TraceGroup

TRACES = sorted((Path(__file__).parent / "traces").glob("*.txt"))


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.stem)
def test_trace(trace: Path, tmp_path: Path) -> None:
    group = TraceGroup(tmp_path)
    text = trace.read_text(encoding="utf-8")
    blocks = [block.split("\n") for block in text.strip("\n").split("\n\n")]
    played = []
    for lines in blocks:
        head = lines[: lines.index("----")] if "----" in lines else lines
        commands = [line for line in head if not line.startswith("#")]
        assert len(commands) <= 1, f"a block has one command: {commands}"
        played.append("\n".join([*head, "----", group.run(commands[0])]) if commands else "\n".join(head))
    actual = "\n\n".join(played) + "\n"
    if os.environ.get("RSTORE_REWRITE_TRACES") == "1":
        trace.write_text(actual, encoding="utf-8")
    assert actual == trace.read_text(encoding="utf-8")


def test_there_are_traces() -> None:
    assert len(TRACES) >= 10
