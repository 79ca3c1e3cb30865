"""The pod that restores a new store: what it is told, and what it may do."""

from __future__ import annotations

import json
from typing import Any

from rstore_api.domain.kubernetes import CONFIG_HASH, STORE_LABEL
from rstore_backup.restore_config import decode
from rstore_backup.restore_report import Pinned
from rstore_operator.facts.observed import Observed
from rstore_operator.facts.restorer import RestorerObserved
from rstore_operator.planning.children.ownership import Standing, restorer_keys, standing
from rstore_operator.planning.children.restorer import restorer_leftovers, restorer_manifests
from rstore_operator.resource.backup import ArchivePlace
from rstore_operator.resource.bootstrap import Moment
from rstore_operator.resource.model import UNKNOWN_PODS, ReplicaImage, StoreSpec
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.restorer import PROGRAM, Restore
from unit.operator.world import REF, SPEC

BUCKET = ArchivePlace("s3://backups/stores", endpoint="http://minio:9000", credentials_secret="keys")
PINNED = Pinned("old-id", "default/orders", 41, 2, 1_000_000_098)
CONFIG, DEPLOYMENT, POLICY, SECRET = restorer_keys("orders")


def spec_with(source: dict[str, Any] | None, **more: Any) -> StoreSpec:
    bootstrap = {"bootstrap": {"from": source}} if source is not None else {}
    spec, problems = read_spec(REF, {**SPEC, **bootstrap, **more})
    assert problems == ()
    assert spec is not None
    return spec


SPECIFIED = spec_with({"destination": "s3://backups/stores"})


def made(restore: Restore | None, spec: StoreSpec = SPECIFIED, credentials: str | None = "digest") -> dict[Any, Any]:
    children = {SECRET: {"metadata": {"name": SECRET[1]}}}
    observed = Observed(children=children, restorer=RestorerObserved(credentials=credentials))
    manifests = restorer_manifests(REF, spec, "eu-west", ReplicaImage("replica:1"), observed, UNKNOWN_PODS, restore)
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


def test_it_is_told_all_that_it_reads() -> None:
    restore = Restore(BUCKET, "", "default/orders", Moment(revision=41, epoch=2), PINNED, "new-id")
    config = decode(made(restore)[CONFIG]["data"][PROGRAM.config_file].encode())
    assert (config.namespace, config.name, config.store_id) == ("default", "orders", "new-id")
    assert config.replicas[0] == "orders-eu-west-0.orders-eu-west-peers.default.svc:2379", "those of the primary first"
    assert len(config.replicas) == 7
    assert (config.destination, config.endpoint) == (BUCKET.destination, BUCKET.endpoint)
    assert (config.source_id, config.source_name) == ("", "default/orders")
    assert (config.revision, config.time_ms, config.epoch, config.pinned) == (41, 0, 2, PINNED)
    latest = decode(
        made(Restore(BUCKET, "old-id", "", store_id="new-id"))[CONFIG]["data"][PROGRAM.config_file].encode()
    )
    assert (latest.source_id, latest.revision, latest.time_ms, latest.pinned) == ("old-id", 0, 0, None)


def test_the_credentials_are_in_its_environment_and_nowhere_else() -> None:
    manifests = made(Restore(BUCKET))
    pod = manifests[DEPLOYMENT]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert container["command"] == ["python", "-m", "rstore_backup", "restore"]
    assert pod["metadata"]["annotations"][CONFIG_HASH] == "digest"
    assert pod["metadata"]["labels"][STORE_LABEL] == "orders", "so that replicas let it in"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "keys" not in json.dumps(manifests[CONFIG])


def test_a_folder_of_a_volume_is_mounted() -> None:
    manifests = made(Restore(ArchivePlace("file:///stores", "archives"), store_id="new-id"))
    pod = manifests[DEPLOYMENT]["spec"]["template"]["spec"]
    assert {"name": "archive", "persistentVolumeClaim": {"claimName": "archives"}} in pod["volumes"]
    [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "archive"]
    assert mount["subPath"] == "stores"
    assert f"--folder={mount['mountPath']}" in pod["containers"][0]["args"]
    assert decode(manifests[CONFIG]["data"][PROGRAM.config_file].encode()).destination == "file:///"


def test_the_pod_waits_for_its_certificate_and_its_credentials() -> None:
    assert made(Restore(BUCKET), credentials=None).keys() == {CONFIG, POLICY}
    assert made(None) == {}
    assert made(Restore(BUCKET), spec_with(None)) == {}
    without = {"security": {"networkPolicy": {"enabled": False}}}
    assert POLICY not in made(Restore(BUCKET), spec_with({"backup": "b"}, **without))


def test_its_objects_are_the_stores_and_go_with_it() -> None:
    for key, manifest in made(Restore(BUCKET)).items():
        assert standing(REF, key, manifest) is Standing.OURS
        alone = {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": []}}
        assert standing(REF, key, alone) is Standing.ORPHAN
    assert set(restorer_leftovers(REF, spec_with(None))) == {CONFIG, DEPLOYMENT, POLICY, SECRET}
    assert restorer_leftovers(REF, SPECIFIED) == ()
