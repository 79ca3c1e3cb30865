"""Whatever comes in whatever order: nothing is acknowledged early, and no majority of voters believes too much."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rstore_api.voters import majority
from rstore_replica.replication.guarantees import Heard, Told
from rstore_replica.replication.semi_sync import Rule, SemiSync

OWN = "own"


@dataclass
class Round:
    """One round of the lease: what it says, and who has granted it as far as the primary knows."""

    epoch: int
    number: int
    guarantee: int
    counted: set[str] = field(default_factory=set)


class SemiSyncMachine(RuleBasedStateMachine):
    """One primary region with changing leaders and epochs, other regions, and voters that hear rounds or do not."""

    @initialize(others=st.integers(2, 3), regions=st.integers(0, 2), degrade=st.booleans())
    def begin(self, others: int, regions: int, degrade: bool) -> None:
        self.others = [f"r{number}" for number in range(others)]
        self.voters = [OWN, *self.others]
        self.revision = self.told_clients = 1
        self.holds = dict.fromkeys(self.others, 0)
        self.heard = {voter: Heard() for voter in self.voters}
        self.epoch, self.number, self.now = 1, 0, 0.0
        self.rule = Rule(regions, 4.0, degrade)
        self.semi_sync, self.told = SemiSync(), Told()
        self.semi_sync.begin(1, self.rule, self.others)
        self.rounds: list[Round] = []
        self.leased = False

    # ------------------------------------------------------------------ what happens in the store
    @rule(count=st.integers(1, 5), seconds=st.floats(0, 3))
    def write(self, count: int, seconds: float) -> None:
        self.revision += count
        self.now += seconds

    @rule(data=st.data())
    def replicate(self, data: st.DataObject) -> None:
        region = data.draw(st.sampled_from(self.others))
        self.holds[region] = data.draw(st.integers(self.holds[region], self.revision))

    @rule(data=st.data(), anew=st.booleans(), late=st.booleans())
    def hear_from_region(self, data: st.DataObject, anew: bool, late: bool) -> None:
        """What comes late is of less than the region holds by now; of a stream that begins, or of one that goes on."""
        region = data.draw(st.sampled_from(self.others))
        revision = data.draw(st.integers(0, self.holds[region])) if late else self.holds[region]
        (self.semi_sync.stands_at if anew else self.semi_sync.committed)(region, self.epoch, revision)
        self.semi_sync.look(self.revision, self.now)

    @precondition(lambda self: self.epoch > 1)
    @rule(data=st.data(), anew=st.booleans())
    def hear_of_another_epoch(self, data: st.DataObject, anew: bool) -> None:
        region = data.draw(st.sampled_from(self.others))
        (self.semi_sync.stands_at if anew else self.semi_sync.committed)(region, self.epoch - 1, self.revision)

    @rule()
    def time_out(self) -> None:
        self.semi_sync.timed_out(self.revision, self.now)

    @rule(regions=st.integers(0, 2), degrade=st.booleans())
    def change_rule(self, regions: int, degrade: bool) -> None:
        self.rule = Rule(regions, 4.0, degrade)
        self.semi_sync.change(self.rule, self.others, self.revision, self.now)

    @rule(new_epoch=st.booleans())
    def change_leader(self, new_epoch: bool) -> None:
        self.epoch += new_epoch
        self.number += 1000
        self.semi_sync.begin(self.epoch, self.rule, self.others)
        self.told.forget()
        self.rounds, self.leased = [], False

    @rule()
    def find_the_start(self) -> None:
        self.semi_sync.started(self.revision)

    # ------------------------------------------------------------------ the lease
    @rule(data=st.data())
    def run_round(self, data: st.DataObject) -> None:
        """A round begins; some voters hear of it now, others perhaps later, and some answers are lost."""
        self.number += 1
        guarantee = self.semi_sync.guarantee
        self.told.sent(self.number, guarantee)
        self.rounds = [*self.rounds[-3:], Round(self.epoch, self.number, guarantee)]
        self._grant(self.rounds[-1], data.draw(st.sets(st.sampled_from(self.voters), min_size=1)), answered=True)

    @precondition(lambda self: self.rounds)
    @rule(data=st.data(), answered=st.booleans())
    def grant_late(self, data: st.DataObject, answered: bool) -> None:
        asked = data.draw(st.sampled_from(self.rounds))
        self._grant(asked, {data.draw(st.sampled_from(self.voters))}, answered=answered)

    def _grant(self, asked: Round, voters: set[str], *, answered: bool) -> None:
        for voter in voters:
            self.heard[voter].granted(asked.epoch, asked.number, asked.guarantee, self.now)
            if answered:
                asked.counted.add(voter)
        if len(asked.counted) >= majority(len(self.voters)):
            self.told.granted(asked.number)
            self.leased = True

    @rule(data=st.data())
    def change_leader_of_a_voter(self, data: st.DataObject) -> None:
        self.heard[data.draw(st.sampled_from(self.voters))] = Heard()

    @precondition(lambda self: self.leased)
    @rule()
    def acknowledge(self) -> None:
        allowed = min(self.semi_sync.allowed(self.told.binding), self.revision)
        if self.rule.regions and not self.semi_sync.degraded:
            assert self._holding(allowed) >= self.rule.regions or allowed == 0, "acknowledged early"
        self.semi_sync.expose(allowed)
        self.told_clients = max(self.told_clients, allowed)

    # ------------------------------------------------------------------ what must be true
    def _holding(self, revision: int) -> int:
        return sum(held >= revision for held in self.holds.values())

    @invariant()
    def no_majority_believes_too_much(self) -> None:
        for guarantee in range(1, 4):
            believing = [voter for voter in self.voters if self._believes(voter, guarantee)]
            if len(believing) >= majority(len(self.voters)):
                assert self._holding(self.told_clients) >= guarantee

    def _believes(self, voter: str, guarantee: int) -> bool:
        epoch, said = self.heard[voter].since(float("-inf"))
        return epoch == self.epoch and said >= guarantee

    @invariant()
    def degrading_is_not_silent(self) -> None:
        assert self.rule.degrade or not self.semi_sync.degraded
        assert not (self.semi_sync.degraded and self.semi_sync.in_sync)


SemiSyncMachine.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=60)
TestSemiSync = SemiSyncMachine.TestCase
