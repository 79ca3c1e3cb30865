"""The kinds of commands that a log may hold. A new kind is a field of ``LogEntry`` and an entry here."""

from __future__ import annotations

from google.protobuf.unknown_fields import UnknownFieldSet
from rstore_api.proto.rstore_pb2 import LogEntry

from rstore_replica.mvcc.commands import deletions, region, replicated, tails, writes
from rstore_replica.mvcc.commands.command import Command


class UnknownCommandError(RuntimeError):
    """The log holds a command of a later version. Nothing of the entry, or after it, may be applied by this one."""


class Registry:
    """Commands by kind."""

    def __init__(self, *commands: Command) -> None:
        self._by_kind: dict[str | None, Command] = {command.kind: command for command in commands}
        fields = LogEntry.DESCRIPTOR.fields_by_name
        self._level_by_field = {fields[command.kind].number: command.level for command in commands}
        self.level = max(command.level for command in commands)
        """The feature level of this version: it knows every kind up to it."""

    def find(self, entry: LogEntry) -> Command:
        """Returns the entry's kind. Raises UnknownCommandError."""
        kind = entry.WhichOneof("command")
        command = self._by_kind.get(kind)
        if command is None:
            fields = UnknownFieldSet(entry)
            name = kind or ", ".join(str(fields[at].field_number) for at in range(len(fields))) or "none"
            raise UnknownCommandError(f"a command of kind {name}, which needs a newer version than this one")
        return command

    def required_level(self, entry: bytes) -> int:
        """Returns the feature level that every replica needs to apply the entry. Raises UnknownCommandError."""
        if not entry:
            return 1
        # A field number below 2048.
        tag = entry[0] if entry[0] < 0x80 else (entry[0] & 0x7F) | int.from_bytes(entry[1:2], "big") << 7
        level = self._level_by_field.get(tag >> 3)
        if level is None:
            raise UnknownCommandError(f"a command of kind {tag >> 3}, which needs a newer version than this one")
        return level


COMMANDS = Registry(*writes.COMMANDS, *replicated.COMMANDS, *region.COMMANDS, *tails.COMMANDS, *deletions.COMMANDS)
