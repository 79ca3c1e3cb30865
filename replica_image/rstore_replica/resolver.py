"""Finding and dialling other replicas: names are resolved at each dial, by the system, in a thread."""

from __future__ import annotations

from grpc import aio
from rstore_api.client_dial import Address, open_channel, system_resolve
from rstore_api.errors import Unreachable

from rstore_replica.tls import CertificateStore

__all__ = ["Address", "ChannelDialer", "system_resolve"]


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
