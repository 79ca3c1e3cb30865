"""HTTP/1.1 on the client port, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from rstore_api.errors import ShuttingDown
from rstore_api.exposition import Exposition
from rstore_api.proto import rpc_pb2

from rstore_replica.api.auth.credentials import SYSTEM
from rstore_replica.api.http.application import ClientHttp
from rstore_replica.api.http.checks import Checks, Sources
from rstore_replica.api.http.gateway import Find, Gateway
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.kv import KvService
from rstore_replica.api.services.maintenance import MaintenanceService
from rstore_replica.process.life import Life
from rstore_replica.raft.group import Group


def client_http(
    *,
    find: Find,
    kv: KvService,
    maintenance: MaintenanceService,
    group: Group,
    life: Life,
    name: str,
    exposition: Exposition,
) -> ClientHttp:
    """Returns what answers HTTP/1.1 on the client port of the replica of this name; ``find`` is its server's."""

    async def read(serializable: bool, seconds: float) -> object:
        if life.stopping and not serializable:
            raise ShuttingDown
        request = rpc_pb2.RangeRequest(key=b"\0", limit=1, keys_only=True, serializable=serializable)
        return await kv.range(request, _call(seconds))

    async def alarms() -> Sequence[str]:
        return _names(await maintenance.alarms())

    sources = Sources(
        read=read,
        alarms=alarms,
        own_alarms=lambda: _names(maintenance.own_alarms()),
        has_leader=lambda: group.status().leader is not None,
        is_learner=lambda: name in group.status().learners,
    )
    return ClientHttp(checks=Checks(sources), exposition=exposition, gateway=Gateway(find))


def _call(seconds: float) -> CallInfo:
    deadline = asyncio.get_running_loop().time() + seconds
    return CallInfo(deadline=deadline, forwarded=False, client="health", credentials=SYSTEM)


def _names(alarms: Iterable[rpc_pb2.AlarmMember]) -> Sequence[str]:
    return [rpc_pb2.AlarmType.Name(alarm.alarm) for alarm in alarms]
