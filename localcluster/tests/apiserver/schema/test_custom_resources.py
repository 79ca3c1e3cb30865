"""Custom resources: validation, defaulting, pruning, CEL; definitions that make no sense are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localkube.apiserver.errors import ApiError
from localkube.apiserver.http.server import ApiServer
from localkube.apiserver.schema import quantity
from localkube.apiserver.schema.cel import compile_expression
from widgets import WIDGETS, widget

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
KEY = "widgets.example.com"


def create(server: ApiServer, obj: dict[str, Any]) -> dict[str, Any]:
    return server.store.create(KEY, obj, namespace="default")


def refused(server: ApiServer, obj: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        create(server, obj)
    assert caught.value.code == 422
    return caught.value.message


async def test_defaults_are_filled_in_and_unknown_fields_dropped(widgets: ApiServer) -> None:
    made = create(widgets, widget("w", unknown=1, free={"any": {"thing": 1}}))
    assert made["spec"] == {
        "size": 3,
        "colour": "red",
        "parts": [{"name": "a", "count": 1}],
        "free": {"any": {"thing": 1}},
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"size": 0}, "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 10}, "spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"),
        ({"size": "x"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"colour": "pink"}, 'spec.colour: Unsupported value: "pink": supported values: "red", "blue"'),
        ({"parts": []}, "spec.parts: Invalid value: 0: spec.parts in body should have at least 1 items"),
        ({"parts": [{"name": c} for c in "abcd"]}, "spec.parts: Too many: 4: must have at most 3 items"),
        ({"parts": [{"name": "a"}, {"name": "a"}]}, 'spec.parts[1]: Duplicate value: {"name":"a"}'),
        ({"parts": [{}]}, "spec.parts[0].name: Required value"),
        ({"parts": [{"name": "A"}]}, "spec.parts[0].name in body should match '^[a-z]+$'"),
        ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
        ({"main": "b"}, "spec.main: Invalid value: main must be one of the parts"),
        ({"limit": "-1"}, 'spec.limit: Invalid value: "-1": must be a positive quantity'),
        ({"limit": "lots"}, 'spec.limit: Invalid value: "lots": must be a positive quantity'),
    ],
)
async def test_problems_are_reported_as_kubernetes_does(widgets: ApiServer, spec: dict[str, Any], message: str) -> None:
    text = refused(widgets, widget("w", **spec))
    assert text.startswith('Widget.example.com "w" is invalid: ')
    assert message in text


async def test_transition_rules_see_the_old_value(widgets: ApiServer) -> None:
    made = create(widgets, widget("w"))
    made["spec"]["colour"] = "blue"
    with pytest.raises(ApiError, match=r"spec: Forbidden: colour is fixed at red"):
        widgets.store.update(KEY, made)


async def test_an_update_needs_a_resource_version(widgets: ApiServer) -> None:
    made = create(widgets, widget("w"))
    del made["metadata"]["resourceVersion"]
    with pytest.raises(ApiError, match="must be specified for an update"):
        widgets.store.update(KEY, made)


def definition(change: Any) -> dict[str, Any]:
    crd = copy.deepcopy(WIDGETS)
    change(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    return crd


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda schema: schema["properties"]["spec"].update(
                {"x-kubernetes-validations": [{"rule": "nosuch(self)"}]}
            ),
            "undeclared reference to 'nosuch'",
        ),
        (
            lambda schema: schema["properties"]["spec"].update({"x-kubernetes-validations": [{"rule": "self.("}]}),
            "compilation failed",
        ),
        (
            lambda schema: schema["properties"]["spec"].update(
                {"x-kubernetes-validations": [{"rule": "self.nope > 1"}]}
            ),
            "undefined field 'nope'",
        ),
        (
            lambda schema: schema["properties"]["spec"].update(
                {"x-kubernetes-validations": [{"rule": "self.parts.all(p, p.nmae == 'a')"}]}
            ),
            "undefined field 'nmae'",
        ),
        (
            lambda schema: schema["properties"]["spec"]["properties"]["tags"]["items"].update(
                {"x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
            ),
            "oldSelf cannot be used on the uncorrelatable portion",
        ),
        (
            lambda schema: schema["properties"]["spec"]["properties"]["size"].update(default=0),
            "greater than or equal to 1",
        ),
        (lambda schema: schema["properties"].update({"odd": {}}), "must not be empty for specified object fields"),
        (
            lambda schema: schema["properties"]["spec"]["properties"]["parts"]["items"].pop("required"),
            "so it must have a default or be a required property",
        ),
    ],
)
async def test_definitions_that_could_not_be_honoured_are_refused(server: ApiServer, change: Any, message: str) -> None:
    with pytest.raises(ApiError, match="is invalid") as caught:
        server.store.create(CRDS, definition(change))
    assert message in caught.value.message


async def test_deleting_a_definition_deletes_what_it_defined(widgets: ApiServer) -> None:
    held = widget("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    create(widgets, widget("w"))
    create(widgets, held)
    _, _ = widgets.store.delete(CRDS, None, KEY)
    widgets.definitions.settle()
    assert [item["metadata"]["name"] for item in widgets.store.list(KEY).items] == ["held"]
    widgets.store.patch(KEY, "default", "held", {"metadata": {"finalizers": None}})
    widgets.definitions.settle()
    assert widgets.store.find(CRDS, None, KEY) is None
    with pytest.raises(ApiError, match="could not find the requested resource"):
        widgets.store.list(KEY)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("1500M", "1500M"),
        (2, "2"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("100000000n", "100m"),
    ],
)
def test_canonical_quantities(given: Any, wanted: str) -> None:
    assert quantity.canonical(given) == wanted


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_canonical_form_keeps_the_value(number: int, suffix: str) -> None:
    assert quantity.parse(quantity.canonical(f"{number}{suffix}")) == quantity.parse(f"{number}{suffix}")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("duration('10ms') < duration('1s')", True),
        ("quantity('1Gi').compareTo(quantity('1024Mi')) == 0", True),
        ("'abc'.matches('^b')", False),
        ("[1, 2, 2].exists_one(x, x == 2)", False),
    ],
)
def test_cel_functions_of_kubernetes(expression: str, value: bool) -> None:
    assert bool(compile_expression(expression).evaluate({})) is value


async def test_an_update_is_not_held_against_what_it_does_not_touch(server: ApiServer) -> None:
    server.store.create(CRDS, WIDGETS)
    server.definitions.settle()
    create(server, widget("w", size=9))
    crd = server.store.get(CRDS, None, KEY)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["size"]["maximum"] = 5
    server.store.update(CRDS, crd)
    server.store.patch(KEY, "default", "w", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(ApiError, match="less than or equal to 5"):
        server.store.patch(KEY, "default", "w", {"spec": {"size": 7}})


async def test_watches_end_with_the_definition_and_start_afresh(widgets: ApiServer) -> None:
    watch = widgets.store.watch(KEY)
    create(widgets, widget("w"))
    widgets.store.delete(CRDS, None, KEY)
    widgets.definitions.settle()
    assert [event.type async for event in watch] == ["ADDED", "DELETED"]
    widgets.store.create(CRDS, WIDGETS)
    widgets.definitions.settle()
    create(widgets, widget("again"))
    event = await widgets.store.watch(KEY).next(1)
    assert event is not None
    assert event.object["metadata"]["name"] == "again"
