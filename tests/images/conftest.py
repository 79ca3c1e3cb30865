"""The wheel and the two images' trees, made once for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_build.packages import build_wheel
from images.tree import ImageTree, build


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def replica_tree(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageTree:
    return build(wheel, "replica", tmp_path_factory.mktemp("replica") / "site-packages")


@pytest.fixture(scope="session")
def operator_tree(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageTree:
    return build(wheel, "operator", tmp_path_factory.mktemp("operator") / "site-packages")
