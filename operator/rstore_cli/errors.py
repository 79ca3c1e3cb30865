"""Errors of commands: a sentence, what to do next, and an exit code."""

from __future__ import annotations

import grpc
from rstore_api.errors import AuthFailed, OutcomeUnknown, StoreError, UserEmpty

EXIT_FAILED = 1
EXIT_USAGE = 2


class CliError(Exception):
    """A command failed. ``hint`` says what the user can do next; it may be empty."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class NotFoundError(CliError):
    """The named object does not exist in the cluster."""


class UsageError(CliError):
    """The arguments are not valid."""

    exit_code = EXIT_USAGE


_HINTS = {
    grpc.StatusCode.INVALID_ARGUMENT: "",  # the message says it
    grpc.StatusCode.OUT_OF_RANGE: "without --rev the newest revision is read",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "deletes and compaction still work; docs/runbook.md says what to do",
    grpc.StatusCode.UNIMPLEMENTED: "docs/limits.md lists what there is",
}


def hint_of(error: StoreError) -> str:
    """Returns what a user can do about an error of a replica; "" if its message says so already."""
    if isinstance(error, UserEmpty):
        return "etcd's auth is on: --user NAME, or --client NAME, whose name is the user's then; see docs/security.md"
    if isinstance(error, AuthFailed):
        return "--user NAME:PASSWORD, or RSTORE_USER and RSTORE_PASSWORD, name a user and its password"
    if isinstance(error, OutcomeUnknown):
        return "the write may or may not have happened: read the key before you repeat it"
    return _HINTS.get(error.status, "`rstore status NAME` shows the store's health")
