"""Metadata: names, labels, annotations, owners, finalizers, and what an update cannot change."""

from __future__ import annotations

from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.objects.lifecycle import carry_metadata, check_version
from localkube.apiserver.objects.metadata import (
    drop_repeated_owners,
    generate_name,
    metadata_causes,
    metadata_warnings,
)
from localkube.apiserver.resources import Registry, Resource

REGISTRY = Registry()
WIDGETS = Resource("rec.example.io", "v1", "widgets", "Widget", schema={"type": "object"})
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}


def problems(key: str | Resource, metadata: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    resource = REGISTRY.by_key(key) if isinstance(key, str) else key
    before = None if old is None else {"metadata": {"name": "a", **old}}
    causes = metadata_causes(resource, {"metadata": {"name": "a", **metadata}}, before)
    return [f"{cause.field}: {cause.message}" for cause in causes]


@pytest.mark.parametrize(
    ("key", "metadata"),
    [
        ("configmaps", {"name": "a.b-c"}),
        ("services", {"name": "1abc"}),
        ("roles.rbac.authorization.k8s.io", {"name": "system:Any_thing"}),
        ("configmaps", {"generateName": "a-", "name": "a-bcdfg"}),
        ("configmaps", {"labels": {"a": "", "b.c/D_e": "F.g"}}),
        ("configmaps", {"annotations": {"UPPER.io/x": "any\n"}}),
        ("configmaps", {"finalizers": ["a.b/c", "orphan", "kubernetes"]}),
        (WIDGETS, {"finalizers": ["hold"]}),
        ("configmaps", {"ownerReferences": [OWNER, {**OWNER, "controller": True}]}),
    ],
)
def test_metadata_that_is_fine(key: str | Resource, metadata: dict[str, Any]) -> None:
    assert problems(key, metadata) == []


@pytest.mark.parametrize(
    ("key", "metadata", "expected"),
    [
        ("services", {"name": "a.b"}, ['metadata.name: Invalid value: "a.b": must not contain dots']),
        ("roles.rbac.authorization.k8s.io", {"name": ".."}, ["metadata.name: Invalid value: \"..\": may not be '..'"]),
        (
            "roles.rbac.authorization.k8s.io",
            {"name": "a/b%"},
            [
                "metadata.name: Invalid value: \"a/b%\": may not contain '/'",
                "metadata.name: Invalid value: \"a/b%\": may not contain '%'",
            ],
        ),
        (
            "configmaps",
            {"name": ""},
            ["metadata.name: Required value: name or generateName is required"],
        ),
        (
            "configmaps",
            {"generation": -1},
            ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"],
        ),
        ("configmaps", {"labels": {"/x": ""}}, ['metadata.labels: Invalid value: "/x": prefix part must be non-empty']),
        (
            "configmaps",
            {"labels": {"x": "y" * 64}},
            [f'metadata.labels: Invalid value: "{"y" * 64}": must be no more than 63 bytes'],
        ),
        (
            "configmaps",
            {"annotations": {"x": "é" * 131072}},
            ["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (
            "configmaps",
            {"finalizers": ["hold"]},
            [
                (
                    'metadata.finalizers[0]: Invalid value: "hold": '
                    "name is neither a standard finalizer name nor is it fully qualified"
                )
            ],
        ),
        (
            WIDGETS,
            {"finalizers": ["orphan", "foregroundDeletion"]},
            [
                (
                    'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
                    "finalizer orphan and foregroundDeletion cannot be both set"
                )
            ],
        ),
        (
            "configmaps",
            {"ownerReferences": [{**OWNER, "apiVersion": "a/"}, {**OWNER, "uid": ""}]},
            [
                'metadata.ownerReferences.apiVersion: Invalid value: "a/": version must not be empty',
                'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
            ],
        ),
        (
            "configmaps",
            {"labels": ["x"]},
            ['metadata.labels: Invalid value: ["x"]: must be a map of strings'],
        ),
    ],
)
def test_metadata_that_is_refused(key: str | Resource, metadata: dict[str, Any], expected: list[str]) -> None:
    assert problems(key, metadata) == expected


@pytest.mark.parametrize(
    ("metadata", "old", "field"),
    [
        ({"uid": "x"}, {"uid": "u"}, "metadata.uid"),
        ({"deletionTimestamp": "2001-01-01T00:00:00Z"}, {}, "metadata.deletionTimestamp"),
        ({"deletionGracePeriodSeconds": 3}, {"deletionGracePeriodSeconds": 2}, "metadata.deletionGracePeriodSeconds"),
        (
            {"finalizers": ["a/b", "a/c"], "deletionTimestamp": "x"},
            {"finalizers": ["a/b"], "deletionTimestamp": "x"},
            "metadata.finalizers",
        ),
        ({"labels": {"a b": "x"}}, {"labels": {"a b": "x"}}, "metadata.labels"),
    ],
)
def test_an_update_is_looked_at_twice(metadata: dict[str, Any], old: dict[str, Any], field: str) -> None:
    causes = problems(WIDGETS, metadata, old)
    assert len(causes) == 2
    assert all(cause.startswith(f"{field}: ") for cause in causes)


def test_what_an_update_leaves_out_is_kept() -> None:
    old = {"metadata": {"name": "a", "uid": "u", "creationTimestamp": "t", "generation": 3, "resourceVersion": "5"}}
    new: dict[str, Any] = {"metadata": {"name": "a", "generation": 9, "creationTimestamp": "x", "selfLink": "/y"}}
    carry_metadata(new, old)
    assert new == old


@pytest.mark.parametrize(
    ("key", "given", "code"),
    [
        ("configmaps", None, 0),
        ("configmaps", "", 0),
        ("configmaps", "0", 0),
        ("configmaps", "7", 0),
        ("configmaps", "6", 409),
        ("configmaps", "abc", 500),
        ("configmaps", "-7", 500),
        ("leases.coordination.k8s.io", "7", 0),
        ("leases.coordination.k8s.io", None, 422),
        ("leases.coordination.k8s.io", "0", 422),
        ("serviceaccounts", None, 422),
        ("poddisruptionbudgets.policy", None, 422),
    ],
)
def test_the_version_of_an_update(key: str, given: str | None, code: int) -> None:
    resource = REGISTRY.by_key(key)
    if code == 0:
        check_version(resource, "a", given, "7")
        return
    with pytest.raises(ApiError) as caught:
        check_version(resource, "a", given, "7")
    assert caught.value.code == code


def test_an_owner_is_kept_once() -> None:
    obj = {"metadata": {"ownerReferences": [OWNER, {**OWNER, "name": "p"}, dict(OWNER)]}}
    assert "duplicate UID(s) observed: u" in drop_repeated_owners(obj)[0]
    assert obj["metadata"]["ownerReferences"] == [OWNER, {**OWNER, "name": "p"}]
    assert drop_repeated_owners(obj) == []


def test_a_finalizer_without_a_domain_is_warned_of_when_it_comes() -> None:
    obj = {"metadata": {"finalizers": ["hold", "orphan", "a.b/c"]}}
    assert len(metadata_warnings(WIDGETS, obj, None)) == 1
    assert metadata_warnings(WIDGETS, obj, obj) == []


def test_a_generated_name_is_a_label() -> None:
    assert len(generate_name("a" * 100)) == 63
