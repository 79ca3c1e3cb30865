"""Definitions: what is refused and warned of beyond what the recordings show, and that nothing breaks the checks."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localkube.apiserver.errors import ApiError
from localkube.apiserver.http.server import ApiServer
from localkube.apiserver.review import review
from localkube.apiserver.schema.definition import field_path

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
Json = dict[str, Any]
TEXT: Json = {"type": "string"}


def version(name: str = "v1", schema: Json | None = None, **parts: Any) -> Json:
    root = {"type": "object"} if schema is None else schema
    return {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": root}, **parts}


def definition(*versions: Json, **spec: Any) -> Json:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boxes.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "boxes", "kind": "Box"},
            "versions": list(versions or [version()]),
            **spec,
        },
    }


def with_field(field: Json) -> Json:
    return definition(version(schema={"type": "object", "properties": {"f": field}}))


def fields(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


F = "spec.validation.openAPIV3Schema.properties[f]"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            {**fields(metadata=fields()), "allOf": [{"properties": {"metadata": {"maxProperties": 1}}}]},
            f"{F}.allOf[0].properties[metadata]: Forbidden: must not be specified in a nested context",
        ),
        (
            {"type": "object", "allOf": [{"anyOf": [{"title": "x"}]}]},
            f"{F}.allOf[0].anyOf[0].title: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "string", "not": {"pattern": "["}},
            f'{F}.not.pattern: Invalid value: "[": must be a valid regular expression, but isn\'t: error parsing',
        ),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "string"}, {"type": "integer"}]},
            f"{F}.anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"x-kubernetes-int-or-string": True, "allOf": [{"pattern": "a", "anyOf": [{"type": "integer"}]}]},
            f"{F}.allOf[0].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {**fields(kind={"type": "integer"}), "x-kubernetes-embedded-resource": True},
            f'{F}.properties[kind].type: Invalid value: "integer": must be string',
        ),
        (
            {
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "properties": {"metadata": {**fields(), "x-kubernetes-embedded-resource": True}},
            },
            "x-kubernetes-embedded-resource: Forbidden: must not be used inside of resource meta",
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True, "additionalProperties": TEXT},
            f"{F}.additionalProperties: Forbidden: must not be used if x-kubernetes-embedded-resource is set",
        ),
        (
            {**fields(), "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
            | {"default": {"spec": 1}},
            f"{F}.default.apiVersion: Required value",
        ),
        (
            {"type": "string", "$schema": "http://json-schema.org/schema#"},
            "openAPIV3Schema: Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported",
        ),
        ({"type": "null"}, f"{F}.type: Forbidden: type cannot be set to null, use nullable as an alternative"),
        (
            {"type": "array", "items": {**fields(), "x-kubernetes-map-type": "granular"}}
            | {"x-kubernetes-list-type": "set"},
            f"{F}.items.x-kubernetes-map-type: Invalid value: null: must be atomic",
        ),
        (
            {"type": "array", "items": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}}
            | {"x-kubernetes-list-type": "set"},
            f'{F}.items.x-kubernetes-list-type: Invalid value: "set": must be atomic',
        ),
        (
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
            | {"items": {**fields(k={**TEXT, "nullable": True}), "required": ["k"], "nullable": True}},
            f"{F}.items.properties[k].nullable: Forbidden: this property is in x-kubernetes-list-map-keys",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "integer", "default": 1.5}}},
            f"{F}.properties[a].default: Invalid value: ",
        ),
        (
            {"type": "array", "items": TEXT, "default": ["a", 1]},
            f"{F}.default[1]: Invalid value: ",
        ),
        (
            {"type": "object", "additionalProperties": {**TEXT, "maxLength": 2}, "default": {"a": "long"}},
            f"{F}.default.a: Too long: ",
        ),
    ],
)
def test_schemas_that_are_refused(field: Json, expected: str) -> None:
    found = review(with_field(field))
    assert any(expected in text for text in found), found


def test_what_a_junctor_at_the_root_speaks_of_must_be_described_outside() -> None:
    at = "spec.validation.openAPIV3Schema"
    spec = {"spec": fields(a=TEXT)}
    for junctor, missing in (
        ({"anyOf": [{"properties": {"b": {"minLength": 1}}}]}, "properties[b]"),
        ({"not": {"properties": {"spec": {"items": {"minimum": 1}}}}}, "properties[spec].items"),
    ):
        (found,) = review(definition(version(schema={**fields(**spec), **junctor})))
        assert found.startswith(f"{at}.{missing}: Required value: because it is defined in {at}.{next(iter(junctor))}")
    allowed = {**fields(**spec), "anyOf": [{"properties": {"spec": {"required": ["a"]}}}]}
    assert review(definition(version(schema=allowed))) == []


@pytest.mark.parametrize(
    "field",
    [
        {"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]},
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}]},
        {**fields(a=TEXT), "additionalProperties": True},
        {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        {"type": "array", "items": {**fields(), "x-kubernetes-map-type": "atomic"}},
        {**fields(a=TEXT), "oneOf": [{"properties": {"a": {"enum": ["x"]}}}, {"required": ["a"]}]},
        {"type": "object", "additionalProperties": {**TEXT, "default": "x"}},
        {"type": "object", "default": {"a": {}}, **fields(a={**fields(b={**TEXT, "default": "x"}), "required": []})},
        {"type": "array", "default": [], "items": {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": True}},
        {"type": "string", "nullable": True, "externalDocs": {"url": "https://a.io"}, "example": {"any": 1}},
    ],
)
def test_schemas_that_are_accepted(field: Json) -> None:
    assert review(with_field(field)) == []


@pytest.mark.parametrize(
    "field",
    [
        {"type": "array", "items": "text"},
        {"type": "object", "additionalProperties": 5},
        {"type": "object", "dependencies": {"a": "b"}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "required": "a"},
        {"type": "string", "maxLength": 1.5},
        {"type": "string", "enum": "a"},
        {"type": "string", "x-kubernetes-validations": [{"rule": 5}]},
    ],
)
def test_schemas_that_cannot_be_read_at_all(field: Json) -> None:
    (found,) = review(with_field(field))
    assert found.startswith('CustomResourceDefinition in version "v1" cannot be handled as a CustomResourceDefinition')


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"rule": "self == oldSelf"}, ""),
        ({"rule": "self > oldSelf"}, "failed rule: self > oldSelf"),
        (
            {"rule": "oldSelf.hasValue() || self > 5", "optionalOldSelf": True},
            "failed rule: oldSelf.hasValue() || self > 5",
        ),
        ({"rule": "oldSelf.orValue(self) <= self", "optionalOldSelf": True}, ""),
        ({"rule": "self < 3", "message": "too large"}, "Invalid value: 3: too large"),
        (
            {"rule": "10 / (self - 3) > 0"},
            'Invalid value: "integer": division by zero evaluating rule: 10 / (self - 3) > 0',
        ),
    ],
)
def test_rules_hold_for_defaults(rule: Json, problem: str) -> None:
    found = review(with_field({"type": "integer", "default": 3, "x-kubernetes-validations": [rule]}))
    assert len(found) == bool(problem), found
    assert problem in "".join(found)
    assert all(text.startswith(f"{F}.default: ") for text in found)


UNBOUNDED_LIST: Json = {"type": "array", "items": TEXT}
BOUNDED_LIST: Json = {"type": "array", "maxItems": 20, "items": {**TEXT, "maxLength": 50}}


@pytest.mark.parametrize(
    ("field", "rule", "accepted"),
    [
        (UNBOUNDED_LIST, "self.exists(a, self.all(b, a == b))", False),
        (BOUNDED_LIST, "self.exists(a, self.all(b, a == b))", True),
        (UNBOUNDED_LIST, "self.all(a, a.matches('^x+$'))", False),
        (BOUNDED_LIST, "self.all(a, a.matches('^x+$'))", True),
        (UNBOUNDED_LIST, "self.map(a, a + '-').exists(b, b == 'x-')", False),
        (UNBOUNDED_LIST, "self.size() > 1", True),
        (UNBOUNDED_LIST, "self.all(a, size(a) < 9)", True),
        (TEXT, "self.contains('x') && self.startsWith('y')", True),
        ({"type": "object", "additionalProperties": TEXT}, "self.all(k, self[k].contains('x'))", False),
        (
            {"type": "object", "maxProperties": 9, "additionalProperties": {**TEXT, "maxLength": 9}},
            "self.all(k, self[k].contains(k))",
            True,
        ),
        ({"type": "array", "items": {"type": "integer"}}, "self.all(a, self.exists_one(b, a == b))", False),
        (
            {"type": "array", "items": {"type": "integer"}, "maxItems": 500},
            "self.all(a, self.exists_one(b, a == b))",
            True,
        ),
    ],
)
def test_what_a_rule_may_cost(field: Json, rule: str, accepted: bool) -> None:
    found = review(with_field({**field, "x-kubernetes-validations": [{"rule": rule, "message": "no"}]}))
    assert bool(found) is not accepted, found
    assert all("budget" in text or "cost limit" in text for text in found), found


KEYED: Json = {**fields(key=TEXT), "required": ["key"]}
BOUNDED_KEYED: Json = {**fields(key={**TEXT, "maxLength": 10}), "required": ["key"]}


@pytest.mark.parametrize(
    ("items", "most", "entries", "accepted"),
    [
        (KEYED, None, None, False),
        (BOUNDED_KEYED, None, None, False),
        (BOUNDED_KEYED, 10, 10, True),
        ({**fields(key={"type": "number"}), "required": ["key"]}, 4, None, True),
    ],
)
def test_what_loops_in_loops_may_cost(items: Json, most: int | None, entries: int | None, accepted: bool) -> None:
    inner = {"type": "object", "additionalProperties": items, **({} if entries is None else {"maxProperties": entries})}
    outer = {"type": "array", "items": inner, **({} if most is None else {"maxItems": most})}
    rule = {"rule": "self.all(x, x.all(y, x[y].key == x[y].key))"}
    found = review(with_field({**outer, "x-kubernetes-validations": [rule]}))
    assert len(found) == (0 if accepted else 3), found


def test_the_most_expensive_rules_are_named_when_all_together_cost_too_much() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self.contains('keyword')"}]}
    text = {**TEXT, "maxLength": 5000, **rule}
    found = review(
        definition(
            version(
                schema=fields(
                    list={"type": "array", "maxItems": 100000, "items": text},
                    map={"type": "object", "maxProperties": 1000, "additionalProperties": text},
                    field={"type": "integer", "x-kubernetes-validations": [{"rule": "self > 50 && self < 100"}]},
                )
            )
        )
    )
    at = "spec.validation.openAPIV3Schema"
    assert sorted(text.partition(": ")[0] for text in found) == [
        at,
        f"{at}.properties[list].items.x-kubernetes-validations[0].rule",
        f"{at}.properties[list].items.x-kubernetes-validations[0].rule",
        f"{at}.properties[map].additionalProperties.x-kubernetes-validations[0].rule",
    ]


PATHS: Json = fields(
    a=fields(**{"bbb": fields(**{"c": TEXT, "34": TEXT}), "bbb.c": fields(**{"a-b34": TEXT})}),
    list={"type": "array", "items": fields(a=TEXT)},
    map={"type": "object", "additionalProperties": fields(x=TEXT)},
)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (".a", ""),
        (".a.bbb.c", ""),
        (".a['bbb']", ""),
        (".a['bbb.c'].a-b34", ""),
        (".a['bbb.c']['a-b34']", ""),
        (".a.bbb.34", ""),
        (".list", ""),
        (".map.any.x", ""),
        (".map['any']", ""),
        (".a.foo", "does not refer to a valid field"),
        (".a.bbb[0]", "expected single quoted string but got 0"),
        (".list[-1]", "expected single quoted string but got -1"),
        (".list[1.0]", "expected single quoted string but got 1"),
        (".list.a", "does not refer to a valid field"),
        (".list['a']", "does not refer to a valid field"),
        ("a", "expected [ or . but got: a"),
        (".a..b", "does not refer to a valid field"),
        (".a.", "unexpected end of JSON path"),
        (".a['bbb'", "unexpected end of JSON path"),
        (".a['bbb", "expected single quoted string"),
    ],
)
def test_paths_to_fields(path: str, problem: str) -> None:
    if not problem:
        field_path.resolve(PATHS, path)
        return
    with pytest.raises(ValueError, match=re.escape(problem)):
        field_path.resolve(PATHS, path)


def test_a_rule_inside_lists_counts_for_each_item() -> None:
    rule = {"x-kubernetes-validations": [{"rule": "self.contains('x')", "message": "no"}]}
    text = {**TEXT, **rule}
    assert review(with_field(text)) == []
    assert review(with_field({"type": "array", "items": text, "maxItems": 20})) == []
    assert "exceeds budget" in "".join(review(with_field({"type": "array", "items": text, "maxItems": 200})))
    assert "exceeds budget" in "".join(review(with_field({"type": "array", "items": text})))
    assert review(with_field({"type": "array", "items": {**text, "maxLength": 99}, "maxItems": 200})) == []


@pytest.mark.parametrize(
    ("crd", "expected"),
    [
        (
            definition(version(), version("v2", {"type": "object", "properties": {"a": {}}})),
            "spec.versions[1].schema.openAPIV3Schema.properties[a].type: Required value",
        ),
        (
            definition(version(schema={}), version("v2", {})),
            "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root",
        ),
        (
            definition(
                version(subresources={"status": {}}),
                version("v2", subresources={"scale": {"specReplicasPath": ".x", "statusReplicasPath": ".status.x"}}),
            ),
            'spec.versions[1].subresources.scale.specReplicasPath: Invalid value: ".x": should be a json path',
        ),
        (
            definition(version(deprecated=True, deprecationWarning="")),
            'spec.versions[0].deprecationWarning: Invalid value: "": must not be an empty string',
        ),
        (
            definition(version(deprecated=True, deprecationWarning="x" * 257)),
            "must be <= 256 characters long",
        ),
        (
            definition(version(deprecated=True, deprecationWarning="a\nb")),
            "must only contain printable UTF-8 characters; non-printable character found at index 1",
        ),
        (with_field({"type": "string", "format": "credit-card"}), "credit-card is not supported by this server"),
        (
            definition(version(selectableFields=[{"jsonPath": ".spec"}])),
            "spec.selectableFields: Forbidden: not supported by this server",
        ),
        (
            definition(conversion={"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}}),
            "spec.conversion.strategy: Forbidden: this server calls no webhooks",
        ),
        (definition(conversion={"strategy": "Magic"}), 'spec.conversion.strategy: Unsupported value: "Magic"'),
        (
            definition(conversion={"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
            "spec.conversion.conversionReviewVersions: Forbidden: should not be set",
        ),
        (definition(names={"plural": "b" * 64, "kind": "Box"}), "must be no more than 63"),
    ],
)
def test_definitions_that_are_refused(crd: Json, expected: str) -> None:
    found = review(crd)
    assert any(expected in text for text in found), found


async def test_an_update_is_held_against_the_definition_that_was_there(server: ApiServer) -> None:
    server.store.create(CRDS, definition(version()))
    kept = server.store.get(CRDS, None, "boxes.example.com")
    for change, problem in (
        ({"group": "other.io"}, "spec.group: Invalid value"),
        ({"names": {"plural": "crates", "kind": "Box"}}, "spec.names.plural: Invalid value"),
        ({"versions": [version("v2") | {"storage": True}]}, "status.storedVersions[0]: Invalid value"),
    ):
        changed = copy.deepcopy(kept)
        changed["spec"] |= change
        with pytest.raises(ApiError) as caught:
            server.store.update(CRDS, changed)
        assert caught.value.code == 422
        assert problem in caught.value.message


def test_a_warning_comes_for_a_format_that_checks_nothing() -> None:
    for kind, text in (("string", "ipv4"), ("integer", "int32"), ("number", "double"), ("string", "date-time")):
        assert review(with_field({"type": kind, "format": text})) == []
    for kind, text in (("integer", "double"), ("boolean", "byte"), ("string", "int32")):
        assert review(with_field({"type": kind, "format": text})) == [f'warning: unrecognized format "{text}"']


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.sampled_from(["", "a", "object", "array", "string"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abk"), inner, max_size=2)),
)
KEYWORDS = st.sampled_from(
    (
        *(
            "type",
            "properties",
            "additionalProperties",
            "items",
            "anyOf",
            "allOf",
            "not",
            "default",
            "enum",
            "required",
        ),
        *(
            "maxItems",
            "maxLength",
            "nullable",
            "pattern",
            "format",
            "dependencies",
            "definitions",
            "$ref",
            "uniqueItems",
        ),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations"),
        *("x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"),
    )
)
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["object", "string", "array", "integer"])}),
    lambda inner: st.dictionaries(
        KEYWORDS, st.one_of(VALUES, inner, st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abk"), inner))
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(SCHEMAS)
def test_no_schema_breaks_the_checks(schema: Json) -> None:
    assert isinstance(review(with_field(schema)), list)
