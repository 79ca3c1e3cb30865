"""Desired objects against what an API server makes of them: every field exists, and no apply is ever repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from localkube.apiserver.kinds.services import default_service
from localkube.apiserver.kinds.workloads import default_deployment, default_statefulset
from localkube.apiserver.schema import builtin
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.pruning import prune
from localkube.apiserver.schema.quantity import canonical
from localkube.apiserver.schema.structural import validate
from rstore_operator.planning.children.compare import change_needed
from rstore_operator.resource.model import UNKNOWN_PODS, OperatorPods, ReplicaImage, StoreRef, StoreSpec
from rstore_operator.resource.validate import read_spec
from rstore_operator.specs.archiver import archiver_config_map, archiver_deployment, archiver_network_policy
from rstore_operator.specs.configmap import config_map
from rstore_operator.specs.labels import with_hash
from rstore_operator.specs.network_policy import network_policy
from rstore_operator.specs.pdb import disruption_budget
from rstore_operator.specs.secrets import secret
from rstore_operator.specs.serviceaccount import service_account
from rstore_operator.specs.services import peers_service, region_service, store_service
from rstore_operator.specs.statefulset import stateful_set

REF = StoreRef("shop", "orders", "uid-1")
IMAGE = ReplicaImage("registry.example.com/replica:1.2", "IfNotPresent")
MODELS = {
    "ConfigMap": "V1ConfigMap",
    "Deployment": "V1Deployment",
    "NetworkPolicy": "V1NetworkPolicy",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Secret": "V1Secret",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
    "StatefulSet": "V1StatefulSet",
}
DEFAULTS: dict[str, Callable[[Any, Any], None]] = {
    "Deployment": default_deployment,
    "StatefulSet": default_statefulset,
    "Service": default_service,
}
SPECS: dict[str, dict[str, Any]] = {
    "as little as possible": {"regions": [{"name": "us-east"}]},
    "quantities that the server writes otherwise": {
        "regions": [
            {
                "name": "us-east",
                "storage": {"size": "1024Mi", "storageClassName": "fast"},
                "resources": {
                    "requests": {"cpu": "1000m", "memory": "0.5Gi"},
                    "limits": {"cpu": 2, "memory": "1000000k"},
                },
            }
        ]
    },
    "backups to a bucket": {
        "regions": [{"name": "us-east"}],
        "backup": {
            "destination": "s3://bucket/prefix",
            "credentialsSecret": "keys",
            "serviceAccountName": "uploader",
            "suspend": True,
            "resources": {"limits": {"cpu": 1, "memory": "0.5Gi"}},
        },
    },
    "backups to a folder": {
        "regions": [{"name": "us-east"}],
        "backup": {"destination": "file:///stores", "volumeClaim": "backups"},
    },
    "a placement of its own": {
        "regions": [
            {
                "name": "us-east",
                "placement": {
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "dedicated", "operator": "Exists", "tolerationSeconds": 0}],
                    "affinity": {
                        "nodeAffinity": {
                            "requiredDuringSchedulingIgnoredDuringExecution": {
                                "nodeSelectorTerms": [
                                    {"matchExpressions": [{"key": "arch", "operator": "In", "values": ["arm64"]}]}
                                ]
                            }
                        }
                    },
                    "topologySpreadConstraints": [],
                },
            }
        ]
    },
}


def spec_of(raw: dict[str, Any]) -> StoreSpec:
    spec, problems = read_spec(REF, raw)
    assert problems == ()
    assert spec is not None
    return spec


def manifests(spec: StoreSpec) -> list[dict[str, Any]]:
    region = spec.regions[0]
    made = [
        service_account(REF),
        store_service(REF, region.name),
        peers_service(REF, region.name),
        region_service(REF, region.name),
        config_map(REF, spec, region),
        disruption_budget(REF, region.name),
        secret(REF, "orders-ca"),
        secret(REF, "orders-us-east-tls", region.name),
        network_policy(REF, spec.network_policy, UNKNOWN_PODS),
    ]
    if spec.backup is not None:
        made += [
            archiver_config_map(REF, spec, spec.backup, region),
            archiver_deployment(REF, spec, spec.backup, IMAGE, "digest"),
            archiver_network_policy(REF, spec, OperatorPods("rstore-system", {"app": "operator"})),
            secret(REF, "orders-archiver-tls", component="archiver"),
        ]
    made.append(stateful_set(REF, spec, region, IMAGE))
    return [with_hash(item) for item in made]


def normalized(value: Any, parent: str = "") -> Any:
    """Quantities as the server writes them."""
    if isinstance(value, dict):
        inside = parent in ("requests", "limits")
        return {
            key: canonical(item) if inside or key == "sizeLimit" else normalized(item, key)
            for key, item in value.items()
        }
    return [normalized(item) for item in value] if isinstance(value, list) else value


def as_stored(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a GET returns after the apply: defaults, quantities, and what controllers and the server add."""
    live: dict[str, Any] = normalized(json.loads(json.dumps(manifest)))
    if live["kind"] in DEFAULTS:
        DEFAULTS[live["kind"]](live, None)
    live["metadata"].update(uid="u", resourceVersion="7", generation=1, creationTimestamp="2026-01-01T00:00:00Z")
    live["metadata"]["managedFields"] = [{"manager": "rstore-operator", "operation": "Apply"}]
    if live["kind"] == "Service" and live["spec"].get("clusterIP") != "None":
        live["spec"].update(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], ipFamilies=["IPv4"])
    return live


