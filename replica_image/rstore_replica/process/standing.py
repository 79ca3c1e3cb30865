"""Whether a replica is ready and alive, as its probes, its services and its metrics report it."""

from __future__ import annotations

from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.life import Life
from rstore_replica.process.readiness import not_ready_reason
from rstore_replica.raft.group import Group


class Standing:
    """Whether the replica is ready, and alive."""

    def __init__(self, life: Life, machine: Machine, group: Group) -> None:
        self._life = life
        self._machine = machine
        self._group = group

    def not_ready_reason(self) -> str:
        """Returns why the replica is not ready, in words for people; "" when it is."""
        if not self._life.running:
            return "the replica is stopping" if self._life.stopping else "the replica is starting"
        if self._life.failed.done():
            return "the replica has failed"
        return not_ready_reason(
            self._machine.state,
            self._group.status(),
            stopping=self._life.stopping,
            receives_snapshot=self._machine.staged is not None,
        )

    def not_alive_reason(self) -> str:
        """Returns why the process is to be started again; "" when it is not."""
        return "the replica has failed" if self._life.failed.done() else ""
