"""TLS contexts out of certificates in memory."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rstore_api.tls import TlsPem

HTTP2 = ("h2",)
HTTP1_AND_2 = ("http/1.1", "h2")
"""Protocols as ALPN names them. HTTP/2 carries gRPC alone here, whose clients name nothing else. A client that names
both, such as curl or Prometheus, speaks HTTP/1.1."""


def server_context(pem: TlsPem, *, require_client: bool, protocols: Sequence[str] = HTTP2) -> ssl.SSLContext:
    """For a server that trusts the CA's certificates; ``require_client`` refuses callers without one.

    Of ``protocols`` the first one is spoken that the client names as well; it may name none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_NONE
    context.num_tickets = 0
    return _completed(context, pem, protocols)


def client_context(pem: TlsPem) -> ssl.SSLContext:
    """For a client that presents its certificate, trusts the CA and checks the server's name."""
    return _completed(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pem, HTTP2)


def _completed(context: ssl.SSLContext, pem: TlsPem, protocols: Sequence[str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    context.load_verify_locations(cadata=pem.ca.decode("ascii"))
    _load_chain(context, pem.key + b"\n" + pem.cert)
    return context


def _load_chain(context: ssl.SSLContext, both: bytes) -> None:
    """Python loads chains from files only: this one is in memory, or is gone at once where there is no such thing."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(both)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "tls.pem")
        path.touch(mode=0o600)
        path.write_bytes(both)
        context.load_cert_chain(path)


class Following:
    """The context for the certificates as they are now; made anew when they change."""

    def __init__(self, current: Callable[[], TlsPem], make: Callable[[TlsPem], ssl.SSLContext]) -> None:
        self._current = current
        self._make = make
        self._pem: TlsPem | None = None
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> ssl.SSLContext:
        """For the next connection. Raises ssl.SSLError, ValueError."""
        pem = self._current()
        if self._context is None or pem != self._pem:
            self._pem, self._context = pem, self._make(pem)
        return self._context
