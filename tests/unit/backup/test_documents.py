"""The archiver's configuration and report, as they go between processes of different versions."""

from __future__ import annotations

import json

import pytest
from rstore_backup import config, report
from rstore_backup.config import ArchiverConfig, ConfigError
from rstore_backup.report import BaseReport, ErrorReport, Phase, Problem, Report, ReportError

CONFIG = ArchiverConfig(
    "team", "orders", "us-east", ("orders-us-east-0:2380",), "s3://backups", schedule="0 3 * * *", requests=("a",)
)


def test_a_configuration_is_read_as_it_was_written() -> None:
    assert config.decode(CONFIG.encode()) == CONFIG
    assert json.loads(CONFIG.encode()) == {
        "namespace": "team",
        "name": "orders",
        "region": "us-east",
        "replicas": ["orders-us-east-0:2380"],
        "destination": "s3://backups",
        "schedule": "0 3 * * *",
        "requests": ["a"],
    }


@pytest.mark.parametrize(
    "changes",
    [{"replicas": []}, {"logIntervalMs": 10}, {"segmentBytes": 1 << 40}, {"unknown": 1}, {"keepBases": -1}],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        config.decode(json.dumps({**json.loads(CONFIG.encode()), **changes}).encode())


def test_a_report_is_read_as_it_was_written() -> None:
    base = BaseReport(9, 1, 100, 5, 1000, 20, "a")
    full = Report(
        Phase.FAILING,
        1234,
        "store",
        "us-east",
        2,
        archived_revision=10,
        last_base=base,
        bases=(base,),
        error=ErrorReport(Problem.ACCESS_REFUSED, "no such key", 1200, 1100),
    )
    assert report.decode(report.encode(full)) == full


def test_what_a_newer_archiver_reports_besides_is_left_out() -> None:
    newer = json.dumps({"phase": "Archiving", "timeMs": 5, "novelty": {"a": 1}}).encode()
    assert report.decode(newer) == Report(Phase.ARCHIVING, 5)
    for wrong in (b"{}", b"[]", b"\xff", json.dumps({"phase": "Archiving", "timeMs": 5, "format": 2}).encode()):
        with pytest.raises(ReportError):
            report.decode(wrong)
