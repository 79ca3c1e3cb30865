"""Reads, in the background, why pods could not be created or volumes are not bound, when ``lacking_pods`` asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from rstore_api.logs import get_logger
from rstore_kube.errors import ApiError

from rstore_operator.cluster.site import Site
from rstore_operator.facts.observed import ChildKey
from rstore_operator.planning.conditions.lacking_pods import Question, ask_after_seconds, newest_refusal

log = get_logger(__name__)

FORBIDDEN_SECONDS = 300.0
"""How long no Events are listed after the API server has refused to list them."""


class Refusals:
    """The newest refusals in the Events of one store's StatefulSets and claims; at most one request is under way."""

    def __init__(
        self,
        site: Site,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._now = now
        self._clock = clock
        self._messages: dict[ChildKey, str] = {}
        self._asked_at: dict[ChildKey, float] = {}
        self._not_before = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

    def look(self, asked: Mapping[ChildKey, Question]) -> Mapping[ChildKey, str]:
        """Returns the refusals of these objects, and begins to read those that are due."""
        if self._reading is not None and self._reading.done():
            ended, self._reading = self._reading, None
            ended.result()  # a reading reports what the API server refuses; anything else that it raises is a bug
        self._messages = {key: text for key, text in self._messages.items() if key in asked}
        self._asked_at = {key: at for key, at in self._asked_at.items() if key in asked}
        now = self._clock()
        due = [
            question
            for key, question in asked.items()
            if key not in self._asked_at or now - self._asked_at[key] >= ask_after_seconds(question)
        ]
        if due and self._reading is None and now >= self._not_before:
            self._asked_at |= {question.key: now for question in due}
            self._reading = asyncio.create_task(self._read(due), name="refusals")
        return dict(self._messages)

    async def _read(self, due: list[Question]) -> None:
        for question in due:
            try:
                events = await self._site.events_about(question.key, question.reasons)
            except ApiError as error:
                log.warning("events_not_listed", kind=question.key[0], name=question.key[1], error=str(error))
                if error.forbidden:
                    self._not_before = self._clock() + FORBIDDEN_SECONDS
                    return
            except (OSError, TimeoutError) as error:
                log.warning("events_not_listed", kind=question.key[0], name=question.key[1], error=str(error))
            else:
                message = newest_refusal(events, question, self._now())
                if message:
                    self._messages[question.key] = message
