from __future__ import annotations

from collections.abc import Iterator

import pytest
from etcd.servers import ETCD, Server, running_etcd, running_store


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A fresh etcd and a fresh store: what is asked of both in the same order has the same revisions in both."""
    if not ETCD.exists():
        pytest.skip("etcd is not installed in this environment")
    with (
        running_etcd(tmp_path_factory.mktemp("etcd")) as etcd,
        running_store(tmp_path_factory.mktemp("store")) as ours,
    ):
        yield etcd, ours
