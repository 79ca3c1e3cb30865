"""Selectors, pages and old versions of lists: siblings of what the recordings show."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.http import pages
from localkube.apiserver.http.list_options import flag, list_options
from localkube.apiserver.objects.field_selectors import parse_fields, selected_name
from localkube.apiserver.objects.label_syntax import parse_labels
from localkube.apiserver.objects.store import Store
from localkube.apiserver.resources import Registry
from plain_store import plain_store

LABELS = {"app": "x", "tier": "5", "empty": "", "in": "a"}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("app = x , tier", True),
        ("tier>4,tier<6", True),
        ("tier>5", False),
        ("app>1", False),
        ("missing>1", False),
        ("empty=", True),
        ("empty", True),
        ("!empty", False),
        ("missing!=x", True),
        ("app in (,y)", False),
        ("empty in (,y)", True),
        ("empty in (y,,z)", True),
        ("app notin (in)", True),
        ("in=a", True),
        ("app=x,", None),
        ("app x", None),
        ("app=x=y", None),
        ("app in (x=)", None),
        ("! in (x)", None),
        ("app~x", None),
        ("app=-x", None),
        ("tier>1.5", None),
        ("(x)", None),
    ],
)
def test_label_selectors(selector: str, selected: bool | None) -> None:
    if selected is None:
        with pytest.raises(ApiError, match=r"expected|Invalid value"):
            parse_labels(selector)
    else:
        assert all(term.matches(LABELS) for term in parse_labels(selector)) is selected


POD: dict[str, Any] = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "one"}, "status": {}}


@pytest.mark.parametrize(
    ("kind", "selector", "selected"),
    [
        ("pods", "spec.host=one", True),
        ("pods", "spec.hostNetwork=false,status.phase=,status.podIPs=", True),
        ("pods", r"metadata.name=p\,q", False),
        ("pods", "metadata.name==p,,metadata.namespace!=m", True),
        ("pods", "metadata.name=p=q", None),
        ("pods", "metadata.name", None),
        ("nodes", "metadata.namespace=n", None),
        ("configmaps", "spec.nodeName=one", None),
    ],
)
def test_field_selectors(kind: str, selector: str, selected: bool | None) -> None:
    resource = Registry().by_key(kind)
    if selected is None:
        with pytest.raises(ApiError):
            parse_fields(selector, resource)
    else:
        assert all(term.matches(POD) for term in parse_fields(selector, resource)) is selected


@pytest.mark.parametrize(
    ("selector", "name"),
    [("metadata.name=a", "a"), ("x=y,metadata.name==b", "b"), ("metadata.name!=a", ""), ("nonsense", "")],
)
def test_the_name_that_a_selector_asks_for(selector: str, name: str) -> None:
    assert selected_name(selector) == name


@pytest.mark.parametrize(
    ("query", "value"),
    [({}, False), ({"f": ""}, True), ({"f": "False"}, False), ({"f": "0"}, False), ({"f": "x"}, True)],
)
def test_flags(query: dict[str, str], value: bool) -> None:
    assert flag(query, "f") is value


@pytest.mark.parametrize(
    ("query", "watch", "code"),
    [
        ({"limit": ""}, False, 400),
        ({"resourceVersionMatch": "NotOlderThan", "resourceVersion": "1", "continue": "x"}, False, 422),
        ({"sendInitialEvents": "false"}, False, 422),
        ({"sendInitialEvents": "false"}, True, 422),
        ({"resourceVersionMatch": "NotOlderThan", "sendInitialEvents": "true", "continue": "x"}, True, 422),
    ],
)
def test_options_that_contradict_each_other(query: dict[str, str], watch: bool, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        list_options(query, watch=watch)
    assert caught.value.code == code


def names(store: Store, version: int | None = None) -> list[str]:
    key = "configmaps"
    items = store.peek_all(key) if version is None else store.peek_all_at(key, "", version)
    return [f"{item.namespace}/{item.name}" for item in items]


def test_lists_are_in_order_of_their_keys_and_can_be_had_as_they_were() -> None:
    store = plain_store()
    for namespace in ("a", "a-b"):
        store.create("namespaces", {"metadata": {"name": namespace}})
        store.create("configmaps", {"metadata": {"name": "x"}}, namespace=namespace)
    before = store.resource_version
    store.patch("configmaps", "a", "x", {"data": {"k": "v"}})
    store.delete("configmaps", "a-b", "x")
    store.create("configmaps", {"metadata": {"name": "y"}}, namespace="a")
    assert names(store) == ["a/x", "a/y"]
    assert names(store, before) == ["a-b/x", "a/x"]
    assert "data" not in store.peek_all_at("configmaps", "a", before)[0].obj
    with pytest.raises(ApiError) as too_old:
        names(store, 1)
    with pytest.raises(ApiError) as too_new:
        names(store, store.resource_version + 1)
    assert (too_old.value.code, too_new.value.code) == (410, 504)


def test_a_page_ends_where_it_is_full_and_the_next_begins_there() -> None:
    store = plain_store()
    store.create("namespaces", {"metadata": {"name": "n"}})
    for name in ("a", "b", "c"):
        store.create("configmaps", {"metadata": {"name": name}}, namespace="n")
    items = store.peek_all("configmaps")

    def page(namespace: str, start: str, matching: str = "") -> tuple[list[str], Any]:
        matcher = (lambda obj: obj["metadata"]["name"] in matching) if matching else None
        found, metadata = pages.cut(items, matcher, namespace=namespace, start=start, limit=1, version=9)
        return [item.name for item in found], metadata

    shown, metadata = page("", "")
    assert (shown, metadata["remainingItemCount"]) == (["a"], 2)
    position = pages.decode(metadata["continue"])
    assert position == pages.Position(9, "n/a\0")
    assert page("", position.start)[0] == ["b"]
    assert page("n", "b\0") == (["c"], {"resourceVersion": "9"})
    shown, metadata = page("n", "", "b")
    assert (shown, pages.decode(metadata["continue"]).start, "remainingItemCount" in metadata) == (["b"], "b\0", False)


@pytest.mark.parametrize("content", [{}, [], {"v": "meta.k8s.io/v1", "rv": 5}, {"v": "meta.k8s.io/v1", "start": "a"}])
def test_what_is_no_continue_token_is_refused(content: Any) -> None:
    token = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
    with pytest.raises(ApiError, match="continue key is not valid"):
        pages.decode(token)
