"""HTTP/1.1 on the client port, put together."""

from __future__ import annotations

import asyncio

from rstore_api.errors import ShuttingDown
from rstore_api.exposition import Exposition
from rstore_api.proto import rpc_pb2

from rstore_replica.api.auth.credentials import SYSTEM
from rstore_replica.api.http.application import ClientHttp
from rstore_replica.api.http.checks import Checks, Sources
from rstore_replica.api.http.gateway import Find, Gateway
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.api.services.kv import KvService
from rstore_replica.mvcc.machine import Machine
from rstore_replica.process.life import Life
from rstore_replica.raft.group import Group


def client_http(
    *, find: Find, kv: KvService, machine: Machine, group: Group, life: Life, name: str, exposition: Exposition
) -> ClientHttp:
    """Returns what answers HTTP/1.1 on the client port of the replica of this name; ``find`` is its server's."""

    async def read(serializable: bool, seconds: float) -> object:
        if life.stopping and not serializable:
            raise ShuttingDown
        request = rpc_pb2.RangeRequest(key=b"\0", limit=1, keys_only=True, serializable=serializable)
        deadline = asyncio.get_running_loop().time() + seconds
        return await kv.range(
            request, CallInfo(deadline=deadline, forwarded=False, client="health", credentials=SYSTEM)
        )

    sources = Sources(
        read=read,
        alarms=lambda: ("NOSPACE",) if machine.write_limits(0).no_space else (),
        has_leader=lambda: group.status().leader is not None,
        is_learner=lambda: name in group.status().learners,
    )
    return ClientHttp(checks=Checks(sources), exposition=exposition, gateway=Gateway(find))
