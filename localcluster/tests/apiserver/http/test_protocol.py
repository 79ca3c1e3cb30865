"""The frame around resources: methods, media types, bodies, discovery; siblings of what the recordings show."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from localkube.apiserver import ApiServer
from localkube.apiserver.describe import openapi
from localkube.apiserver.errors import ApiError
from localkube.apiserver.http.body import decode
from localkube.apiserver.http.encoding import encoded
from localkube.apiserver.http.negotiation import Form, accepted, accepted_stream
from localkube.apiserver.http.typed_body import typed_object
from localkube.apiserver.resources import Registry, Resource, version_order
from sending import send

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
INITIAL = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("header", "form", "media_type"),
    [
        ("", Form.OBJECT, "application/json"),
        ("application/json;q=0.1, application/yaml", Form.OBJECT, "application/yaml"),
        ("*/*, application/yaml", Form.OBJECT, "application/yaml"),
        (f"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,{TABLE}", Form.TABLE, "application/json"),
        ("application/json;as=Table;v=v1;g=other,application/json", Form.OBJECT, "application/json"),
        ("application/yaml;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", Form.METADATA, "application/yaml"),
    ],
)
def test_the_best_representation_that_is_accepted(header: str, form: Form, media_type: str) -> None:
    wanted = accepted(header)
    assert (wanted.form, wanted.media_type) == (form, media_type)


@pytest.mark.parametrize("header", ["application/vnd.kubernetes.protobuf", "text/*", "application/json;stream=other"])
def test_what_cannot_be_sent_is_refused(header: str) -> None:
    with pytest.raises(ApiError, match="only the following media types are accepted") as caught:
        accepted(header)
    assert caught.value.code == 406


def test_a_watch_is_not_sent_as_yaml() -> None:
    assert accepted_stream("application/json;stream=watch,application/yaml").media_type == "application/json"
    with pytest.raises(ApiError, match="stream=watch"):
        accepted_stream("application/yaml,application/json")


def test_yaml_quotes_as_a_real_server_does() -> None:
    value = {"b": "", "a": "1", "t": "x\ny\n", "n": None, "l": [{"k": True}], "e": []}
    shown = 'a: "1"\nb: ""\ne: []\nl:\n- k: true\nn: null\nt: |\n  x\n  y\n'
    assert encoded(value, "application/yaml").decode() == shown


def test_json_is_spaced_for_people() -> None:
    assert encoded({"a": [1]}, "application/json", pretty=True) == b'{\n  "a": [\n    1\n  ]\n}\n'


CUSTOM = Resource("example.com", "v1", "widgets", "Widget", schema={"type": "object"})
KNOWN = {"apiVersion": "example.com/v1", "kind": "Widget"}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ('{"a"', 400, "unexpected end of JSON input"),
        ('{"a":NaN}', 400, "invalid character"),
        ("[" * 100_000, 400, "exceeded max depth"),
        ("7", 400, "cannot unmarshal number"),
        ('{"kind":7}', 400, "cannot unmarshal number into Go struct field .kind"),
        ("null", 400, "Object 'Kind' is missing"),
        ('{"kind":"Widget"}', 400, r"the API version in the data \(\) does not match"),
        ({**KNOWN, "kind": "Gadget"}, 422, "must be Widget"),
        ({**KNOWN, "metadata": []}, 400, "v1.ObjectMeta"),
        ({**KNOWN, "metadata": {"annotations": {"a": True}}}, 400, "cannot unmarshal bool"),
        ({**KNOWN, "metadata": {"finalizers": "a"}}, 400, "cannot unmarshal string"),
        ({**KNOWN, "metadata": {"finalizers": [1]}}, 400, "cannot unmarshal number"),
        ({**KNOWN, "metadata": {"ownerReferences": ["a"]}}, 400, "cannot unmarshal string"),
        ({**KNOWN, "metadata": {"generation": "1"}}, 400, "cannot unmarshal string"),
    ],
)
def test_bodies_that_are_no_object_of_the_resource(body: Any, code: int, message: str) -> None:
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    with pytest.raises(ApiError, match=message) as caught:
        typed_object(CUSTOM, decode(data, "application/json", "Widget"))
    assert caught.value.code == code


@pytest.mark.parametrize("body", ["null", "{}", '{"kind":"","apiVersion":null}', '{"metadata":{"name":null}}'])
def test_objects_of_built_in_kinds_need_not_say_what_they_are(body: str) -> None:
    resource = Registry().by_key("statefulsets.apps")
    obj = typed_object(resource, decode(body.encode(), ""))
    assert (obj["apiVersion"], obj["kind"]) == ("apps/v1", "StatefulSet")


def test_the_preferred_version_comes_first() -> None:
    versions = ["v1alpha1", "v1", "foo10", "v2", "v1beta2", "v11", "v1beta10", "foo1"]
    assert sorted(versions, key=version_order) == [
        *("v11", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo1", "foo10")
    ]


def test_published_schemas_spell_out_what_extensions_mean() -> None:
    inner = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    port = {"x-kubernetes-int-or-string": True}
    schema = {"type": "object", "properties": {"inner": inner, "port": port}}
    registry = Registry()
    registry.add(replace(CUSTOM, schema=schema, list_kind="WidgetBag"))
    document = openapi.document(registry, "example.com", "v1")
    assert document is not None
    schemas = document["components"]["schemas"]
    shown = schemas["com.example.v1.Widget"]["properties"]
    assert set(shown["inner"]["properties"]) == {"apiVersion", "kind", "metadata"}
    assert shown["inner"]["required"] == ["kind", "apiVersion"]
    assert shown["port"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert schemas["com.example.v1.WidgetBag"]["properties"]["items"]["items"]["$ref"].endswith(".Widget")
    assert port == {"x-kubernetes-int-or-string": True}, "the definition itself stays as it is"


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("DELETE", "/api/v1/pods", {}, 405),
        ("PATCH", "/api/v1/namespaces/default/pods/a/eviction", {}, 405),
        ("PATCH", "/api/v1/namespaces/default/pods/a/status", {}, 415),
        ("GET", "/api/v1/namespaces/default/pods/a/none", {}, 404),
        ("GET", "/api/v1/watch/namespaces", {"Accept": "text/plain"}, 406),
        ("DELETE", "/api/v1/watch/namespaces/default/pods", {}, 404),
        ("GET", "/api/v1/namespaces/default/configmaps/a?resourceVersion=x", {}, 500),
        ("GET", "/api/v1/namespaces/default/configmaps/a?resourceVersion=99999999", {}, 504),
        ("GET", f"/api/v1/pods?watch=1&{INITIAL}&resourceVersion=99999999", {}, 504),
        ("GET", "/api/v1/watch/namespaces/default?fieldSelector=metadata.name=other", {}, 400),
        ("GET", "/api/v1/pods?timeout=soon", {}, 400),
        ("GET", "/api/v1/pods?timeout=1m30s", {}, 200),
        ("DELETE", "/apis/example.com/v1/widgets", {}, 404),
        ("DELETE", f"{WIDGETS}/a/status", {}, 405),
        ("GET", f"{WIDGETS}/a/none", {}, 404),
        ("OPTIONS", WIDGETS, {}, 405),
        ("POST", "/healthz/none/more", {}, 404),
        ("PUT", "/openapi/v3", {}, 405),
    ],
)
async def test_what_a_path_does_not_take(
    widgets: ApiServer, method: str, path: str, headers: dict[str, str], code: int
) -> None:
    assert (await send(widgets, method, path, **headers))[0] == code


async def test_errors_are_in_yaml_for_clients_that_accept_it(server: ApiServer) -> None:
    status, headers, body = await send(server, "GET", "/api/v1/nodes/none", Accept="application/yaml")
    assert (status, headers["Content-Type"]) == (404, "application/yaml")
    assert b"\nreason: NotFound\n" in body


async def test_large_documents_are_compressed_for_clients_that_read_gzip(server: ApiServer) -> None:
    _, headers, body = await send(server, "GET", "/openapi/v3/api/v1", Accept_Encoding="gzip")
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert json.loads(gzip.decompress(body))["openapi"] == "3.0.0"


async def test_a_list_is_of_the_kind_that_the_definition_names(widgets: ApiServer) -> None:
    widgets.store.patch(
        "customresourcedefinitions.apiextensions.k8s.io",
        None,
        "widgets.example.com",
        {"spec": {"names": {"listKind": "WidgetBag"}}},
    )
    _, _, body = await send(widgets, "GET", WIDGETS)
    assert json.loads(body)["kind"] == "WidgetBag"


REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
EVICTION = "/api/v1/namespaces/default/pods/a/eviction"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/a/token"


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        (REVIEW, {"kind": "Pod", "apiVersion": "v1"}, 400, "converting (v1.Pod) to (authorization.SelfSubjectAccess"),
        (REVIEW, {"spec": "x"}, 400, "cannot be handled as a SelfSubjectAccessReview"),
        (REVIEW, [], 400, "must be of type SelfSubjectAccessReview"),
        (REVIEW, {"spec": {"resourceAttributes": []}}, 400, "SelfSubjectAccessReview"),
        (EVICTION, {"kind": "Binding", "apiVersion": "v1"}, 400, "converting (v1.Binding) to (policy.Eviction)"),
        (EVICTION, {"deleteOptions": "now"}, 400, "cannot be handled as a Eviction"),
        (TOKEN, {"spec": {"expirationSeconds": "long"}}, 400, "cannot be handled as a TokenRequest"),
    ],
)
async def test_objects_that_are_only_answered_are_read_like_others(
    server: ApiServer, path: str, body: Any, code: int, message: str
) -> None:
    server.store.create("serviceaccounts", {"metadata": {"name": "a"}}, namespace="default")
    status, _, answer = await send(server, "POST", path, body)
    assert (status, message in json.loads(answer)["message"]) == (code, True), answer


async def test_answers_to_reviews_and_deletions_come_in_yaml_too(server: ApiServer) -> None:
    body = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    _, headers, answer = await send(server, "POST", REVIEW, body, Accept="application/yaml")
    assert (headers["Content-Type"], answer.startswith(b"apiVersion: authorization.k8s.io/v1\n")) == (
        "application/yaml",
        True,
    )
    server.store.create("configmaps", {"metadata": {"name": "c"}}, namespace="default")
    path = "/api/v1/namespaces/default/configmaps/c"
    _, headers, answer = await send(server, "DELETE", path, Accept="application/yaml")
    assert (headers["Content-Type"], b"\nstatus: Success\n" in answer) == ("application/yaml", True)


CONFIG = "/api/v1/namespaces/default/configmaps"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "code"),
    [
        ("POST", CONFIG, {"metadata": {"name": "b"}, "binaryData": {"k": [{}]}}, "application/json", 400),
        ("POST", CONFIG, {"metadata": {"name": "b"}, "binaryData": {"k": [104, 105]}}, "application/json", 201),
        ("POST", CONFIG, {"metadata": None}, "application/json", 422),
        ("POST", "/api/v1/nodes", {"metadata": {}}, "application/json", 422),
        ("POST", "/apis/apps/v1/namespaces/default/statefulsets", {"metadata": {}}, "application/json", 422),
        ("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": None}, "application/json", 422),
        ("PATCH", f"{CONFIG}/a", {"metadata": {"finalizers": [1]}}, MERGE, 422),
        ("PATCH", f"{CONFIG}/a", {"metadata": {"finalizers": -1}}, STRATEGIC, 422),
        ("PATCH", f"{CONFIG}/a", {"metadata": {"labels": {"a": []}}}, MERGE, 422),
        ("PATCH", f"{CONFIG}/a?fieldManager=f", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": "x"}, APPLY, 500),
    ],
)
async def test_values_of_wrong_types_never_break_the_server(
    server: ApiServer, method: str, path: str, body: Any, content_type: str, code: int
) -> None:
    server.store.create("configmaps", {"metadata": {"name": "a"}}, namespace="default")
    status, _, answer = await send(server, method, path, body, Content_Type=content_type)
    assert (status, b"Error: " in answer) == (code, False), answer
