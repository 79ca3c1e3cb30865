"""The CRD is accepted by the API server's own checks, and those checks refuse what a real API server refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from localkube.apiserver.review import main, review

ROOT = Path(__file__).parents[4]
FILE = ROOT / "crds" / "replicatedstores.yaml"
CRD: dict[str, Any] = yaml.safe_load(FILE.read_text())
Json = dict[str, Any]


def test_the_crd_is_accepted_without_a_warning() -> None:
    assert review(CRD) == []
    assert main([str(FILE)]) == 0


def test_a_file_with_a_mistake_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "crd.yaml"
    file.write_text(FILE.read_text().replace("storage: true", "storage: false"))
    assert main([str(file)]) == 1
    assert f"{file}: spec.versions: Invalid value: " in capsys.readouterr().err


def schema(crd: Json) -> Json:
    root: Json = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


def spec(crd: Json) -> Json:
    found: Json = schema(crd)["properties"]["spec"]
    return found


def region(crd: Json) -> Json:
    found: Json = spec(crd)["properties"]["regions"]["items"]
    return found


def ruled(at: Json, rule: str, **parts: Any) -> None:
    at.setdefault("x-kubernetes-validations", []).append({"rule": rule, "message": "no", **parts})


MUTATIONS: dict[str, tuple[Callable[[Json], Any], str]] = {
    "a description of metadata": (
        lambda crd: schema(crd)["properties"]["metadata"].update(description="Standard metadata."),
        "properties[metadata]: Forbidden: must not specify anything other than name and generateName",
    ),
    "a label in metadata": (
        lambda crd: schema(crd)["properties"]["metadata"].update(properties={"labels": {"type": "object"}}),
        "properties[metadata]: Forbidden: must not specify anything other than name and generateName",
    ),
    "an unknown keyword": (
        lambda crd: region(crd)["properties"]["name"].update(readOnly=True),
        'warning: unknown field "spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.regions.items.',
    ),
    "a misspelt keyword": (
        lambda crd: region(crd)["properties"]["replicas"].update(minimun=1),
        "items.properties.replicas.minimun",
    ),
    "a keyword of another type": (
        lambda crd: region(crd)["properties"]["replicas"].update(minimum="1"),
        'CustomResourceDefinition in version "v1" cannot be handled as a CustomResourceDefinition',
    ),
    "a type that is none": (
        lambda crd: region(crd)["properties"]["replicas"].update(type="int"),
        'items.properties[replicas].type: Unsupported value: "int"',
    ),
    "no type": (
        lambda crd: region(crd)["properties"]["replicas"].pop("type"),
        "items.properties[replicas].type: Required value: must not be empty for specified object fields",
    ),
    "a format that checks nothing": (
        lambda crd: region(crd)["properties"]["name"].update(format="dns-label"),
        'warning: unrecognized format "dns-label"',
    ),
    "a pattern that is none": (
        lambda crd: region(crd)["properties"]["name"].update(pattern="(?!x)"),
        "items.properties[name].pattern: Invalid value: ",
    ),
    "a default outside its enum": (
        lambda crd: spec(crd)["properties"]["replication"]["properties"]["mode"].update(default="Sometimes"),
        'properties[mode].default: Unsupported value: "Sometimes": supported values: ',
    ),
    "a default outside its limits": (
        lambda crd: region(crd)["properties"]["replicas"].update(default=0),
        "items.properties[replicas].default: Invalid value: 0: ",
    ),
    "a default with a field that is not there": (
        lambda crd: region(crd)["properties"]["storage"].update(default={"syze": "1Gi"}),
        'items.properties[storage].default: Invalid value: {"syze":"1Gi"}: must not have unknown fields',
    ),
    "a default that its rule refuses": (
        lambda crd: region(crd)["properties"]["storage"]["properties"]["size"].update(default="-1"),
        'properties[size].default: Invalid value: "-1": ',
    ),
    "a rule over texts without a maximum": (
        lambda crd: (
            region(crd)["properties"].update(tags={"type": "array", "items": {"type": "string"}}),
            ruled(region(crd), "!has(self.tags) || self.tags.all(t, t.contains('x'))"),
        ),
        "estimated rule cost exceeds budget by factor of more than 100x",
    ),
    "a rule with two loops over a list without a maximum": (
        lambda crd: (
            spec(crd)["properties"]["regions"].pop("maxItems"),
            ruled(spec(crd), "self.regions.all(a, self.regions.exists(b, a.name == b.name))"),
        ),
        "openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total",
    ),
    "a rule about a field that is not there": (
        lambda crd: ruled(spec(crd), "self.regons.size() > 0"),
        "compilation failed: ERROR: <input>:1:5: undefined field 'regons'",
    ),
    "a rule that compares a text with a number": (
        lambda crd: ruled(region(crd), "self.name > 1"),
        "found no matching overload for '_>_' applied to '(string, int)'",
    ),
    "a rule that is no boolean": (
        lambda crd: ruled(region(crd), "size(self.name)"),
        "cel expression must evaluate to a bool",
    ),
    "a rule with a function that there is not": (
        lambda crd: ruled(region(crd), "self.name.isLowerCase()"),
        "undeclared reference to 'isLowerCase'",
    ),
    "a rule about labels": (
        lambda crd: ruled(schema(crd), "has(self.metadata.labels)"),
        "undefined field 'labels'",
    ),
    "a message that is no text": (
        lambda crd: ruled(region(crd), "self.name != ''", messageExpression="size(self.name)"),
        "messageExpression must evaluate to a string",
    ),
    "a reason that there is not": (
        lambda crd: ruled(region(crd), "self.name != ''", reason="Nope"),
        'reason: Unsupported value: "Nope"',
    ),
    "a rule for a field that is not there": (
        lambda crd: ruled(region(crd), "self.name != ''", fieldPath=".nome"),
        'fieldPath: Invalid value: ".nome": must be a valid path',
    ),
    "an old value in a list of texts": (
        lambda crd: spec(crd)["properties"].update(
            tags={
                "type": "array",
                "maxItems": 3,
                "items": {
                    "type": "string",
                    "maxLength": 9,
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "no"}],
                },
            }
        ),
        "oldSelf cannot be used on the uncorrelatable portion of the schema",
    ),
    "a list whose key is optional": (
        lambda crd: region(crd).pop("required"),
        "items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys",
    ),
    "a type inside a junctor": (
        lambda crd: region(crd).update(anyOf=[{"type": "object"}]),
        "items.anyOf[0].type: Forbidden: must be empty to be structural",
    ),
    "a default of the whole object": (
        lambda crd: schema(crd).update(default={}),
        "openAPIV3Schema.default.apiVersion: Required value",
    ),
    "rules at the root that would hide the status": (
        lambda crd: schema(crd).update(minProperties=1),
        "fields are allowed at the root of the schema if the status subresource is enabled",
    ),
    "a column that is no path": (
        lambda crd: crd["spec"]["versions"][0]["additionalPrinterColumns"][0].update(jsonPath="status.phase"),
        "spec.additionalPrinterColumns[0].JSONPath: Invalid value: ",
    ),
    "no stored version": (
        lambda crd: crd["spec"]["versions"][0].update(storage=False),
        "must have exactly one version marked as storage version",
    ),
    "another name": (
        lambda crd: crd["metadata"].update(name="stores.replicatedstore.io"),
        'metadata.name: Invalid value: "stores.replicatedstore.io": must be spec.names.plural+"."+spec.group',
    ),
    "a group of Kubernetes": (
        lambda crd: (
            crd["spec"].update(group="storage.k8s.io"),
            crd["metadata"].update(name="replicatedstores.storage.k8s.io"),
        ),
        "metadata.annotations[api-approved.kubernetes.io]: Required value",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mistake_in_the_crd_is_found(mutation: str) -> None:
    change, expected = MUTATIONS[mutation]
    crd = copy.deepcopy(CRD)
    change(crd)
    found = review(crd)
    assert any(expected in text for text in found), found


def test_a_file_that_holds_no_definition_is_named() -> None:
    assert review({"apiVersion": "v1", "kind": "ConfigMap"}) == [
        "not a CustomResourceDefinition of apiextensions.k8s.io/v1"
    ]
