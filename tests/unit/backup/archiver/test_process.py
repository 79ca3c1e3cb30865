"""An archiver as a process: where its archive is."""

from __future__ import annotations

from pathlib import Path

import pytest
from rstore_backup.archiver.process import destination_of
from rstore_backup.config import ArchiverConfig
from rstore_backup.folder import FolderStore
from rstore_backup.stores import open_store


@pytest.mark.parametrize(
    ("destination", "folder", "url"),
    [
        ("s3://bucket/prefix", None, "s3://bucket/prefix"),
        ("s3://bucket/prefix", Path("/archive"), "s3://bucket/prefix"),
        ("file:///", None, "file:///"),
        ("file:///", Path("/archive"), "file:///archive"),
        ("file:///", Path("/with space"), "file:///with%20space"),
        ("file:///elsewhere", Path("/archive"), "file:///elsewhere"),
    ],
)
def test_the_destination_is_that_of_the_configuration_or_the_folder(
    destination: str, folder: Path | None, url: str
) -> None:
    config = ArchiverConfig(namespace="n", name="s", region="r", replicas=("h:1",), destination=destination)
    assert destination_of(config, folder) == url


async def test_a_folder_with_any_name_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "with space and %20"
    folder.mkdir()
    config = ArchiverConfig(namespace="n", name="s", region="r", replicas=("h:1",), destination="file:///")
    store = open_store(destination_of(config, folder))
    assert isinstance(store, FolderStore)
    await store.create("a", b"x")
    assert (folder / "a").read_bytes() == b"x"
