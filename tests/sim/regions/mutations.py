"""Mistakes one could make in tenures, failover and rejoin, each put in for a run: the simulator must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from rstore_api.domain.topology import Topology
from rstore_operator import reconcile
from rstore_operator.facts import absent
from rstore_operator.failover import choice, planned, unplanned
from rstore_operator.failover.rules import faults
from rstore_operator.planner import electorate
from rstore_operator.planning.scaling import effective
from rstore_replica.api.batcher import Batcher
from rstore_replica.api.leases.deadlines import Deadlines
from rstore_replica.mvcc.data.store import Store
from rstore_replica.mvcc.tails import steps
from rstore_replica.mvcc.watch.hub import Hub
from rstore_replica.process.live_data import LiveData
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.replication.ending import graceful_end
from rstore_replica.replication.ending.rules import Decision, Step
from rstore_replica.replication.semi_sync import EVERYTHING, SemiSync
from rstore_replica.replication.showing import Showing
from rstore_replica.replication.tenure.rules import Granter, TenureHolder
from sim.fault_rows import only_faults
from sim.mutations import _replaced, trust_the_page_cache, trust_what_was_written


def grant_to_two_epochs(_original: Any) -> Any:
    """A voter grants whatever it is asked for, also when it has promised a higher epoch."""

    def may_grant(self: Granter, epoch: int, region: str, promised_epoch: int) -> bool:
        return True

    return may_grant


def skip_the_wait(_original: Any) -> Any:
    """Fenced is taken for clear: what a voter has granted before may still run."""

    def clear(scene: Any, intent: Any) -> frozenset[str]:
        return unplanned.fenced(scene, intent)

    return clear


def promote_the_second_best(original: Any) -> Any:
    """Where there are several regions to choose from, the second takes over."""

    def ranked(*given: Any) -> Any:
        order = original(*given)
        return [order[1], order[0], *order[2:]] if len(order) > 1 else order

    return ranked


def acknowledge_without_tenure(original: Any) -> Any:
    """Writes are acknowledged without a look at the tenure."""

    def init(self: Batcher, **options: Any) -> None:
        original(self, **{name: value for name, value in options.items() if name not in ("tenure_held", "settle")})

    return init


def begin_with_leases_at_their_end(original: Any) -> Any:
    """A new leader, or a new primary, does not give a lease the time that its client was promised."""

    def add(self: Deadlines, lease: int, seconds: int, now: float, **_left: Any) -> None:
        original(self, lease, seconds, now, remaining_seconds=1)

    return add


def acknowledge_without_other_regions(_original: Any) -> Any:
    """Writes in SemiSync do not wait for any other region."""

    def allowed(_self: SemiSync, _promised: int) -> int:
        return EVERYTHING

    return allowed


def keep_the_tail(_original: Any) -> Any:
    """A region that comes back says that it has left its tail, and has not."""

    def undo(*_given: Any) -> bool:
        return True

    return undo


def end_at_once(_original: Any) -> Any:
    """A leader that is asked to stop takes it for granted that others have what it has."""

    def decide(*_given: Any, **_more: Any) -> Decision:
        return Decision(Step.GO, "at once", safe=True, last=True)

    return decide


def forget_the_promise(original: Any) -> Any:
    """A promise is kept in memory only."""

    def save_region(self: Store, transaction: Any, state: Any) -> None:
        original(self, transaction, msgspec.structs.replace(state, promised_epoch=state.epoch))

    return save_region


def leave_it_unfinished(_original: Any) -> Any:
    """A failover whose record is lost is nobody's business."""

    def unfinished(*_given: Any, **_more: Any) -> str:
        return ""

    return unfinished


def forget_what_is_there(_original: Any) -> Any:
    """A region that left the spec is taken to be gone, whatever is left of it."""

    def is_absent(*_given: Any) -> bool:
        return True

    return is_absent


def end_pods_first(original: Any) -> Any:
    """A region has as many pods as it is to have at once, whoever still counts in its group."""

    def plan_scaling(stateful_set: str, wanted: int, running: int, region: Any, **options: Any) -> Any:
        return replace(original(stateful_set, wanted, running, region, **options), pods=wanted)

    return plan_scaling


def outlive_the_voters(_original: Any) -> Any:
    """What the voters before a change have granted runs on, whoever they were."""

    def change_voters(self: TenureHolder, voters: frozenset[str]) -> None:
        self._voters, self._rounds = voters, {}

    return change_voters


def wait_for_the_target(original: Any) -> Any:
    """A switchover waits for its target until the timeout, whether that makes progress or not."""

    def too_long(intent: Any, patience: Any, now: Any) -> str:
        result: str = original(intent, replace(patience, standstill_seconds=0.0), now)
        return result

    return too_long


def forget_the_voters(_original: Any) -> Any:
    """Voters count no more as soon as the primary has another topology, granted or not."""

    def granted_version(topology: Topology, _tenure: object) -> int:
        return topology.version

    return granted_version


