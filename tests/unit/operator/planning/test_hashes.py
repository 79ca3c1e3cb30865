"""Comparing the data of all replicas: when it is asked for, at which revision, and what the answers come to."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rstore_api.domain.hashes import HashAnswer, compare
from rstore_api.domain.kubernetes import FAILOVER_DRY_RUN
from rstore_operator.facts.memory import HashMemory, Memory
from rstore_operator.facts.observed import (
    FenceAnswer,
    HashQuestion,
    HashRound,
    Observed,
    Pod,
    RegionObserved,
    ReplicaStatus,
)
from rstore_operator.failover.choice import ranked
from rstore_operator.failover.scene import rules_of
from rstore_operator.planning.hashes import (
    AGAIN_SECONDS,
    MAX_REST_SECONDS,
    REST_FACTOR,
    STILL_SECONDS,
    answered,
    asking,
    due,
    look,
    question,
)
from rstore_operator.resource.commands import read_commands
from rstore_operator.resource.state import Condition, RegionHash, RegionStatus, StoreStatus
from rstore_operator.resource.state_json import status_from_json, status_to_json
from unit.operator.world import World

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REGIONS = ("us", "eu", "ap")


def replica(region: str, ordinal: int = 0, **changes: object) -> ReplicaStatus:
    """The leader (ordinal 0) or a follower of a region of epoch 3 at revision 100."""
    leads = ordinal == 0
    base = ReplicaStatus(f"{region}-{ordinal}", region, "s", leads, f"{region}-0", 1, 100, 3, 3, False, False)
    return replace(base, **changes)


def seen(*replicas: ReplicaStatus) -> Observed:
    regions = {}
    for name in REGIONS:
        own = tuple(item for item in replicas if item.region == name)
        regions[name] = RegionObserved(name, tuple(Pod(item.name, name, "10.0.0.1", True) for item in own), own)
    return Observed(regions=regions)


def status(*hashes: RegionHash | None, diverged: bool | None = None) -> StoreStatus:
    conditions = ()
    if diverged is not None:
        conditions = (Condition("Diverged", str(diverged), "HashesDiffer", "", 1, NOW),)
    found = dict(zip(REGIONS, hashes, strict=False))
    regions = tuple(RegionStatus(name, hash=found.get(name)) for name in REGIONS)
    return StoreStatus(store_id="s", epoch=3, primary_region="us", regions=regions, conditions=conditions)


# ------------------------------------------------------------------------------------------ what is asked
def test_the_revision_is_the_lowest_that_a_region_has_applied() -> None:
    found = question(seen(replica("us"), replica("eu", revision=97), replica("ap", revision=99)), status())
    assert found is not None
    assert found.revision == 97
    assert found.targets == {("us", "us-0"), ("eu", "eu-0"), ("ap", "ap-0")}


def test_followers_are_asked_too_but_neither_learners_nor_replicas_of_an_older_epoch() -> None:
    leader = replica("us", learners=("us-2",))
    found = question(seen(leader, replica("us", 1), replica("us", 2), replica("us", 3, epoch=2)), status())
    assert found is not None
    assert {name for _, name in found.targets} == {"us-0", "us-1"}


def test_a_region_that_may_still_hold_a_tail_of_its_own_is_left_out() -> None:
    found = question(seen(replica("us"), replica("eu"), replica("ap", epoch=2, revision=103)), status())
    assert found is not None
    assert found.regions == {"us", "eu"}
    assert dict(found.left_out).keys() == {"ap"}
    assert "epoch 3" in dict(found.left_out)["ap"]


def test_a_region_that_cannot_be_reached_is_left_out() -> None:
    found = question(seen(replica("us"), replica("ap")), status())
    assert found is not None
    assert (found.regions, found.left_out) == ({"us", "ap"}, (("eu", "no leader answers"),))


def test_a_region_behind_what_others_have_compacted_is_left_out() -> None:
    found = question(seen(replica("us", compact_revision=90), replica("eu"), replica("ap", revision=50)), status())
    assert found is not None
    assert (found.revision, found.regions) == (100, {"us", "eu"})
    assert "compacted up to 90" in dict(found.left_out)["ap"]


@pytest.mark.parametrize("replicas", [(), (replica("us"),), (replica("us"), replica("eu", store_id="another"))])
def test_nothing_is_asked_where_there_are_no_two_replicas_to_compare(replicas: tuple[ReplicaStatus, ...]) -> None:
    assert question(seen(*replicas), status()) is None


# ------------------------------------------------------------------------------------------ when
ALL = frozenset((name, f"{name}-0") for name in REGIONS)
EQUAL = [RegionHash(100, "0000000a")] * 3


def asked(revision: int = 100, targets: frozenset[tuple[str, str]] = ALL, epoch: int = 3) -> HashQuestion:
    return HashQuestion(epoch, revision, targets)


def after_a_round(*, took: float = 0.1, complete: bool = True, revision: int = 100) -> HashMemory:
    """A round about ALL ended at second 0."""
    begun = asking(look(HashMemory(), asked(revision), -took), asked(revision), -took)
    value = 10 if complete else None
    return answered(begun, HashRound(3, revision, tuple(HashAnswer(r, n, value) for r, n in ALL)), 0.0)


def is_due(memory: HashMemory, found: HashQuestion, now: float, store: StoreStatus | None = None) -> bool:
    store = store or status(*EQUAL, diverged=False)
    return due(look(memory, found, now), found, store, interval_seconds=60, now=now)


def test_a_fresh_operator_asks_unless_status_already_says_so() -> None:
    assert is_due(HashMemory(), asked(), 0.0, status())
    assert is_due(HashMemory(), asked(101), 0.0)
    assert not is_due(HashMemory(), asked(), 0.0)
    assert is_due(HashMemory(), asked(), 0.0, status(*EQUAL, diverged=True))


def test_an_idle_store_that_was_equal_is_left_alone() -> None:
    for now in (1.0, 61.0, 10_000.0):
        assert not is_due(after_a_round(), asked(), now)


def test_a_store_that_is_written_to_is_compared_once_in_each_interval() -> None:
    memory = after_a_round()
    for second in range(1, 60):
        memory = look(memory, asked(100 + second), float(second))
        assert not is_due(memory, asked(100 + second), float(second))
    assert is_due(memory, asked(160), 60.0)


def test_a_store_that_has_come_to_rest_is_compared_soon() -> None:
    memory = look(after_a_round(), asked(150), 10.0)
    assert not is_due(memory, asked(150), 10.0 + STILL_SECONDS - 0.1)
    assert is_due(memory, asked(150), 10.0 + STILL_SECONDS)


def test_a_change_of_primary_is_followed_by_a_comparison_at_once_even_at_the_same_revision() -> None:
    assert is_due(after_a_round(), asked(epoch=4), AGAIN_SECONDS)
    assert not is_due(after_a_round(), asked(epoch=4), AGAIN_SECONDS - 0.1)


def test_a_replica_that_was_away_is_compared_at_once_even_at_the_same_revision() -> None:
    memory = look(after_a_round(), asked(targets=ALL - {("ap", "ap-0")}), 1.0)
    assert not is_due(memory, asked(targets=ALL - {("ap", "ap-0")}), 100.0)
    assert is_due(memory, asked(), 3.0)
    assert is_due(after_a_round(), asked(targets=ALL | {("us", "us-1")}), 3.0), "a new replica"


def test_answers_that_are_missing_and_differences_are_asked_for_again_every_interval() -> None:
    assert not is_due(after_a_round(complete=False), asked(), 59.0)
    assert is_due(after_a_round(complete=False), asked(), 60.0)
    differs = status(*EQUAL, diverged=True)
    assert not is_due(after_a_round(), asked(), 59.0, differs)
    assert is_due(after_a_round(), asked(), 60.0, differs)


def test_a_store_that_takes_long_to_hash_is_hashed_seldom() -> None:
    memory = after_a_round(took=10.0)
    assert not is_due(memory, asked(500, epoch=4), REST_FACTOR * 10.0 - 1)
    assert is_due(memory, asked(500, epoch=4), REST_FACTOR * 10.0)
    assert is_due(after_a_round(took=1000.0), asked(500, epoch=4), MAX_REST_SECONDS)


def test_it_can_be_switched_off_and_waits_while_the_primary_changes() -> None:
    assert not due(HashMemory(), asked(), status(), interval_seconds=0, now=0.0)
    assert not due(HashMemory(), None, status(), interval_seconds=60, now=0.0)


# ------------------------------------------------------------------------------------------ what answers mean
def answers(**hashes: list[int | None]) -> list[HashAnswer]:
    return [
        HashAnswer(region, f"{region}-{number}", value, "" if value is not None else "it is away")
        for region, values in hashes.items()
        for number, value in enumerate(values)
    ]


def test_equal_answers() -> None:
    verdict = compare(7, answers(us=[1, 1], eu=[1]), "us")
    assert verdict is not None
    assert (verdict.equal, verdict.text) == (True, "equal at revision 7 in us, eu")


def test_the_region_that_differs_from_most_is_named_also_when_it_is_the_primary() -> None:
    verdict = compare(7, answers(us=[2], eu=[1], ap=[1]), "us")
    assert verdict is not None
    assert verdict.differing == {"us"}
    assert verdict.text == "hashes differ at revision 7: us (00000002) against eu, ap (00000001)"


def test_where_it_is_even_the_primary_counts() -> None:
    verdict = compare(7, answers(eu=[2], us=[1]), "us")
    assert verdict is not None
    assert verdict.differing == {"eu"}


def test_a_single_replica_that_differs_is_named() -> None:
    verdict = compare(7, answers(us=[1, 3, 1], eu=[1]), "us")
    assert verdict is not None
    assert verdict.differing == {"us"}
    assert verdict.hashes == {"us": 1, "eu": 1}
    assert verdict.text == "hashes differ at revision 7: us-1 (00000003) against us, eu (00000001)"


def test_one_answer_says_nothing() -> None:
    assert compare(7, answers(us=[1], eu=[None]), "us") is None


# ------------------------------------------------------------------------------------------ in the planner
RUNNING = World()
RUNNING.settle()


class Compared(World):
    """A world whose operator also compared hashes."""

    def reported(self, revision: int, epoch: int = 1, **hashes: int | None) -> None:
        given = {region.replace("_", "-"): [value] for region, value in hashes.items()}
        latest = HashRound(epoch, revision, tuple(answers(**given)))
        self.memory = replace(self.memory, hashes=HashMemory(latest=latest))
        self.step()
        self.step()

    def condition(self) -> tuple[str, str] | None:
        found = [item for item in self.status["conditions"] if item["type"] == "Diverged"]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def differing(self) -> list[str]:
        return [region["name"] for region in self.status["regions"] if region.get("hash", {}).get("differs")]


@pytest.fixture
def world() -> Compared:
    world = copy.deepcopy(RUNNING)
    world.__class__ = Compared
    return world  # type: ignore[return-value]


def test_nothing_is_claimed_before_anything_was_compared(world: Compared) -> None:
    world.step()
    assert world.condition() is None


def test_equal_hashes_are_recorded_once(world: Compared) -> None:
    world.reported(5, us_east=1, eu_west=1, ap_south=1)
    assert world.condition() == ("False", "HashesEqual")
    assert [region["hash"]["value"] for region in world.status["regions"]] == ["00000001"] * 3
    before = world.version
    world.reported(5, us_east=1, eu_west=1, ap_south=1)
    assert world.version == before, "an idle store is not written to"
    assert status_to_json(status_from_json(world.status)) == world.status


def test_a_difference_is_a_condition_and_one_warning_and_nothing_is_done_about_it(world: Compared) -> None:
    world.reported(5, us_east=1, eu_west=1, ap_south=2)
    assert world.condition() == ("True", "HashesDiffer")
    assert world.differing() == ["ap-south"]
    reported = [message for reason, message in world.events if reason == "Diverged"]
    assert reported == ["hashes differ at revision 5: ap-south (00000002) against us-east, eu-west (00000001)"]
    done = world.actions_done
    world.reported(9, us_east=3, eu_west=3, ap_south=4)
    assert len([1 for reason, _ in world.events if reason == "Diverged"]) == 1, "the same region: no news"
    assert world.actions_done == done


def test_a_region_that_differed_and_is_away_still_differs(world: Compared) -> None:
    world.reported(5, us_east=1, eu_west=1, ap_south=2)
    world.reported(6, us_east=1, eu_west=1, ap_south=None)
    assert world.condition() == ("True", "HashesDiffer")
    assert world.differing() == ["ap-south"]
    world.reported(7, us_east=1, eu_west=1, ap_south=1)
    assert world.condition() == ("False", "HashesEqual")
    assert world.events[-1][0] == "HashesEqual"


def test_answers_from_before_a_change_of_primary_do_not_count(world: Compared) -> None:
    world.reported(5, epoch=2, us_east=1, eu_west=1, ap_south=2)
    assert world.condition() is None


def test_a_replica_that_did_not_answer_is_named(world: Compared) -> None:
    world.reported(5, us_east=1, eu_west=1, ap_south=None)
    message = next(item["message"] for item in world.status["conditions"] if item["type"] == "Diverged")
    assert message == "equal at revision 5 in us-east, eu-west; not compared: ap-south-0 (it is away)"


def test_a_dry_run_warns_of_a_region_that_differs(world: Compared) -> None:
    world.reported(5, us_east=1, eu_west=1, ap_south=2)
    world.annotations[FAILOVER_DRY_RUN] = "ap-south"
    world.settle()
    assert "beware: at revision 5 ap-south held other data" in world.events[-1][1]
    world.annotations[FAILOVER_DRY_RUN] = "eu-west"
    world.settle()
    assert "beware" not in world.events[-1][1]


def test_of_regions_that_hold_equally_much_one_that_differs_comes_last_and_more_data_still_wins() -> None:
    differing = tuple(RegionStatus(name, hash=RegionHash(5, "f", differs=True)) for name in ("ap", "gone"))
    status = StoreStatus(regions=differing)
    rules = rules_of(None, read_commands({}), Observed(), Memory(), 1, ("eu", "ap"), status)

    def winner(**revisions: int) -> str:
        positions = [FenceAnswer(name, 2, 1, revision, 0.0) for name, revision in revisions.items()]
        return ranked(positions, rules.priorities)[0].region

    assert winner(ap=7, eu=7) == "eu"
    assert winner(ap=8, eu=7) == "ap"