@pytest.mark.parametrize("what", SPECS)
def test_every_field_exists_and_has_its_type(what: str) -> None:
    for manifest in manifests(spec_of(SPECS[what])):
        node = Node(builtin.schema_of(MODELS[manifest["kind"]]), builtin.resolve)
        assert prune(node, json.loads(json.dumps(manifest))) == [], manifest["kind"]
        assert [str(cause) for cause in validate(node, manifest)] == [], manifest["kind"]


def test_the_check_finds_what_does_not_exist() -> None:
    node = Node(builtin.schema_of("V1StatefulSet"), builtin.resolve)
    made = manifests(spec_of(SPECS["as little as possible"]))[-1]
    made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicies"] = "Always"
    assert prune(node, made) == ["spec.template.spec.containers[0].imagePullPolicies"]


@pytest.mark.parametrize("what", SPECS)
def test_what_the_server_made_of_an_object_is_no_change(what: str) -> None:
    for manifest in manifests(spec_of(SPECS[what])):
        live = as_stored(manifest)
        assert live != manifest
        assert change_needed(manifest, live) == "", manifest["kind"]


def test_what_somebody_changed_is_one() -> None:
    manifest = manifests(spec_of(SPECS["quantities that the server writes otherwise"]))[-1]
    live = as_stored(manifest)
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "999m"
    assert change_needed(manifest, live) == "drift"
    live = as_stored(manifest)
    live["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "INJECTED", "value": "1"})
    assert change_needed(manifest, live) == "drift"


MUTABLE = {"replicas", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"}
EDITS: dict[str, dict[str, Any]] = {
    "resources": {"regions": [{"name": "us-east", "resources": {"requests": {"cpu": "2"}}}]},
    "placement": {"regions": [{"name": "us-east", "placement": {}}]},
    "another region": {"regions": [{"name": "us-east"}, {"name": "eu-west"}], "primaryRegion": "eu-west"},
    "volumes": {"regions": [{"name": "us-east"}], "persistence": {"pvcPolicy": "Delete"}},
    "replication": {"regions": [{"name": "us-east"}], "replication": {"batchInterval": "1s", "window": "64Mi"}},
    "clients": {"regions": [{"name": "us-east"}], "security": {"clientAuth": "None"}},
}


@pytest.mark.parametrize("what", EDITS)
def test_no_edit_of_a_spec_touches_what_a_stateful_set_cannot_change(what: str) -> None:
    before, after = (
        stateful_set(REF, spec, spec.regions[0], IMAGE)["spec"]
        for spec in (spec_of(SPECS["as little as possible"]), spec_of(EDITS[what]))
    )
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= MUTABLE