def overwrite_what_others_hold(_original: Any) -> Any:
    """A primary that has lost data goes on where its volumes end."""

    def missing_revision(self: TenureHolder, revision: int) -> int:
        return 0

    return missing_revision


def write_what_the_schema_does_not_know(original: Any) -> Any:
    """A field of the status is not in the definition."""

    def status_to_json(status: Any) -> Any:
        return {**original(status), "favourite": "tea"}

    return status_to_json


def watch_on_after_a_rewind(_original: Any) -> Any:
    """Watches go on where the revisions that they were shown have been undone. (Each of the two looks does alone.)"""

    def go_on(_self: Hub, *_facts: Any) -> None:
        pass

    return go_on


def watch_what_is_not_confirmed(_original: Any) -> Any:
    """Watches of the primary show in SemiSync what is applied."""

    def revision(self: Showing) -> int:
        return self._machine.revision

    return revision


Replacement = tuple[Any, str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Mutation:
    """What is put in the place of what, within how many seeds it must be caught, and by which kinds of faults."""

    within_seeds: int
    replacements: tuple[Replacement, ...]
    faults: tuple[str, ...] = ()
    """All, where none is named."""


REGION_MUTATIONS: dict[str, Mutation] = {
    "grant-to-two-epochs": Mutation(
        10, ((Granter, "may_grant", grant_to_two_epochs),), ("force_while_unseen", "return_during_failover")
    ),
    "skip-the-wait": Mutation(20, ((unplanned, "clear", skip_the_wait),), ("force_while_unseen",)),
    "promote-the-second-best": Mutation(
        10,
        ((unplanned, "ranked", promote_the_second_best), (choice, "ranked", promote_the_second_best)),
        ("lose_primary_with_a_tail",),
    ),
    "acknowledge-without-tenure": Mutation(
        10,
        ((Batcher, "__init__", acknowledge_without_tenure),),
        ("return_during_failover", "cut_primary_from_regions"),
    ),
    "acknowledge-without-other-regions": Mutation(
        10, ((SemiSync, "allowed", acknowledge_without_other_regions),), ("cut_regions", "lose_replica")
    ),
    "keep-the-tail": Mutation(20, ((steps, "undo", keep_the_tail),), ("lose_primary_with_a_tail",)),
    "end-at-once": Mutation(10, ((graceful_end, "decide", end_at_once),), ("end_primary",)),
    "forget-the-promise": Mutation(
        10, ((Store, "save_region", forget_the_promise),), ("return_during_failover", "force_while_unseen")
    ),
    "leave-it-unfinished": Mutation(10, ((faults, "unfinished", leave_it_unfinished),), ("lose_status_amid_failover",)),
    "forget-what-is-there": Mutation(10, ((absent, "_is_absent", forget_what_is_there),), ("forget_too_early",)),
    "end-pods-first": Mutation(30, ((effective, "plan_scaling", end_pods_first),), ("scale_region", "lose_replica")),
    # Each alone is hidden by the other here; tests/unit/operator/planner/test_change_of_voters.py tells them apart.
    "outlive-the-voters": Mutation(
        4,
        ((TenureHolder, "change_voters", outlive_the_voters), (electorate, "_granted_version", forget_the_voters)),
        ("change_voters_amid_cut",),
    ),
    "wait-for-the-target": Mutation(10, ((planned, "_too_long", wait_for_the_target),), ("freeze_target",)),
    "watch-on-after-a-rewind": Mutation(
        10,
        ((Hub, "_leave_tail", watch_on_after_a_rewind), (Hub, "_end_left_out", watch_on_after_a_rewind)),
        ("lose_primary_with_a_tail",),
    ),
    "watch-what-is-not-confirmed": Mutation(
        20, ((Showing, "revision", watch_what_is_not_confirmed),), ("cut_regions",)
    ),
    "begin-with-leases-at-their-end": Mutation(
        10, ((Deadlines, "add", begin_with_leases_at_their_end),), ("lose_primary_with_a_tail", "end_primary")
    ),
    "trust-the-page-cache": Mutation(10, ((Journal, "_recover", trust_the_page_cache),), ("sync_fails",)),
    "trust-what-was-written": Mutation(
        40, ((LiveData, "_problem", trust_what_was_written),), ("write_back_fails", "lose_replica")
    ),
    "overwrite-what-others-hold": Mutation(
        5, ((TenureHolder, "missing_revision", overwrite_what_others_hold),), ("rolled_back_at_once",)
    ),
    "write-what-the-schema-does-not-know": Mutation(
        1, ((reconcile, "status_to_json", write_what_the_schema_does_not_know),)
    ),
}
"""By name."""


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The code has this mistake meanwhile."""
    with ExitStack() as stack:
        if REGION_MUTATIONS[name].faults:
            stack.enter_context(only_faults(REGION_MUTATIONS[name].faults))
        for owner, attribute, make in REGION_MUTATIONS[name].replacements:
            stack.enter_context(_replaced(owner, attribute, make))
        yield
