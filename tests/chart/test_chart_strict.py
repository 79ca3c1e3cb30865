"""Every field of every object of the chart exists in the Kubernetes API and has its type."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chart.conftest import EVERYTHING, Helm
from localkube.apiserver.schema import builtin
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.pruning import prune
from localkube.apiserver.schema.structural import validate


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"watchNamespaces": ["team-a", "team-b"]}])
def test_every_field_exists_and_has_its_type(helm: Helm, values: dict[str, Any]) -> None:
    objects = helm.render(**values).objects
    assert {made["kind"] for made in objects} >= {"Deployment", "ServiceAccount"}
    own = {"monitoring.coreos.com", "apiextensions.k8s.io"}  # the definition has its own tests
    for made in objects:
        if made["apiVersion"].partition("/")[0] in own:
            continue
        node = Node(builtin.schema_of(f"V1{made['kind']}"), builtin.resolve)
        assert prune(node, json.loads(json.dumps(made))) == [], made["kind"]
        assert [str(cause) for cause in validate(node, made)] == [], made["kind"]
