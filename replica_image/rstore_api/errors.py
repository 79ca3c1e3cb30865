"""The error vocabulary: each error has one gRPC status and one sentence, here and nowhere else.

Texts of errors that etcd has too are etcd's, so that its client libraries recognise them. What a machine needs beyond
the status travels in trailing metadata: ``rstore-error`` (the class's ``code``), ``rstore-outcome`` (``none``: the
request certainly did not happen, so a retry is safe; ``unknown``: it may have; ``done``: it has) and ``rstore-leader``
(where to go).
"""

# ruff: noqa: N818  (the names are the vocabulary's words; a suffix would repeat the base class in each)
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import grpc

ERROR_KEY = "rstore-error"
OUTCOME_KEY = "rstore-outcome"
LEADER_KEY = "rstore-leader"
REQUEST_ID_KEY = "rstore-request-id"
"""Metadata of a write that may come again: ``<client UUID>/<sequence>/<revision>``, see ``client/identity.py``."""


class StoreError(Exception):
    """Base of everything a caller may see. ``str(error)`` is what a person reads."""

    code: ClassVar[str] = "internal"
    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    text: ClassVar[str] = "rstore: internal error"
    outcome: ClassVar[str] = "none"  # "none": did not happen; "unknown": may have happened; "done": has happened

    def __init__(self, detail: str = "", *, leader: str = "") -> None:
        self.detail = detail
        self.leader = leader
        super().__init__(f"{self.text}: {detail}" if detail else self.text)

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata to send with the status; keys are this module's constants."""
        pairs = [(ERROR_KEY, self.code), (OUTCOME_KEY, self.outcome)]
        if self.leader:
            pairs.append((LEADER_KEY, self.leader))
        return tuple(pairs)


class NotLeader(StoreError):
    """This replica is not its region's leader; ``leader`` is the peer address of the one that is, if known."""

    code = "not-leader"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: not leader"


class NoLeader(StoreError):
    """The region has no leader at the moment."""

    code = "no-leader"
    status = grpc.StatusCode.UNAVAILABLE
    text = "etcdserver: no leader"


class NotPrimary(StoreError):
    """The region is secondary and does not forward."""

    code = "not-primary"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: this region is not primary"


class NoPrimary(StoreError):
    """No region accepts writes just now (a change of primary is under way), or the primary cannot be reached."""

    code = "no-primary"
    status = grpc.StatusCode.UNAVAILABLE
    text = "rstore: no region accepts writes at the moment"


class OutcomeUnknown(StoreError):
    """The write was proposed and may or may not have happened. Never retried on the caller's behalf."""

    code = "outcome-unknown"
    status = grpc.StatusCode.UNAVAILABLE
    text = "rstore: outcome unknown"
    outcome = "unknown"


class RequestForgotten(OutcomeUnknown):
    """A request came with an id about which the store no longer knows whether it was carried out; now it was not.

    A caller that never sent the id before knows that the request was not carried out; for one that did, the outcome is
    unknown.
    """

    code = "request-forgotten"
    text = "rstore: outcome unknown, the request's id is too old to be recognised"


class AlreadyDone(StoreError):
    """A request that came again was carried out when it came before; its answer was too large to be kept."""

    code = "already-done"
    status = grpc.StatusCode.ALREADY_EXISTS
    text = "rstore: the request was carried out before"
    outcome = "done"


class ShuttingDown(StoreError):
    """The replica is stopping; nothing was proposed."""

    code = "shutting-down"
    status = grpc.StatusCode.UNAVAILABLE
    text = "etcdserver: server stopped"


class NotReady(StoreError):
    """The replica has not caught up yet, or the region has not been bootstrapped."""

    code = "not-ready"
    status = grpc.StatusCode.UNAVAILABLE
    text = "rstore: not ready"


class DeadlineExceeded(StoreError):
    """The request's deadline passed before anything was proposed."""

    code = "deadline-exceeded"
    status = grpc.StatusCode.DEADLINE_EXCEEDED
    text = "etcdserver: request timed out"


class Unreachable(StoreError):
    """The caller's side found no replica to send the request to; nothing was sent. Never comes from a replica."""

    code = "unreachable"
    status = grpc.StatusCode.UNAVAILABLE
    text = "rstore: cannot reach a replica"


class TooManyRequests(StoreError):
    """A bounded queue is full."""

    code = "too-many-requests"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    text = "etcdserver: too many requests"


class NoSpace(StoreError):
    """The quota or the disk is full."""

    code = "no-space"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    text = "etcdserver: mvcc: database space exceeded"


class InvalidRequest(StoreError):
    """The request is malformed in a way etcd has no text for."""

    code = "invalid-request"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "rstore: invalid request"


class FeatureNotActive(StoreError):
    """Some replica of the store is of a version that does not know what was asked for."""

    code = "feature-not-active"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: not every replica of every region has reported that it knows this"


class EmptyKey(StoreError):
    """A key is required."""

    code = "empty-key"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: key is not provided"


