"""Which rules are in force: the newest of the volume's, the ConfigMap's and the operator's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from rstore_api.domain.access import CLOSED, OPEN, AccessRules, ClientRule, SharedClient
from rstore_api.errors import InvalidRequest, NoSpace
from rstore_api.proto import rstore_pb2 as pb
from rstore_replica.api.access import control
from rstore_replica.api.access.control import AccessControl


def rules(version: int, *names: str) -> AccessRules:
    return AccessRules(version=version, clients=tuple(ClientRule(name=name) for name in names))


class Places:
    """A volume and a mounted ConfigMap."""

    def __init__(self, root: Path) -> None:
        self.volume, self.mounted = root / "volume", root / "mounted"
        self.volume.mkdir()
        self.mounted.mkdir()

    def put(self, directory: Path, content: AccessRules | bytes) -> None:
        fresh = directory / "fresh"
        fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
        fresh.replace(directory / "access.json")

    def start(self) -> AccessControl:
        return AccessControl(volume=self.volume, mounted=self.mounted)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def _set(access: AccessControl, document: AccessRules) -> pb.SetAccessResponse:
    return asyncio.run(access.set(pb.SetAccessRequest(rules=document.encode())))


def test_without_files_the_rules_are_open(places: Places) -> None:
    access = places.start()
    assert access.status() == pb.AccessStatus(version=0)


@pytest.mark.parametrize(("kept", "given", "in_force"), [(2, 1, 2), (1, 2, 2), (2, 2, 2)])
def test_the_newer_file_counts(places: Places, kept: int, given: int, in_force: int) -> None:
    places.put(places.volume, rules(kept, "kept"))
    places.put(places.mounted, rules(given, "given"))
    assert places.start().status().version == in_force


def test_rules_of_the_operator_are_in_force_at_once_and_after_a_restart(places: Places) -> None:
    access = places.start()
    seen: list[int] = []
    access.on_change(lambda: seen.append(access.status().version))
    assert _set(access, rules(7, "shop")).version == 7
    assert seen == [7]
    assert access.status().digest == rules(7, "shop").digest
    assert places.start().status().digest == rules(7, "shop").digest


def test_older_rules_never_replace_newer_ones(places: Places) -> None:
    access = places.start()
    _set(access, rules(7, "shop"))
    for document in (rules(6, "cart"), rules(7, "cart")):
        assert _set(access, document).version == 7
    assert access.status().digest == rules(7, "shop").digest
    assert places.start().status().digest == rules(7, "shop").digest


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"version": 1, "unheard": true}', b'{"version": -1}', b"\xff"])
def test_rules_that_cannot_be_read_let_no_client_in(places: Places, damaged: bytes) -> None:
    places.put(places.volume, damaged)
    access = places.start()
    certificate = {"x509_common_name": [b"client"]}
    assert access.identify(certificate).grant is None
    assert access.identify({"x509_common_name": [b"peer"]}).grant is not None
    with pytest.raises(InvalidRequest, match="access rules"):
        asyncio.run(access.set(pb.SetAccessRequest(rules=damaged)))
    places.put(places.mounted, rules(1))
    assert places.start().identify(certificate).grant is not None
    _set(access, rules(2))
    assert access.identify(certificate).grant is not None


def test_rules_that_do_not_fit_on_the_volume_are_in_force_and_not_reported_as_kept(places, monkeypatch) -> None:
    access = places.start()

    def full(_path: Path, _content: bytes) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(control, "write_durably", full)
        with pytest.raises(NoSpace, match="not on the volume"):
            _set(access, AccessRules(version=3, shared_client=SharedClient(enabled=False)))
    assert access.identify({"x509_common_name": [b"client"]}).grant is None
    assert access.status() == pb.AccessStatus(version=3, digest="")
    _set(access, AccessRules(version=3, shared_client=SharedClient(enabled=False)))  # the operator tries again
    assert access.status().digest
    assert places.start().status().version == 3


async def test_the_file_of_the_configmap_is_followed(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(control, "LOOK_SECONDS", 0.01)
    access = places.start()
    changed = asyncio.Event()
    access.on_change(changed.set)
    following = asyncio.create_task(access.run())
    places.put(places.mounted, rules(4, "shop"))
    async with asyncio.timeout(5):
        await changed.wait()
        await access.set(pb.SetAccessRequest(rules=rules(4, "shop").encode()))  # returns once they are on the volume
    following.cancel()
    assert places.start().status().version == 4


def test_documents_are_equal_for_equal_rules() -> None:
    document = AccessRules(version=5, clients=(ClientRule(name="a", prefixes=("p/",), revoked_before=9),))
    assert AccessRules.decode(document.encode()) == document
    assert document.digest != AccessRules(version=6, clients=document.clients).digest
    assert OPEN.digest != CLOSED.digest
