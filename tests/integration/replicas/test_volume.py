"""A volume of another store or region is refused, and nothing of it changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from integration.replicas.server_certificates import Authority
from integration.replicas.server_processes import RegionProcesses, ReplicaProcess, eventually
from rstore_replica.config import load_config
from rstore_replica.mvcc.commands.registry import COMMANDS
from rstore_replica.process.composition import Place, Replica
from rstore_replica.process.volume import FILE_NAME, Owner, VolumeError, record_owner, require_level, require_owner

OURS = Owner("orders", "eu-west")


@pytest.mark.parametrize("other", [Owner("orders-eu", "west"), Owner("orders", "us-east"), Owner("shop", "eu-west")])
def test_a_volume_of_another_store_or_region_is_refused_with_both_names(tmp_path: Path, other: Owner) -> None:
    record_owner(tmp_path, other)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(VolumeError) as caught:
        require_owner(tmp_path, OURS)
    assert f"region {other.region} of store {other.store}" in str(caught.value)
    assert "region eu-west of store orders" in str(caught.value)
    record_owner(tmp_path, OURS)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_volume_that_does_not_say_is_taken_and_says_it_from_then_on(tmp_path: Path) -> None:
    require_owner(tmp_path, OURS)
    assert not list(tmp_path.iterdir()), "looking changes nothing"
    require_owner(tmp_path / "missing", OURS)
    record_owner(tmp_path, OURS)
    require_owner(tmp_path, OURS)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store": "orders"}', b'{"store": 1, "region": "x"}', b"\xff"])
def test_a_record_that_cannot_be_read_is_not_guessed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(VolumeError, match="cannot be read"):
        require_owner(tmp_path, OURS)


def _digests(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


async def test_a_replica_does_not_start_on_the_volume_of_another_region(start_regions) -> None:
    [region] = await start_regions(("us-east", 1))
    [replica] = region.replicas
    data = replica.directory / "data"
    async with region.client() as client:
        await client.put("k", "v")
    await replica.end()
    assert json.loads((data / FILE_NAME).read_bytes())["region"] == "us-east"
    before = _digests(data)
    config = replica.directory.parent / "replica.json"
    right = config.read_text()
    config.write_text(json.dumps({**json.loads(right), "region": "west"}))
    replica.start()
    assert await replica.ended_with() == 1
    assert _digests(data) == before
    assert "holds data of region us-east of store" in _reason(replica)
    config.write_text(right)
    (data / FILE_NAME).unlink()
    replica.start()
    async with region.client() as client:
        assert (await eventually(lambda: client.get("k"))).kvs[0].value == b"v", "an old volume, without the record"
    assert (data / FILE_NAME).exists()


def _reason(replica: ReplicaProcess) -> str:
    last = json.loads(replica.logs[-1].read_text().splitlines()[-1])
    assert (last["level"], last["event"]) == ("error", "not_started")
    return str(last["reason"])


@pytest.mark.parametrize(("used", "known"), [(1, 1), (1, 2), (2, 2)])
def test_data_of_a_known_level_is_used(used: int, known: int) -> None:
    require_level(used, known)


async def test_a_version_that_does_not_know_the_level_of_the_data_does_not_start(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = RegionProcesses(tmp_path, authority, region="us-east", replicas=1)
    [replica] = region.replicas
    config = load_config(region.directory / "replica.json", name=replica.name)
    place = Place(
        name=replica.name,
        data_directory=tmp_path / "data",
        tls_directory=replica.directory / "tls",
        config_directory=region.directory,
        listen_host=replica.host,
    )
    monkeypatch.setattr(COMMANDS, "level", 0)
    with pytest.raises(VolumeError, match=r"the data uses feature level 1, .* no higher one than 0"):
        Replica(config, place)
