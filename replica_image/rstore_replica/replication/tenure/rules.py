"""The primary's tenure, from both sides: the leader that holds it, and the voters that grant it.

A primary's leader asks all voters in rounds; it holds the tenure until the *sending* of the newest round that a
majority granted, plus what was granted, less a margin. A voter remembers each grant from the *receipt* of the question
on, so a grant always ends later for the voter than for the holder, as long as no two clocks differ in rate by more than
the margin. A caller that fences a majority of voters and waits out their longest remaining grant therefore knows that
no lower epoch holds a tenure any more (Gray and Cheriton, *Leases*, 1989).

Voters may change inside an epoch, and a majority of the new ones need not have granted anything yet. So a tenure
outlives the change only if the voters that granted it are a majority of the new ones too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rstore_api.domain.voters import majority

from rstore_replica.replication.tenure.guarantees import AnnouncedGuarantees

USABLE_SHARE = 0.9
"""Of what was granted, the share that the holder uses; the rest is for clocks that run at different rates."""

ROUNDS_PER_TENURE = 3
MAX_OPEN_ROUNDS = 16
"""Older rounds are not counted any more; they are long past their tenure."""


@dataclass
class _Round:
    sent_at: float
    version: int
    grants: dict[str, float] = field(default_factory=dict)


class TenureHolder:
    """The right to acknowledge, of one replica while it leads the primary region.

    Nothing is held in an epoch until :meth:`begin` and, where there are voters, a round that most of them granted.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._voters: frozenset[str] = frozenset()
        self._round = 0
        self._rounds: dict[int, _Round] = {}
        self._until = 0.0
        self._granters: frozenset[str] = frozenset()
        self._granted_version = 0
        self._active = False
        self._reported_revision = 0
        self.announced = AnnouncedGuarantees()

    @property
    def epoch(self) -> int:
        """The epoch of the tenure; 0 before the first."""
        return self._epoch

    @property
    def voters(self) -> frozenset[str]:
        """The voters whose grants count; empty where no tenure is needed."""
        return self._voters

    @property
    def granted_version(self) -> int:
        """The newest version of the topology of which a majority of the voters has granted a round; 0 before that."""
        return self._granted_version

    @property
    def active(self) -> bool:
        """Whether rounds are to be started."""
        return self._active

    @property
    def newest_round(self) -> int:
        """The round that may be granted now; 0 when there is none."""
        return self._round if self._active and self._round in self._rounds else 0

    def begin(self, epoch: int, voters: frozenset[str], first_round: int) -> None:
        """This replica leads the primary of ``epoch``. What was granted before counts no more.

        ``first_round`` must be above every round of other leaders of the region, so that an answer to one of theirs is
        never taken for one to a round of this one.
        """
        self._epoch, self._voters, self._active = epoch, voters, True
        self._round = max(self._round, first_round - 1)
        self._rounds, self._granted_version, self._reported_revision = {}, 0, 0
        self._revoke()
        self.announced.forget()

    def reported(self, data_epoch: int, revision: int) -> None:
        """Another region holds this revision of that epoch."""
        if data_epoch == self._epoch:
            self._reported_revision = max(self._reported_revision, revision)

    def missing_revision(self, revision: int) -> int:
        """Returns the newest revision of the epoch that another region holds, when this one, which is at ``revision``,
        does not hold it; else 0.

        All that others hold of the epoch comes from this region, which had committed it. So this replica has not
        applied all of that yet, or the region has lost data: its volumes went back in time. What it would write now
        would be other writes under the same numbers.
        """
        return self._reported_revision if self._reported_revision > revision else 0

    def change_voters(self, voters: frozenset[str]) -> None:
        """Regions came or went inside the epoch. What was granted runs on if its granters are a majority of the new
        voters, else it ends now: a majority of the new ones could be fenced without any of them.

        Where none are left, nobody can be fenced, and what was announced to them binds no more.
        """
        if not voters or len(self._granters & voters) < majority(len(voters)):
            self._revoke()
        if not voters:
            self.announced.forget()
        self._voters, self._rounds = voters, {}

    def _revoke(self) -> None:
        self._until, self._granters = 0.0, frozenset()

    def end(self) -> None:
        """It leads the primary no more and starts no rounds. What was granted is still good for what is in flight."""
        self._active = False
        self._rounds = {}

    def start_round(self, now: float, guarantee: int = 0, version: int = 0) -> int:
        """Returns the number of a round whose questions are sent after this. ``guarantee``: see ``guarantees.py``;
        ``version``: of the topology that names the voters.
        """
        self._round += 1
        self._rounds[self._round] = _Round(now, version)
        self.announced.sent(self._round, guarantee)
        while len(self._rounds) > MAX_OPEN_ROUNDS:
            del self._rounds[min(self._rounds)]
        return self._round

    def granted(self, epoch: int, round_number: int, voter: str, duration_seconds: float) -> bool:
        """``voter`` granted a round for ``duration_seconds``; returns whether that counted."""
        opened = self._rounds.get(round_number)
        if not self._active or epoch != self._epoch or opened is None or voter not in self._voters:
            return False
        opened.grants[voter] = duration_seconds
        needed = majority(len(self._voters))
        if len(opened.grants) >= needed:
            # What at least ``needed`` voters granted.
            shared = sorted(opened.grants.values(), reverse=True)[needed - 1]
            until = opened.sent_at + shared * USABLE_SHARE
            if until >= self._until:
                self._until = until
                self._granters = frozenset(name for name, seconds in opened.grants.items() if seconds >= shared)
            self._granted_version = max(self._granted_version, opened.version)
            self.announced.granted(round_number)
        return True

    def held(self, epoch: int, now: float) -> bool:
        """Returns whether something of ``epoch`` may be acknowledged at this moment."""
        return epoch == self._epoch and epoch > 0 and (not self._voters or now < self._until)

    def remaining(self, now: float) -> float:
        """Returns the seconds for which the tenure is still held without another grant; 0 where none is needed."""
        return max(0.0, self._until - now) if self._voters else 0.0


