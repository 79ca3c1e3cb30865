"""The round trip of a TCP connection, from the kernel, which measures it anyway: no message is sent for it."""

from __future__ import annotations

import os
import socket
import struct
from typing import Protocol

_TCP_INFO = getattr(socket, "TCP_INFO", None)  # Linux has it
_INFO_BYTES = 104
_ROUND_TRIP = struct.Struct("=I")
_ROUND_TRIP_AT = 68
"""Of ``tcpi_rtt`` in Linux' ``struct tcp_info``, in microseconds."""


class HasDescriptor(Protocol):
    """A socket, or what an event loop shows of one."""

    def fileno(self) -> int:
        """Returns the file descriptor."""


def tcp_round_trip_seconds(connection: HasDescriptor) -> float | None:
    """Returns the smoothed round trip; None where the system does not tell, and of a socket that is closed."""
    if _TCP_INFO is None or connection.fileno() < 0:
        return None
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as own:
            info = own.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
    except OSError:
        return None
    microseconds: int = _ROUND_TRIP.unpack_from(info, _ROUND_TRIP_AT)[0]
    return microseconds / 1e6 if microseconds else None
