"""The error vocabulary: each error has one gRPC status and one sentence, here and nowhere else.

The message of an error that etcd has too is etcd's whole sentence, since its client libraries recognise errors by
comparing it; the others begin with "rstore: ". What else there is to say travels in trailing metadata:
``rstore-error`` (the class's ``code``), ``rstore-detail`` (text for people, percent-encoded), ``rstore-outcome``
(``none``: the request certainly did not happen, so a retry is safe; ``unknown``: it may have; ``done``: it has) and
``rstore-leader`` (where to go).
"""

# ruff: noqa: N818  (the names are the vocabulary's words; a suffix would repeat the base class in each)
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar
from urllib.parse import quote, unquote

import grpc

ERROR_KEY = "rstore-error"
DETAIL_KEY = "rstore-detail"
MAX_DETAIL_BYTES = 2_048
"""Of ``rstore-detail``: clients refuse headers of more than 8 KiB."""
OUTCOME_KEY = "rstore-outcome"
LEADER_KEY = "rstore-leader"
REQUEST_ID_KEY = "rstore-request-id"
"""Metadata of a write that may come again: ``<client UUID>/<sequence>/<revision>``, see ``client/identity.py``."""

OWN_PREFIX = "rstore: "
"""Begins the text of an error that etcd does not have."""


class StoreError(Exception):
    """Base of everything a caller may see. ``str(error)`` is what a person reads, with the detail."""

    code: ClassVar[str] = "internal"
    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    text: ClassVar[str] = "rstore: internal error"
    """What clients recognise the error by."""
    summary: ClassVar[str] = ""
    """What a person reads in place of :attr:`text`, where etcd's text says less; "": the text itself."""
    outcome: ClassVar[str] = "none"  # "none": did not happen; "unknown": may have happened; "done": has happened

    def __init__(self, detail: str = "", *, leader: str = "") -> None:
        self.detail = detail
        self.leader = leader
        sentence = self.summary or self.text
        super().__init__(f"{sentence}: {detail}" if detail else sentence)

    @property
    def message(self) -> str:
        """The message of the gRPC status: etcd's sentence alone, or that of our own with the detail."""
        return str(self) if self.text.startswith(OWN_PREFIX) else self.text

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata to send with the status; keys are this module's constants."""
        pairs = [(ERROR_KEY, self.code), (OUTCOME_KEY, self.outcome)]
        if self.detail:
            pairs.append((DETAIL_KEY, _encoded(self.detail)))
        if self.leader:
            pairs.append((LEADER_KEY, self.leader))
        return tuple(pairs)

    def answer(self) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
        """Returns what ends a call with this error: status, message and trailing metadata."""
        return self.status, self.message, self.trailing_metadata()


