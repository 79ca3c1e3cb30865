"""Events of one second: kubectl shows those in the order of their names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio.client import Configuration
from rstore_kube.access import Access
from rstore_kube.client import KubeClient
from rstore_operator.cluster.k8s import Kubernetes
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


async def test_events_that_are_posted_in_one_second_sort_by_name_as_they_were_posted() -> None:
    sent = Recording()
    kubernetes = Kubernetes(sent)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    reasons = ["FailoverFencing", "FailoverWaiting", "FailoverPromoting", "FailoverRepointing", "FailoverSucceeded"]
    try:
        for reason in reasons:
            await kubernetes.post_event(StoreRef("default", "orders", "u"), "1", reason, "text", True, now)
    finally:
        await kubernetes.close()
    assert len({event["lastTimestamp"] for event in sent.sent}) == 1
    by_name = sorted(sent.sent, key=lambda event: event["metadata"]["name"])
    assert [event["reason"] for event in by_name] == reasons
    assert len({event["metadata"]["name"] for event in sent.sent}) == len(reasons)


async def test_the_name_of_an_event_is_valid_whatever_the_store_is_called() -> None:
    sent = Recording()
    kubernetes = Kubernetes(sent)
    names = [f"{'a' * before}-{'b' * 7}" for before in range(30, 41)]
    names += ["a", "a--b", f"a{'-' * 45}b"]
    try:
        for name in names:
            await kubernetes.post_event(StoreRef("default", name, "u"), "1", "R", "m", False, datetime.now(UTC))
    finally:
        await kubernetes.close()
    for event in sent.sent:
        parts = event["metadata"]["name"].split(".")
        assert all(re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", part) for part in parts), parts
