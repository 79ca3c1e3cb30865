"""The session's cluster and store, with its links whole before and after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.faults.scene import Scene
from rstore_devcluster.links.control import LinkFaults


@pytest.fixture
def links(kubeconfig: Path) -> Iterator[LinkFaults]:
    faults = LinkFaults(kubeconfig.parent)
    faults.clear()
    yield faults
    faults.clear()


@pytest.fixture
def scene(store, links: LinkFaults, kubeconfig: Path, request: pytest.FixtureRequest) -> Scene:
    return Scene(store, links, kubeconfig.parent, f"fault/{request.node.name}/".encode())