def bound_to_agree_on(bound_ms: int, own_ms: int, led_seconds: float) -> int | None:
    """Returns what a voter's leader makes its region agree on as the longest grant, in milliseconds; None: nothing new.

    It is raised before anything longer is granted, and lowered by a leader that grants no longer than that itself, once
    it has led for as long as a grant of its predecessor may have run.
    """
    if own_ms > bound_ms or (own_ms < bound_ms and led_seconds * 1000 >= bound_ms):
        return own_ms
    return None


class Granter:
    """What one region, through its leader, has granted. ``bound_seconds`` is what the region has agreed on."""

    def __init__(self, duration_seconds: float) -> None:
        """``duration_seconds`` is the longest that is granted at once."""
        self._duration = duration_seconds
        self._epoch = 0
        self._region = ""
        self._granted_at = 0.0
        self._granted_until = 0.0

    @property
    def epoch(self) -> int:
        """The epoch of the last grant; 0 when there was none."""
        return self._epoch

    @property
    def granted_at(self) -> float:
        """When the last question was received that was granted."""
        return self._granted_at

    @property
    def granted_until(self) -> float:
        """The end of the longest grant."""
        return self._granted_until

    def may_grant(self, epoch: int, region: str, promised_epoch: int) -> bool:
        """Not below what is promised, nor below an earlier grant, nor to two regions in one epoch."""
        if epoch < 1 or epoch < promised_epoch or epoch < self._epoch:
            return False
        return epoch > self._epoch or region == self._region

    def grant(
        self,
        epoch: int,
        region: str,
        *,
        promised_epoch: int,
        received_at: float,
        asked_seconds: float,
        bound_seconds: float,
    ) -> float:
        """Grants to ``region`` as primary of ``epoch``: for how many seconds, 0 when not.

        ``promised_epoch`` is what the region has promised as confirmed after ``received_at``.
        """
        if asked_seconds <= 0 or not self.may_grant(epoch, region, promised_epoch):
            return 0.0
        granted = min(asked_seconds, self._duration, bound_seconds)
        if granted <= 0:
            return 0.0
        self._epoch, self._region = epoch, region
        self._granted_at = max(self._granted_at, received_at)
        self._granted_until = max(self._granted_until, received_at + granted)
        return granted

    def remaining(self, now: float, leader_since: float, bound_seconds: float) -> float:
        """Returns the seconds for which a grant of this region may still run.

        A replica that leads for less than a tenure answers a full one: its predecessor may have granted that. The
        tenure is then the longest that anybody may have granted, which need not be what is configured now.
        """
        own = max(0.0, self._granted_until - now)
        longest = max(self._duration, bound_seconds)
        return max(own, longest) if now - leader_since < longest else own
