"""What clients were promised of their leases, and that none is ended before that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rstore_api import methods
from rstore_api.proto.rstore_pb2 import WriteRequest
from sim.world import World

if TYPE_CHECKING:
    from sim.regions.host import Host


class LeaseLedger:
    """Of the whole store, by the one true clock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._until: dict[int, float] = {}
        self.granted = 0
        self.renewed = 0
        self.ended = 0

    def on_answer(self, host: Host, path: str, request: Any, response: Any) -> None:
        """A replica has answered a call. What it handed on counts from when the leader has answered that."""
        assert host.replica is not None
        if not host.replica.leases.leads:
            return
        now = self._world.trace.time()
        if path == methods.LEASE_GRANT.path:
            self.granted += 1
            self._until[response.ID] = now + response.TTL
        elif path == methods.RENEW_LEASES.path:
            for lease, seconds in zip(request.ids, response.seconds, strict=True):
                self.renewed += seconds > 0
                if seconds:
                    self._until[lease] = max(self._until.get(lease, 0.0), now + seconds)

    def watch(self, host: Host) -> None:
        """Holds what the replica does against what was promised, from now on."""
        assert host.replica is not None
        keeper = host.replica.leases
        submit = keeper.submit

        async def watched(request: WriteRequest, deadline: float, role: tuple[int, int]) -> object:
            lease, now = request.lease_revoke.ID, self._world.trace.time()
            until = self._until.get(lease, 0.0)
            answer = await submit(request, deadline, role)
            if request.HasField("lease_revoke"):
                self.ended += 1
                if now < until:
                    self._world.violated(f"lease {lease} is ended by {host.name}, {until - now:.3f} s early")
            return answer

        keeper.submit = watched
