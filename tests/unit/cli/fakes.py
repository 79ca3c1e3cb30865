"""Stand-ins for the Kubernetes API and a replica, as far as the commands use them."""

from __future__ import annotations

import asyncio
import copy
import datetime
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rstore_api.domain.kubernetes import SEEN_KINDS
from rstore_api.errors import AuthFailed, AuthNotEnabled, FutureRevision, LeaseNotFound, StoreError, UserEmpty
from rstore_api.proto import rpc_pb2, rpc_pb2_grpc, rstore_pb2_grpc
from rstore_cli.cluster import Pod
from rstore_cli.errors import CliError, NotFoundError

Object = dict[str, Any]


def store_object(**status: Any) -> Object:
    """A store of three regions whose primary is us-east, Steady unless ``status`` says otherwise."""
    return {
        "metadata": {"name": "orders", "namespace": "default", "uid": "u1", "annotations": {}},
        "spec": {"regions": [{"name": "us-east"}, {"name": "eu-west"}, {"name": "ap-south"}]},
        "status": {
            "phase": "Steady",
            "primaryRegion": "us-east",
            "epoch": 1,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "all regions are ready"}],
            "regions": [
                {
                    "name": "us-east",
                    "role": "Primary",
                    "phase": "Ready",
                    "replicas": 3,
                    "readyReplicas": 3,
                    "revision": 9,
                },
                {
                    "name": "eu-west",
                    "role": "Secondary",
                    "phase": "Ready",
                    "replicas": 3,
                    "readyReplicas": 2,
                    "revision": 8,
                    "ackedRevision": 8,
                    "lagSeconds": 0.004,
                    "lagBytes": 2048,
                    "connected": True,
                    "leader": "orders-eu-west-1",
                },
            ],
            **status,
        },
    }


@dataclass
class FakeCluster:
    """Answers as :class:`rstore_cli.cluster.Cluster` does. ``on_annotate`` plays the operator."""

    objects: Object = field(default_factory=store_object)
    secrets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    replicas: list[Pod] = field(default_factory=list)
    other_pods: list[str] = field(default_factory=list)
    requested: Object = field(default_factory=dict)
    base_statuses: list[Object] = field(default_factory=lambda: [{}])
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)
    recorded: list[Object] = field(default_factory=list)
    script: list[Callable[[FakeCluster], None]] = field(default_factory=list)
    annotations: dict[str, str | None] = field(default_factory=dict)
    closed: int = 0
    leases: list[Object | Exception] = field(default_factory=list)
    """What each look at the operator's Lease shows; the last one stays."""
    made: dict[str, list[Object]] = field(default_factory=dict)
    """The objects of the store, by kind."""
    logs: dict[str, str] = field(default_factory=dict)
    """The log of each pod; of "pod/previous" for the container before."""

    async def lease(self, namespace: str, name: str) -> Object:
        assert (namespace, name) == ("rstore-system", "rstore")
        shown = self.leases.pop(0) if len(self.leases) > 1 else self.leases[0]
        if isinstance(shown, Exception):
            raise shown
        return shown

    async def store(self, name: str) -> Object:
        if name != "orders":
            raise NotFoundError(f'replicatedstore "{name}" was not found')
        if self.annotations and self.script:
            self.script.pop(0)(self)
        return copy.deepcopy(self.objects)

    async def annotate(self, name: str, annotations: Mapping[str, str | None]) -> Object:
        self.annotations.update(annotations)
        for key, value in annotations.items():
            self.objects["metadata"]["annotations"][key] = value
        return await self.store(name) if not self.script else copy.deepcopy(self.objects)

    async def events(self, name: str, uid: str) -> list[Object]:
        return copy.deepcopy(self.recorded)

    async def secret(self, name: str) -> dict[str, bytes]:
        if name not in self.secrets:
            raise NotFoundError(f'secret "{name}" was not found')
        return self.secrets[name]

    async def pods(self, store: str, region: str | None = None) -> list[Pod]:
        found = [pod for pod in self.replicas if region in (None, pod.region)]
        return sorted(found, key=lambda pod: (not pod.ready, pod.name))

    async def request_base(self, store: str, retain: bool) -> Object:
        self.requested = {"metadata": {"name": f"{store}-x7k2p"}, "spec": {"store": store, "retain": retain}}
        return copy.deepcopy(self.requested)

    async def requested_base(self, name: str) -> Object:
        assert self.requested["metadata"]["name"] == name
        status = self.base_statuses.pop(0) if len(self.base_statuses) > 1 else self.base_statuses[0]
        return {**copy.deepcopy(self.requested), "status": status}

    async def pod_names(self, store: str, region: str | None = None) -> list[str]:
        others = [] if region is not None else self.other_pods
        return sorted([*(pod.name for pod in await self.pods(store, region)), *others])

    def kinds_of_a_store(self) -> tuple[str, ...]:
        return tuple(SEEN_KINDS)

    async def objects_of(self, store: str, kind: str) -> list[Object]:
        return copy.deepcopy(self.made.get(kind, []))

    async def operator_pods(self) -> list[Object]:
        return copy.deepcopy(self.made.get("operator", []))

    async def log_text(self, pod: str, tail: int, *, namespace: str = "", previous: bool = False) -> str:
        key = f"{pod}/previous" if previous else pod
        if key not in self.logs:
            raise CliError(f'the log of pod "{pod}": there is none')
        return "".join(self.logs[key].splitlines(keepends=True)[-tail:])

    async def log_lines(self, pod: str, *, tail: int, previous: bool, follow: bool) -> AsyncIterator[str]:
        for line in (await self.log_text(pod, tail, previous=previous)).splitlines():
            yield line

    async def open_port(self, pod: str, port: int) -> FakePort:
        if pod not in self.addresses:
            raise CliError(f'port {port} of pod "{pod}": connection refused')
        return await FakePort.open(self.addresses[pod])

    async def close(self) -> None:
        self.closed += 1


