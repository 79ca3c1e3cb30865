"""Addresses, name resolution and channels; and what grpcio does badly, each with its remedy.

Names are resolved here at each dial, by the system's resolver in a thread, and the channel is given the addresses: a
replica that came back with another address is found at the next dial, whatever gRPC's own resolver has cached. A
channel goes to its addresses for ever, so one that broke is dialled anew, not kept. A dial that hangs, since nobody
is left at the address, is not waited for: the next runs beside it (:func:`first_connected`).

grpcio 1.80 to 1.85: its asyncio side stops when the last channel is collected, and that has been seen to hang for 180 s
(:func:`keep_running`). Methods are called by path, not by generated stubs: a segmentation fault was seen once where a
stub registers its methods with the channel. The cause is not known; a closed channel alone does not do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from rstore_api.dialling.race import first_success
from rstore_api.errors import Unreachable
from rstore_api.tls import TlsSource

FALLBACK_SERVER_NAME = "localhost"
"""The name a server's certificate is checked for when its address is a bare IP; every server certificate has it."""

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a dial never inherits another channel's back-off
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),
)

ChannelOptions = Sequence[tuple[str, int | str]]
SMALL_BUFFERS: ChannelOptions = (
    ("grpc.tsi.max_frame_size", 1024),
    ("grpc.enable_channelz", 0),
    ("grpc.max_channel_trace_event_memory_per_node", 0),
)
"""For a process with hundreds of channels that carry small messages: a tenth less memory for each. What is sent is
encrypted 1 KiB at a time instead of 16 KiB, and gRPC keeps no statistics of the channel."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to the IP addresses it has now. Raises Unreachable."""


@dataclass(frozen=True)
class Address:
    """A host (DNS name or IP) and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``host:port``, ``[v6]:port``, with an optional ``http(s)://`` before it. Raises ValueError."""
        bare = text.removeprefix("https://").removeprefix("http://").rstrip("/")
        host, colon, port = bare.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is not an address of the form host:port")
        return cls(host, int(port))

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address, so that there is nothing to resolve."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    @property
    def server_name(self) -> str:
        """The name to check the server's certificate for: the host, or ``localhost`` for a bare IP."""
        return FALLBACK_SERVER_NAME if self.is_ip else self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Asks the system's resolver, in a thread; IPv4 addresses come first. Raises Unreachable when there is none."""
    loop = asyncio.get_running_loop()
    try:
        # getaddrinfo of the socket module, not of the loop: other event loops bring their own resolver.
        infos = await loop.run_in_executor(
            None, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        )
    except OSError as error:
        raise Unreachable(f"cannot resolve {host}: {error.strerror or error}") from error
    return sorted(dict.fromkeys(str(info[4][0]) for info in infos), key=lambda address: ":" in address)


def target_of(addresses: Sequence[str], port: int) -> str:
    """Returns gRPC's target string for IP addresses of one family: the IPv4 ones if there are any."""
    v4 = [address for address in addresses if ":" not in address]
    if v4:
        return "ipv4:" + ",".join(f"{address}:{port}" for address in v4)
    return "ipv6:" + ",".join(f"[{address}]:{port}" for address in addresses)


async def open_channel(
    address: Address,
    *,
    tls: TlsSource | None,
    server_name: str | None = None,
    resolve: Resolve = system_resolve,
    options: ChannelOptions = (),
) -> aio.Channel:
    """Opens a channel to where the address is now, not connected yet. Raises Unreachable (name, certificate files)."""
    addresses = await resolve(address.host, address.port)  # an IP address, too: the system may lead it elsewhere
    if not addresses:
        raise Unreachable(f"{address.host} has no address")
    target = target_of(addresses, address.port)
    all_options = [*CHANNEL_OPTIONS, *options]
    if tls is None:
        return aio.insecure_channel(target, options=all_options)
    all_options.append(("grpc.ssl_target_name_override", server_name or address.server_name))
    try:
        credentials = tls.channel_credentials()
    except OSError as error:
        raise Unreachable(f"cannot read the certificate files: {error}") from error
    return aio.secure_channel(target, credentials, options=all_options)


@dataclass(frozen=True)
class Dialer:
    """Opens channels with one identity, as it is at each dial."""

    tls: TlsSource | None

    async def dial(self, address: str) -> aio.Channel:
        """Opens a channel to ``host:port``, which is not connected yet; the caller closes it. Raises Unreachable."""
        try:
            parsed = Address.parse(address)
        except ValueError as error:
            raise Unreachable(str(error)) from error
        return await open_channel(parsed, tls=self.tls)


async def first_connected(
    dial: Callable[[], Awaitable[aio.Channel]],
    *,
    dials: int,
    timeout_seconds: float,
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
) -> aio.Channel:
    """Returns the first channel that is connected, of at most ``dials`` begun one after the other within the timeout.

    Raises Unreachable when none is under way any more.
    """

    async def attempt() -> aio.Channel:
        channel = await dial()
        try:
            await connect(channel, timeout_seconds=timeout_seconds)
        except BaseException:
            await close(channel)
            raise
        return channel

    attempts = (attempt() for _ in range(dials))
    return await first_success(attempts, every_seconds=timeout_seconds / dials, go_on=False, discard=close, sleep=sleep)


async def close(channel: aio.Channel) -> None:
    """Closes a channel; calls on it are cancelled."""
    with contextlib.suppress(grpc.RpcError, OSError):
        await channel.close(None)


def keep_running() -> None:
    """Keeps gRPC's asyncio side running until the process ends: its stop has been seen to hang."""
    aio.init_grpc_aio()  # type: ignore[attr-defined] # not in the stubs


async def connect(channel: aio.Channel, *, timeout_seconds: float) -> None:
    """Waits until the channel is connected. Raises Unreachable, with gRPC's reason, at the first failed attempt."""
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                state = channel.get_state(try_to_connect=True)
                if state is grpc.ChannelConnectivity.READY:
                    return
                if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                    raise Unreachable(await _failure_reason(channel))
                await channel.wait_for_state_change(state)
    except aio.UsageError as error:
        raise Unreachable("the connection was closed") from error
    except TimeoutError as error:
        raise Unreachable(f"not connected within {timeout_seconds:.1f} s") from error


async def _failure_reason(channel: aio.Channel) -> str:
    """Why the last attempt to connect failed; gRPC says it only in the answer to a call."""
    probe = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=None, response_deserializer=None)
    try:
        await probe(b"", timeout=0.2)
    except aio.AioRpcError as error:
        return error.details() or "connection failed"
    except aio.UsageError:
        return "the connection was closed"
    return "connection was lost"
