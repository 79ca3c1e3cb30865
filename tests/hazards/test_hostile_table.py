"""Each attack and each hole that a review for hostile input found has tests; beside them stands what they measure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
BUDGETS, HANDSHAKES = "unit/wire/test_budgets.py", "unit/wire/test_handshakes.py"
ATTACKED = (
    "integration/replicas/test_under_attack.py",
    "test_an_honest_writer_keeps_half_its_rate_the_group_its_leader_and_the_primary_its_tenure",
)

Tests = tuple[tuple[str, str], ...]

FINDINGS: dict[str, tuple[str, Tests]] = {
    "scrapes without a certificate": (
        "500 at once are one text, made in a thread",
        (("unit/process/test_http_port.py", "test_a_burst_of_scrapes_is_one_text_made_in_a_thread"), ATTACKED),
    ),
    "silent connections to the port of probes": (
        "a probe is answered past any number of them",
        (
            (
                "unit/process/test_http_port.py",
                "test_a_probe_gets_through_past_any_number_of_silent_connections",
            ),
        ),
    ),
    "silent handshakes of one address": (
        "a client gets in past 160 of them that are topped up, over TLS",
        ((HANDSHAKES, "test_silent_connections_keep_nobody_out"), ATTACKED),
    ),
    "silent handshakes of many addresses": (
        "a known address gets in past 160 of them that are topped up, over TLS",
        ((HANDSHAKES, "test_silent_connections_of_many_addresses_keep_no_peer_out"),),
    ),
    "connections of a certificate that may call nothing": (
        "none that is welcome ends for them when the table of connections is full",
        ((HANDSHAKES, "test_connections_with_a_certificate_that_may_call_nothing_make_room_for_those_of_peers"),),
    ),
    "settings times streams": (
        "more than 32 pairs in a frame or 10 frames a second end the connection",
        (
            (BUDGETS, "test_settings_come_a_few_times_a_second"),
            (BUDGETS, "test_the_last_value_of_a_setting_counts"),
            ATTACKED,
        ),
    ),
    "answers that nobody reads": (
        "bytes kept of a connection and of the port, and that they are released at the deadline",
        (
            (BUDGETS, "test_answers_that_are_not_read_are_bounded_and_end_at_the_deadline"),
            (BUDGETS, "test_the_connection_with_most_unread_answers_ends_for_the_others"),
            ATTACKED,
        ),
    ),
    "a large answer to a wide window": (
        "bytes handed over in one round of the event loop",
        (
            (BUDGETS, "test_a_large_answer_goes_out_in_slices"),
            (BUDGETS, "test_nothing_is_handed_to_a_network_that_does_not_take_it"),
        ),
    ),
    "a part of a message that is kept for ever": (
        "nothing is kept once no call is left, whatever ended it",
        ((BUDGETS, "test_what_has_come_of_a_request_is_released_whatever_ends_the_call"),),
    ),
    "data behind the end of a request": (
        "servicers started: one",
        ((BUDGETS, "test_data_behind_the_end_of_a_request_starts_no_servicer"), ATTACKED),
    ),
    "requests that do not end": (
        "all are given up after request_seconds, and make room for others before that",
        (
            (BUDGETS, "test_a_request_that_does_not_end_is_given_up"),
            (BUDGETS, "test_requests_that_do_not_end_make_room_for_those_that_do"),
            ATTACKED,
        ),
    ),
    "refusals that nobody reads": (
        "the connection ends",
        ((BUDGETS, "test_refusals_that_are_not_read_end_the_connection"),),
    ),
    "streams that are begun and reset": (
        "the connection ends at its budget",
        (("unit/wire/test_hostile.py", "test_calls_begun_and_reset_at_once_are_bounded"), ATTACKED),
    ),
    "header blocks that do not end": (
        "an error, not more than that",
        (("unit/wire/test_parts.py", "test_a_block_that_cannot_be_read_is_an_error"),),
    ),
    "padding": ("a caller that pads goes on sending", ((BUDGETS, "test_padding_is_credited"),)),
    "hashes that keep their readers": (
        "no reader is kept across a pause; two hashes at a time",
        (
            ("unit/mvcc/requests/test_hash_kv.py", "test_a_hash_has_no_reader_while_it_pauses"),
            (
                "unit/api/services/test_maintenance.py",
                "test_hashes_are_made_few_at_a_time_and_for_each_client_in_turn",
            ),
        ),
    ),
    "scans that wait for each other": (
        "a short read does not wait for the long ones of another client",
        (
            ("unit/api/test_scans.py", "test_a_short_read_does_not_wait_for_long_ones_of_another_client"),
            ("unit/api/test_scans.py", "test_scans_that_cannot_begin_to_read_hold_up_none_that_do"),
            ATTACKED,
        ),
    ),
    "a batch that is never answered": (
        "every request is answered as not done, whatever raises",
        (("unit/api/test_batcher.py", "test_whatever_raises_before_proposing_is_answered_as_not_done"),),
    ),
    "an annotation that stops the operator": (
        "it is refused, and each step goes on",
        (
            (
                "unit/operator/failover/test_requests.py",
                "test_an_epoch_that_is_no_plain_number_is_refused_and_nothing_stops",
            ),
        ),
    ),
    "a region that is named client": (
        "no Secret for applications holds its certificate",
        (
            (
                "unit/operator/planning/children/test_naming.py",
                "test_a_region_that_was_called_client_before_it_was_refused_gets_no_certificate",
            ),
        ),
    ),
    "calls beyond a certificate's rights": (
        "PERMISSION_DENIED on the peer port",
        (("integration/replicas/test_security.py", "test_the_peer_port_admits_by_kind"),),
    ),
    "voters that change": (
        "two regions never acknowledge at once",
        (
            (
                "unit/operator/planner/test_change_of_voters.py",
                "test_the_leader_stops_at_once_and_the_voters_before_count_until_the_new_ones_granted",
            ),
        ),
    ),
    "a sync that failed and then succeeds": (
        "nothing that no disk holds counts after the restart",
        (
            (
                "unit/raft/storage/test_journal.py",
                "test_what_a_failed_sync_was_to_write_is_written_again_at_the_restart_before_it_counts",
            ),
            (
                "unit/process/test_live_data.py",
                "test_data_that_could_not_be_written_after_the_process_was_killed_is_dropped",
            ),
        ),
    ),
    "an authority that changes in one cut": (
        "old and new are trusted until nothing of the old is left",
        (
            (
                "unit/operator/planning/certificates/test_rotation.py",
                "test_an_authority_gets_a_successor_in_three_stages",
            ),
        ),
    ),
    "an entry of a kind that is not known": (
        "the replica stops and names it",
        (
            (
                "unit/raft/consensus/test_applying.py",
                "test_the_machine_gets_its_entries_raw_and_an_unknown_kind_stops_the_replica",
            ),
        ),
    ),
    "revisions counted by remainders": (
        "revisions that an epoch left out are not counted as lost",
        (("unit/operator/failover/test_loss_gate.py", "test_revisions_that_were_left_out_are_not_lost"),),
    ),
}
"""What was found, what the tests measure, and the tests by file and name."""


@pytest.mark.parametrize("what", FINDINGS)
def test_what_was_found_has_its_tests(what: str) -> None:
    measure, tests = FINDINGS[what]
    assert measure
    for path, name in tests:
        assert re.search(rf"^(async )?def {name}\(", (TESTS / path).read_text(), re.M), f"{path} has no {name}"
