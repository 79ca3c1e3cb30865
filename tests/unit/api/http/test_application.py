"""What /health, /livez, /readyz, /version and /metrics answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest
from rstore_api.domain.etcd_version import CLUSTER_VERSION, SERVER_VERSION
from rstore_api.errors import NoPrimary
from rstore_api.exposition import CONTENT_TYPE, Exposition
from rstore_replica.api.http.application import ClientHttp
from rstore_replica.api.http.checks import Checks, Sources
from rstore_replica.api.http.gateway import Gateway
from rstore_wire.exchange import Exchange, Reply, RequestHead
from rstore_wire.service import Refusal

CORRUPT = "alarm activated: CORRUPT"


@dataclass
class Replica:
    """The state that the checks ask about."""

    alarms: tuple[str, ...] = ()
    """Its own."""
    others_alarms: tuple[str, ...] = ()
    has_leader: bool = True
    is_learner: bool = False
    failing: set[bool] = field(default_factory=set)
    """Kinds of reads that fail: True for serializable ones."""
    reads: int = 0

    async def read(self, serializable: bool, _seconds: float) -> None:
        self.reads += 1
        await asyncio.sleep(0)
        if serializable in self.failing:
            raise NoPrimary

    def checks(self) -> Checks:
        return Checks(
            Sources(self.read, self.all_alarms, lambda: self.alarms, lambda: self.has_leader, lambda: self.is_learner)
        )

    async def all_alarms(self) -> tuple[str, ...]:
        return (*self.alarms, *self.others_alarms)


class Metrics:
    def take_reading(self) -> None: ...

    def render(self) -> bytes:
        return b"etcd_server_has_leader 1\n"


@dataclass
class Asked:
    """An exchange, as far as the application needs one."""

    head: RequestHead
    reply: Any = None

    def respond(self, reply: Reply) -> None:
        self.reply = reply


def nothing_found(_path: str, _caller: Any) -> tuple[Any, Refusal | None]:
    return None, (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", ())


async def ask(replica: Replica, target: str, method: str = "GET") -> Reply:
    exchange = Asked(RequestHead(method, target, ()))
    application = ClientHttp(checks=replica.checks(), exposition=Exposition(Metrics()), gateway=Gateway(nothing_found))
    await application.answer(cast(Exchange, exchange))
    return cast(Reply, exchange.reply)


@pytest.mark.parametrize(
    ("replica", "target", "reason"),
    [
        (Replica(), "/health", ""),
        (Replica(alarms=("NOSPACE",)), "/health", "ALARM NOSPACE"),
        (Replica(alarms=("NOSPACE",)), "/health?exclude=NOSPACE", ""),
        (Replica(alarms=("NOSPACE", "CORRUPT")), "/health?exclude=NOSPACE", "ALARM CORRUPT"),
        (Replica(alarms=("NOSPACE", "CORRUPT")), "/health?exclude=NOSPACE&exclude=CORRUPT", ""),
        (Replica(others_alarms=("NOSPACE",)), "/health", "ALARM NOSPACE"),
        (Replica(others_alarms=("NOSPACE",)), "/health?exclude=NOSPACE", ""),
        (Replica(others_alarms=("NOSPACE",)), "/health?serializable=true", ""),
        (Replica(alarms=("NOSPACE",)), "/health?serializable=true", "ALARM NOSPACE"),
        (Replica(has_leader=False), "/health", "RAFT NO LEADER"),
        (Replica(has_leader=False), "/health?serializable=true", ""),
        (Replica(failing={False}), "/health", f"RANGE ERROR:{NoPrimary()}"),
        (Replica(failing={False}), "/health?serializable=true", ""),
        (Replica(failing={True}), "/health?serializable=true", f"RANGE ERROR:{NoPrimary()}"),
    ],
)
async def test_health(replica: Replica, target: str, reason: str) -> None:
    reply = await ask(replica, target)
    assert reply.status == (503 if reason else 200)
    assert json.loads(reply.body) == {"health": "false" if reason else "true", "reason": reason}


@pytest.mark.parametrize(
    ("replica", "target", "status", "body"),
    [
        (Replica(failing={False}), "/livez", 200, "ok\n"),
        (Replica(), "/livez?verbose", 200, "[+]serializable_read ok\nok\n"),
        (Replica(failing={True}), "/livez", 503, f"[-]serializable_read failed: {NoPrimary()}\n\n"),
        (Replica(), "/readyz", 200, "ok\n"),
        (
            Replica(),
            "/readyz?verbose",
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n",
        ),
        (Replica(is_learner=True), "/readyz/non_learner", 503, "[-]non_learner failed: not supported for learner\n\n"),
        (Replica(is_learner=True), "/readyz?exclude=non_learner", 200, "ok\n"),
        (
            Replica(alarms=("CORRUPT",)),
            "/readyz/data_corruption",
            503,
            "[-]data_corruption failed: alarm activated: CORRUPT\n\n",
        ),
        (Replica(failing={False}), "/readyz/serializable_read", 200, "ok\n"),
        (Replica(failing={False}), "/readyz/linearizable_read", 503, f"[-]linearizable_read failed: {NoPrimary()}\n\n"),
        (Replica(), "/livez/linearizable_read", 404, "404 page not found\n"),
    ],
)
async def test_checks(replica: Replica, target: str, status: int, body: str) -> None:
    reply = await ask(replica, target)
    assert (reply.status, reply.body.decode()) == (status, body)


async def test_version_and_metrics() -> None:
    reply = await ask(Replica(), "/version")
    assert json.loads(reply.body) == {"etcdserver": SERVER_VERSION, "etcdcluster": CLUSTER_VERSION}
    reply = await ask(Replica(), "/metrics")
    assert (reply.body, reply.content_type) == (b"etcd_server_has_leader 1\n", CONTENT_TYPE)


@pytest.mark.parametrize("path", ["/health", "/version", "/livez", "/readyz/non_learner"])
async def test_only_get_is_answered(path: str) -> None:
    reply = await ask(Replica(), path, "POST")
    assert (reply.status, reply.body, ("allow", "GET") in reply.headers) == (405, b"Method Not Allowed\n", True)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/version/", "/healthz", "/readyz/"])
async def test_unknown_paths(path: str) -> None:
    reply = await ask(Replica(), path)
    assert (reply.status, reply.body) == (404, b"404 page not found\n")


async def test_however_many_ask_one_read_of_a_kind_is_under_way() -> None:
    replica = Replica()
    checks = replica.checks()
    await asyncio.gather(*(checks.health(excluded_alarms=(), serializable=False) for _ in range(50)))
    assert replica.reads == 1
    await checks.health(excluded_alarms=(), serializable=False)
    assert replica.reads == 2
    await checks.health(excluded_alarms=(), serializable=True)
    assert replica.reads == 3


async def test_one_that_stops_asking_does_not_end_the_reads_of_others() -> None:
    checks = Replica(failing={False}).checks()
    first = asyncio.create_task(checks.health(excluded_alarms=(), serializable=False))
    second = asyncio.create_task(checks.health(excluded_alarms=(), serializable=False))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).startswith("RANGE ERROR")
