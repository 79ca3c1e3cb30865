"""Links between replicas over gRPC on the peer port: both sides dial, names are resolved at each dial.

A pair of replicas has up to two links, one dialled by each; either carries both directions, so one that can be dialled
is enough. Identity: the server's certificate is checked against the name dialled, a caller's against the CN ``peer``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import grpc
from rstore_api.dialling.channels import Address, Resolve, system_resolve
from rstore_api.proto import raft_pb2 as pb
from rstore_wire.call import Call
from rstore_wire.client import CallFailed, ClientCall, open_stream

from rstore_replica.etcd_metrics import PeerTraffic
from rstore_replica.raft.links.link import Link
from rstore_replica.raft.links.transport import OnLink, OnMessage
from rstore_replica.raft.types import Member

logger = logging.getLogger(__name__)

PEER_COMMON_NAME = "peer"
MAX_MESSAGE_BYTES = 32 << 20
"""A frame that holds the largest entry, and what comes with it, fits."""
MAX_LINKED_REPLICAS = 32
SILENCE_SECONDS = 5.0
DIAL_SECONDS = 3.0
RETRY_MIN_SECONDS = 0.1
RETRY_MAX_SECONDS = 1.0

Credentials = Callable[[], ssl.SSLContext]

CONNECT = "/rstore.v1.Raft/Connect"

Frame = tuple[pb.RaftFrame, int]
"""And the bytes that it has."""
NO_FRAME = (None, 0)


class GrpcTransport:
    """See :class:`.transport.Transport`."""

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        credentials: Credentials | None = None,
        resolver: Resolve = system_resolve,
        *,
        group: str = "",
    ) -> None:
        """``credentials`` is called at each dial; None means plaintext, and then no caller's name is checked (tests).

        ``group`` names store and region: a replica of another group is refused. ``members`` are those to dial until
        :meth:`update_members` says otherwise.
        """
        self._name = name
        self._peers = {member.name: member for member in members if member.name != name}
        self._removed: frozenset[str] = frozenset()
        self._credentials = credentials
        self._resolver = resolver
        self._session = secrets.randbits(63) | 1
        self._hello = pb.RaftHello(group=group, name=name, session=self._session)
        self._links: dict[str, list[Link]] = {}
        self._traffic: dict[str, PeerTraffic] = {}
        self._sessions: dict[str, int] = {}
        self._on_message: OnMessage | None = None
        self._on_link: OnLink | None = None
        self._dialers: dict[str, asyncio.Task[None]] = {}
        self._refusals: dict[str, str] = {}

    @property
    def refusal(self) -> str:
        """See :class:`.transport.Transport`."""
        return next(iter(self._refusals.values()), "")

    def add_to_server(self, server: Any) -> None:
        """Registers the Raft service with a :class:`rstore_wire.server.Server` that takes MAX_MESSAGE_BYTES."""
        handler = grpc.stream_stream_rpc_method_handler(self.connect, _frame_of, bytes)
        service, name = CONNECT.strip("/").split("/")
        server.add_registered_method_handlers(service, {name: handler})

    async def start(self, on_message: OnMessage, on_link: OnLink) -> None:
        """See :class:`.transport.Transport`."""
        self._on_message, self._on_link = on_message, on_link
        self._keep_dialling()

    async def stop(self) -> None:
        """See :class:`.transport.Transport`."""
        self._on_message = self._on_link = None
        dialers = list(self._dialers.values())
        for dialer in dialers:
            dialer.cancel()
        await asyncio.gather(*dialers, return_exceptions=True)
        self._dialers = {}
        for links in self._links.values():
            for link in links:
                link.close()

    def update_members(self, members: tuple[Member, ...], removed: frozenset[str]) -> None:
        """See :class:`.transport.Transport`."""
        self._peers = {member.name: member for member in members if member.name != self._name}
        self._removed = removed
        for peer in [peer for peer in self._refusals if peer not in self._peers]:
            del self._refusals[peer]
        for peer in [peer for peer in self._dialers if peer not in self._peers]:
            self._dialers.pop(peer).cancel()
        for peer in removed & self._links.keys():
            for link in list(self._links[peer]):
                link.close()
        self._forget_traffic()
        if self._on_message is not None:
            self._keep_dialling()

    def _keep_dialling(self) -> None:
        for peer in self._peers.keys() - self._dialers.keys():
            self._dialers[peer] = asyncio.create_task(self._dial_for_ever(peer))

    def round_trips(self) -> dict[str, float]:
        """Returns how long a round trip to each peer that is linked takes now, in seconds, where that is known."""
        taken = {peer: links[0].outlet.round_trip_seconds for peer, links in self._links.items() if links}
        return {peer: seconds for peer, seconds in taken.items() if seconds is not None}

    def traffic(self) -> dict[str, PeerTraffic]:
        """Returns what went to and from each peer."""
        return dict(self._traffic)

    def _traffic_of(self, peer: str) -> PeerTraffic:
        return self._traffic.setdefault(peer, PeerTraffic())

    def _forget_traffic(self) -> None:
        """Of replicas that are neither members nor linked."""
        for peer in [peer for peer in self._traffic if peer not in self._peers and not self._links.get(peer)]:
            del self._traffic[peer]

    def send(self, peer: str, envelope: pb.RaftEnvelope) -> bool:
        """See :class:`.transport.Transport`."""
        links = self._links.get(peer)
        if links:
            link = links[0]
            envelope.from_session = self._session
            envelope.to_session = link.session
            if link.put(envelope):
                return True
        self._traffic_of(peer).sent_failures += 1
        return False

    # ------------------------------------------------------------------ accepting

    async def connect(self, requests: AsyncIterator[Frame], context: Call) -> None:
        """A peer has dialled. Refuses a caller that is no replica of this group."""
        if self._credentials is not None:
            names = context.auth_context().get("x509_common_name", [])
            if PEER_COMMON_NAME.encode() not in names:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, "rstore: only replicas may call this")
        if self._on_message is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "rstore: the replica is not running")
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                first, _ = await anext(requests, NO_FRAME)
        except TimeoutError:
            first = None
        refusal = self._refusal(first)
        if first is None or refusal:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"rstore: {refusal}")
        link = Link(first.hello.name, dialled=False, outlet=context, traffic=self._traffic_of(first.hello.name))
        link.on_close = partial(context.cancel, grpc.StatusCode.UNAVAILABLE, "rstore: the link was closed")
        link.open(self._hello)
        await self._read(link, first.hello, requests)

    def _refusal(self, frame: pb.RaftFrame | None) -> str:
        if frame is None or not frame.HasField("hello"):
            return "the first frame must say hello"
        hello = frame.hello
        if hello.group != self._hello.group:
            return f"this is {self._hello.group!r}, not {hello.group!r}"
        if hello.name in self._removed:
            return f"{hello.name!r} has been removed from this group"
        if hello.name == self._name or (hello.name not in self._links and len(self._links) >= MAX_LINKED_REPLICAS):
            return f"{hello.name!r} is not a member of this group"
        return "" if hello.session else "a session is required"

    # ------------------------------------------------------------------ dialling

    async def _dial_for_ever(self, peer: str) -> None:
        delay = RETRY_MIN_SECONDS
        while self._on_message is not None:
            started = asyncio.get_running_loop().time()
            try:
                await self._dial(self._peers[peer])
            except CallFailed as error:
                self._note_refusal(peer, error)
            except Exception as error:
                logger.debug("raft_link_failed peer=%s error=%s", peer, error)
            if not self._links.get(peer):
                self._traffic_of(peer).sent_failures += 1
            if asyncio.get_running_loop().time() - started > 2 * SILENCE_SECONDS:
                delay = RETRY_MIN_SECONDS
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, RETRY_MAX_SECONDS)

    def _note_refusal(self, peer: str, error: CallFailed) -> None:
        logger.debug("raft_link_failed peer=%s error=%s", peer, error)
        if error.code is grpc.StatusCode.FAILED_PRECONDITION:
            self._refusals[peer] = f"{peer}: {error.details.removeprefix('rstore: ')}"

    async def _dial(self, member: Member) -> None:
        """One link from dial to break."""
        host, _, port = member.address.rpartition(":")
        async with asyncio.timeout(DIAL_SECONDS):
            addresses = await self._resolver(host, int(port))
            call = await open_stream(
                addresses[0],
                int(port),
                CONNECT,
                context=None if self._credentials is None else self._credentials(),
                server_name=Address(host, int(port)).server_name,
                max_message_bytes=MAX_MESSAGE_BYTES,
            )
        link = Link(member.name, dialled=True, outlet=call, traffic=self._traffic_of(member.name))
        link.on_close = call.close
        try:
            link.open(self._hello)
            responses = _frames(call)
            async with asyncio.timeout(DIAL_SECONDS):
                first, _ = await anext(responses, NO_FRAME)
            refusal = self._refusal(first)
            if first is None or refusal or first.hello.name != member.name:
                raise OSError(f"{member.name} at {addresses[0]}:{port}: {refusal or 'answers by another name'}")
            await self._read(link, first.hello, responses)
        finally:
            link.close()
            self._drop(link)

    # ------------------------------------------------------------------ both

    async def _read(self, link: Link, hello: pb.RaftHello, frames: AsyncIterator[Frame]) -> None:
        """Takes what comes until the link breaks or is silent for too long."""
        loop = asyncio.get_running_loop()
        link.session = hello.session
        link.last_received = loop.time()
        watchdog = asyncio.create_task(self._watch(link))
        self._admit(link)
        try:
            async for frame, size_bytes in frames:
                link.last_received = loop.time()
                link.traffic.received_bytes += size_bytes
                for envelope in frame.envelopes:
                    if self._on_message is None or link.closed:
                        return
                    if envelope.from_session == link.session and envelope.to_session == self._session:
                        self._on_message(link.peer, envelope)
        except CallFailed as error:
            logger.debug("raft_link_broken peer=%s error=%s", link.peer, error)
        finally:
            watchdog.cancel()
            link.close()
            self._drop(link)

    async def _watch(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        while (silent := loop.time() - link.last_received) < SILENCE_SECONDS:  # noqa: ASYNC110
            await asyncio.sleep(SILENCE_SECONDS - silent)
        logger.warning("raft_link_silent peer=%s seconds=%.1f", link.peer, silent)
        link.close()

    def _admit(self, link: Link) -> None:
        """Registers a link that is up. A hello of a new session means that the peer's former process has ended."""
        links = self._links.setdefault(link.peer, [])
        self._refusals.pop(link.peer, None)
        for older in [other for other in links if other.session != link.session]:
            older.close()
            links.remove(older)
        was_connected = bool(links)
        new_session = self._sessions.get(link.peer) != link.session
        self._sessions[link.peer] = link.session
        # One fixed order on both ends, so that a pair of replicas does not send on one link and reorder on the other.
        links.append(link)
        links.sort(key=lambda item: item.dialled != (self._name < item.peer))
        if self._on_link is not None and (new_session or not was_connected):
            self._on_link(link.peer, True, new_session)

    def _drop(self, link: Link) -> None:
        links = self._links.get(link.peer, [])
        if link not in links:
            return
        was_first = links[0] is link
        links.remove(link)
        self._forget_traffic()
        if self._on_link is not None and (was_first or not links):
            self._on_link(link.peer, bool(links), False)


def _frame_of(message: bytes) -> Frame:
    return pb.RaftFrame.FromString(message), len(message)


async def _frames(call: ClientCall) -> AsyncIterator[Frame]:
    async for message in call.messages():
        yield _frame_of(message)
