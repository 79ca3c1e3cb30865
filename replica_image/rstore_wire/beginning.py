"""Which HTTP a new connection speaks: by ALPN, and without TLS by its first bytes."""

from __future__ import annotations

import asyncio
from typing import cast

from rstore_wire.exchange import HttpApplication
from rstore_wire.frames import PREFACE
from rstore_wire.http1_connection import Http1Connection
from rstore_wire.server_connection import ServerConnection
from rstore_wire.service import Service


class Beginning(asyncio.Protocol):
    """The protocol of a connection until one is chosen, which :attr:`decided` waits for.

    HTTP/2 over TLS needs ALPN (RFC 9113, section 3.2); a client that names no protocol there speaks HTTP/1.1. Where
    there is no application for HTTP/1.1, every connection speaks HTTP/2.
    """

    def __init__(self, service: Service, application: HttpApplication | None) -> None:
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._service = service
        self._application = application
        self._transport: asyncio.Transport | None = None
        self._came = b""
        self._chosen = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Chooses, unless the first bytes are needed for it."""
        self._transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        application = self._application
        if application is None:
            self._go_on(ServerConnection(self._service))
        elif tls is not None:
            is_http2 = tls.selected_alpn_protocol() == "h2"
            self._go_on(ServerConnection(self._service) if is_http2 else Http1Connection(self._service, application))

    def data_received(self, data: bytes) -> None:
        """Chooses by the first bytes: HTTP/2 begins with a preface that is no request of HTTP/1.1."""
        self._came += data
        application = self._application
        assert application is not None
        if self._came.startswith(PREFACE):
            self._go_on(ServerConnection(self._service))
        elif not PREFACE.startswith(self._came):
            self._go_on(Http1Connection(self._service, application))

    def _go_on(self, chosen: ServerConnection | Http1Connection) -> None:
        transport = self._transport
        assert transport is not None
        self._chosen = True
        transport.set_protocol(chosen)
        chosen.connection_made(transport)
        if self._came:
            chosen.data_received(self._came)
        self._decide()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Nothing is to be chosen any more."""
        self._decide()

    def _decide(self) -> None:
        if not self.decided.done():
            self.decided.set_result(None)

    def abort(self) -> bool:
        """Closes, if nothing was chosen yet; False where there is no transport that could be closed."""
        if self._transport is None:
            return False
        if not self._chosen:
            self._transport.abort()
        return True
