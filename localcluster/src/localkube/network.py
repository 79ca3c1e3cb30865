"""Loopback addresses: each cluster takes a 127.x.0.0/16 of its own, pods and services take addresses inside it."""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

FIRST_RANGE, LAST_RANGE = 64, 254
MAX_PLACES = 16
LOCK_HOST, LOCK_PORT = 254, 47999
"""A range is taken by listening at 127.x.255.254:47999, which ends by itself when the process does."""


class NetworkError(Exception):
    """No addresses, or the ones this cluster had are taken."""


class ClusterNetwork:
    """A range taken for the life of this object.

    Services: lower half; pods: third quarter; relays between places: last quarter; .0.1 is the API server.
    """

    def __init__(self, second_octet: int, lock: socket.socket) -> None:
        self._lock = lock
        self.second_octet = second_octet
        self.api_host = f"127.{second_octet}.0.1"
        self.service_cidr = f"127.{second_octet}.0.0/17"
        self.pods = AddressPool(IPv4Network(f"127.{second_octet}.128.0/18"))
        self.relays = AddressPool(IPv4Network(f"127.{second_octet}.192.0/18"))
        self.api_relays = tuple(self.relays.allocate() for _ in range(MAX_PLACES))
        """The API server's addresses as other places see it, always the same ones."""

    @classmethod
    def take(cls, state_file: Path | None = None, candidates: Iterable[int] | None = None) -> ClusterNetwork:
        """Take a free range; the one recorded in `state_file` when there is one, since stored addresses are in it.

        Raises NetworkError when none is free.
        """
        recorded = _recorded(state_file)
        for octet in [recorded] if recorded else (candidates or _preferred(state_file)):
            lock = _lock(octet)
            if lock is not None:
                if state_file is not None:
                    state_file.parent.mkdir(parents=True, exist_ok=True)
                    state_file.write_text(json.dumps({"secondOctet": octet}))
                return cls(octet, lock)
        if recorded:
            raise NetworkError(
                f"the addresses 127.{recorded}.0.0/16 of this cluster are in use by another process; "
                "stop it, or start with another data directory"
            )
        raise NetworkError("no free range of loopback addresses; stop another local cluster first")

    def release(self) -> None:
        """Give the range back."""
        self._lock.close()


class AddressPool:
    """Hands out addresses of a network in turn, so that one is not used again soon after it was released."""

    def __init__(self, network: IPv4Network) -> None:
        self._first = int(network.network_address) + 10
        self._count = network.num_addresses - 20
        self._next = 0
        self._used: set[str] = set()

    def allocate(self) -> str:
        """Returns an address nobody has; raises NetworkError when all are taken."""
        for _ in range(self._count):
            address = str(IPv4Address(self._first + self._next))
            self._next = (self._next + 1) % self._count
            if address not in self._used:
                self._used.add(address)
                return address
        raise NetworkError("all pod addresses are taken")

    def release(self, address: str) -> None:
        """Give an address back."""
        self._used.discard(address)


def _preferred(state_file: Path | None) -> list[int]:
    """Returns all ranges, from one that depends on the file's path: so two clusters seldom want the same one again
    later."""
    count = LAST_RANGE - FIRST_RANGE + 1
    start = zlib.crc32(str(state_file).encode()) % count if state_file is not None else 0
    return [FIRST_RANGE + (start + offset) % count for offset in range(count)]


def _recorded(state_file: Path | None) -> int | None:
    if state_file is None or not state_file.exists():
        return None
    return int(json.loads(state_file.read_text())["secondOctet"])


def _lock(octet: int) -> socket.socket | None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind((f"127.{octet}.255.{LOCK_HOST}", LOCK_PORT))
        sock.listen(1)
    except OSError:
        sock.close()
        return None
    return sock
