"""Everything the project applies is taken by an API server that validates strictly, without a warning, and twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.conftest import Kubectl
from chart.conftest import EVERYTHING, Helm
from localkube.apiserver import ApiServer
from unit.operator.world import REF, SPEC, World

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = ROOT / "crds" / "replicatedstores.yaml"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
RICH: dict[str, Any] = {
    "primaryRegion": "eu",
    "regions": [
        {
            "name": "eu",
            "replicas": 1,
            "storage": {"size": "5Gi", "storageClassName": ""},
            "resources": {"limits": {"cpu": 2, "memory": "1Gi"}},
            "placement": {
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
                        ]
                    }
                },
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"a": "b"}},
                    }
                ],
            },
        },
        {
            "name": "us",
            "replicas": 2,
            "placement": {},
            "clientEndpoints": [
                "rs-{ordinal}.us.example.com:2379",
                "lb.example.com:3237{ordinal}",
                "[2001:db8::7]:2379",
            ],
        },
    ],
    "replication": {"mode": "SemiSync", "onTimeout": "Degrade"},
    "persistence": {"pvcPolicy": "Delete"},
    "pods": {
        "image": "registry.example.com/replica:2",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "system-cluster-critical",
        "labels": {"team": "a"},
        "annotations": {"note": "b"},
        "securityContext": {"fsGroup": 1000},
        "containerSecurityContext": {"readOnlyRootFilesystem": True},
        "hostSpread": "Required",
    },
    "security": {
        "networkPolicy": {
            "clients": [{"podSelector": {"matchLabels": {"a": "b"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "metrics": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        }
    },
}


async def apply_strictly(kubectl: Kubectl, objects: list[dict[str, Any]], manager: str) -> list[dict[str, Any]]:
    """Applies the objects with strict validation, which must not warn; returns them as the server answered them."""
    done = await kubectl(
        *("apply", "--server-side", "--validate=strict", f"--field-manager={manager}", "-o", "json", "-f", "-"),
        stdin=objects,
    )
    assert "arning" not in done.err, done.err
    answered = done.json()
    return list(answered["items"]) if answered["kind"] == "List" else [answered]


def as_applied(child: dict[str, Any]) -> dict[str, Any]:
    """Returns a child without the fields that the world in memory filled in, as a server does."""
    applied: dict[str, Any] = json.loads(json.dumps(child))
    for name in ("resourceVersion", "uid"):
        applied["metadata"].pop(name, None)
    if applied["kind"] == "Service" and applied["spec"].get("clusterIP") != "None":
        applied["spec"].pop("clusterIP", None)
    return applied


@pytest.fixture
async def stores(server: ApiServer, kubectl: Kubectl) -> ApiServer:
    """A server that serves ReplicatedStores."""
    await apply_strictly(kubectl, [yaml.safe_load(DEFINITION.read_text())], "helm")
    await kubectl("wait", "--for=condition=Established", "crd/replicatedstores.replicatedstore.io", "--timeout=30s")
    return server


@pytest.mark.parametrize("spec", [SPEC, RICH], ids=["usual", "rich"])
async def test_what_a_store_is_made_of_is_applied_twice_and_changes_once(
    stores: ApiServer, kubectl: Kubectl, spec: dict[str, Any]
) -> None:
    world = World(spec)
    world.settle()
    children = [as_applied(child) for child in world.children.values()]
    kinds = {child["kind"] for child in children}
    expected = {"ConfigMap", "PodDisruptionBudget", "Secret", "Service", "ServiceAccount", "StatefulSet"}
    assert kinds == expected | {"NetworkPolicy"}
    assert {child["metadata"]["namespace"] for child in children} == {REF.namespace}
    first = await apply_strictly(kubectl, children, "rstore-operator")
    second = await apply_strictly(kubectl, children, "rstore-operator")
    versions = [[child["metadata"]["resourceVersion"] for child in answered] for answered in (first, second)]
    assert versions[0] == versions[1], "applied again, something changes"


@pytest.mark.parametrize("spec", [SPEC, RICH], ids=["usual", "rich"])
async def test_a_stores_spec_and_status_fit_its_definition(
    stores: ApiServer, kubectl: Kubectl, spec: dict[str, Any]
) -> None:
    world = World(spec)
    world.settle()
    store = {
        "apiVersion": "replicatedstore.io/v1alpha1",
        "kind": "ReplicatedStore",
        "metadata": {"name": REF.name, "namespace": REF.namespace},
        "spec": spec,
    }
    await apply_strictly(kubectl, [store], "kubectl")
    patch = json.dumps({"status": world.status})
    done = await kubectl(
        *("patch", "rstore", REF.name, "--subresource=status", "--type=merge", "-p", patch, "-o", "json"),
    )
    assert "arning" not in done.err, "a field of the status is not in the definition"
    assert done.json()["status"] == world.status


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_examples_are_taken(stores: ApiServer, kubectl: Kubectl, example: Path) -> None:
    await apply_strictly(kubectl, list(yaml.safe_load_all(example.read_text())), "kubectl")


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"watchNamespaces": ["team-a", "default"]}])
async def test_the_chart_is_taken(server: ApiServer, kubectl: Kubectl, values: dict[str, Any]) -> None:
    for namespace in ("rstore-system", "team-a"):
        await kubectl("create", "namespace", namespace)
    rendered = Helm().render(**values).objects
    objects = [made for made in rendered if not made["apiVersion"].startswith("monitoring.coreos.com/")]
    first = await apply_strictly(kubectl, objects, "helm")
    second = await apply_strictly(kubectl, objects, "helm")
    assert len(first) == len(objects)
    assert [made["metadata"].get("generation") for made in first] == [
        made["metadata"].get("generation") for made in second
    ]


@pytest.mark.parametrize("name", ["1234", "3240286e-210077", "0x1f"])
async def test_the_chart_is_taken_under_names_that_look_like_numbers(
    server: ApiServer, kubectl: Kubectl, name: str
) -> None:
    await kubectl("create", "namespace", name)
    values = {"watchNamespaces": [name], "fullnameOverride": name, "podLabels": {"a": name}}
    objects = list(Helm().render_as(name, name, **values).objects)
    done = await kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=objects)
    assert done.out.count("(server dry run)") == len(objects)


async def test_every_openapi_document_is_served(stores: ApiServer, kubectl: Kubectl) -> None:
    """kubectl looks fields up in them when it applies, and ignores a missing one without a message."""
    paths = (await kubectl("get", "--raw", "/openapi/v3")).json()["paths"]
    groups = {"apis/apps/v1", "api/v1", "apis/apiextensions.k8s.io/v1", "apis/replicatedstore.io/v1alpha1"}
    assert groups <= set(paths)
    for entry in paths.values():
        document = (await kubectl("get", "--raw", entry["serverRelativeURL"])).json()
        assert document["openapi"].startswith("3.")
