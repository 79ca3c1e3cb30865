"""Links under mTLS: replicas of the store's CA reach each other by name; nobody else gets in."""

from __future__ import annotations

import datetime
import ipaddress
import random
from collections.abc import Sequence
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rstore_api.listening import listening_socket
from rstore_api.proto import raft_pb2_grpc as pb_grpc
from rstore_api.tls import TlsPem
from rstore_replica.raft import Group, GrpcTransport, Member
from rstore_replica.raft.links.grpc_transport import MAX_MESSAGE_BYTES
from rstore_replica.tls_contexts import client_context, server_context
from rstore_wire.server import Server
from unit.raft.cluster import FAST, ListMachine, eventually

NAMES = ("n0", "n1")


class Authority:
    """A CA, and certificates by it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._build("ca", self.key, ca=True)

    def _build(
        self, cn: str, key: ec.EllipticCurvePrivateKey, *, ca: bool, names: Sequence[str] = ()
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            alternatives = [x509.DNSName(name) for name in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, cn: str, names: Sequence[str] = ()) -> tuple[bytes, bytes]:
        """Key and certificate, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem, self._build(cn, key, ca=False, names=names).public_bytes(serialization.Encoding.PEM)


async def test_replicas_meet_by_name_and_strangers_are_refused(tmp_path: Path) -> None:
    authority, port = Authority(), random.randint(20000, 30000)
    base = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}"
    addresses = {f"{name}.peers.test.svc": f"{base}.{i + 1}" for i, name in enumerate(NAMES)}
    asked: list[str] = []

    async def resolver(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        assert ipaddress.ip_address(addresses[host])
        return [addresses[host]]

    members = tuple(Member(name, f"{name}.peers.test.svc:{port}") for name in NAMES)
    key, certificate = authority.issue("peer", ["*.peers.test.svc"])
    pem = TlsPem(ca=authority.pem, cert=certificate, key=key)
    groups, servers, transports = [], [], []
    for i, name in enumerate(NAMES):
        transport = GrpcTransport(
            name,
            members,
            lambda: client_context(pem),
            resolver,
            group="test/tls",
        )
        group = Group(
            name=name,
            members=members,
            directory=tmp_path / name,
            machine=ListMachine(),
            transport=transport,
            config=FAST,
        )
        server = Server(max_message_bytes=MAX_MESSAGE_BYTES)
        group.add_to_server(server)
        listener = listening_socket(f"{base}.{i + 1}", port, backlog=8)
        server.add_listener(listener, lambda: server_context(pem, require_client=True))
        await server.start()
        await group.start()
        groups.append(group)
        transports.append(transport)
        servers.append(server)
    await eventually(lambda: any(group.status().leader_since is not None for group in groups), "a leader")
    leader = next(group for group in groups if group.status().leader_since is not None)
    await leader.propose(b"x", timeout_seconds=5)
    assert set(asked) == set(addresses)
    for transport, peer in zip(transports, reversed(NAMES), strict=True):
        traffic = transport.traffic()[peer]
        assert traffic.received_bytes > 0
        assert traffic.sent_bytes > 0
    assert all(len(transport.traffic()) == 1 for transport in transports)

    for who, cn, code in (
        (authority, "client", grpc.StatusCode.PERMISSION_DENIED),
        (authority, "operator", grpc.StatusCode.PERMISSION_DENIED),
        (Authority(), "peer", grpc.StatusCode.UNAVAILABLE),
    ):
        other_key, other_certificate = who.issue(cn)
        channel_credentials = grpc.ssl_channel_credentials(authority.pem, other_key, other_certificate)
        options = [("grpc.ssl_target_name_override", "n0.peers.test.svc")]
        async with grpc.aio.secure_channel(f"ipv4:{base}.1:{port}", channel_credentials, options=options) as channel:
            stub = pb_grpc.RaftStub(channel)  # type: ignore[no-untyped-call]
            assert await stub.Connect().code() is code, cn
    failures = transports[0].traffic()["n1"].sent_failures
    await groups[1].stop()
    await servers[1].stop(None)
    await eventually(lambda: transports[0].traffic()["n1"].sent_failures >= failures + 2, "dials that fail")
    await groups[0].stop()
    await servers[0].stop(None)
