"""The registry of commands: what a version knows, what an entry needs, and where a replica stops."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rstore_api.proto.rstore_pb2 import Compaction, DropTail, LogEntry, Noop, Promise
from rstore_replica.mvcc.commands import deletions, region, replicated, tails, writes
from rstore_replica.mvcc.commands.command import Command
from rstore_replica.mvcc.commands.registry import COMMANDS, Registry, UnknownCommandError
from unit.mvcc.replicas import Replica

ALL = (*writes.COMMANDS, *replicated.COMMANDS, *region.COMMANDS, *tails.COMMANDS, *deletions.COMMANDS)
FUTURE = LogEntry(drop_tail=DropTail(file="a.wal"))
"""Stands for a kind of level 5: later versions know it, earlier ones have no entry for it."""


def of_level_five(command: Command) -> Command:
    return msgspec.structs.replace(command, level=5) if command.kind == "drop_tail" else command


LATER = Registry(*map(of_level_five, ALL))
EARLIER = Registry(*(command for command in ALL if command.kind != "drop_tail"))


def test_every_command_of_the_log_has_an_entry_and_can_be_described() -> None:
    kinds = [field.name for field in LogEntry.DESCRIPTOR.oneofs_by_name["command"].fields]
    assert sorted(command.kind for command in ALL) == sorted(kinds)
    for command in ALL:
        entry = LogEntry()
        getattr(entry, command.kind).SetInParent()
        assert COMMANDS.find(entry) is command
        assert command.describe(getattr(entry, command.kind))
        assert COMMANDS.required_level(entry.SerializeToString()) == command.level


def test_what_an_entry_needs_is_read_from_its_kind() -> None:
    assert (COMMANDS.level, LATER.level, EARLIER.level) == (4, 5, 4)
    assert LATER.required_level(FUTURE.SerializeToString()) == 5
    assert LATER.required_level(LogEntry(noop=Noop()).SerializeToString()) == 1
    assert LATER.required_level(b"") == 1
    with pytest.raises(UnknownCommandError, match="kind 26"):
        EARLIER.required_level(FUTURE.SerializeToString())


def test_a_replica_stops_at_a_command_it_does_not_know_and_applies_nothing_after_it(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data", commands=EARLIER)
    replica.put(b"k", b"before")
    index = replica.machine.applied_index
    for _ in range(2):
        with pytest.raises(UnknownCommandError, match=f"entry {index + 1} .* needs a newer version"):
            replica.machine.apply(index + 1, 1, FUTURE.SerializeToString())
        assert (replica.machine.applied_index, replica.get(b"k")) == (index, b"before")
        replica.reopen()


def test_a_level_that_was_applied_stays_active(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data", commands=LATER)
    assert replica.machine.state.feature_level == 1
    replica.apply(drop_tail=FUTURE.drop_tail)
    replica.apply(noop=Noop())
    replica.reopen()
    assert replica.machine.state.feature_level == 5


def test_a_kind_changes_no_more_than_its_entry_says(tmp_path: Path) -> None:
    replica = Replica(tmp_path / "data")
    before = replica.machine.state
    replica.put(b"k", b"v")
    replica.apply(compaction=Compaction(revision=2))
    assert replica.machine.state == before
    revision = replica.machine.revision
    replica.apply(promise=Promise(epoch=7))
    assert (replica.machine.state.promised_epoch, replica.machine.revision) == (7, revision)
