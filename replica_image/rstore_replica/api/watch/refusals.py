"""Which keys the caller of a stream may watch: by its certificate, and by its user while etcd's auth is on."""

from __future__ import annotations

from collections.abc import Callable

from rstore_api.errors import PermissionDenied

from rstore_replica.api.access.requirements import may_watch
from rstore_replica.api.auth.credentials import credentials_of
from rstore_replica.api.auth.guard import Guard
from rstore_replica.api.calls import Context


def refusals_of(guard: Guard, context: Context) -> Callable[[bytes, bytes], str]:
    """Returns what says why the caller of a stream may not watch a key and range end; "" where it may."""
    credentials = credentials_of(context.caller, context.invocation_metadata() or (), guard.now())

    def refusal(key: bytes, range_end: bytes) -> str:
        # The rules for certificates may change while the stream goes on.
        if not may_watch(context.caller, key, range_end):
            return PermissionDenied.text
        return guard.refusal_of_watch(credentials, key, range_end)

    return refusal
