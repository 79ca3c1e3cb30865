"""The members of the group, as the log names them.

Ongaro's thesis, chapter 4: a change of members is an entry of the log, in force as soon as it is in the log, one at a
time, each adding or removing at most one vote. A member is a name *and* an identity: a replica whose volume was emptied
has forgotten what it voted for and what it acknowledged, so it is another member, which has to be taken in like any new
one. Identity 0 is that of the replicas with which a group of several began.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
from rstore_api.domain.limits import MAX_REPLICAS

from rstore_replica.raft.types import CONFIG, Member, RaftError

MAX_REMOVED = 32


class Replica(msgspec.Struct, frozen=True):
    """One member. A learner gets the log but has no vote and is not counted."""

    name: str
    address: str
    identity: int = 0
    learner: bool = False


class Membership(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """All members from ``index`` on (set when it is read; in the entry it is 0), and those taken out last."""

    replicas: tuple[Replica, ...] = ()
    removed: tuple[str, ...] = ()
    index: int = 0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All members, learners too."""
        return tuple(replica.name for replica in self.replicas)

    @cached_property
    def voters(self) -> tuple[str, ...]:
        """Members that count."""
        return tuple(replica.name for replica in self.replicas if not replica.learner)

    @cached_property
    def learners(self) -> tuple[str, ...]:
        """Members that do not count yet."""
        return tuple(replica.name for replica in self.replicas if replica.learner)

    def voters_but(self, name: str) -> list[str]:
        """Members that count, without this one."""
        return [voter for voter in self.voters if voter != name]

    @cached_property
    def majority(self) -> int:
        """How many voters decide."""
        return len(self.voters) // 2 + 1

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Names and addresses."""
        return tuple(Member(replica.name, replica.address) for replica in self.replicas)

    def get(self, name: str) -> Replica | None:
        """The member of that name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Replica]:
        return {replica.name: replica for replica in self.replicas}

    def votes(self, name: str, identity: int) -> bool:
        """Whether this very replica has a vote."""
        replica = self.get(name)
        return replica is not None and not replica.learner and replica.identity == identity

    def with_replica(self, changed: Replica) -> Membership:
        """With this one added or in the place of the one of its name."""
        kept = tuple(replica for replica in self.replicas if replica.name != changed.name)
        removed = tuple(name for name in self.removed if name != changed.name)
        return Membership(tuple(sorted((*kept, changed), key=lambda replica: replica.name)), removed)

    def without(self, name: str) -> Membership:
        """Without this one; it is remembered as taken out."""
        kept = tuple(replica for replica in self.replicas if replica.name != name)
        gone = (*(old for old in self.removed if old != name), name)
        return Membership(kept, gone[-MAX_REMOVED:])


def initial(members: tuple[Member, ...]) -> Membership:
    """The members with which a group begins."""
    return Membership(tuple(Replica(member.name, member.address) for member in members), index=1)


def check_change(before: Membership, after: Membership) -> None:
    """Raises :class:`RaftError` unless any majority of one overlaps any majority of the other (thesis, 4.1)."""
    old = {(item.name, item.identity) for item in before.replicas if not item.learner}
    new = {(item.name, item.identity) for item in after.replicas if not item.learner}
    if len(old ^ new) > 1 or not new or len(after.replicas) > MAX_REPLICAS:
        raise RaftError(f"unsafe change of members from {before.replicas} to {after.replicas}")


def encode(membership: Membership) -> bytes:
    """As it is kept in the log, in journals and in checkpoints."""
    return msgspec.json.encode(membership)


def decode(data: bytes) -> Membership:
    """From :func:`encode`; ``ValueError`` when it is not one."""
    try:
        return msgspec.json.decode(data, type=Membership)
    except msgspec.MsgspecError as error:
        raise ValueError(f"members: {error}") from error


class MembershipHistory:
    """The memberships that a log names: the one at its beginning, if there is one, and each later one in an entry."""

    def __init__(self) -> None:
        self._base: Membership | None = None
        self._later: list[Membership] = []

    @property
    def latest(self) -> Membership | None:
        """The one in force: of the newest entry, committed or not. None when the log does not say."""
        return self._later[-1] if self._later else self._base

    def at(self, index: int) -> Membership | None:
        """The one in force at that entry."""
        earlier = [item for item in self._later if item.index <= index]
        return earlier[-1] if earlier else self._base

    def appended(self, index: int, command: bytes) -> None:
        """An entry was added to the log."""
        if command[:1] == CONFIG:
            named = decode(command[1:])
            self._later.append(Membership(named.replicas, named.removed, index))

    def truncated(self, index: int) -> None:
        """The entry ``index`` and all after it are gone."""
        self._later = [item for item in self._later if item.index < index]

    def begins(self, first_index: int) -> None:
        """The log begins at ``first_index``."""
        self._base = self.at(first_index)
        self._later = [item for item in self._later if item.index > first_index]

    def set_base(self, base: Membership | None) -> None:
        """What was in force at the log's beginning."""
        self._base = base
        self._later = [item for item in self._later if base is None or item.index > base.index]
