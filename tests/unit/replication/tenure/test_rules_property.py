"""Never two epochs hold a tenure at one moment: arbitrary delays, losses, drifting clocks, new leaders, fences, and
voters that change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rstore_api.domain.voters import WITNESS, majority, voters
from rstore_replica.replication.tenure.rules import Granter, TenureHolder, bound_to_agree_on

TENURES = (3.0, 1.0)
"""What replicas may be configured to: it is lowered and raised while the store runs."""


@dataclass
class Voter:
    """One voter region through its leaders. ``rate`` is its clock's; a new leader has a granter that knows nothing, and
    perhaps another tenure; ``bound`` is what the region has agreed on."""

    rate: float
    promised: int = 1
    term: int = 1
    leader_since: float = -1000.0
    tenure: float = TENURES[0]
    bound: float = 0.0
    granter: Granter = field(default_factory=lambda: Granter(TENURES[0]))

    def agree(self, now: float) -> None:
        """As the leader does before it grants."""
        bound_ms = bound_to_agree_on(round(self.bound * 1000), round(self.tenure * 1000), now - self.leader_since)
        if bound_ms is not None:
            self.bound = bound_ms / 1000


@dataclass
class Question:
    """A question on its way: sent, received by a leader, confirmed by its barrier, answered."""

    holder: int
    epoch: int
    round: int
    voter: str
    received_at: float | None = None
    granter: Granter | None = None
    term: int = 0
    confirmed_promise: int | None = None
    bound: float = 0.0
    answer: float | None = None


class TenureWorld(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.questions: list[Question] = []

    @initialize(count=st.sampled_from([2, 3, 4, 5]), rates=st.lists(st.floats(0.995, 1.005), min_size=12, max_size=12))
    def begin(self, count: int, rates: list[float]) -> None:
        self.regions = [f"r{index}" for index in range(count)]
        self.board = voters(self.regions)
        self.names = sorted({*self.regions, WITNESS})
        self.voters = {name: Voter(rate) for name, rate in zip(self.names, rates, strict=False)}
        self.operator_rate = rates[-1]
        self.holders: list[tuple[TenureHolder, float, str]] = []  # with the rate of its clock and its region
        self.highest = 0
        self.fencing: int | None = None
        self.fenced: set[str] = set()
        self.wait_until = 0.0
        self.new_holder(0, 1)

    def new_holder(self, region: int, epoch: int) -> None:
        name = self.regions[region % len(self.regions)]
        holder = TenureHolder()
        holder.begin(epoch, self.board, 1)
        self.holders.append((holder, self.voters[name].rate, name))
        self.highest = max(self.highest, epoch)

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 1.0, 2.0, 2.69, 2.71, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 5))
    def ask(self, which: int) -> None:
        holder, rate, _ = self.holders[-1 - which % len(self.holders)]
        number = holder.start_round(self.now * rate)
        at = self.holders.index((holder, rate, _))
        self.questions += [Question(at, holder.epoch, number, name) for name in sorted(holder.voters)]

    @rule(which=st.integers(0, 39))
    def move(self, which: int) -> None:
        if self.questions:
            self.step(self.questions[which % len(self.questions)])

    @rule(which=st.integers(0, 5))
    def quick_round(self, which: int) -> None:
        before = len(self.questions)
        self.ask(which)
        for question in self.questions[before:]:
            for _ in range(4):
                self.step(question)

    def step(self, question: Question) -> None:
        voter = self.voters[question.voter]
        local = self.now * voter.rate
        if question.received_at is None:
            question.received_at, question.granter, question.term = local, voter.granter, voter.term
        elif question.confirmed_promise is None:
            # The barrier: only who leads is confirmed; it sees at least what was promised by then.
            if voter.term == question.term:
                voter.agree(local)
                question.confirmed_promise, question.bound = voter.promised, voter.bound
            else:
                self.questions.remove(question)
        elif question.answer is None:
            assert question.granter is not None
            promised = voter.promised if voter.term == question.term else question.confirmed_promise
            question.answer = question.granter.grant(
                question.epoch,
                self.holders[question.holder][2],
                promised_epoch=promised,
                received_at=question.received_at,
                asked_seconds=TENURES[0],
                bound_seconds=question.bound,
            )
        else:
            if question.answer:
                self.holders[question.holder][0].granted(
                    question.epoch, question.round, question.voter, question.answer
                )
            self.questions.remove(question)

    @rule(granting=st.sets(st.integers(0, 5)))
    def round_of_some(self, granting: set[int]) -> None:
        before = len(self.questions)
        self.ask(0)
        names = {self.names[index % len(self.names)] for index in granting}
        for question in self.questions[before:]:
            for _ in range(4 if question.voter in names else 0):
                self.step(question)

    @rule(regions=st.sets(st.integers(0, 4), min_size=1))
    def change_voters(self, regions: set[int]) -> None:
        """The newest primary applies another topology; whoever fences knows of it at once, and of no other."""
        holder, _, region = self.holders[-1]
        names = {region, *(self.regions[index % len(self.regions)] for index in regions)}
        if len(names) > 1:
            self.board = voters(names)
            holder.change_voters(self.board)

    @rule(granting=st.sets(st.integers(0, 5), min_size=2), regions=st.sets(st.integers(0, 4), min_size=1))
    def fail_over_amid_a_change(self, granting: set[int], regions: set[int]) -> None:
        """The failover asks those first that did not grant the last round before the change."""
        self.round_of_some(granting)
        self.change_voters(regions)
        if self.fencing is None:
            self.begin_failover()
        granters = {self.names[index % len(self.names)] for index in granting}
        for name in sorted(self.board, key=lambda name: (name in granters, name))[: majority(len(self.board))]:
            self.fence(self.names.index(name), answer_lost=False)
        self.now = max(self.now, self.wait_until / self.operator_rate + 1e-6)
        self.promote(min(regions))

    @rule(which=st.integers(0, 5), tenure=st.sampled_from(TENURES))
    def another_leader(self, which: int, tenure: float) -> None:
        name = self.names[which % len(self.names)]
        if name != WITNESS:
            voter = self.voters[name]
            voter.term += 1
            voter.leader_since = self.now * voter.rate
            voter.tenure, voter.granter = tenure, Granter(tenure)

    @precondition(lambda self: self.fencing is None)
    @rule()
    def begin_failover(self) -> None:
        self.fencing, self.fenced, self.wait_until = self.highest + 1, set(), 0.0

    @precondition(lambda self: self.fencing is not None)
    @rule(which=st.integers(0, 5), answer_lost=st.booleans())
    def fence(self, which: int, answer_lost: bool) -> None:
        assert self.fencing is not None
        name = self.names[which % len(self.names)]
        voter = self.voters[name]
        voter.promised = max(voter.promised, self.fencing)
        remaining = voter.granter.remaining(self.now * voter.rate, voter.leader_since, voter.bound)
        if not answer_lost:
            self.fenced.add(name)
            self.wait_until = max(self.wait_until, self.now * self.operator_rate + remaining)

    @precondition(lambda self: self.fencing is not None)
    @rule(elections=st.sets(st.integers(0, 5)), tenure=st.sampled_from(TENURES))
    def fence_all_and_wait(self, elections: set[int], tenure: float) -> None:
        for index in elections:
            self.another_leader(index, tenure)
        for index in range(len(self.names)):
            self.fence(index, answer_lost=False)
        self.now = max(self.now, self.wait_until / self.operator_rate + 1e-6)
        self.promote(0)

    @precondition(lambda self: self.fencing is not None)
    @rule(region=st.integers(0, 4))
    def promote(self, region: int) -> None:
        assert self.fencing is not None
        if len(self.fenced & self.board) < majority(len(self.board)) or self.now * self.operator_rate < self.wait_until:
            return
        self.new_holder(region, self.fencing)
        self.fencing = None

    @invariant()
    def one_epoch_at_most(self) -> None:
        if hasattr(self, "holders"):
            holding = {holder.epoch for holder, rate, _ in self.holders if holder.held(holder.epoch, self.now * rate)}
            assert len(holding) <= 1, f"epochs {holding} hold the tenure at {self.now}"


TenureWorld.TestCase.settings = settings(max_examples=120, stateful_step_count=60)
TestNeverTwoHolders = TenureWorld.TestCase
