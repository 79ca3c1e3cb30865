"""Values of custom resources: rules behind the recordings, with their siblings."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.http.body import decode_json
from localkube.apiserver.http.server import ApiServer
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema import cel
from localkube.apiserver.schema.node import Node
from localkube.apiserver.schema.provider import Schemas
from localkube.apiserver.schema.pruning import apply_defaults, prune
from localkube.apiserver.schema.rendering import shown
from localkube.apiserver.schema.string_formats import fits_format
from localkube.apiserver.schema.structural import ABSENT, structure_causes, validate
from sending import send
from widgets import WIDGETS, widget

KEY = "widgets.example.com"


def said(schema: dict[str, Any], value: Any, old: Any = ABSENT) -> list[str]:
    return [f"{cause.field} {cause.reason}" for cause in structure_causes(Node(schema), value, old=old)]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", ["2024-02-29T23:59:59Z", "2024-01-01t00:00:00.5+01:00"], ["2023-02-29T00:00:00Z", "2024-01-01"]),
        ("date", ["2024-02-29"], ["2023-02-29", "2024-2-9", "20240229"]),
        ("duration", ["1h30m", "1.5s", "3 days", "22 NS", "0"], ["soon", "", "3"]),
        ("uuid", ["00000000-e89b-12d3-a456-426614174000", "00000000e89b12d3a456426614174000"], ["nope", "{}"]),
        ("uuid4", ["00000000-e89b-42d3-a456-426614174000"], ["00000000-e89b-32d3-a456-426614174000"]),
        ("ipv4", ["10.0.0.1"], ["::1", "10.0.0.256", "010.0.0.1"]),
        ("ipv6", ["::1", "::ffff:10.0.0.1"], ["10.0.0.1", "fe80::1%eth0"]),
        ("cidr", ["10.0.0.1/8", "::/0"], ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0"]),
        ("mac", ["00:11:22:33:44:55", "0011.2233.4455", "00-11-22-33-44-55-66-77"], ["00:11:22:33:44", "x"]),
        ("email", ["a@example.io", "Ann <a@example.io>", '"a b"@example.io'], ["nobody", "a@", "@b"]),
        ("hostname", ["a.example.io", "a"], ["-x", "a_b", f"{'a' * 64}.io"]),
        ("uri", ["https://example.io/x", "/path", "urn:x:y"], ["not a uri", "", "relative/path", "http://a b/"]),
        ("byte", ["aGk=", "YWJj"], ["***", "aGk", ""]),
        ("k8s-short-name", ["a-b"], ["a.b", "A"]),
        ("k8s-long-name", ["a.b"], ["a_b"]),
        ("anything-else", ["x", ""], []),
    ],
)
def test_formats_of_strings(name: str, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not fits_format(name, text)] == []
    assert [text for text in bad if fits_format(name, text)] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b\n\x01é\u200b', '"a\\"b\\n\\x01é\\u200b"'),
        (0.7, "0.7"),
        (3.0, "3"),
        (1e6, "1e+06"),
        (1.5e-7, "1.5e-07"),
        (True, "true"),
        (None, "null"),
        ({"b": [1.0, "<"], "a": 1e20}, '{"a":100000000000000000000,"b":[1,"\\u003c"]}'),
    ],
)
def test_values_are_shown_as_go_prints_them(value: Any, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("schema", "value", "causes"),
    [
        ({"type": "integer", "enum": [1, 2]}, True, ["<nil> FieldValueTypeInvalid", "<nil> FieldValueNotSupported"]),
        ({"type": "integer"}, 3.0, []),
        ({"type": "integer"}, 2**63, ["<nil> FieldValueTypeInvalid", "<nil> FieldValueInvalid"]),
        ({"type": "number", "format": "float"}, -1e39, ["<nil> FieldValueInvalid"]),
        ({"type": "number", "minimum": 0.5}, 0.4, ["<nil> FieldValueInvalid"]),
        ({"type": "number", "multipleOf": 2.5}, 3, ["<nil> FieldValueInvalid"]),
        ({"type": "number", "multipleOf": 0.1}, 0.3, []),
        ({"type": "string", "pattern": "^a$"}, "a\n", ["<nil> FieldValueInvalid"]),
        ({"type": "string", "maxLength": 1, "pattern": "^a"}, "bb", ["<nil> FieldValueTooLong"]),
        ({"type": "object", "maxProperties": 0, "required": ["b"]}, {"a": 1}, ["<nil> FieldValueTooMany"]),
        ({"type": "string", "nullable": True}, None, []),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            {"metadata": {}},
            ["apiVersion FieldValueRequired", "kind FieldValueRequired"],
        ),
        ({"type": "object", "not": {"required": ["a"]}}, {"a": 1}, ["<nil> FieldValueInvalid"]),
        (
            {"type": "string", "allOf": [{"maxLength": 1}, {"minLength": 1}]},
            "ab",
            ["<nil> FieldValueTooLong", "<nil> FieldValueInvalid"],
        ),
    ],
)
def test_limits_of_values(schema: dict[str, Any], value: Any, causes: list[str]) -> None:
    assert sorted(said(schema, value)) == sorted(causes)


def test_an_update_may_leave_what_a_stricter_schema_refuses() -> None:
    text = {"type": "string", "maxLength": 1}
    keyed = {"type": "object", "required": ["n"], "properties": {"n": {"type": "string"}, "t": text}}
    schema = {
        "type": "object",
        "properties": {
            "text": text,
            "map": {"type": "object", "additionalProperties": text},
            "list": {"type": "array", "items": text},
            "keyed": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["n"],
                "items": keyed,
            },
        },
    }
    old = {"text": "aa", "map": {"x": "aa"}, "list": ["aa"], "keyed": [{"n": "1", "t": "aa"}, {"n": "2"}]}
    assert said(schema, old, old) == []
    assert said(schema, {**old, "text": "bb"}, old) == ["text FieldValueTooLong"]
    assert said(schema, {**old, "map": {"x": "aa", "y": "bb"}}, old) == ["map.y FieldValueTooLong"]
    assert said(schema, {**old, "list": ["aa", "b"]}, old) == ["list[0] FieldValueTooLong"], "a list is one value"
    assert said(schema, {**old, "keyed": [{"n": "3"}, {"n": "1", "t": "aa"}]}, old) == []
    assert said(schema, {**old, "keyed": [{"n": "3"}, {"n": "2", "t": "aa"}]}, old) == ["keyed[1].t FieldValueTooLong"]


def test_items_of_sets_and_keys_of_maps_are_reported_once() -> None:
    def reported(schema: dict[str, Any], value: Any) -> list[str]:
        return [str(cause) for cause in validate(Node(schema), value, "l", root=False)]

    numbers = {"type": "array", "x-kubernetes-list-type": "set", "items": {"x-kubernetes-int-or-string": True}}
    assert reported(numbers, [1, "1", 2]) == []
    assert reported(numbers, [1, 2, 1, 2, 1]) == ["l[2]: Duplicate value: 1", "l[3]: Duplicate value: 2"]
    key = {"type": "object", "properties": {"a": {"type": "integer"}, "p": {"type": "string", "default": "TCP"}}}
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["a", "p"],
        "items": key,
    }
    assert reported(keyed, [{"a": 1}, {"a": 1, "p": "UDP"}, {"a": 1, "p": "TCP"}]) == [
        'l[2]: Duplicate value: {"a":1,"p":"TCP"}'
    ]
    inside = {"type": "object", "additionalProperties": numbers}
    assert reported(inside, {"k": [1, 1]}) == ["l[k][1]: Duplicate value: 1"]


def test_null_is_replaced_by_the_default_dropped_or_kept() -> None:
    free, filled = {"type": "string"}, {"type": "string", "default": "d"}
    maybe = {"type": "string", "default": "d", "nullable": True}
    schema = {
        "type": "object",
        "properties": {
            "free": free,
            "filled": filled,
            "maybe": maybe,
            "map": {"type": "object", "additionalProperties": free},
            "defaults": {"type": "object", "additionalProperties": filled},
            "list": {"type": "array", "items": filled},
            "plain": {"type": "array", "items": free},
        },
    }
    value: dict[str, Any] = dict.fromkeys(("free", "filled", "maybe"))
    value |= {"map": {"a": None}, "defaults": {"a": None}, "list": [None], "plain": [None]}
    apply_defaults(Node(schema), value)
    assert value == {
        "filled": "d",
        "maybe": None,
        "map": {},
        "defaults": {"a": "d"},
        "list": ["d"],
        "plain": [None],
    }


def test_an_object_without_declared_fields_keeps_none() -> None:
    value = {"spec": {"a": 1}, "free": {"a": {"b": 1}}, "whole": {"metadata": {"name": "x", "odd": 1}, "data": 1}}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "whole": {"type": "object", "x-kubernetes-embedded-resource": True},
        },
    }
    assert prune(Node(schema), value) == ["spec.a", "whole.metadata.odd", "whole.data"]
    assert value == {"spec": {}, "free": {"a": {"b": 1}}, "whole": {"metadata": {"name": "x"}}}


def test_rules_about_what_an_update_leaves_alone_only_warn() -> None:
    def rule(text: str, **more: str) -> list[dict[str, str]]:
        return [{"rule": text, "message": "wrong", **more}]

    schema = {
        "type": "object",
        "x-kubernetes-validations": rule("self.a < 5", fieldPath=".a"),
        "properties": {
            "a": {"type": "integer", "x-kubernetes-validations": rule("self < 5")},
            "m": {
                "type": "object",
                "additionalProperties": {
                    "type": "string",
                    "nullable": True,
                    "x-kubernetes-validations": rule("self == 'x'", reason="FieldValueDuplicate"),
                },
            },
        },
    }
    old = {"a": 9, "m": {"k": "y", "n": None}}

    def findings(value: dict[str, Any], before: Any = ABSENT) -> tuple[list[str], list[str]]:
        found = cel.check(Node(schema), value, before)
        return [str(cause) for cause in found.refused], [str(cause) for cause in found.warned]

    root, number, text = "a: Invalid value: wrong", "a: Invalid value: 9: wrong", 'm[k]: Duplicate value: "y"'
    assert findings(old) == ([root, number, text], [])
    assert findings(old, old) == ([], [root, number, text])
    assert findings({"a": 9, "m": {"k": "z"}}, old) == ([root, 'm[k]: Duplicate value: "z"'], [number])


def test_repeated_keys_are_named_by_their_paths_in_the_order_of_the_text() -> None:
    body = decode_json(b'{"a":{"x":1,"x":2,"x":3},"l":[[{"y":1,"y":1}]],"a":{"z":{"w":1,"w":2}}}')
    assert body.value == {"a": {"z": {"w": 2}}, "l": [[{"y": 1}]]}
    assert body.duplicates == ["a.x", "l[0][0].y", "a.z.w", "a"]


async def test_whole_numbers_are_stored_without_a_fraction_and_true_is_not_one(widgets: ApiServer) -> None:
    made = widget("w", size=2.0, free={"a": 1, "b": 1e3, "c": 1.5})
    stored = widgets.store.create(KEY, made)
    assert [type(stored["spec"]["size"]), type(stored["spec"]["free"]["b"])] == [int, int]
    changed = widgets.store.patch(KEY, "default", "w", {"spec": {"free": {"a": True}}})
    assert changed["spec"]["free"] == {"a": True, "b": 1000, "c": 1.5}
    assert changed["spec"]["free"]["a"] is True
    assert changed["metadata"]["generation"] == 2


async def test_an_object_that_the_store_would_not_take_is_refused(widgets: ApiServer) -> None:
    widgets.store.create(KEY, widget("small", free={"text": "x" * 1_500_000}))
    with pytest.raises(ApiError, match="etcdserver: request is too large"):
        widgets.store.create(KEY, widget("large", free={"text": "x" * 1_600_000}))
    assert [item["metadata"]["name"] for item in widgets.store.list(KEY).items] == ["small"]


def test_a_number_that_is_too_large_for_any_type_is_no_json() -> None:
    with pytest.raises(ApiError, match="unrecognized"):
        decode_json(b'{"a":1e400}')


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"apiVersion": 1}, "spec.whole[0].apiVersion: Invalid value: 1: must be a string"),
        ({"kind": []}, "spec.whole[0].kind: Invalid value: []: must be a string"),
        ({"metadata": "x"}, 'spec.whole[0].metadata: Invalid value: "x": json: '),
        ({"metadata": {"labels": {"a": 1}}}, 'spec.whole[0].metadata: Invalid value: {"labels":{"a":1}}: json: '),
        ({"metadata": {"finalizers": "x"}}, 'spec.whole[0].metadata: Invalid value: {"finalizers":"x"}: json: '),
        ({"metadata": {"labels": None, "odd": 1}}, ""),
        ({"data": 1}, ""),
    ],
)
def test_objects_inside_an_object_that_cannot_be_read(part: dict[str, Any], problem: str) -> None:
    whole = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    items = {"type": "array", "items": whole}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"whole": items}}}}
    resource = Resource("example.com", "v1", "cups", "Cup", schema=schema)
    given = {"apiVersion": "v1", "kind": "ConfigMap", **part}
    error, _ = Schemas().examine(resource, {"spec": {"whole": [given]}}, [])
    assert error.startswith(problem)
    assert bool(error) == bool(problem)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("PATCH", {"spec": {"replicas": 4}}, 200),
        ("PATCH", {"spec": {"replicas": "4"}}, 422),
        ("PATCH", {"spec": {"replicas": 2**31}}, 422),
        ("PATCH", {"kind": "Pod"}, 422),
        ("PUT", {"metadata": {"name": "w"}, "spec": {"replicas": 4}}, 200),
        ("PUT", {"metadata": {"name": "w"}, "spec": {"replicas": 1.5}}, 400),
        ("PUT", {"metadata": {"name": "w"}, "spec": {"replicas": -1}}, 422),
        ("PUT", {"metadata": {"name": "other"}, "spec": {"replicas": 1}}, 400),
    ],
)
async def test_what_a_scale_takes(server: ApiServer, method: str, body: dict[str, Any], status: int) -> None:
    crd = copy.deepcopy(WIDGETS)
    paths = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
    crd["spec"]["versions"][0]["subresources"]["scale"] = paths
    server.store.create("customresourcedefinitions.apiextensions.k8s.io", crd)
    server.definitions.settle()
    server.store.create(KEY, widget("w"))
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    path = "/apis/example.com/v1/namespaces/default/widgets/w/scale"
    code, _, answer = await send(server, method, path, body=body, Content_Type=kind)
    assert code == status, answer
    size = server.store.get(KEY, "default", "w")["spec"]["size"]
    assert size == (4 if status == 200 else 3)