class KeyTooLong(StoreError):
    """A key is longer than the database's index can hold (see docs/limits.md)."""

    code = "key-too-long"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "rstore: key is too long"


class KeyNotFound(StoreError):
    """``ignore_value`` or ``ignore_lease`` was asked for a key that does not exist."""

    code = "key-not-found"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: key not found"


class ValueProvided(StoreError):
    """``ignore_value`` together with a value."""

    code = "value-provided"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: value is provided"


class LeaseProvided(StoreError):
    """``ignore_lease`` together with a lease."""

    code = "lease-provided"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: lease is provided"


class LeaseNotFound(StoreError):
    """The lease does not exist."""

    code = "lease-not-found"
    status = grpc.StatusCode.NOT_FOUND
    text = "etcdserver: requested lease not found"


class DuplicateKey(StoreError):
    """One transaction puts a key twice."""

    code = "duplicate-key"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: duplicate key given in txn request"


class TooManyOps(StoreError):
    """A transaction has more operations than the limit."""

    code = "too-many-ops"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: too many operations in txn request"


class RequestTooLarge(StoreError):
    """The request is larger than the limit."""

    code = "request-too-large"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: request is too large"


class AnswerTooLarge(StoreError):
    """A range holds more than one answer may."""

    code = "answer-too-large"
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    text = "rstore: the answer is too large"


class RequestTooWide(StoreError):
    """One write would change or look at more keys, or more bytes of them, than one revision may (docs/limits.md)."""

    code = "request-too-wide"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "rstore: request touches too much at once"


class InvalidSort(StoreError):
    """An unknown sort order or target."""

    code = "invalid-sort"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid sort option"


class Compacted(StoreError):
    """The revision asked for is below the compaction point."""

    code = "compacted"
    status = grpc.StatusCode.OUT_OF_RANGE
    text = "etcdserver: mvcc: required revision has been compacted"

    def __init__(self, detail: str = "", *, leader: str = "", compact_revision: int = 0) -> None:
        self.compact_revision = compact_revision
        """The first revision that is kept, where that is known; else 0."""
        super().__init__(detail, leader=leader)


class FutureRevision(StoreError):
    """The revision asked for does not exist yet."""

    code = "future-revision"
    status = grpc.StatusCode.OUT_OF_RANGE
    text = "etcdserver: mvcc: required revision is a future revision"


class PermissionDenied(StoreError):
    """The caller's certificate is of this store's CA, but not one that may do this."""

    code = "permission-denied"
    status = grpc.StatusCode.PERMISSION_DENIED
    text = "etcdserver: permission denied"


class WrongStore(StoreError):
    """The caller speaks of another store id."""

    code = "wrong-store"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: this replica belongs to another store"


class NotBootstrapped(StoreError):
    """The region has no store id yet."""

    code = "not-bootstrapped"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: the region has not been bootstrapped yet"


class StaleEpoch(StoreError):
    """The epoch is below what the region has promised."""

    code = "stale-epoch"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: stale epoch"


class Behind(StoreError):
    """The region does not hold the revision that the call requires."""

    code = "behind"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: the region is behind the required revision"


class Gap(StoreError):
    """Replicated rows do not start right after what the region holds."""

    code = "gap"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: replicated rows leave a gap"


class TailNotFound(StoreError):
    """There is no diverged tail of that name here."""

    code = "tail-not-found"
    status = grpc.StatusCode.NOT_FOUND
    text = "rstore: no such tail in quarantine"


class TailDamaged(StoreError):
    """A quarantine file is not what was written; another replica may have a sound one."""

    code = "tail-damaged"
    status = grpc.StatusCode.DATA_LOSS
    text = "rstore: a quarantine file is damaged"


class NotSupported(StoreError):
    """Asked for something this version does not do."""

    code = "not-supported"
    status = grpc.StatusCode.UNIMPLEMENTED
    text = "rstore: not supported by this version"


def _all_errors() -> Iterable[type[StoreError]]:
    pending = [StoreError]
    while pending:
        error = pending.pop()
        yield error
        pending.extend(error.__subclasses__())


BY_CODE: Mapping[str, type[StoreError]] = {error.code: error for error in _all_errors()}


def from_rpc_error(error: grpc.RpcError) -> StoreError | None:
    """The :class:`StoreError` a replica sent, rebuilt from status and trailing metadata.

    Returns None when the error did not come from a replica (a broken connection, a proxy, a local deadline): then
    nothing is known about the outcome of a request that had been sent.
    """
    trailing = getattr(error, "trailing_metadata", None)
    pairs = dict(trailing() or ()) if callable(trailing) else {}
    kind = BY_CODE.get(str(pairs.get(ERROR_KEY, "")))
    if kind is None:
        return None
    details = getattr(error, "details", lambda: "")() or ""
    detail = details.removeprefix(kind.text).removeprefix(": ")
    return kind(detail, leader=str(pairs.get(LEADER_KEY, "")))
