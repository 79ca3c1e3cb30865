"""The standard gRPC health service on the client port, following the replica's readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # not in the stubs

INTERVAL_SECONDS = 0.25
SERVICES = ("", "etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Maintenance", "etcdserverpb.Cluster")


class HealthReporter:
    """Sets every service SERVING while the replica is ready, else NOT_SERVING."""

    def __init__(self, not_ready_reason: Callable[[], str]) -> None:
        self._not_ready_reason = not_ready_reason
        self._servicer = health_aio.HealthServicer()
        self._shown: bool | None = None

    def add_to_server(self, server: object) -> None:
        """Registers the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def run(self) -> None:
        """Follows readiness, for ever."""
        while True:
            await self.update()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def update(self) -> None:
        """Shows readiness as it is now; watchers are notified when it has changed."""
        ready = not self._not_ready_reason()
        if ready == self._shown:
            return
        self._shown = ready
        kind = health_pb2.HealthCheckResponse
        for service in SERVICES:
            await self._servicer.set(service, kind.SERVING if ready else kind.NOT_SERVING)
