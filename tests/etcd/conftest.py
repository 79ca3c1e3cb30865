from __future__ import annotations

from collections.abc import Iterator

import pytest
from etcd.servers import Server, running_pair


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with running_pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair
