"""Whatever comes in whatever order: nothing is acknowledged early, and no majority of voters believes too much.

Random walks, given by their seeds; ``RSTORE_SEMI_SYNC_WALKS`` sets how many.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

from rstore_api.domain.topology import SyncRule
from rstore_api.domain.voters import majority
from rstore_replica.replication.semi_sync import SemiSync
from rstore_replica.replication.tenure.guarantees import AnnouncedGuarantees, ReceivedGuarantee

OWN = "own"
WALKS = int(os.environ.get("RSTORE_SEMI_SYNC_WALKS", "2500"))
STEPS = 100


@dataclass
class Round:
    """One round of the tenure: what it says, and who has granted it as far as the primary knows."""

    epoch: int
    number: int
    guarantee: int
    voter_terms: dict[str, int]
    counted: set[str] = field(default_factory=set)


class Walk:
    """One primary region with changing leaders and epochs, other regions, and voters that hear rounds or do not."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.others = [f"r{number}" for number in range(rng.choice([2, 2, 4]))]
        self.voters = [OWN, *self.others]
        self.revision = self.told_clients = 1
        self.holds = dict.fromkeys(self.others, 0)
        self.received = {voter: ReceivedGuarantee() for voter in self.voters}
        self.spare = {voter: ReceivedGuarantee() for voter in self.voters}
        self.terms = dict.fromkeys(self.voters, 1)
        self.known_terms: dict[str, int] = {}
        self.epoch, self.number, self.now = 1, 0, 0.0
        self.rounds: list[Round] = []
        self.has_tenure = False
        self.rule = self._some_rule()
        self.semi_sync, self.reported = SemiSync(), AnnouncedGuarantees()
        self.semi_sync.begin(1, self.rule, self.others)
        self.weights = {
            step: rng.choice([0.3, 1, 3]) * often
            for step, often in (
                (self.write, 4), (self.replicate, 4), (self.hear_from_region, 6), (self.hear_of_another_epoch, 1),
                (self.time_out, 1), (self.change_rule, 0.5), (self.change_leader, 0.3), (self.find_the_start, 1),
                (self.run_round, 5), (self.grant_late, 2), (self.change_leader_of_a_voter, 0.5), (self.acknowledge, 5),
            )
        }  # fmt: skip

    def run(self) -> int:
        """Takes the walk, checking after each step; how far clients were told."""
        for step in self.rng.choices(list(self.weights), list(self.weights.values()), k=STEPS):
            step()
            self.check()
        return self.told_clients

    def _some_rule(self) -> SyncRule:
        return SyncRule(self.rng.choice([0, 1, 1, 2]), 4000, self.rng.random() < 0.5)

    # ------------------------------------------------------------------ what happens in the store
    def write(self) -> None:
        self.revision += self.rng.randint(1, 3)
        self.now += self.rng.uniform(0, 3)

    def replicate(self) -> None:
        region = self.rng.choice(self.others)
        self.holds[region] = self.rng.choice([self.revision, self.rng.randint(self.holds[region], self.revision)])

    def hear_from_region(self) -> None:
        """What comes late is of less than the region holds by now; of a stream that begins, or of one that goes on."""
        region = self.rng.choice(self.others)
        held = self.holds[region]
        revision = self.rng.randint(0, held) if self.rng.random() < 0.2 else held
        self.rng.choice([self.semi_sync.stands_at, self.semi_sync.committed])(region, self.epoch, revision)
        self.semi_sync.look(self.revision, self.now)

    def hear_of_another_epoch(self) -> None:
        tell = self.rng.choice([self.semi_sync.stands_at, self.semi_sync.committed])
        tell(self.rng.choice(self.others), self.epoch - 1, self.revision)

    def time_out(self) -> None:
        self.semi_sync.timed_out(self.revision, self.now)

    def change_rule(self) -> None:
        self.rule = self._some_rule()
        self.semi_sync.change(self.rule, self.others, self.revision, self.now)

    def change_leader(self) -> None:
        self.epoch += self.rng.random() < 0.5
        self.number += 1000
        self.semi_sync.begin(self.epoch, self.rule, self.others)
        self.reported.forget()
        self.rounds, self.has_tenure = [], False

    def find_the_start(self) -> None:
        self.semi_sync.started(self.revision)

    # ------------------------------------------------------------------ the tenure
    def run_round(self) -> None:
        """A round begins; some voters hear of it now, others perhaps later, and some answers are lost."""
        self.number += 1
        guarantee = self.semi_sync.guarantee
        self.reported.sent(self.number, guarantee)
        self.rounds = [*self.rounds[-3:], Round(self.epoch, self.number, guarantee, dict(self.known_terms))]
        for voter in self.rng.sample(self.voters, self.rng.randint(0, len(self.voters))):
            self._grant(self.rounds[-1], voter)

    def grant_late(self) -> None:
        if self.rounds:
            self._grant(self.rng.choice(self.rounds), self.rng.choice(self.voters))

    def _grant(self, asked: Round, voter: str) -> None:
        asked_term, term = asked.voter_terms.get(voter, 0), self.terms[voter]
        self.received[voter].granted(
            asked.epoch, asked.number, asked.guarantee, version=1, asked_term=asked_term, term=term
        )
        if self.rng.random() < 0.8:
            asked.counted.add(voter)
            self.known_terms[voter] = term
        if len(asked.counted) >= majority(len(self.voters)):
            self.reported.granted(asked.number)
            self.has_tenure = True

    def change_leader_of_a_voter(self) -> None:
        """Another replica, or the one before it again: it remembers what it heard when it led."""
        voter = self.rng.choice(self.voters)
        self.terms[voter] += 1
        self.received[voter], self.spare[voter] = self.spare[voter], self.received[voter]

    def acknowledge(self) -> None:
        if not self.has_tenure:
            return
        allowed = min(self.semi_sync.allowed(self.reported.binding), self.revision)
        if self.rule.min_in_sync_regions and not self.semi_sync.degraded:
            assert allowed == 0 or self._holding(allowed) >= self.rule.min_in_sync_regions, "acknowledged early"
        self.semi_sync.expose(allowed)
        self.told_clients = max(self.told_clients, allowed)

    # ------------------------------------------------------------------ what must be true
    def _holding(self, revision: int) -> int:
        return sum(held >= revision for held in self.holds.values())

    def check(self) -> None:
        for guarantee in (1, 2):
            believing = [voter for voter in self.voters if self._believes(voter, guarantee)]
            if len(believing) >= majority(len(self.voters)):
                assert self._holding(self.told_clients) >= guarantee, f"{believing} believe too much"
        assert self.rule.degrade or not self.semi_sync.degraded, "degraded against the rule"
        assert not (self.semi_sync.degraded and self.semi_sync.in_sync), "degraded in silence"

    def _believes(self, voter: str, guarantee: int) -> bool:
        epoch, said = self.received[voter].in_term(self.terms[voter], (self.epoch, 1))
        return epoch == self.epoch and said >= guarantee


def test_nothing_is_acknowledged_early_and_no_majority_believes_too_much() -> None:
    reached = [Walk(seed).run() for seed in range(WALKS)]
    assert sum(revision > 10 for revision in reached) > WALKS / 3, "too few walks acknowledge anything"
