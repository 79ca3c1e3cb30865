"""The replicas that keep what the archive does not have yet, and are told again and again what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rstore_api.dialling.endpoint import Endpoint
from rstore_api.errors import StoreError
from rstore_api.logs import get_logger
from rstore_api.methods import ARCHIVE_CONFIRM
from rstore_api.proto.rstore_pb2 import ConfirmRequest
from rstore_api.tls import TlsSource

_log = get_logger(__name__)

CONFIRM_SECONDS = 15.0
"""Between two confirmations; one that was away learns it with the next."""
TIMEOUT_SECONDS = 5.0


class Keepers:
    """Replicas of every region: any of them may be the one that is read next."""

    def __init__(self, addresses: Callable[[], tuple[str, ...]], tls: TlsSource | None) -> None:
        """``addresses``: ``host:port`` of the peer ports, as they are now."""
        self._addresses = addresses
        self._tls = tls

    async def confirm(self, request: ConfirmRequest) -> None:
        """Tells each of them; one that does not answer is told the next time."""
        await asyncio.gather(*(self._tell(address, request) for address in self._addresses()))

    async def _tell(self, address: str, request: ConfirmRequest) -> None:
        try:
            async with Endpoint(address, tls=self._tls) as endpoint:
                await endpoint.call(ARCHIVE_CONFIRM, request, timeout_seconds=TIMEOUT_SECONDS)
        except (StoreError, ValueError) as error:
            _log.debug("not_confirmed", replica=address, reason=str(error))
