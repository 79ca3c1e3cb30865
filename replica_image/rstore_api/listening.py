"""Sockets that take connections over IPv6 and IPv4 at once, where the platform has both."""

from __future__ import annotations

import errno
import socket

EVERY_ADDRESS, EVERY_IPV4_ADDRESS = "::", "0.0.0.0"
_WITHOUT_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def listening_socket(host: str, port: int, *, backlog: int) -> socket.socket:
    """Opens a non-blocking socket that listens there. Raises OSError.

    ``::`` is every address of both families: a cluster whose pods have IPv6 addresses first sends probes to those, and
    others may come by IPv4. On a platform without IPv6 it is every IPv4 address.
    """
    if host == EVERY_ADDRESS:
        try:
            return _listen(socket.AF_INET6, host, port, backlog)
        except OSError as error:
            if error.errno not in _WITHOUT_IPV6:
                raise
            host = EVERY_IPV4_ADDRESS
    return _listen(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port, backlog)


def _listen(family: socket.AddressFamily, host: str, port: int, backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != EVERY_ADDRESS)
        listener.setblocking(False)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener
