"""An API server with one Lease, and a clock that tests move."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from rstore_api.domain.kubernetes import LEASE, Kind
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError

Body = dict[str, Any]


class LeaseServer(KubeClient):
    """``down`` is what requests raise, ``forbidden`` what those raise that write; ``lost`` lets writes be carried out
    whose answers never come.
    """

    def __init__(self) -> None:
        self.lease: Body | None = None
        self.version = 0
        self.down: Exception | None = None
        self.forbidden: Exception | None = None
        self.lost = False
        self.writes = 0

    async def find(self, kind: Kind, namespace: str, name: str) -> Body | None:
        assert kind == LEASE
        self._fail()
        return copy.deepcopy(self.lease)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Body:
        assert kind == LEASE
        self._fail(writes=True)
        if self.lease is not None:
            raise ApiError(409, "AlreadyExists", "there is one")
        return self._store(dict(body))

    async def merge(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        *,
        resource_version: str = "",
        subresource: str = "",
    ) -> Body:
        assert kind == LEASE
        self._fail(writes=True)
        if self.lease is None:
            raise ApiError(404, "NotFound", "there is none")
        if self.lease["metadata"]["resourceVersion"] != resource_version:
            raise ApiError(409, "Conflict", "it has been modified")
        return self._store({**self.lease, "spec": {**self.lease["spec"], **patch["spec"]}})

    def holder(self) -> str:
        """Returns who holds the Lease."""
        return str(self.lease["spec"]["holderIdentity"]) if self.lease is not None else ""

    def _store(self, body: Body) -> Body:
        self.version += 1
        self.writes += 1
        body["metadata"] = {**body["metadata"], "resourceVersion": str(self.version)}
        self.lease = copy.deepcopy(body)
        if self.lost:
            raise TimeoutError
        return body

    def _fail(self, *, writes: bool = False) -> None:
        if self.down is not None:
            raise self.down
        if writes and self.forbidden is not None:
            raise self.forbidden
