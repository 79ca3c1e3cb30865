"""The archiver's Deployment and NetworkPolicy, as a real cluster needs them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rstore_backup.config import decode
from rstore_operator.resource.model import OperatorPods, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.archiver import (
    Drills,
    archiver_config_map,
    archiver_deployment,
    archiver_network_policy,
    configured_region,
)
from rstore_operator.specs.services import region_service
from rstore_operator.specs.statefulset import stateful_set

REF = StoreRef("shop", "orders", "uid-1")
IMAGE = ReplicaImage("registry.example.com/replica:1.2", "Always")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
REGIONS = [{"name": "us-east"}, {"name": "eu-west", "placement": {"tolerations": [{"operator": "Exists"}]}}]


def spec_of(backup: dict[str, Any], **more: Any) -> StoreSpec:
    spec, problems = read_spec(REF, {"regions": REGIONS, "backup": {"destination": "s3://b/p", **backup}, **more})
    assert problems == ()
    assert spec is not None
    return spec


def deployment(spec: StoreSpec, credentials: str = "") -> dict[str, Any]:
    assert spec.backup is not None
    return archiver_deployment(REF, spec, spec.backup, IMAGE, credentials)


def pod_of(spec: StoreSpec) -> dict[str, Any]:
    pod: dict[str, Any] = deployment(spec)["spec"]["template"]["spec"]
    return pod


def config_of(spec: StoreSpec, region: int = 0) -> dict[str, Any]:
    assert spec.backup is not None
    made = archiver_config_map(REF, spec, spec.backup, spec.regions[region])
    assert made["metadata"]["name"] == "orders-archiver"
    config: dict[str, Any] = json.loads(made["data"]["archive.json"])
    return config


def test_one_pod_runs_and_the_one_before_ends_first() -> None:
    made = deployment(spec_of({}))
    assert made["metadata"]["name"] == "orders-archiver"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert (made["spec"]["replicas"], made["spec"]["strategy"]) == (1, {"type": "Recreate"})
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert deployment(spec_of({"suspend": True}))["spec"]["replicas"] == 0


def test_no_selector_of_replicas_takes_the_archivers_pod() -> None:
    spec = spec_of({})
    labels = deployment(spec)["spec"]["template"]["metadata"]["labels"]
    for region in spec.regions:
        replicas = stateful_set(REF, spec, region, IMAGE)["spec"]
        for selector in (replicas["selector"]["matchLabels"], region_service(REF, region.name)["spec"]["selector"]):
            assert not selector.items() <= labels.items()
        own = deployment(spec)["spec"]["selector"]["matchLabels"]
        assert not own.items() <= replicas["template"]["metadata"]["labels"].items()


def test_other_credentials_are_another_template() -> None:
    spec = spec_of({})
    assert deployment(spec, "a")["spec"]["template"] != deployment(spec, "b")["spec"]["template"]


def test_it_runs_as_the_replicas_do() -> None:
    spec = spec_of({}, pods={"labels": {"team": "a"}, "priorityClassName": "high", "imagePullSecrets": [{"name": "r"}]})
    made, replica = pod_of(spec), stateful_set(REF, spec, spec.regions[0], IMAGE)["spec"]["template"]["spec"]
    for name in ("securityContext", "priorityClassName", "imagePullSecrets"):
        assert made[name] == replica[name]
    [container], [replicas] = made["containers"], replica["containers"]
    for name in ("image", "imagePullPolicy", "securityContext", "terminationMessagePolicy"):
        assert container[name] == replicas[name]
    assert container["command"][:3] == ["python", "-m", "rstore_backup"]
    assert container["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}}
    assert [port["name"] for port in container["ports"]] == ["http"]
    volumes = {volume["name"]: volume for volume in made["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes) == {"config", "tls", "tmp", "drill"}
    assert volumes["tls"]["secret"]["secretName"] == "orders-archiver-tls"


def test_identities() -> None:
    plain, own = pod_of(spec_of({})), pod_of(spec_of({"serviceAccountName": "uploader"}))
    assert (plain["serviceAccountName"], plain["automountServiceAccountToken"]) == ("orders", False)
    assert (own["serviceAccountName"], own["automountServiceAccountToken"]) == ("uploader", True)
    assert "envFrom" not in plain["containers"][0]
    [container] = pod_of(spec_of({"credentialsSecret": "keys"}))["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def label(region: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "topology.kubernetes.io/region", "operator": "In", "values": [region]}]}


def with_zone(*zones: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in zones]
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}, "podAntiAffinity": {REQUIRED: []}}}


ZONES = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in "ab"]
SSD = {"key": "disk", "operator": "In", "values": ["ssd"]}


@pytest.mark.parametrize(
    ("regions", "read_from", "preferred", "allowed"),
    [
        ({"us": None}, "Secondary", [label("us")], [label("us")]),
        ({"us": None, "eu": None}, "Secondary", [label("eu")], [label("eu"), label("us")]),
        ({"us": None, "eu": None}, "Primary", [label("us")], [label("us"), label("eu")]),
        ({"us": None, "eu": {}}, "Secondary", [], None),
        ({"us": {}, "eu": None}, "Secondary", [label("eu")], None),
        ({"us": None, "eu": with_zone("a", "b")}, "Secondary", ZONES, [*ZONES, label("us")]),
        (
            {"us": None, "eu": {**with_zone("a"), "nodeSelector": {"disk": "ssd"}}},
            "Secondary",
            [{"matchExpressions": [SSD, *ZONES[0]["matchExpressions"]]}],
            [{"matchExpressions": [SSD, *ZONES[0]["matchExpressions"]]}, label("us")],
        ),
        ({"us": None, "eu": {"affinity": {"nodeAffinity": "none"}}}, "Secondary", [], None),
    ],
    ids=["one", "secondary", "primary", "anywhere", "else-anywhere", "affinity", "both", "nonsense"],
)
def test_it_runs_where_it_reads_or_else_in_another_region(
    regions: dict[str, Any], read_from: str, preferred: list[Any], allowed: list[Any] | None
) -> None:
    listed = [{"name": name, **({} if where is None else {"placement": where})} for name, where in regions.items()]
    made = pod_of(spec_of({"from": read_from}, regions=listed, primaryRegion="us"))
    affinity = made.get("affinity", {}).get("nodeAffinity", {})
    weighed = [{"weight": 100, "preference": term} for term in preferred]
    assert affinity.get("preferredDuringSchedulingIgnoredDuringExecution", []) == weighed
    assert affinity.get(REQUIRED) == (None if allowed is None else {"nodeSelectorTerms": allowed})
    assert "nodeSelector" not in made


def test_it_tolerates_what_any_region_tolerates() -> None:
    one, other = {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}
    regions = [
        {"name": "us", "placement": {"tolerations": [one, other]}},
        {"name": "eu", "placement": {"tolerations": [other]}},
    ]
    assert pod_of(spec_of({}, regions=regions))["tolerations"] == [other, one]
    assert "tolerations" not in pod_of(spec_of({}, regions=[{"name": "us"}]))


def test_a_folder_is_a_mounted_volume() -> None:
    spec = spec_of({"destination": "file:///stores/", "volumeClaim": "backups"})
    made = pod_of(spec)
    assert {"name": "archive", "persistentVolumeClaim": {"claimName": "backups"}} in made["volumes"]
    [mount] = [mount for mount in made["containers"][0]["volumeMounts"] if mount["name"] == "archive"]
    assert mount["subPath"] == "stores"
    assert config_of(spec)["destination"] == "file:///", "where it is mounted is an argument"
    assert f"--folder={mount['mountPath']}" in made["containers"][0]["args"]
    whole = pod_of(spec_of({"destination": "file:///", "volumeClaim": "backups"}))
    [mount] = [mount for mount in whole["containers"][0]["volumeMounts"] if mount["name"] == "archive"]
    assert "subPath" not in mount


def test_drills_have_a_volume_of_their_own_which_they_cannot_fill_up() -> None:
    made = pod_of(spec_of({}))
    [volume] = [volume for volume in made["volumes"] if volume["name"] == "drill"]
    [mount] = [mount for mount in made["containers"][0]["volumeMounts"] if mount["name"] == "drill"]
    arguments = dict(argument.split("=") for argument in made["containers"][0]["args"])
    assert arguments["--drill-folder"] == mount["mountPath"]
    limit = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) << 30
    assert int(arguments["--drill-bytes"]) <= limit - (1 << 30), "the kubelet evicts a pod that exceeds it"


def test_the_drills_that_are_asked_for() -> None:
    spec = spec_of({"drill": {"schedule": "0 4 * * *"}})
    assert spec.backup is not None
    made = archiver_config_map(REF, spec, spec.backup, spec.regions[0], (), Drills("now", 1234))
    config = decode(made["data"]["archive.json"].encode())
    assert (config.drill_schedule, config.drill_request, config.drill_last_ms) == ("0 4 * * *", "now", 1234)
    assert not {"drillSchedule", "drillRequest", "drillLastMs"} & config_of(spec_of({})).keys()


def test_the_configuration_is_one_that_the_archiver_takes() -> None:
    everything = {
        "destination": "s3://backups/orders",
        "endpoint": "http://minio:9000",
        "schedule": "0 3 * * *",
        "logInterval": "2s",
        "retention": {"keepBases": 3, "keepFor": "30d"},
    }
    for backup in ({}, everything):
        text = json.dumps(config_of(spec_of(backup)))
        config = decode(text.encode())
        assert (config.namespace, config.name, config.region) == ("shop", "orders", "us-east")
        assert config.replicas[2] == "orders-us-east-2.orders-us-east-peers.shop.svc:2380"
    assert (config.destination, config.endpoint) == ("s3://backups/orders", "http://minio:9000")
    assert (config.schedule, config.log_interval_ms) == ("0 3 * * *", 2000)
    assert (config.keep_bases, config.keep_seconds) == (3, 30 * 86_400)


def test_the_region_in_a_live_configuration_is_read_again() -> None:
    spec = spec_of({})
    assert spec.backup is not None
    assert configured_region(archiver_config_map(REF, spec, spec.backup, spec.regions[1])) == "eu-west"
    for damaged in (None, {}, {"data": {"archive.json": "["}}, {"data": {"archive.json": "[]"}}):
        assert configured_region(damaged) == ""


@pytest.mark.parametrize("namespace", ["", "rstore-system"])
def test_the_operator_and_metrics_may_connect(namespace: str) -> None:
    metrics = {"namespaceSelector": {"matchLabels": {"team": "metrics"}}}
    spec = spec_of({}, security={"networkPolicy": {"metrics": [metrics]}})
    policy = archiver_network_policy(REF, spec, OperatorPods(namespace, {"app": "operator"}))["spec"]
    assert policy["podSelector"] == {"matchLabels": deployment(spec)["spec"]["selector"]["matchLabels"]}
    operators, scrapes = policy["ingress"]
    assert operators["ports"] == scrapes["ports"] == [{"port": 9090, "protocol": "TCP"}]
    assert scrapes["from"] == [metrics]
    assert ("from" in operators) is bool(namespace)
