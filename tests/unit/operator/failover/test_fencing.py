"""What a person is told about whether the primary region would be fenced now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rstore_operator.failover.rules.dry_run import dry_run
from unit.operator.failover.test_rules import Situation, healthy, just_lost, lost, not_running, seen_in


@pytest.mark.parametrize(
    ("situation", "begins", "texts"),
    [
        (not_running, False, ["the store is not running yet"]),
        (healthy, False, ["us-east would not be fenced now", "answers, and nothing says that it lacks its tenure"]),
        (just_lost, False, ["would not be fenced now: no leader of it has answered for", "failoverDelay is"]),
        (lost, True, ["us-east would be fenced now", "would take over"]),
    ],
)
def test_the_dry_run_of_the_primary_region_says_whether_it_would_be_fenced(
    situation: Situation, begins: bool, texts: list[str]
) -> None:
    answer = dry_run(seen_in(situation), "us-east")
    assert answer[0] is begins
    for text in texts:
        assert text in answer[1]


def test_nothing_is_fenced_by_itself_while_the_spec_is_invalid() -> None:
    assert dry_run(replace(seen_in(lost), spec=None), "us-east") == (
        False,
        "us-east would not be fenced: nothing begins by itself while the spec is invalid",
    )
