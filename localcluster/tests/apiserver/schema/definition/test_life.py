"""The life of a definition: names, conditions, versions, what is stored already, and the end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from localkube.apiserver.errors import ApiError
from localkube.apiserver.http.server import ApiServer
from localkube.apiserver.schema.crd import default_crd
from localkube.apiserver.schema.definition.life import deprecation_warning, next_status

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
NOW, LATER = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"


def definition(plural: str, kind: str, *, versions: list[dict[str, Any]] | None = None, **names: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    made: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Cluster",
            "names": {"plural": plural, "kind": kind, **names},
            "versions": versions or [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    return made


def defaulted(*args: Any, **names: Any) -> dict[str, Any]:
    crd = definition(*args, **names)
    default_crd(crd, None)
    return crd


def conditions(crd: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: f"{item['status']} {item['reason']}" for item in crd["status"]["conditions"]}


def lived(crd: dict[str, Any], *others: dict[str, Any], now: str = NOW) -> dict[str, Any]:
    for _ in range(5):
        status = next_status(crd, others, now)
        if status == crd["status"]:
            return crd
        crd = {**crd, "status": status}
    raise AssertionError("a definition never comes to rest")


def test_a_definition_is_established_a_step_after_its_names_are_accepted() -> None:
    crd = defaulted("cups", "Cup")
    crd["status"] = next_status(crd, [], NOW)
    assert conditions(crd) == {"NamesAccepted": "True NoConflicts", "Established": "False Installing"}
    assert conditions(lived(crd)) == {
        "NamesAccepted": "True NoConflicts",
        "Established": "True InitialNamesAccepted",
    }


@pytest.mark.parametrize(
    ("other", "reason", "message"),
    [
        (("mugs", "Mug", {"singular": "cup"}), "SingularConflict", '"cup" is already in use'),
        (("mugs", "Mug", {"singular": "cups"}), "SingularConflict", '"cups" is already in use'),
        (("mugs", "Mug", {"shortNames": ["c", "cu", "m"]}), "ShortNamesConflict", None),
        (("mugs", "CupList", {"singular": "mug"}), "KindConflict", '"CupList" is already in use'),
        (("mugs", "Mug", {"listKind": "Cup"}), "ListKindConflict", '"Cup" is already in use'),
    ],
)
def test_a_name_that_is_taken_keeps_a_definition_waiting(
    other: tuple[str, str, dict[str, Any]], reason: str, message: str | None
) -> None:
    first = lived(defaulted("cups", "Cup", shortNames=["c", "cu"]))
    second = lived(defaulted(other[0], other[1], **other[2]), first)
    accepted = next(item for item in second["status"]["conditions"] if item["type"] == "NamesAccepted")
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert accepted["message"] == (message or '["c" is already in use, "cu" is already in use]')
    assert conditions(second)["Established"] == "False NotAccepted"
    freed = lived(second, now=LATER)
    assert conditions(freed)["Established"] == "True InitialNamesAccepted"
    assert freed["status"]["acceptedNames"] == freed["spec"]["names"]
    assert {item["lastTransitionTime"] for item in freed["status"]["conditions"]} == {LATER}


def test_an_established_definition_stays_so_when_a_new_name_of_it_is_taken() -> None:
    first, second = lived(defaulted("cups", "Cup")), lived(defaulted("mugs", "Mug"))
    second = copy.deepcopy(second)
    second["spec"]["names"]["shortNames"] = ["cup"]
    second = lived(second, first)
    assert conditions(second) == {
        "NamesAccepted": "False ShortNamesConflict",
        "Established": "True InitialNamesAccepted",
    }
    assert "shortNames" not in second["status"]["acceptedNames"]


@pytest.mark.parametrize(
    ("versions", "warning"),
    [
        ([("v1", True, False), ("v1beta1", True, True)], "g/v1beta1 Cup is deprecated; use g/v1 Cup"),
        ([("v1", False, False), ("v1beta1", True, True)], "g/v1beta1 Cup is deprecated"),
        ([("v1alpha1", True, False), ("v1beta1", True, True)], "g/v1beta1 Cup is deprecated"),
        (
            [("v1beta2", True, False), ("v2", True, False), ("v1beta1", True, True)],
            "g/v1beta1 Cup is deprecated; use g/v2 Cup",
        ),
        ([("v1beta1", True, False)], ""),
    ],
)
def test_a_deprecated_version_names_the_best_that_is_newer(
    versions: list[tuple[str, bool, bool]], warning: str
) -> None:
    made = [{"name": name, "served": served, "deprecated": old} for name, served, old in versions]
    assert deprecation_warning({"group": "g", "names": {"kind": "Cup"}, "versions": made}, made[-1]) == warning


async def test_a_definition_goes_at_once_without_objects_and_its_names_are_free(server: ApiServer) -> None:
    server.store.create(CRDS, definition("cups", "Cup"))
    server.store.create(CRDS, definition("mugs", "Mug", shortNames=["cup"]))
    server.definitions.settle()
    with pytest.raises(ApiError, match="could not find"):
        server.store.list("mugs.example.org")
    server.store.delete(CRDS, None, "cups.example.org")
    server.definitions.settle()
    assert server.store.find(CRDS, None, "cups.example.org") is None
    assert server.store.list("mugs.example.org").items == []


async def test_nothing_is_made_of_a_kind_that_is_going(server: ApiServer) -> None:
    def cup(name: str) -> dict[str, Any]:
        return {"apiVersion": "example.org/v1", "kind": "Cup", "metadata": {"name": name, "finalizers": ["a/b"]}}

    key = "cups.example.org"
    server.store.create(CRDS, definition("cups", "Cup"))
    server.definitions.settle()
    server.store.create(key, cup("kept"))
    server.store.delete(CRDS, None, key)
    server.definitions.settle()
    with pytest.raises(ApiError, match="create not allowed while custom resource definition is terminating"):
        server.store.create(key, cup("late"))
    server.store.patch(key, None, "kept", {"metadata": {"finalizers": None}})
    server.definitions.settle()
    assert server.store.find(CRDS, None, key) is None


async def test_objects_left_of_a_kind_that_was_never_served_again_go_with_it(server: ApiServer) -> None:
    """The finalizer was taken off by hand, and another definition got the name meanwhile."""
    key = "cups.example.org"
    server.store.create(CRDS, definition("cups", "Cup"))
    server.definitions.settle()
    made = {"apiVersion": "example.org/v1", "kind": "Cup", "metadata": {"name": "c", "finalizers": ["a/b"]}}
    server.store.create(key, made)
    server.store.delete(CRDS, None, key)
    server.store.patch(CRDS, None, key, {"metadata": {"finalizers": None}})
    server.store.create(CRDS, definition("mugs", "Cup"))
    server.definitions.settle()
    server.store.create(CRDS, definition("cups", "Cup"))
    server.definitions.settle()
    server.store.delete(CRDS, None, key)
    server.definitions.settle()
    server.store.patch(key, None, "c", {"metadata": {"finalizers": None}})
    server.definitions.settle()
    assert server.store.find(CRDS, None, key) is None


async def test_a_definition_that_others_hold_stays_without_objects(server: ApiServer) -> None:
    held = definition("cups", "Cup")
    held["metadata"]["finalizers"] = ["example.org/hold"]
    server.store.create(CRDS, held)
    server.definitions.settle()
    server.store.delete(CRDS, None, "cups.example.org")
    server.definitions.settle()
    left = server.store.get(CRDS, None, "cups.example.org")
    assert left["metadata"]["finalizers"] == ["example.org/hold"]
    assert conditions(left)["Terminating"] == "False InstanceDeletionCompleted"
    server.store.patch(CRDS, None, "cups.example.org", {"metadata": {"finalizers": None}})
    assert server.store.find(CRDS, None, "cups.example.org") is None


async def test_stored_objects_are_seen_through_the_newest_schema_without_a_write(server: ApiServer) -> None:
    def versions(**properties: Any) -> list[dict[str, Any]]:
        schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
        return [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]

    key, text = "cups.example.org", {"type": "string"}
    server.store.create(CRDS, definition("cups", "Cup", versions=versions(a=text)))
    server.definitions.settle()
    made = {"apiVersion": "example.org/v1", "kind": "Cup", "metadata": {"name": "c"}, "spec": {"a": "x"}}
    before = server.store.create(key, made)
    crd = server.store.get(CRDS, None, key)
    crd["spec"]["versions"] = versions(b={"type": "integer", "default": 7})
    server.store.update(CRDS, crd)
    after = server.store.get(key, None, "c")
    assert after["spec"] == {"b": 7}
    assert after["metadata"] == before["metadata"]
    crd = server.store.get(CRDS, None, key)
    crd["spec"]["versions"] = versions(a=text, b={"type": "integer", "default": 7})
    server.store.update(CRDS, crd)
    assert server.store.get(key, None, "c")["spec"] == {"a": "x", "b": 7}, "what was hidden was not lost"
    written = server.store.patch(key, None, "c", {})["metadata"]["resourceVersion"]
    assert written != before["metadata"]["resourceVersion"], "what is seen is written by the next update"
    assert server.store.patch(key, None, "c", {})["metadata"]["resourceVersion"] == written
    labeled = server.store.patch(key, None, "c", {"metadata": {"labels": {"x": "y"}}})
    assert labeled["metadata"]["generation"] == 1
