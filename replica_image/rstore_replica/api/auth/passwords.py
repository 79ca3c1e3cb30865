"""Passwords: hashed and checked with bcrypt, in threads, in turns of clients, for that takes long on purpose."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt
from rstore_api.errors import InvalidRequest

from rstore_replica.api.turns import Turns

T = TypeVar("T")

COST = 10
"""As etcd's default: about 50 ms of a processor."""
MAX_PASSWORD_BYTES = 72
"""bcrypt takes no more."""
PLACES = 2
"""Passwords at a time, on one replica."""
MAX_WAITING = 256


class Passwords:
    """Whoever asks for much waits behind the others."""

    def __init__(self, *, cost: int = COST) -> None:
        self._cost = cost
        self._turns = Turns(places=PLACES, places_per_client=1, max_waiting=MAX_WAITING)
        self._threads = ThreadPoolExecutor(PLACES, thread_name_prefix="passwords")

    def close(self) -> None:
        """Ends the threads, once what they have begun is done."""
        self._threads.shutdown()

    async def hash(self, password: str, client: str) -> str:
        """Returns the hash of a password, as ``hashedPassword`` has it. Raises InvalidRequest, TooManyRequests."""
        encoded = password.encode()
        if len(encoded) > MAX_PASSWORD_BYTES:
            raise InvalidRequest(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
        async with self._turns.turn(client):
            hashed = await self._run(lambda: bcrypt.hashpw(encoded, bcrypt.gensalt(self._cost)))
        return base64.b64encode(hashed).decode()

    async def matches(self, password: str, password_hash: bytes, client: str) -> bool:
        """Returns whether it is the password of that hash. Raises TooManyRequests."""
        encoded = password.encode()
        if len(encoded) > MAX_PASSWORD_BYTES:
            return False
        async with self._turns.turn(client):
            return await self._run(lambda: bcrypt.checkpw(encoded, password_hash))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
