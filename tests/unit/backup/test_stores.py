"""What an archive relies on, of a folder and of the library's stores alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import MemoryStore
from rstore_backup import stores
from rstore_backup.errors import (
    AccessRefused,
    ArchiveError,
    DestinationInvalid,
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
)
from rstore_backup.folder import UNFINISHED, FolderStore
from rstore_backup.objects import ObjectInfo, ObjectStore
from rstore_backup.stores import Below, Remote, open_store


@pytest.fixture(params=["folder", "library", "below"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    made: dict[str, Callable[[], ObjectStore]] = {
        "folder": lambda: FolderStore(tmp_path),
        "library": lambda: Remote(MemoryStore(), "memory:///"),
        "below": lambda: Below(FolderStore(tmp_path), "some/store"),
    }
    return made[request.param]()


async def test_an_object_is_written_once(store: ObjectStore) -> None:
    await store.create("a/b", b"first")
    with pytest.raises(ObjectExists):
        await store.create("a/b", b"second")
    assert await store.get("a/b") == b"first"
    assert await store.size_bytes("a/b") == 5
    assert await store.get_range("a/b", 1, 2) == b"ir"
    assert await store.get_range("a/b", 3, 100) == b"st"


async def test_a_list_is_in_order_of_names_and_begins_behind_one(store: ObjectStore) -> None:
    for name in ("a/2", "a/1", "a/10", "b/1", "a/sub/1"):
        await store.create(name, b"x")
    assert await store.list_after("a") == [ObjectInfo(name, 1) for name in ("a/1", "a/10", "a/2", "a/sub/1")]
    assert [info.name for info in await store.list_after("a", "a/10")] == ["a/2", "a/sub/1"]
    assert await store.list_after("none") == []
    assert await store.folders("a") == ["a/sub"]
    assert await store.folders("") == ["a", "b"]
    assert await store.folders("none") == []


async def test_what_is_not_there(store: ObjectStore) -> None:
    for ask in (store.get("none"), store.size_bytes("none"), store.get_range("none", 0, 1)):
        with pytest.raises(ObjectMissing):
            await ask
    await store.delete("none")


async def test_a_deleted_object_may_be_written_again(store: ObjectStore) -> None:
    await store.create("a/b/c", b"1")
    await store.delete("a/b/c")
    assert await store.list_after("a") == []
    await store.create("a/b/c", b"2")
    assert await store.get("a/b/c") == b"2"


async def test_a_folder_is_made_with_the_first_object_and_is_none_before(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/none")
    for ask in (store.get("a"), store.list_after("a"), store.folders("")):
        with pytest.raises(DestinationInvalid, match="there is no folder"):
            await ask
    await store.create("a/b", b"x")
    assert await store.folders("") == ["a"]


async def test_what_a_writer_left_when_it_died_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / f"{UNFINISHED}1").write_bytes(b"half")
    assert await FolderStore(tmp_path).list_after("a") == []


async def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(AccessRefused, match="Permission denied"):
        await FolderStore(tmp_path).create("a", b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "puts", "kind"),
    [
        (AlreadyExistsError("x"), True, ObjectExists),
        (PreconditionError("x"), True, ObjectExists),
        (NotFoundError("no such key"), False, ObjectMissing),
        (FileNotFoundError("no such key"), False, ObjectMissing),
        (NotFoundError("<Code>NoSuchBucket</Code>"), False, DestinationInvalid),
        (NotFoundError("not found"), True, DestinationInvalid),
        (PermissionDeniedError("x"), False, AccessRefused),
        (UnauthenticatedError("x"), False, AccessRefused),
        (GenericError("the credential provider was not enabled"), False, AccessRefused),
        (GenericError("<Code>InvalidAccessKeyId</Code>"), False, AccessRefused),
        (GenericError("a list: <Code>NoSuchBucket</Code>"), False, DestinationInvalid),
        (GenericError("a list: 403 Forbidden"), False, AccessRefused),
        (GenericError("connection refused"), False, StoreUnavailable),
        (OSError("broken"), False, StoreUnavailable),
    ],
)
def test_what_an_error_of_the_library_means(error: Exception, puts: bool, kind: type[ArchiveError]) -> None:
    assert type(stores._error_of(error, "name", "s3://bucket", puts=puts)) is kind


def test_the_text_of_an_error_is_the_same_each_time() -> None:
    for text, short in (
        (
            "GET http://x in 3.77ms, after 3 retries - no route Debug source: Http {}",
            "GET http://x, after 3 retries - no route",
        ),
        (
            "404 <Error><Code>NoSuchBucket</Code><Message>No bucket</Message><RequestId>Py7</RequestId>",
            "NoSuchBucket: No bucket",
        ),
    ):
        assert str(stores._error_of(GenericError(text), "name", "s3://b", puts=False)).endswith(f": {short}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("bucket/prefix", "it begins with s3://, gs://, az://, file://"),
        ("http://bucket/prefix", "it begins with"),
        ("s3:///prefix", "names no bucket"),
        ("file://folder", "names no folder"),
        ("s3://bucket?region=x", "is no destination"),
    ],
)
def test_a_url_that_is_no_destination(url: str, reason: str) -> None:
    with pytest.raises(DestinationInvalid, match=reason):
        open_store(url)


def test_destinations_of_every_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for url in ("s3://bucket/some/prefix", "gs://bucket", "az://container/prefix"):
        assert isinstance(open_store(url), Remote)
    assert isinstance(open_store("s3://bucket", "http://127.0.0.1:1"), Remote)
    assert isinstance(open_store(f"file://{tmp_path}"), FolderStore)
