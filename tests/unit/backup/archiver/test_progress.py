"""Which errors an archiver reports as those that keep bases from being made."""

from __future__ import annotations

import pytest
from rstore_backup.archiver.progress import Progress
from rstore_backup.report import Problem


@pytest.mark.parametrize(
    ("part", "keeps"),
    [
        ("session", True),
        ("bases", True),
        ("writing", True),
        ("reading", False),
        ("pruning", False),
        ("drills", False),
    ],
)
def test_only_what_bases_need_keeps_them(part: str, keeps: bool) -> None:
    progress = Progress()
    progress.failed(part, Problem.ACCESS_REFUSED, "no", 1000)
    report = progress.report(2000)
    assert report.error is not None
    assert (report.base_error == report.error) is keeps
    progress.succeeded(part)
    assert progress.report(3000).base_error is None


def test_it_is_the_one_that_lasts_longest_and_not_that_of_another_part() -> None:
    progress = Progress()
    progress.failed("pruning", Problem.ACCESS_REFUSED, "pruning", 1000)
    progress.failed("bases", Problem.CANNOT_READ, "bases", 2000)
    progress.failed("writing", Problem.ACCESS_REFUSED, "writing", 3000)
    report = progress.report(4000)
    assert report.error is not None
    assert report.base_error is not None
    assert (report.error.text, report.base_error.text) == ("pruning", "bases")
