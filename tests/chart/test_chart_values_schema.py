"""The values schema: nonsense is refused by name, and what is documented is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Helm

CHART = Path(__file__).resolve().parents[2] / "charts" / "replicated-store-operator"
SCHEMA = yaml.safe_load((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())

NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"logLvel": "info"}, "logLvel"),
    ({"logLevel": "chatty"}, "logLevel"),
    ({"image": {"tag": "latest"}}, "image/tag"),
    ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
    ({"image": {"registry": "example.com"}}, "image"),
    ({"replicaImage": {"repository": ""}}, "replicaImage/repository"),
    ({"replicas": "two"}, "replicas"),
    ({"replicaCount": 2}, "replicaCount"),
    ({"evictAfterSeconds": -1}, "evictAfterSeconds"),
    ({"podDisruptionBudget": {"minAvailable": 1}}, "podDisruptionBudget"),
    ({"watchNamespaces": "default"}, "watchNamespaces"),
    ({"watchNamespaces": ["Not_A_Name"]}, "watchNamespaces/0"),
    ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
    ({"resources": {"limits": {"memory": "lots"}}}, "resources/limits/memory"),
    ({"extraEnv": {"A": "b"}}, "extraEnv"),
    ({"extraEnv": [{"value": "b"}]}, "extraEnv/0"),
    ({"nodeSelector": {"disk": 1}}, "nodeSelector/disk"),
    ({"serviceAccount": {"create": "yes"}}, "serviceAccount/create"),
]


def merged(override: dict[str, Any]) -> dict[str, Any]:
    """Merges values as Helm does: maps merge, anything else replaces."""

    def merge(low: Any, high: Any) -> Any:
        if isinstance(low, dict) and isinstance(high, dict):
            return {**low, **{key: merge(low.get(key), value) for key, value in high.items()}}
        return high

    result: dict[str, Any] = merge(DEFAULTS, override)
    return result


def test_the_defaults_are_valid() -> None:
    jsonschema.validate(DEFAULTS, SCHEMA)


@pytest.mark.parametrize(("values", "place"), NONSENSE, ids=[place for _, place in NONSENSE])
def test_nonsense_is_refused_where_it_is(values: dict[str, Any], place: str) -> None:
    with pytest.raises(jsonschema.ValidationError) as refusal:
        jsonschema.validate(merged(values), SCHEMA)
    path = "/".join(str(step) for step in refusal.value.absolute_path)
    assert place == path or place in refusal.value.message or place.rsplit("/", 1)[0] == path


def test_helm_itself_refuses_by_the_schema(helm: Helm) -> None:
    with pytest.raises(Exception, match=r"logLvel") as refusal:
        helm.render(logLvel="info", image={"tag": "latest"})
    assert "/image/tag" in str(refusal.value)


def test_every_documented_value_is_in_the_schema_and_nothing_else() -> None:
    assert set(SCHEMA["properties"]) - {"global"} == set(DEFAULTS)


def test_the_schema_allows_no_unknown_value_anywhere() -> None:
    def open_objects(node: Any, place: str) -> list[str]:
        found = []
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node and node.get("additionalProperties") is not False:
                found.append(place)
            for key, child in node.items():
                found += open_objects(child, f"{place}/{key}")
        return found

    assert open_objects(SCHEMA, "") == []
