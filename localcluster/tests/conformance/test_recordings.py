"""What a real API server answered is what this one answers, but for a reviewed list that can only shrink."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.exchange import Connection
from conformance.remaining import left_out, remaining
from conformance.replay import Sort, replay
from conformance.running import running_cluster

RECORDED = Path(__file__).parent / "recorded" / "1.36"
CASES = sorted(path.stem for path in RECORDED.glob("*.json"))
NODE = "us-east-node"


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    """The administrator's connection to a local cluster that was just started."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        place = Path(directory) / "cluster"
        with running_cluster(place) as kubeconfig:
            connection = Connection(kubeconfig.read_text())
            yield connection
            connection.close()


@pytest.mark.parametrize("case", [case for case in CASES if case not in left_out()])
def test_the_local_cluster_answers_as_recorded(case: str, connection: Connection) -> None:
    recorded = json.loads((RECORDED / f"{case}.json").read_text(encoding="utf-8"))
    different = {difference.step: difference for difference in replay(connection, recorded, NODE)}
    listed = remaining(case)
    new = [difference for step, difference in different.items() if listed.get(step) != difference.sort.value]
    gone = [step for step in listed if step not in different]
    assert not new, f"{case}: {recorded['about']}\n" + "\n".join(map(str, new))
    assert not gone, f"{case}: steps {gone} are answered as recorded now: take them off the list in remaining/"


def test_every_line_of_the_lists_names_a_recorded_step() -> None:
    steps = {case: len(json.loads((RECORDED / f"{case}.json").read_text(encoding="utf-8"))["steps"]) for case in CASES}
    folder = Path(__file__).parent / "remaining"
    named = [line.split(maxsplit=2)[:2] for file in folder.glob("*.txt") for line in file.read_text().splitlines()]
    assert len(named) == len({tuple(entry) for entry in named}), "a step is listed twice"
    for case, step in named:
        assert int(step.rstrip(":")) <= steps[case] + 1, f"{case} has no step {step}"
    assert set(left_out()) <= set(CASES)


@pytest.mark.parametrize("case", left_out())
def test_what_a_left_out_case_needs_is_refused(case: str, connection: Connection) -> None:
    """A case is left out where this server lacks what the case is about: it refuses the first request of all."""
    recorded = json.loads((RECORDED / f"{case}.json").read_text(encoding="utf-8"))
    first = [*recorded.get("setup", []), *recorded["steps"]][:1]
    different = replay(connection, {"steps": first}, NODE)
    assert different[0].sort is Sort.REFUSED, different