def _encoded(detail: str) -> str:
    """Returns the text in the characters that metadata may have, cut to what headers have room for."""
    detail = detail[:MAX_DETAIL_BYTES]
    while len(encoded := quote(detail, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")) > MAX_DETAIL_BYTES:
        detail = detail[: len(detail) * MAX_DETAIL_BYTES // len(encoded)]
    return encoded.strip()


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
    text = "etcdserver: no leader"
    summary = "rstore: no region accepts writes at the moment"


class OutcomeUnknown(StoreError):
    """The write was proposed and may or may not have happened. Never retried on the caller's behalf.

    Its text is the one by which etcd says the same, so that clients of etcd do not repeat the write blindly either.
    """

    code = "outcome-unknown"
    status = grpc.StatusCode.UNAVAILABLE
    text = "etcdserver: request timed out"
    summary = "rstore: outcome unknown"
    outcome = "unknown"


class RequestForgotten(OutcomeUnknown):
    """A request came with an id about which the store no longer knows whether it was carried out; now it was not.

    A caller that never sent the id before knows that the request was not carried out; for one that did, the outcome is
    unknown.
    """

    code = "request-forgotten"
    text = "rstore: outcome unknown, the request's id is too old to be recognised"
    summary = text


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
    """The request's deadline passed before anything was proposed. UNAVAILABLE, as in etcd."""

    code = "deadline-exceeded"
    status = grpc.StatusCode.UNAVAILABLE
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
    """A key is longer than every replica of the store takes (see docs/limits.md)."""

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


class LeaseExists(StoreError):
    """A lease with that id exists already."""

    code = "lease-exists"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: lease already exists"


class LeaseTtlTooLarge(StoreError):
    """The time to live is above etcd's bound."""

    code = "lease-ttl-too-large"
    status = grpc.StatusCode.OUT_OF_RANGE
    text = "etcdserver: too large lease TTL"


class LockSessionExpired(StoreError):
    """The lease ended, or its key was deleted, while the lock was waited for."""

    code = "lock-session-expired"
    status = grpc.StatusCode.UNKNOWN
    text = "mutex: session is expired"


class ElectionNotLeader(StoreError):
    """The caller does not lead (any more), or its candidacy ended while it waited."""

    code = "election-not-leader"
    status = grpc.StatusCode.UNKNOWN
    text = "election: not leader"


class ElectionNoLeader(StoreError):
    """Nobody leads the election."""

    code = "election-no-leader"
    status = grpc.StatusCode.UNKNOWN
    text = "election: no leader"


class MissingLeaderKey(StoreError):
    """The request does not say which leadership it is about."""

    code = "missing-leader-key"
    status = grpc.StatusCode.UNKNOWN
    text = '"leader" field must be provided'


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
    """One write would change or look at more keys, or more bytes of them, than it may (docs/limits.md)."""

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


class MemberNotFound(StoreError):
    """There is no member of that id in any region."""

    code = "member-not-found"
    status = grpc.StatusCode.NOT_FOUND
    text = "etcdserver: member not found"


class MemberUrlsInvalid(StoreError):
    """A member is to get URLs that are none."""

    code = "member-urls-invalid"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: given member URLs are invalid"


class PeerUrlExists(StoreError):
    """A member with that URL is there already."""

    code = "peer-url-exists"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: Peer URLs already exists"


class MemberNotLearner(StoreError):
    """Only a learner can get a vote, and the member has one."""

    code = "member-not-learner"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: can only promote a learner member"


class LearnerNotReady(StoreError):
    """The learner has not caught up yet; once it has, it gets its vote by itself."""

    code = "learner-not-ready"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: can only promote a learner member which is in sync with leader"


class MembersManaged(StoreError):
    """Members are changed through the store's Kubernetes object."""

    code = "members-managed"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "rstore: members are changed through the ReplicatedStore object"


class BadLeaderTransferee(StoreError):
    """The replica that is to lead is no voter of the region."""

    code = "bad-leader-transferee"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: bad leader transferee"


class LeaderTransferTimedOut(StoreError):
    """Leadership was not handed over in time; it may happen yet."""

    code = "leader-transfer-timed-out"
    status = grpc.StatusCode.UNAVAILABLE
    text = "etcdserver: request timed out, leader transfer took too long"
    outcome = "unknown"


class WrongDowngradeVersion(StoreError):
    """The version to go back to is no version."""

    code = "wrong-downgrade-version"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: wrong downgrade target version format"


class InvalidDowngradeTarget(StoreError):
    """The cluster cannot go back to that version."""

    code = "invalid-downgrade-target"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid downgrade target version"


class NoInflightDowngrade(StoreError):
    """There is no downgrade to be called off."""

    code = "no-inflight-downgrade"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: no inflight downgrade job"


class PermissionDenied(StoreError):
    """The caller's certificate is of this store's CA, but not one that may do this."""

    code = "permission-denied"
    status = grpc.StatusCode.PERMISSION_DENIED
    text = "etcdserver: permission denied"


class RootUserNotExist(StoreError):
    """Auth is to be enabled, and there is no user ``root``."""

    code = "root-user-missing"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: root user does not exist"


class RootRoleNotExist(StoreError):
    """Auth is to be enabled, and the user ``root`` does not have the role ``root``."""

    code = "root-role-missing"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: root user does not have root role"


class UserAlreadyExists(StoreError):
    """A user of that name exists already."""

    code = "user-exists"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: user name already exists"


class UserEmpty(StoreError):
    """A user's name is required; also where auth is on and the request names no user."""

    code = "user-empty"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: user name is empty"


class UserNotFound(StoreError):
    """There is no user of that name."""

    code = "user-not-found"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: user name not found"


class RoleAlreadyExists(StoreError):
    """A role of that name exists already."""

    code = "role-exists"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: role name already exists"


class RoleNotFound(StoreError):
    """There is no role of that name."""

    code = "role-not-found"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: role name not found"


class RoleEmpty(StoreError):
    """A role's name is required."""

    code = "role-empty"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: role name is empty"


class AuthFailed(StoreError):
    """There is no such user, or its password is another one."""

    code = "auth-failed"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: authentication failed, invalid user ID or password"


class NoPasswordUser(StoreError):
    """The user has no password and cannot get a token."""

    code = "no-password-user"
    status = grpc.StatusCode.UNKNOWN
    text = "auth: authentication failed, password was given for no password user"


class PermissionNotGiven(StoreError):
    """A permission is required."""

    code = "permission-not-given"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: permission not given"


class RoleNotGranted(StoreError):
    """The user does not have the role."""

    code = "role-not-granted"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: role is not granted to the user"


class PermissionNotGranted(StoreError):
    """The role does not have the permission."""

    code = "permission-not-granted"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: permission is not granted to the role"


class AuthNotEnabled(StoreError):
    """Auth is off."""

    code = "auth-not-enabled"
    status = grpc.StatusCode.FAILED_PRECONDITION
    text = "etcdserver: authentication is not enabled"


class InvalidAuthToken(StoreError):
    """The token is not one of this store, has expired, or its user's password has changed."""

    code = "invalid-auth-token"
    status = grpc.StatusCode.UNAUTHENTICATED
    text = "etcdserver: invalid auth token"


class InvalidAuthManagement(StoreError):
    """The change is not allowed: of the root user or role while auth is on, or of a range that is empty."""

    code = "invalid-auth-management"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid auth management"


class AuthOldRevision(StoreError):
    """Users or roles were changed while the request was carried out."""

    code = "auth-old-revision"
    status = grpc.StatusCode.INVALID_ARGUMENT
    text = "etcdserver: revision of auth store is old"


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
    detail = unquote(str(pairs.get(DETAIL_KEY, "")))
    return kind(detail, leader=str(pairs.get(LEADER_KEY, "")))
