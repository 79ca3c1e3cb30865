"""A real etcd and a store of one replica, spoken to in the same way: the raw protocol, requests of the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from etcd.etcd_process import is_installed, running_member
from google.protobuf.message import Message
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, bootstrap
from rstore_api import methods
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto import rpc_pb2 as rpc
from rstore_api.tls import TlsFiles

T = TypeVar("T")

_METHODS: dict[type[Message], Method[Any, Any]] = {
    each.request: each
    for each in (
        methods.RANGE,
        methods.PUT,
        methods.DELETE_RANGE,
        methods.TXN,
        methods.COMPACT,
        methods.LEASE_GRANT,
        methods.LEASE_REVOKE,
        methods.LEASE_TIME_TO_LIVE,
        methods.LEASE_LEASES,
    )
}
START_SECONDS = 90.0
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What became of a call: its answer, or code and text of its failure."""

    message: Any = None
    code: str = "OK"
    text: str = ""


@dataclass
class Server:
    """One of the two."""

    name: str
    channel: grpc.Channel
    address: str
    files: TlsFiles | None = None

    def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> Answer:
        """Makes a call; its answer comes without what must differ: ids and terms."""
        invoke = self.channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            return Answer(plain(invoke(request, timeout=ANSWER_SECONDS)))
        except grpc.RpcError as error:
            return Answer(code=error.code().name, text=error.details() or "")

    def ask(self, request: Message) -> Answer:
        """Makes the call of KV, or about leases, that takes the request."""
        return self.call(_METHODS[type(request)], request)

    def renew(self, leases: Iterable[int]) -> list[Any]:
        """Renews leases, with one stream; returns the answers, in order."""
        method = methods.LEASE_KEEP_ALIVE
        invoke = self.channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        requests = iter([rpc.LeaseKeepAliveRequest(ID=lease) for lease in leases])
        return [plain(answer) for answer in invoke(requests, timeout=ANSWER_SECONDS)]

    def put(self, key: bytes, value: bytes = b"v") -> int:
        """Puts a key; returns its revision."""
        return self._revision(self.call(methods.PUT, rpc.PutRequest(key=key, value=value)))

    def delete(self, key: bytes, range_end: bytes = b"") -> int:
        """Deletes keys; returns the revision."""
        return self._revision(self.call(methods.DELETE_RANGE, rpc.DeleteRangeRequest(key=key, range_end=range_end)))

    def put_all(self, *keys: bytes, value: bytes = b"v") -> int:
        """Puts keys in one revision, which is returned."""
        operations = [rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value)) for key in keys]
        return self._revision(self.call(methods.TXN, rpc.TxnRequest(success=operations)))

    def compact(self, revision: int) -> None:
        """Compacts."""
        answer = self.call(methods.COMPACT, rpc.CompactionRequest(revision=revision, physical=True))
        assert answer.code == "OK", answer

    @property
    def revision(self) -> int:
        """The newest."""
        return self._revision(self.call(methods.RANGE, rpc.RangeRequest(key=b"\0")))

    @staticmethod
    def _revision(answer: Answer) -> int:
        assert answer.code == "OK", answer
        return int(answer.message.header.revision)


def plain(message: Any) -> Any:
    """Takes out of an answer what two servers cannot have in common."""
    message.header.cluster_id = message.header.member_id = message.header.raft_term = 0
    return message


@contextmanager
def running_etcd(directory: Path, *flags: str, programs: Path | None = None) -> Iterator[Server]:
    """An etcd of one member, without TLS, on an address of its own."""
    with running_member(directory, *flags, programs=programs) as address, grpc.insecure_channel(address) as channel:
        yield _ready(Server("etcd", channel, f"http://{address}"))


@contextmanager
def running_pair(directory: Path, programs: Path | None = None) -> Iterator[tuple[Server, Server]]:
    """A fresh etcd and a fresh store: what is asked of both in the same order has the same revisions in both.

    Skips the test where no etcd is installed.
    """
    if not is_installed():
        pytest.skip("etcd is not installed in this environment")
    with (
        running_etcd(_made(directory / "etcd"), programs=programs) as etcd,
        running_store(_made(directory / "store")) as ours,
    ):
        yield etcd, ours


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


@contextmanager
def running_store(directory: Path, *, secondaries: Iterable[str] = (), **settings: Any) -> Iterator[Server]:
    """A store of one replica in each region, with these settings in its configuration; yields the last region's."""
    authority = Authority.make()
    regions = [
        RegionProcesses(directory, authority, region=name, replicas=1, **settings) for name in ("us-east", *secondaries)
    ]
    try:
        for region in regions:
            region.start()
        asyncio.run(_bootstrapped(regions))
        files, address = regions[-1].client_files, regions[-1].replicas[0].client_address
        with grpc.secure_channel(
            address, files.channel_credentials(), options=[("grpc.ssl_target_name_override", "localhost")]
        ) as channel:
            yield _ready(Server("ours", channel, f"https://{address}", files))
    finally:
        for region in regions:
            region.stop()


async def _bootstrapped(regions: list[RegionProcesses]) -> None:
    for region in regions:
        await region.leader(timeout_seconds=START_SECONDS)
    await bootstrap(*regions)


def _ready(server: Server) -> Server:
    deadline = time.monotonic() + START_SECONDS
    while server.call(methods.RANGE, rpc.RangeRequest(key=b"x")).code != "OK":
        assert time.monotonic() < deadline, f"{server.name} does not answer"
        time.sleep(0.05)
    return server
