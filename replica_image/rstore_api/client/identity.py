"""Naming writes, so that one whose outcome is unknown can be sent again without being carried out twice.

The name is ``<client UUID>/<sequence>/<revision>``: the client, the number of its request, and a revision that the
store had reached before the request was first sent. The store remembers names for a while (see docs/limits.md);
by the revision it knows whether it would still remember.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable

from rstore_api.dialling.endpoint import retry_delay_seconds
from rstore_api.errors import (
    REQUEST_ID_KEY,
    AlreadyDone,
    OutcomeUnknown,
    RequestForgotten,
    StoreError,
)
from rstore_api.proto.rstore_pb2 import RequestId

Metadata = tuple[tuple[str, str], ...]
MAX_NAMES = 3
"""How often a write that the store could not place is named anew, as long as it certainly was not carried out."""


def format_request_id(request_id: RequestId) -> str:
    """Returns the value of the metadata."""
    return f"{uuid.UUID(bytes=request_id.client)}/{request_id.sequence}/{request_id.revision}"


def parse_request_id(text: str) -> RequestId:
    """Reads the value of the metadata. Raises ValueError."""
    parts = text.split("/")
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit() and parts[2].isascii() and parts[2].isdigit()):
        raise ValueError(f"{text!r} is not <client UUID>/<sequence>/<revision>")
    sequence, revision = int(parts[1]), int(parts[2])
    if not 1 <= sequence < 1 << 63 or not 0 <= revision < 1 << 63:
        raise ValueError(f"{text!r}: sequence or revision is out of range")
    return RequestId(client=uuid.UUID(parts[0]).bytes, sequence=sequence, revision=revision)


class Identity:
    """One client's name, the sequence of its writes, and the newest revision it has seen."""

    def __init__(self) -> None:
        self._client = uuid.uuid4().bytes
        self._sequence = 0
        self.revision = 0
        """0 while none was seen."""

    def saw(self, revision: int) -> None:
        """Notes the revision of an answer."""
        self.revision = max(self.revision, revision)

    def next(self) -> RequestId:
        """Returns the name of the next write."""
        self._sequence += 1
        return RequestId(client=self._client, sequence=self._sequence, revision=self.revision)


async def write_once(
    identity: Identity,
    attempt: Callable[[Metadata, float], Awaitable[None]],
    learn_revision: Callable[[bool, float], Awaitable[None]],
    *,
    deadline: float,
    rng: random.Random,
) -> None:
    """Sends a write until it is answered or ``deadline`` (on the event loop's clock) is over.

    ``attempt`` sends it with the metadata given, within so many seconds; ``learn_revision`` reads what the store has
    reached into ``identity``, linearizably if its first argument is true. Raises OutcomeUnknown when the last answer is
    that, AlreadyDone when it was carried out and its answer is gone, and other StoreErrors only while it certainly was
    not carried out.
    """
    clock = asyncio.get_running_loop().time
    if not identity.revision:
        await learn_revision(False, deadline - clock())
    name, names, attempts = identity.next(), 1, 0
    unknown: OutcomeUnknown | None = None
    while True:
        attempts += 1
        try:
            return await attempt(((REQUEST_ID_KEY, format_request_id(name)),), deadline - clock())
        except AlreadyDone:
            raise
        except RequestForgotten as error:
            # Never sent before means: not carried out; else the store cannot tell, and neither can anybody.
            if unknown is not None or names == MAX_NAMES:
                raise
            await _fresh(learn_revision, deadline - clock(), error)
            name, names = identity.next(), names + 1
            continue
        except OutcomeUnknown as error:
            unknown = error
        except StoreError as error:
            if unknown is None:
                raise
            raise OutcomeUnknown(f"{unknown.detail}; when sent again: {error}") from error
        pause = retry_delay_seconds(attempts, rng)
        if clock() + pause >= deadline:
            raise unknown
        await asyncio.sleep(pause)


async def _fresh(
    learn_revision: Callable[[bool, float], Awaitable[None]], seconds: float, refused: RequestForgotten
) -> None:
    try:
        await learn_revision(True, seconds)
    except StoreError as error:
        raise refused from error
