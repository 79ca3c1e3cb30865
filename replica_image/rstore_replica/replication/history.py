"""Compares two chains of epochs and says where one region may go on from another."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_api.domain.epochs import History, parent_of
from rstore_api.domain.forks import Chain, fork_revision


@dataclass(frozen=True)
class Resume:
    """The receiver's rows are a prefix of the sender's: go on right after ``after_revision``."""

    after_revision: int


@dataclass(frozen=True)
class Diverged:
    """The receiver holds revisions above the fork point that the sender's chain does not have."""

    fork_revision: int
    tail_last_revision: int

    @property
    def tail_first_revision(self) -> int:
        """The first revision of the receiver's tail."""
        return self.fork_revision + 1

    def __str__(self) -> str:
        return f"diverged: revisions {self.tail_first_revision} to {self.tail_last_revision} are not the primary's"


@dataclass(frozen=True)
class Stale:
    """The receiver has promised an epoch above the sender's."""

    promised_epoch: int

    def __str__(self) -> str:
        return f"epoch {self.promised_epoch} is promised"


@dataclass(frozen=True)
class Ahead:
    """The receiver holds more of the sender's newest epoch than the sender knows of.

    Only one region writes in an epoch, so this is no divergence: the sender spoke before it had applied everything,
    or its region has lost data. It must not send until it has caught up.
    """

    revision: int
    sender_revision: int

    def __str__(self) -> str:
        return f"revision {self.revision} is held, but the primary knows only {self.sender_revision}"


@dataclass(frozen=True)
class Contradiction:
    """One epoch has two starts or two primaries. Must not happen (I2); nothing may be decided automatically."""

    epoch: int

    def __str__(self) -> str:
        return f"epoch {self.epoch} does not mean the same on both sides"


Comparison = Resume | Diverged | Ahead | Stale | Contradiction


def contradiction(one: Chain, other: Chain) -> int | None:
    """Returns the oldest epoch both know with different starts or primaries, or None."""
    starts = {start.epoch: start for start in one.history}
    for start in other.history:
        if start.epoch in starts and starts[start.epoch] != start:
            return start.epoch
    return None


def compare(sender: Chain, receiver: Chain, *, receiver_promised_epoch: int = 0) -> Comparison:
    """Returns where the sender goes on for this receiver, or why it must not.

    ``receiver_promised_epoch`` above the sender's epoch means that the sender is no longer primary (:class:`Stale`).
    """
    promised = max(receiver_promised_epoch, receiver.epoch)
    if promised > sender.epoch:
        return Stale(promised)
    twice = contradiction(sender, receiver)
    if twice is not None:
        return Contradiction(twice)
    if receiver.epoch == sender.epoch and receiver.revision > sender.revision:
        return Ahead(receiver.revision, sender.revision)
    fork = fork_revision(sender, receiver)
    if receiver.revision > fork:
        return Diverged(fork, receiver.revision)
    return Resume(receiver.revision)


def history_up_to(chain: Chain, revision: int) -> History:
    """Returns the epochs that a region holding ``revision`` of this chain knows.

    At the chain's own last revision that is all of them, also an epoch without a revision of its own yet; and a region
    that has taken an epoch's jump knows that epoch.
    """
    if revision >= chain.revision:
        return chain.history
    return tuple(
        start
        for start in chain.history
        if start.first_revision <= revision or parent_of(start) < start.first_revision - 1 <= revision
    )
