"""What a target of fuzzing is, and what stands for the network."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any


class Target(ABC):
    """Something that must take any bytes."""

    @abstractmethod
    def __call__(self, data: bytes) -> None:
        """Takes one input."""

    @abstractmethod
    def seeds(self) -> list[bytes]:
        """Inputs to begin with."""


class Network(asyncio.Transport):
    """Takes what is written and keeps none of it."""

    def write(self, data: Any) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0
