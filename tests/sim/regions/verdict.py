"""What must be true once everything works again: the store is well, and nothing that was acknowledged is missing but
what quarantine holds and the receipts count (I4, I5, I8).
"""

from __future__ import annotations

from typing import Any

from rstore_api.proto import rpc_pb2 as rpc
from rstore_replica.mvcc.tail_file import read_rows
from sim import history
from sim.history import Operation, Outcome
from sim.regions.host import Host
from sim.regions.kube import Kube
from sim.regions.ledger import Ledger


def unsettled(kube: Kube, hosts: dict[str, list[Host]]) -> str:
    """What is not yet as it should be; "" when all is well."""
    status = kube.status
    if status.get("phase") != "Steady" or status.get("failover"):
        conditions = [
            f"{item['type']}={item['status']} {item['reason']} {item['message']}"
            for item in status.get("conditions", [])
            if item["type"] in ("Ready", "Degraded", "FailoverBlocked", "Progressing")
        ]
        return f"phase {status.get('phase')}, failover {status.get('failover')}: {conditions}"
    if "replicatedstore.io/failover-to" in kube.annotations:
        return f"annotations {kube.annotations} are still there"
    everybody = [host for found in hosts.values() for host in found]
    silent = [host.name for host in everybody if host.replica is None or not host.ready]
    if silent:
        return f"{', '.join(silent)} not ready"
    machines = {host.name: host.replica._machine for host in everybody if host.replica is not None}
    primary, epoch = status["primaryRegion"], status["epoch"]
    leaders = [host for host in hosts[primary] if host.leads]
    if not leaders or not machines[leaders[0].name].state.writable:
        return f"{primary} accepts no writes"
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


async def check(
    kube: Kube, hosts: dict[str, list[Host]], ledger: Ledger, operations: list[Operation], local: set[int]
) -> None:
    """After everything has settled."""
    await _check_equal(hosts, ledger)
    states, writes = ledger.states(), ledger.writes()
    problem = history.check([item for item in operations if item.number not in local], states, writes)
    if problem:
        ledger.violated(f"history: {problem}")
    for operation in operations:
        if operation.number in local and operation.outcome is Outcome.DONE:
            problem = history._check_one(operation, states, {})
            if problem:
                ledger.violated(f"history: operation {operation.number} ({operation.text}): {problem}")
    _check_losses(kube, hosts, ledger)


async def _check_equal(hosts: dict[str, list[Host]], ledger: Ledger) -> None:
    """Every replica of every region holds the same, and that is what the revisions make (I8)."""
    found: dict[str, tuple[int, int]] = {}
    state = ledger.states()
    for host in ledger.all_hosts():
        assert host.replica is not None
        machine = host.replica._machine
        hashed = await machine.hash_kv(0)
        found[host.name] = (hashed.hash_revision, hashed.hash)
        held = {item.key: item.value for item in machine.range(rpc.RangeRequest(key=b"\0", range_end=b"\0")).kvs}
        if held != state.get(machine.revision):
            ledger.violated(
                f"I8: {host.name} holds {held} at revision {machine.revision}, not {state.get(machine.revision)}"
            )
    if len(set(found.values())) > 1:
        ledger.violated(f"I8: hashes differ: {found}")


def quarantined(hosts: dict[str, list[Host]]) -> dict[int, set[str]]:
    """Revisions that are in quarantine, and in which regions."""
    found: dict[int, set[str]] = {}
    for region, replicas in hosts.items():
        for host in replicas:
            for path in sorted((host.root / "quarantine").glob("*.wal")):
                for row in read_rows(path):
                    found.setdefault(row.revision, set()).add(region)
    return found


def _check_losses(kube: Kube, hosts: dict[str, list[Host]], ledger: Ledger) -> None:
    """What is not in the present chain of epochs is in quarantine, nothing else is, and the receipts count it."""
    newest = max(host.replica._machine.revision for host in ledger.all_hosts() if host.replica is not None)
    chain = ledger.chain(newest)
    lost = set(ledger.revisions) - chain
    kept = set(quarantined(hosts))
    if lost - kept:
        acked = {item.revision for item in ledger.acks if item.changed}
        ledger.violated(
            f"I4: revisions {sorted(lost - kept)} are neither in the store nor in quarantine, "
            f"{sorted((lost - kept) & acked)} of them were acknowledged"
        )
    if kept - lost:
        ledger.violated(f"I4: revisions {sorted(kept - lost)} are in quarantine though they are not lost")
    receipts: list[dict[str, Any]] = kube.status.get("history", [])
    told = sum(receipt.get("revisionsLost", 0) for receipt in receipts)
    ledger.world.notes["receipts_wrong"] = int(told != len(lost) and len(receipts) < 10)
    ledger.world.notes["lost"] = len(lost)
