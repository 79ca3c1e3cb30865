"""The store that is restored into, and how it is reached."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from rstore_api.client import Client

from rstore_cli.cluster import Cluster
from rstore_cli.connect import open_store
from rstore_cli.options import Output


@dataclass(frozen=True)
class Into:
    """What the options say."""

    cluster: Cluster
    name: str
    endpoints: list[str] | None
    client_name: str
    timeout_seconds: float
    output: Output

    def open(self) -> AbstractAsyncContextManager[Client]:
        """Returns a client of the store, see :func:`open_store`."""
        return open_store(self.cluster, self.name, region=None, endpoints=self.endpoints, client_name=self.client_name)
