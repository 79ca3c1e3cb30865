"""Which segments are the store's history: through failovers, holes, changed segments, and two archivers at once."""

from __future__ import annotations

import pytest
from rstore_api.domain.epochs import EpochStart, History
from rstore_backup.line import Branch, Hole, Line, Listed, epochs, line
from rstore_backup.segments import SegmentHeader
from unit.backup.archives import FAILED_OVER, FIRST, header, link, listed, opening

A = opening(1, 1, FIRST)
B = header(1, 2, 4, previous=link(A))
C = header(4, 5, 9, previous=link(B))
SWITCHED: History = (*FIRST, EpochStart(2, 10, "west"))
"""Epoch 2 follows revision 9, nothing is lost."""
SWITCH = opening(9, 9, SWITCHED, previous=link(C))
SWITCHED_ROWS = header(9, 10, 12, history=SWITCHED, previous=link(SWITCH))
FAILOVER = opening(4, 1_000_004, FAILED_OVER, previous=link(B))
AFTER = header(1_000_004, 1_000_005, 1_000_007, history=FAILED_OVER, previous=link(FAILOVER))
INSIDE: History = (*FIRST, EpochStart(2, 1_000_005, "west", 7))
INSIDE_OPENING = opening(7, 1_000_004, INSIDE, previous=link(C))
TWICE: History = (*FAILED_OVER, EpochStart(3, 2_000_005, "east", 1_000_004))
NOTHING_WRITTEN_IN_2 = header(1_000_004, 2_000_005, 2_000_006, history=TWICE, previous=link(FAILOVER))
SKIPPED: History = (*FIRST, EpochStart(3, 2_000_005, "south", 4))
SKIPPED_OPENING = opening(4, 2_000_004, SKIPPED, previous=link(B))
ANEW = header(20, 20, 20, rows_count=0, because="revisions 10 to 20 were compacted")
LATER = header(20, 21, 30, previous=link(ANEW))


def of(*headers: SegmentHeader, epoch: int | None = None) -> Line:
    result = line(listed(headers), epoch)
    assert result is not None
    return result


def shape(of_line: Line) -> list[tuple[int, int]]:
    return [(piece.header.first_revision, piece.until_revision) for piece in of_line.pieces]


@pytest.mark.parametrize(
    ("headers", "pieces", "holes", "branches"),
    [
        pytest.param((A,), [(1, 1)], [], [], id="an empty store"),
        pytest.param((C, A, B), [(1, 1), (2, 4), (5, 9)], [], [], id="in any order"),
        pytest.param(
            (A, B, C, SWITCH, SWITCHED_ROWS), [(1, 1), (2, 4), (5, 9), (9, 9), (10, 12)], [], [], id="switchover"
        ),
        pytest.param(
            (A, B, C, FAILOVER, AFTER),
            [(1, 1), (2, 4), (1_000_004, 1_000_004), (1_000_005, 1_000_007)],
            [],
            [Branch(1, 4, 9)],
            id="failover between two segments",
        ),
        pytest.param(
            (A, B, C, INSIDE_OPENING),
            [(1, 1), (2, 4), (5, 7), (1_000_004, 1_000_004)],
            [],
            [Branch(1, 7, 9)],
            id="failover inside a segment, nothing written since",
        ),
        pytest.param(
            (A, B, FAILOVER, NOTHING_WRITTEN_IN_2),
            [(1, 1), (2, 4), (1_000_004, 1_000_004), (2_000_005, 2_000_006)],
            [],
            [],
            id="an epoch in which nothing was written",
        ),
        pytest.param(
            (A, B, C, FAILOVER, AFTER, SKIPPED_OPENING),
            [(1, 1), (2, 4), (2_000_004, 2_000_004)],
            [],
            [Branch(1, 4, 9), Branch(2, 4, 1_000_007)],
            id="an epoch that the newest never knew",
        ),
        pytest.param((A, C), [(1, 1), (5, 9)], [Hole(1, 4, f"{B.name} is missing")], [], id="a segment is missing"),
        pytest.param(
            (A, B, C, ANEW, LATER),
            [(1, 1), (2, 4), (5, 9), (20, 20), (21, 30)],
            [Hole(9, 20, "revisions 10 to 20 were compacted")],
            [],
            id="the line begins anew",
        ),
        pytest.param((B, C), [(2, 4), (5, 9)], [], [], id="the beginning was pruned"),
        pytest.param(
            (A, B, header(2, 3, 7, previous=link(A)), C),
            [(1, 1), (2, 4), (3, 7), (5, 9)],
            [],
            [],
            id="two archivers whose segments overlap",
        ),
        pytest.param(
            (A, B, header(2, 3, 4, previous=link(A)), C), [(1, 1), (2, 4), (5, 9)], [], [], id="one adds nothing"
        ),
    ],
)
def test_line(
    headers: tuple[SegmentHeader, ...],
    pieces: list[tuple[int, int]],
    holes: list[Hole],
    branches: list[Branch],
) -> None:
    result = of(*headers)
    assert (shape(result), list(result.holes), list(result.branches)) == (pieces, holes, branches)
    assert not result.refused


def test_the_line_of_an_epoch_that_lost() -> None:
    lost = of(A, B, C, FAILOVER, AFTER, epoch=1)
    assert shape(lost) == [(1, 1), (2, 4), (5, 9)]
    assert lost.branches == (Branch(2, 4, 1_000_007),)
    assert line(listed([A, B]), 7) is None
    assert line([]) is None
    assert epochs(listed([A, AFTER, B])) == (1, 2)


def test_a_segment_that_was_replaced_is_a_hole() -> None:
    result = line([Listed(A), Listed(B, "not what C follows"), Listed(C, "cc")])
    assert result is not None
    assert [refused.name for refused in result.refused] == [B.name]
    assert [(hole.after_revision, hole.until_revision) for hole in result.holes] == [(1, 4)]
    assert "it was replaced" in result.holes[0].reason


def test_a_segment_that_says_its_epoch_began_elsewhere_is_refused() -> None:
    other = opening(3, 1_000_004, (*FIRST, EpochStart(2, 1_000_005, "west", 3)), previous=link(B))
    result = of(A, B, other, AFTER)
    assert [refused.name for refused in result.refused] == [other.name]


@pytest.mark.parametrize(
    ("revision", "reach"), [(1, 9), (4, 9), (7, 9), (9, 9), (15, 15), (20, 30), (25, 30), (30, 30), (99, 99)]
)
def test_how_far_a_restore_can_go(revision: int, reach: int) -> None:
    assert of(A, B, C, ANEW, LATER).reach(revision) == reach


def test_a_base_is_of_the_line_or_of_a_branch() -> None:
    main, lost = of(A, B, C, FAILOVER, AFTER), of(A, B, C, FAILOVER, AFTER, epoch=1)
    for revision, history, on_main, on_lost in (
        (3, FIRST, True, True),
        (8, FIRST, False, True),
        (1_000_006, FAILED_OVER, True, False),
    ):
        assert main.includes(revision, history) is on_main
        assert lost.includes(revision, history) is on_lost
