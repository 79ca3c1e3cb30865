"""The session's cluster and store, with its links whole before and after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.cluster import ClusterUnderTest
from e2e.faults.scene import BreakableScene, Scene
from localkube.links.control import LinkFaults


@pytest.fixture
def links(data_dir: Path) -> Iterator[LinkFaults]:
    faults = LinkFaults(data_dir)
    faults.clear()
    yield faults
    faults.clear()


@pytest.fixture
def scene(store, cluster: ClusterUnderTest, request: pytest.FixtureRequest) -> Scene:
    """The store under faults. On the embedded cluster the scene can also break links and stop processes; a test that
    does so is marked ``runner``."""
    prefix = f"fault/{request.node.name}/".encode()
    if cluster.data_dir is None:
        return Scene(store, prefix)
    return BreakableScene(store, request.getfixturevalue("links"), cluster.data_dir, prefix)
