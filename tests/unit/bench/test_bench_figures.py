"""How the benchmarks come to their figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench import lag_meter, results
from bench.results import Row, row, save


def test_a_benchmark_replaces_its_own_lines_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "BUILD", tmp_path / "build")
    monkeypatch.setattr(results, "FILE", tmp_path / "build" / "bench.json")
    save([Row("put", 1, 2, "etcd", 0.5, "calls/s"), Row("put", 1, 2, "etcd", 0.5, "CPU ms/call")])
    save([Row("replication", 3, 1, "make-mirror", 3, "rows/s"), Row("put", 9, 2, "etcd", 4.5, "calls/s")])
    found = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert [(item["name"], item["unit"], item["ours"]) for item in found] == [
        ("put", "calls/s", 9),
        ("put", "CPU ms/call", 1),
        ("replication", "rows/s", 3),
    ]


def test_a_ratio_above_one_is_better_whichever_way_the_figure_goes() -> None:
    assert row("rate", "calls/s", [2.0, 4.0, 6.0], "peer", [1.0, 1.0, 1.0], less_is_better=False).ratio == 4.0
    assert row("time", "ms", [2.0], "peer", [1.0], less_is_better=True).ratio == 0.5


def test_the_lag_of_a_write_ends_when_the_target_shows_as_many_revisions() -> None:
    seen = [(1, 10.2), (3, 10.5)]  # after the first revision, after the third
    assert lag_meter._lags([10.0, 10.1, 10.3], seen) == pytest.approx([0.2, 0.4, 0.2])
    assert lag_meter._lags([10.0, 10.1], [(1, 10.2)])[1] == float("inf"), "what never came"
    assert lag_meter._lags([10.3], [(1, 10.2)]) == [0.0], "there before the source's answer was"


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (lag_meter._percentile(values, 50), lag_meter._percentile(values, 99)) == (51.0, 100.0)
    assert lag_meter._percentile([], 99) == float("inf")


def test_what_is_compared_with_nothing_is_shown_alone(capsys: pytest.CaptureFixture[str]) -> None:
    results.show(Row("switchover, maximum", 0.23, 0.0, "", 0.0, "s"))
    results.show(Row("switchover, median", 0.17, 0.5, "promised", 2.9, "s"))
    alone, beside = capsys.readouterr().out.splitlines()
    assert alone.split() == ["switchover,", "maximum", "0.23", "s"]
    assert beside.split()[2:] == ["0.17", "0.50", "s", "promised", "2.90"]
