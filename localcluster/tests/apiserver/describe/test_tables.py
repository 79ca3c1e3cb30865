"""Cells of custom columns and of built-in kinds that the recordings do not show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from localkube.apiserver.describe.tables import table
from localkube.apiserver.resources import PrinterColumn, Registry, Resource

NOW = datetime(2024, 1, 2, tzinfo=UTC)


def row(resource: Resource, obj: dict[str, Any]) -> list[Any]:
    cells: list[Any] = table(resource, [obj], NOW)["rows"][0]["cells"]
    return cells


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("string", {"a": 1}, '{"a":1}'),
        ("string", 3.0, "3"),
        ("string", True, "true"),
        ("date", "2024-01-01T00:00:00Z", "24h"),
        ("date", "yesterday", "<invalid>"),
        ("date", 5, None),
        ("integer", 2.9, 2),
        ("integer", "2", None),
        ("boolean", "true", None),
        ("number", 2.5, 2.5),
    ],
)
def test_the_cell_of_a_custom_column(kind: str, value: Any, cell: Any) -> None:
    column = PrinterColumn("X", kind, ".spec.x")
    resource = Resource("example.com", "v1", "widgets", "Widget", schema={"type": "object"}, columns=(column,))
    assert row(resource, {"metadata": {"name": "a"}, "spec": {"x": value}}) == ["a", cell]


def test_several_values_stand_beside_each_other() -> None:
    column = PrinterColumn("X", "string", ".spec.list[*].x")
    resource = Resource("example.com", "v1", "widgets", "Widget", schema={"type": "object"}, columns=(column,))
    assert row(resource, {"metadata": {"name": "a"}, "spec": {"list": [{"x": "b"}, {"x": 1}]}}) == ["a", "b 1"]


@pytest.mark.parametrize(
    ("key", "obj", "cells"),
    [
        (
            "storageclasses.storage.k8s.io",
            {
                "kind": "StorageClass",
                "provisioner": "p",
                "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            },
            ["a (default)", "p", "Delete", "<unset>", False, "24h"],
        ),
        (
            "persistentvolumes",
            {"spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}, "status": {"phase": "Bound"}},
            ["a", "", "RWO,ROX", "", "Bound", "", "", "<unset>", "", "24h", "<unset>"],
        ),
        (
            "networkpolicies.networking.k8s.io",
            {
                "spec": {
                    "podSelector": {
                        "matchLabels": {"app": "x"},
                        "matchExpressions": [{"key": "t", "operator": "In", "values": ["a", "b"]}],
                    }
                }
            },
            ["a", "app=x,t in (a,b)", "24h"],
        ),
        ("roles.rbac.authorization.k8s.io", {}, ["a", "2024-01-01T00:00:00Z"]),
    ],
)
def test_the_cells_of_built_in_kinds(key: str, obj: dict[str, Any], cells: list[Any]) -> None:
    metadata = {"name": "a", "creationTimestamp": "2024-01-01T00:00:00Z", **obj.get("metadata", {})}
    assert row(Registry().by_key(key), {**obj, "metadata": metadata}) == cells


@pytest.mark.parametrize("resource", Registry().all(), ids=lambda resource: resource.key)
def test_a_bookmark_is_a_row_of_an_empty_object(resource: Resource) -> None:
    bookmark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {"resourceVersion": "7"}}
    shown = table(resource, [bookmark], NOW)
    assert len(shown["rows"][0]["cells"]) == len(shown["columnDefinitions"])
    assert shown["rows"][0]["object"]["metadata"] == {"resourceVersion": "7"}


RUNNING: dict[str, Any] = {"ready": True, "state": {"running": {}}}
DONE: dict[str, Any] = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({}, {"phase": "Pending"}, ["0/1", "Pending", "0"]),
        ({}, {"phase": "Running", "containerStatuses": [RUNNING]}, ["1/1", "Running", "0"]),
        ({}, {"phase": "Running", "containerStatuses": [DONE, RUNNING], "conditions": READY}, ["1/1", "Running", "0"]),
        ({}, {"phase": "Running", "containerStatuses": [DONE, RUNNING]}, ["1/1", "NotReady", "0"]),
        (
            {},
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "restartCount": 2,
                        "lastState": {"terminated": {"finishedAt": "2024-01-01T23:59:00Z"}},
                    }
                ],
            },
            ["0/1", "CrashLoopBackOff", "2 (60s ago)"],
        ),
        (
            {"initContainers": [{"name": "i"}, {"name": "j"}]},
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", **DONE}, {"name": "j"}]},
            ["0/1", "Init:1/2", "0"],
        ),
        (
            {"initContainers": [{"name": "i"}]},
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 3}}}]},
            ["0/1", "Init:ExitCode:3", "0"],
        ),
        (
            {"initContainers": [{"name": "side", "restartPolicy": "Always"}]},
            {
                "phase": "Running",
                "initContainerStatuses": [{"name": "side", "started": True, "restartCount": 1, **RUNNING}],
                "containerStatuses": [RUNNING],
            },
            ["2/2", "Running", "1"],
        ),
    ],
)
def test_how_a_pod_does(spec: dict[str, Any], status: dict[str, Any], cells: list[Any]) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}, "status": status}
    assert row(Registry().by_key("pods"), pod)[1:4] == cells


def test_a_pod_that_has_ended_says_so_in_its_row() -> None:
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Succeeded"}}
    (only,) = table(Registry().by_key("pods"), [pod], NOW)["rows"]
    assert [condition["reason"] for condition in only["conditions"]] == ["Succeeded"]
