"""What the operator shows of diverged tails: counts in status, an event for each new one, receipts made exact."""

from __future__ import annotations

from datetime import UTC, datetime

from rstore_api.domain.epochs import REVISION_JUMP, EpochStart
from rstore_api.domain.limits import TAILS_SHOWN
from rstore_api.proto import rstore_pb2 as pb
from rstore_operator.cluster.messages import replica_status
from rstore_operator.failover.loss_gate import corrected
from rstore_operator.planning.notices import notices
from rstore_operator.resource.state import (
    AUTOMATIC,
    Outcome,
    Quarantine,
    QuarantinedTail,
    Receipt,
    RegionStatus,
    StoreStatus,
    Trigger,
)
from rstore_operator.resource.state_json import status_from_json, status_to_json

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _tail(number: int, **fields: int) -> QuarantinedTail:
    values = {"rows": 5, "size_bytes": 100, "revisions": 3, "replaced_by_epoch": number + 1, **fields}
    return QuarantinedTail(number, 100 * number, 100 * number + 2, file=f"{number}.wal", **values)  # type: ignore[arg-type]


def _status(*tails: QuarantinedTail) -> StoreStatus:
    quarantine = Quarantine(len(tails), sum(tail.rows for tail in tails), sum(tail.size_bytes for tail in tails))
    return StoreStatus(regions=(RegionStatus("us-east", quarantine=quarantine, quarantined=tails),))


def _told(before: StoreStatus, after: StoreStatus) -> list[str]:
    return [notice.message for notice in notices(before, after) if notice.reason == "TailQuarantined"]


def test_counts_are_of_all_tails_and_the_newest_are_listed() -> None:
    message = pb.StatusResponse(region="us-east")
    for number in range(1, TAILS_SHOWN + 3):
        message.quarantined.add(epoch=number, count=2, revisions=1, size_bytes=10, file=f"{number}.wal")
    message.quarantine.CopyFrom(pb.QuarantineCounts(tails=12, rows=24, size_bytes=120))
    found = replica_status("us-east", message)
    assert found.quarantine == Quarantine(12, 24, 120)
    assert [tail.epoch for tail in found.tails] == list(range(3, TAILS_SHOWN + 3))
    assert found.tails[0].revisions == 1


def test_status_says_what_a_region_that_leaves_a_tail_is_doing() -> None:
    message = pb.StatusResponse(region="us-east")
    assert replica_status("us-east", message).leaving == ""
    message.leaving.CopyFrom(
        pb.LeavingTail(phase="Exporting", file="f", fork_revision=9, last_revision=20, exported_rows=4)
    )
    assert replica_status("us-east", message).leaving == "its revisions 10 to 20 go to quarantine (4 rows so far)"
    message.leaving.phase = "Undoing"
    assert replica_status("us-east", message).leaving == "undoing its revisions above 9; they are in quarantine"


def test_status_is_read_back_as_it_was_written() -> None:
    status = _status(_tail(1), _tail(2))
    written = status_to_json(status)
    assert written["regions"][0]["quarantine"] == {"tails": 2, "rows": 10, "bytes": 200}
    assert status_from_json(written).regions == status.regions
    assert "quarantine" not in status_to_json(_status())["regions"][0]


def test_each_new_tail_is_one_warning_that_names_it() -> None:
    (reported,) = _told(_status(), _status(_tail(1)))
    for part in ("us-east", "revisions 100 to 102", "epoch 1", "3 revisions, 5 rows", "1.wal", "rstore quarantine"):
        assert part in reported
    assert all(notice.warning for notice in notices(_status(), _status(_tail(1))) if "quarantine" in notice.message)
    assert not _told(_status(_tail(1)), _status(_tail(1)))
    assert len(_told(_status(_tail(1)), _status(_tail(1), _tail(2)))) == 1


def test_a_tail_that_is_listed_again_because_a_newer_one_was_dropped_is_no_news() -> None:
    assert not _told(_status(_tail(2), _tail(3)), _status(_tail(1), _tail(2)))


def test_a_receipt_counts_revisions_not_rows() -> None:
    receipt = Receipt(
        Trigger.PRIMARY_LOST, Outcome.SUCCEEDED, "us-east", "eu-west", 2, NOW, NOW, (), 99, 1.0, 7, mode=AUTOMATIC
    )
    line = (EpochStart(1, 2), EpochStart(2, 100 + REVISION_JUMP, "eu-west", 99))
    (found,) = corrected((receipt,), _status(_tail(1, rows=9, revisions=2)).regions, line)
    assert found.revisions_lost == 2
