"""What must be true once everything works again: the store is well, and nothing that was acknowledged is missing but
what quarantine holds and the receipts count (I4, I5, I8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rstore_replica.mvcc.tails.file import read_rows
from sim import history
from sim.history import Operation, Outcome
from sim.regions.fleet import Fleet
from sim.regions.kube import Kube
from sim.regions.ledger import Ledger, all_of
from sim.regions.sites import STORE

if TYPE_CHECKING:
    from sim.regions.operators import OperatorHost


def unsettled(kube: Kube, fleet: Fleet) -> str:
    """What is not yet as it should be; "" when all is well."""
    status = kube.status
    if status.get("observedGeneration") != kube.store["metadata"]["generation"]:
        return "the operator has not seen the newest spec"
    if status.get("phase") != "Steady" or status.get("failover"):
        conditions = [
            f"{item['type']}={item['status']} {item['reason']} {item['message']}"
            for item in status.get("conditions", [])
            if item["type"] in ("Ready", "Degraded", "FailoverBlocked", "Progressing")
        ]
        return f"phase {status.get('phase')}, failover {status.get('failover')}: {conditions}"
    if "replicatedstore.io/failover-to" in kube.annotations:
        return f"annotations {kube.annotations} are still there"
    wanted = {f"{region['name']}-{number}" for region in kube.spec["regions"] for number in range(region["replicas"])}
    everybody = fleet.wanted()
    if {host.name.removeprefix(f"{STORE}-") for host in everybody} != wanted or not kube.runs.settled:
        return f"there are {', '.join(host.name for host in everybody)}, and not {', '.join(sorted(wanted))}"
    outside = [host.name for host in everybody if host.voters != {other.name for other in fleet.region(host.region)}]
    if outside:
        return f"{', '.join(outside)} are not in one group with all of their region"
    silent = [host.name for host in everybody if host.replica is None or not host.ready]
    if silent:
        return f"{', '.join(silent)} not ready"
    machines = {host.name: host.replica.machine for host in everybody if host.replica is not None}
    primary, epoch = status["primaryRegion"], status["epoch"]
    leaders = [host for host in fleet.region(primary) if host.leads]
    if not leaders or leaders[0].replica is None or not machines[leaders[0].name].state.writable:
        return f"{primary} accepts no writes"
    if not leaders[0].replica.replication.tenure.held(epoch):
        return f"{primary} does not hold the tenure of epoch {epoch}"
    newest = machines[leaders[0].name].revision
    for host in everybody:
        machine = machines[host.name]
        state = machine.state
        if (state.epoch, machine.revision, state.primary) != (epoch, newest, host.region == primary):
            return (
                f"{host.name} is at revision {machine.revision} of epoch {state.epoch}, "
                f"{primary} at {newest} of {epoch}"
            )
    return ""


def check_choice(intent: dict[str, Any], operator: OperatorHost, kube: Kube, violated: Callable[[str], None]) -> None:
    """Whoever takes over unplanned has most of all that were fenced, unless somebody accepted that it has not, and
    asked for it or took the one that has more out of the store; a primary that is cut off from the other regions does
    not count.
    """
    if intent.get("step") != "Promoting" or intent.get("mode") == "Planned":
        return
    assert operator.reconciler is not None
    answers = [item for item in operator.reconciler.memory.fences.values() if item.epoch == intent["epoch"]]
    chosen = next((item for item in answers if item.region == intent["to"]), None)
    able = [item for item in answers if not intent.get("cutOff") or item.region != intent["from"]]
    best = max(able, key=lambda item: (item.data_epoch, item.revision), default=chosen)
    if chosen is None or best is None:
        violated(f"{operator.name} promotes {intent['to']} in epoch {intent['epoch']}, fenced by {answers}")
    elif (chosen.data_epoch, chosen.revision) < (best.data_epoch, best.revision):
        accepted = kube.annotations.get("replicatedstore.io/accept-data-loss") is not None
        stays = best.region in {region["name"] for region in kube.spec["regions"]}
        if not accepted or (stays and intent.get("mode") != "Forced"):
            violated(f"I4: {operator.name} promotes {chosen}, though {best} has more")


async def check(kube: Kube, ledger: Ledger, operations: list[Operation], local: set[int]) -> None:
    """After everything has settled."""
    await _check_equal(ledger)
    states, writes = ledger.states(), ledger.writes()
    problem = history.check([item for item in operations if item.number not in local], states, writes)
    if problem:
        ledger.violated(f"history: {problem}")
    for operation in operations:
        if operation.number in local and operation.outcome is Outcome.DONE:
            problem = history.check_one(operation, states, {})
            if problem:
                ledger.violated(f"history: operation {operation.number} ({operation.text}): {problem}")
    _check_losses(kube, ledger)


async def _check_equal(ledger: Ledger) -> None:
    """Every replica of every region holds the same, and that is what the revisions make (I8)."""
    found: dict[str, tuple[int, int]] = {}
    state = ledger.states()
    for host in ledger.fleet.wanted():
        assert host.replica is not None
        machine = host.replica.machine
        hashed = await machine.hash_kv(0)
        found[host.name] = (hashed.hash_revision, hashed.hash)
        held = all_of(machine)
        if held != state.get(machine.revision):
            ledger.violated(
                f"I8: {host.name} holds {held} at revision {machine.revision}, not {state.get(machine.revision)}"
            )
    if len(set(found.values())) > 1:
        ledger.violated(f"I8: hashes differ: {found}")


def quarantined(fleet: Fleet) -> set[int]:
    """Revisions that are in quarantine on some machine."""
    return {
        row.revision
        for host in fleet.all_hosts()
        for path in sorted((host.root / "quarantine").glob("*.wal"))
        for row in read_rows(path)
    }


def _taken_away(ledger: Ledger) -> set[int]:
    """Revisions that a region had which was taken out of the store: they may have gone with it."""
    left = ledger.fleet.left
    return {revision for revision, regions in ledger.held_by.items() if regions & left} if left else set()


def check_semi_sync(ledger: Ledger, accepted: set[int]) -> None:
    """Nothing that was acknowledged is lost, but in failovers of these epochs, where somebody accepted that."""
    final = ledger.chain(newest_revision(ledger))
    for item in ledger.acks:
        if item.changed and item.revision not in final:
            by = min(
                epoch
                for epoch, start in ledger.starts.items()
                if epoch > item.epoch and item.revision not in ledger.chain(start.parent_revision)
            )
            if by not in accepted:
                ledger.violated(
                    f"I1: revision {item.revision} of epoch {item.epoch} was acknowledged, and lost by {by}"
                )
                return


def newest_revision(ledger: Ledger) -> int:
    """That any replica holds."""
    return max(host.replica.machine.revision for host in ledger.fleet.all_hosts() if host.replica is not None)


def _check_losses(kube: Kube, ledger: Ledger) -> None:
    """What is not in the present chain of epochs is in quarantine, nothing else is, and the receipts count it."""
    lost = set(ledger.revisions) - ledger.chain(newest_revision(ledger))
    kept = quarantined(ledger.fleet)
    missing = lost - kept - ledger.compacted - _taken_away(ledger)
    acked = {item.revision for item in ledger.acks if item.changed}
    if missing:
        ledger.violated(
            f"I4: revisions {sorted(missing)} are neither in the store nor in quarantine, "
            f"{sorted(missing & acked)} of them were acknowledged"
        )
    needless = kept - lost - _ever_left_out(ledger)
    if needless:
        ledger.violated(f"I4: revisions {sorted(needless)} are in quarantine though they were never lost")
    ledger.world.notes["lost"] = len(lost)
    ledger.world.notes["lost_acknowledged"] = len(lost & acked)
    problem = miscounted(kube, ledger)
    if problem:
        ledger.violated(problem)


def _ever_left_out(ledger: Ledger) -> set[int]:
    """What some epoch began without. It may have come back since, with a region that did not know that epoch."""
    left_out: set[int] = set()
    for epoch, start in ledger.starts.items():
        if start.parent_revision:
            before = {found for found, item in ledger.revisions.items() if item.epoch < epoch}
            left_out |= before - ledger.chain(start.parent_revision)
    return left_out


def miscounted(kube: Kube, ledger: Ledger) -> str:
    """What a receipt says wrongly about what was lost; "" when none does.

    A revision is counted by the failover that first left it out. One that came back, because the region that has it
    took over later, may be counted as well, or not: when the receipt was written, it was not to be had; and once more
    if it was left out again. What a failover left out whose receipt is lost, a later receipt may count. All receipts
    together count at least what is lost in the end.
    """
    final = ledger.chain(newest_revision(ledger))
    receipts = {receipt["epoch"]: receipt for receipt in kube.status.get("history", [])}
    reported = {
        epoch: receipt.get("revisionsLost", 0) + receipt.get("revisionsUnacknowledged", 0)
        for epoch, receipt in receipts.items()
    }
    acknowledged = {item.revision for item in ledger.acks if item.changed}
    unseen = set(ledger.revisions)
    uncounted = ledger.compacted | _taken_away(ledger)
    before: set[int] = set()
    uncharged: set[int] = set()
    counted = 0
    for epoch, start in sorted(ledger.starts.items()):
        if start.parent_revision:
            kept = ledger.chain(start.parent_revision)
            left_out = {found for found in unseen - kept if ledger.revisions[found].epoch < epoch}
            unseen -= left_out
            later = [found.parent_revision for number, found in ledger.starts.items() if number > epoch]
            back = final.union(*(ledger.chain(revision) for revision in later if revision))
            lost, most = left_out - back, left_out | (before - kept) | uncharged
            says = reported.get(epoch, len(lost))
            if not len(lost - uncounted) <= says <= len(most):
                return f"I4: the failover of epoch {epoch} lost {sorted(lost)}, its receipt says {says}"
            counted += reported.get(epoch, len(most))
            uncharged |= set() if epoch in reported else left_out
            receipt = receipts.get(epoch, {})
            if receipt.get("acknowledgedKept") and (receipt["revisionsLost"] or left_out & acknowledged):
                return f"I4: epoch {epoch} left out {sorted(left_out & acknowledged)}, its receipt is {receipt}"
        written = [found for found, item in ledger.revisions.items() if item.epoch == epoch]
        before = ledger.chain(max(written, default=start.first_revision - 1))
    gone = set(ledger.revisions) - final - uncounted
    if counted < len(gone):
        return f"I4: {sorted(gone)} are lost in the end, all receipts together count {counted}"
    return ""
