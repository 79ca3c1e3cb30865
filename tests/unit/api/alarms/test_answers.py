"""Which members are asked for their alarms, which of them are waited for, and what is listed."""

from __future__ import annotations

import pytest
from rstore_api.proto.rpc_pb2 import AlarmMember, AlarmType
from rstore_replica.api.alarms.answers import FRESH_SECONDS, SILENT_SECONDS, Alarms, Answers, Member

EAST, WEST = Member("us-east", "east:2379"), Member("eu-west", "west:2379")
FULL: Alarms = (AlarmMember(memberID=7, alarm=AlarmType.NOSPACE),)
NOON = 43_200.0


@pytest.mark.parametrize(
    ("last", "seconds_ago", "is_due", "is_awaited"),
    [
        ((), 0.0, False, True),
        (FULL, FRESH_SECONDS / 2, False, True),
        (FULL, FRESH_SECONDS, True, True),
        (None, 0.0, False, False),
        (None, FRESH_SECONDS, True, False),
        (None, SILENT_SECONDS, True, True),
    ],
)
def test_a_member_is_asked_again_after_a_while(
    last: Alarms | None, seconds_ago: float, is_due: bool, is_awaited: bool
) -> None:
    answers = Answers()
    answers.note(EAST, last, NOON - seconds_ago)
    assert answers.is_due(EAST, NOON) == is_due
    assert answers.is_awaited(EAST, NOON) == is_awaited
    assert answers.is_due(WEST, NOON), "was never asked"
    assert answers.is_awaited(WEST, NOON), "was never asked"


def test_listed_is_what_each_member_said_last() -> None:
    answers = Answers()
    answers.note(EAST, FULL, NOON)
    answers.note(WEST, (), NOON)
    assert answers.alarms() == list(FULL)
    answers.note(WEST, FULL, NOON + 1)
    assert answers.alarms() == [*FULL, *FULL]
    answers.note(WEST, None, NOON + 2)
    assert answers.alarms() == list(FULL)
    answers.keep([WEST])
    assert answers.alarms() == []
    assert answers.is_due(EAST, NOON), "it was forgotten"
