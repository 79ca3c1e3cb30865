"""What goes wrong at the command line: one sentence, what to do next, and an exit code."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2


class CliError(Exception):
    """A command failed. ``hint`` says what the user can do next; it may be empty."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class UsageError(CliError):
    """The command line itself makes no sense."""

    exit_code = EXIT_USAGE
