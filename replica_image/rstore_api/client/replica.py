"""What the clients of one replica's services on the peer port have in common."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rstore_api.dialling.channels import Address, Resolve, system_resolve
from rstore_api.dialling.endpoint import Endpoint
from rstore_api.tls import TlsSource


class ReplicaClient:
    """A connection to one replica, dialled by the first call; to be closed, or used with ``async with``."""

    def __init__(
        self,
        address: str,
        *,
        tls: TlsSource | None,
        server_name: str | None = None,
        resolve: Resolve = system_resolve,
    ) -> None:
        """``address`` is ``host:port``; ``server_name`` is what its certificate must name (default: the host)."""
        self._endpoint = Endpoint(Address.parse(address), tls=tls, server_name=server_name, resolve=resolve)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._endpoint.close()