@dataclass
class FakePort:
    """A pod's port that is on this machine: see :class:`rstore_kube.pod_port.PodPort`."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    error: str = ""

    @classmethod
    async def open(cls, address: tuple[str, int], error: str = "") -> FakePort:
        return cls(*await asyncio.open_connection(*address), error)

    async def read(self) -> bytes:
        return await self.reader.read(65_536)

    async def write(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()


def event(name: str, kind: str, message: str, reason: str = "Something") -> Object:
    return {
        "metadata": {"name": name},
        "type": kind,
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-01-01T00:00:0{name[-1]}Z",
        "count": 1,
    }


class Authority:
    """A CA and certificates of it, made for one test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self._certificate = self._sign(name, name, self._key, ca=True)
        self.ca = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, common_name: str) -> tuple[bytes, bytes]:
        """(certificate, key), PEM, for localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._sign(subject, self._certificate.subject, key, ca=False)
        return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def secret(self) -> dict[str, bytes]:
        """The contents of a client Secret."""
        certificate, key = self.issue("client")
        return {"ca.crt": self.ca, "tls.crt": certificate, "tls.key": key}

    def _sign(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def refuse(context: grpc.ServicerContext, error: StoreError) -> NoReturn:
    """Ends a call with this error."""
    context.set_trailing_metadata(error.trailing_metadata())
    context.abort(error.status, error.message)
    raise AssertionError("abort raises")


class FakeReplica(
    rpc_pb2_grpc.KVServicer,
    rpc_pb2_grpc.MaintenanceServicer,
    rpc_pb2_grpc.WatchServicer,
    rpc_pb2_grpc.LeaseServicer,
    rpc_pb2_grpc.AuthServicer,
    grpc.ServerInterceptor,
):
    """Keys in a dictionary, one revision per put; ``hash`` and ``revision`` can be set. Auth is on while there are
    ``passwords``, by user; a user's token is its name.
    """

    def __init__(self) -> None:
        self.keys: dict[bytes, tuple[bytes, int]] = {}
        self.revision = 1
        self.hash = 0xABCD
        self.failure: StoreError | None = None
        self.leases: dict[int, list[bytes]] = {}
        """Keys by lease."""
        self.watched: list[rpc_pb2.WatchCreateRequest] = []
        self.shown: list[rpc_pb2.WatchResponse] = []
        """What each watch is sent, after it was created."""
        self.passwords: dict[str, str] = {}
        self.users: list[str] = []
        """Those that authenticated."""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if not self.passwords or dict(details.invocation_metadata).get("token") in self.passwords:
            return handler
        if handler is None or handler.response_streaming or details.method.endswith("/Authenticate"):
            return handler
        return grpc.unary_unary_rpc_method_handler(lambda _request, context: refuse(context, UserEmpty()))

    def Authenticate(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.AuthenticateResponse:
        if not self.passwords:
            refuse(context, AuthNotEnabled())
        if self.passwords.get(request.name) != request.password:
            refuse(context, AuthFailed())
        self.users.append(request.name)
        return rpc_pb2.AuthenticateResponse(token=request.name)

    def Watch(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[rpc_pb2.WatchResponse]:
        self.watched.append(next(requests).create_request)
        if self.passwords and dict(context.invocation_metadata()).get("token") not in self.passwords:
            yield rpc_pb2.WatchResponse(canceled=True, cancel_reason=UserEmpty.text)
            return
        header = rpc_pb2.ResponseHeader(revision=self.revision)
        yield rpc_pb2.WatchResponse(header=header, created=True)
        yield from self.shown
        for _ in requests:
            pass  # until the client leaves

    def Range(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.RangeResponse:
        response = rpc_pb2.RangeResponse()
        response.header.revision = self.revision
        for key, (value, revision) in sorted(self.keys.items()):
            inside = key == request.key if not request.range_end else request.key <= key < request.range_end
            if inside:
                response.kvs.add(key=key, value=value, mod_revision=revision, create_revision=revision, version=1)
        response.count = len(response.kvs)
        return response

    def Put(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.PutResponse:
        if self.failure is not None:
            refuse(context, self.failure)
        self.revision += 1
        self.keys[request.key] = (request.value, self.revision)
        response = rpc_pb2.PutResponse()
        response.header.revision = self.revision
        return response

    def DeleteRange(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.DeleteRangeResponse:
        gone = [
            key
            for key in self.keys
            if key == request.key or (request.range_end and request.key <= key < request.range_end)
        ]
        for key in gone:
            del self.keys[key]
        self.revision += bool(gone)
        response = rpc_pb2.DeleteRangeResponse(deleted=len(gone))
        response.header.revision = self.revision
        return response

    def LeaseLeases(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.LeaseLeasesResponse:
        return rpc_pb2.LeaseLeasesResponse(leases=[rpc_pb2.LeaseStatus(ID=lease) for lease in self.leases])

    def LeaseTimeToLive(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.LeaseTimeToLiveResponse:
        if request.ID not in self.leases:
            return rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1)
        return rpc_pb2.LeaseTimeToLiveResponse(ID=request.ID, TTL=7, grantedTTL=60, keys=self.leases[request.ID])

    def LeaseRevoke(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.LeaseRevokeResponse:
        if self.leases.pop(request.ID, None) is None:
            refuse(context, LeaseNotFound())
        self.revision += 1
        return rpc_pb2.LeaseRevokeResponse(header=rpc_pb2.ResponseHeader(revision=self.revision))

    def HashKV(self, request: Any, context: grpc.ServicerContext) -> rpc_pb2.HashKVResponse:
        if request.revision > self.revision:
            refuse(context, FutureRevision())
        return rpc_pb2.HashKVResponse(hash=self.hash, hash_revision=request.revision)


@contextmanager
def serve(replica: FakeReplica, authority: Authority) -> Iterator[tuple[str, int]]:
    """Serve a replica on a free loopback port with mutual TLS; yields its address."""
    certificate, key = authority.issue("peer")
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), interceptors=[replica])
    rpc_pb2_grpc.add_KVServicer_to_server(replica, server)
    rpc_pb2_grpc.add_MaintenanceServicer_to_server(replica, server)
    rpc_pb2_grpc.add_WatchServicer_to_server(replica, server)
    rpc_pb2_grpc.add_LeaseServicer_to_server(replica, server)
    rpc_pb2_grpc.add_AuthServicer_to_server(replica, server)
    if isinstance(replica, rstore_pb2_grpc.QuarantineServicer):
        rstore_pb2_grpc.add_QuarantineServicer_to_server(replica, server)
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority.ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield "127.0.0.1", port
    finally:
        server.stop(grace=0).wait()
