from __future__ import annotations

from collections.abc import Iterator

import pytest
from etcd.servers import Server, running_pair


@pytest.fixture(scope="module")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """An etcd and a store for the tests of a module, which names the directory of another etcd as ETCD_PROGRAMS."""
    programs = getattr(request.module, "ETCD_PROGRAMS", None)
    with running_pair(tmp_path_factory.mktemp("pair"), programs) as pair:
        yield pair
