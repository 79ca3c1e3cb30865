"""Finding and dialling other replicas: names are resolved at each dial, by the system, in a thread."""

from __future__ import annotations

from collections.abc import Sequence

from grpc import aio
from rstore_api.dialling.channels import Address, open_channel, system_resolve
from rstore_api.errors import Unreachable

from rstore_replica.tls import CertificateStore

__all__ = ["Address", "ChannelDialer", "resolve"]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name now; an IP address is its own. Raises OSError when there are none."""
    if Address(host, port).is_ip:
        return [host]
    try:
        return await system_resolve(host, port)
    except Unreachable as error:
        raise OSError(str(error)) from error


class ChannelDialer:
    """Opens channels to other replicas, presenting this replica's certificate as it is at that moment."""

    def __init__(self, certificates: CertificateStore) -> None:
        self._certificates = certificates

    async def dial(self, address: str) -> aio.Channel:
        """A fresh channel to ``host:port``, not connected yet. Raises OSError when the name has no address."""
        try:
            return await open_channel(Address.parse(address), tls=self._certificates)
        except (Unreachable, ValueError) as error:
            raise OSError(f"{address}: {error}") from error
