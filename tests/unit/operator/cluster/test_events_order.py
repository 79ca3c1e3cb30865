"""Events of one second: kubectl shows those in the order of their names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from rstore_kube.access import Access
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError
from rstore_operator.cluster.site import Site
from rstore_operator.facts.actions import Notice
from rstore_operator.resource.model import StoreRef


class Recording(KubeClient):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__(Access(Configuration(), "default"), field_manager="test", timeout_seconds=1)
        self.sent: list[dict[str, Any]] = []

    async def _request(
        self, method: str, path: str, content_type: str = "", body: Any = None, query: Any = None
    ) -> Any:
        self.sent.append(body)
        return {}


def site(store: str, client: KubeClient) -> Site:
    return Site(StoreRef("default", store, "u"), client, watched=None)  # type: ignore[arg-type]


async def test_events_that_are_posted_in_one_second_sort_by_name_as_they_were_posted() -> None:
    sent = Recording()
    orders = site("orders", sent)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    reasons = ["FailoverFencing", "FailoverWaiting", "FailoverPromoting", "FailoverRepointing", "FailoverSucceeded"]
    try:
        for reason in reasons:
            await orders.post_event("1", Notice(reason, "text", warning=True), now)
    finally:
        await sent.close()
    assert len({event["lastTimestamp"] for event in sent.sent}) == 1
    by_name = sorted(sent.sent, key=lambda event: event["metadata"]["name"])
    assert [event["reason"] for event in by_name] == reasons
    assert len({event["metadata"]["name"] for event in sent.sent}) == len(reasons)


class Forgetful(Recording):
    """Takes what is sent to it, and loses as many answers as a test says."""

    lost = 0

    async def _request(
        self, method: str, path: str, content_type: str = "", body: Any = None, query: Any = None
    ) -> Any:
        if any(body["metadata"]["name"] == each["metadata"]["name"] for each in self.sent):
            raise ApiError(409, "AlreadyExists", "there is one")
        self.sent.append(body)
        if self.lost:
            self.lost -= 1
            raise TimeoutError
        return {}


async def test_an_event_whose_answer_is_lost_is_posted_once() -> None:
    sent = Forgetful()
    orders = site("orders", sent)
    notice = Notice("FailoverSucceeded", "text")
    sent.lost = 1
    try:
        with pytest.raises(TimeoutError):
            await orders.post_event("1", notice, datetime(2026, 1, 1, tzinfo=UTC))
        await orders.post_event("2", notice, datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
        assert len(sent.sent) == 1
        await orders.post_event("2", notice, datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
        assert len(sent.sent) == 2, "the same happened again"
    finally:
        await sent.close()


async def test_the_name_of_an_event_is_valid_whatever_the_store_is_called() -> None:
    sent = Recording()
    names = [f"{'a' * before}-{'b' * 7}" for before in range(30, 41)]
    names += ["a", "a--b", f"a{'-' * 45}b"]
    try:
        for name in names:
            await site(name, sent).post_event("1", Notice("R", "m"), datetime.now(UTC))
    finally:
        await sent.close()
    for event in sent.sent:
        parts = event["metadata"]["name"].split(".")
        assert all(re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", part) for part in parts), parts
