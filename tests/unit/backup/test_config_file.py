"""A process that works with an archive: where that is, and how it follows its configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rstore_backup.config import ConfigError
from rstore_backup.folder import FolderStore
from rstore_backup.program.config_file import ConfigFile, destination_of, work_until_stopped
from rstore_backup.stores import open_store
from rstore_testkit.load import wait_until


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
    assert destination_of(destination, folder) == url


async def test_a_folder_with_any_name_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "with space and %20"
    folder.mkdir()
    store = open_store(destination_of("file:///", folder))
    assert isinstance(store, FolderStore)
    await store.create("a", b"x")
    assert (folder / "a").read_bytes() == b"x"


def write_file(path: Path, data: bytes) -> None:
    """In one step, so that nobody reads half of it."""
    (path.parent / "next").write_bytes(data)
    (path.parent / "next").replace(path)


class Decoder:
    """Notes what it has read."""

    def __init__(self) -> None:
        self.read: list[bytes] = []

    def __call__(self, data: bytes) -> str:
        self.read.append(data)
        if data == b"rubbish":
            raise ConfigError("it is rubbish")
        return data.decode()

    async def until(self, data: bytes) -> None:
        async def is_read() -> bool:
            return self.read[-1] == data

        await wait_until(is_read, what=f"{data!r} is read", poll_seconds=0.01)


async def test_a_configuration_is_followed_and_one_that_cannot_be_used_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rstore_backup.program.config_file.LOOK_SECONDS", 0.0)
    path, decoder = tmp_path / "config", Decoder()
    path.write_text("first")
    file = ConfigFile(path, decoder)
    changed = asyncio.create_task(file.until_changed(str.lower))
    for same in ("rubbish", "FIRST"):
        write_file(path, same.encode())
        await decoder.until(same.encode())
        assert not changed.done()
    write_file(path, b"second")
    await changed
    assert file.current == "second"


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none cannot be read: No such file"):
        ConfigFile(tmp_path / "none", Decoder())


async def test_work_begins_anew_when_something_has_changed_and_ends_when_it_is_asked_to() -> None:
    begun: list[int] = []
    stop, change = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            change.set()
        else:
            stop.set()
        await asyncio.Event().wait()

    async def changed() -> None:
        await change.wait()
        change.clear()

    await work_until_stopped(work, changed, stop)
    assert begun == [0, 1]


async def test_what_the_work_raises_ends_it() -> None:
    async def work() -> None:
        raise OSError("no room")

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(OSError, match="no room"):
        await work_until_stopped(work, never, asyncio.Event())
