"""The real kubectl."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from localkube.apiserver import ApiServer
from widgets import WIDGETS, widget

from .conftest import Kubectl

STATEFULSET: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "web"},
    "spec": {
        "serviceName": "web",
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "x:1", "ports": [{"containerPort": 80}]}]},
        },
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


async def test_apply_scale_patch_and_describe(kubectl: Kubectl) -> None:
    made = await kubectl("apply", "-f", "-", stdin=[STATEFULSET, SERVICE])
    assert made.out.splitlines() == ["statefulset.apps/web created", "service/web created"]
    again = await kubectl("apply", "-f", "-", stdin=[STATEFULSET, SERVICE])
    assert again.out.splitlines() == ["statefulset.apps/web unchanged", "service/web unchanged"]
    await kubectl("scale", "sts/web", "--replicas=5")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}}}}
    await kubectl("patch", "sts", "web", "-p", json.dumps(patch))
    held = (await kubectl("get", "sts", "web", "-o", "json")).json()
    container = held["spec"]["template"]["spec"]["containers"][0]
    assert (held["spec"]["replicas"], container["image"], container["env"][0]["name"]) == (5, "x:1", "A")
    address = (await kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")).out
    assert address.startswith("127.96.")
    assert f"IP:                       {address}" in (await kubectl("describe", "svc", "web")).out
    table = (await kubectl("get", "sts", "web")).out.split()
    assert table[:6] == ["NAME", "READY", "AGE", "web", "0/5", table[5]]
    refused = await kubectl("patch", "sts", "web", "-p", '{"spec":{"serviceName":"other"}}', ok=False)
    assert "updates to statefulset spec for fields other than" in refused.err


async def test_a_list_is_applied_item_by_item_and_checked(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=WIDGETS)
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=20s")
    items = [STATEFULSET, SERVICE, widget("w")]
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    made = await kubectl("apply", "-f", "-", stdin=listed)
    assert [line.split()[-1] for line in made.out.splitlines()] == ["created"] * 3
    again = await kubectl("apply", "-f", "-", stdin=listed)
    assert again.out.splitlines()[:2] == ["statefulset.apps/web unchanged", "service/web unchanged"]
    wrong = {**SERVICE, "spec": {**SERVICE["spec"], "colour": "red"}}
    refused = await kubectl("apply", "-f", "-", stdin={**listed, "items": [wrong]}, ok=False)
    assert "colour" in refused.err


async def test_custom_resources_from_definition_to_deletion(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=WIDGETS)
    await kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=20s")
    await kubectl("apply", "-f", "-", stdin=widget("w"))
    await kubectl("patch", "wg", "w", "--subresource=status", "--type=merge", "-p", _ready("True"))
    row = (await kubectl("get", "wg")).out.splitlines()
    assert row[0].split() == ["NAME", "SIZE", "READY", "AGE"]
    assert row[1].split()[:3] == ["w", "3", "True"]
    await kubectl("wait", "wg/w", "--for=condition=Ready", "--timeout=20s")
    explained = (await kubectl("explain", "wg.spec.main")).out
    assert "The main part." in explained
    invalid = await kubectl("apply", "-f", "-", stdin=widget("w", size=0), ok=False)
    assert "spec.size in body should be greater than or equal to 1" in invalid.err
    unknown = await kubectl("apply", "-f", "-", stdin=widget("w", nonsense=1), ok=False)
    assert 'strict decoding error: unknown field "spec.nonsense"' in unknown.err
    warned = await kubectl("apply", "--validate=warn", "-f", "-", stdin=widget("w", nonsense=1))
    assert 'Warning: unknown field "spec.nonsense"' in warned.err
    await kubectl("annotate", "wg", "w", "example.com/do=it")
    await kubectl("label", "wg", "w", "tier=front")
    assert "w" in (await kubectl("get", "wg", "-l", "tier in (front,back)", "-o", "name")).out
    assert (await kubectl("get", "wg", "w", "-o", "jsonpath={.metadata.generation}")).out == "1"
    await kubectl("delete", "wg", "w", "--timeout=20s")
    gone = await kubectl("get", "wg", "w", ok=False)
    assert gone.err.strip() == 'Error from server (NotFound): widgets.example.com "w" not found'


def _ready(status: str) -> str:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R"}
    return json.dumps({"status": {"conditions": [condition]}})


async def test_server_side_apply_conflicts_and_force(kubectl: Kubectl) -> None:
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=STATEFULSET)
    other = {**STATEFULSET, "spec": {**STATEFULSET["spec"], "replicas": 7}}
    conflict = await kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=other, ok=False)
    assert 'conflict with "one": .spec.replicas' in conflict.err
    await kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", stdin=other)
    assert (await kubectl("get", "sts", "web", "-o", "jsonpath={.spec.replicas}")).out == "7"


async def test_watch_prints_rows_as_objects_change(
    server: ApiServer, kubectl: Kubectl, kubectl_path: str, tmp_path: Path
) -> None:
    await kubectl("create", "configmap", "one", "--from-literal=a=1")
    process = await asyncio.create_subprocess_exec(
        kubectl_path,
        f"--kubeconfig={tmp_path / 'kubeconfig'}",
        *("get", "cm", "-w"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert (await process.stdout.readline()).split()[:2] == [b"NAME", b"DATA"]
            assert (await process.stdout.readline()).split()[:2] == [b"one", b"1"]
            server.store.patch("configmaps", "default", "one", {"data": {"b": "2"}})
            assert (await process.stdout.readline()).split()[:2] == [b"one", b"2"]
    finally:
        process.kill()
        await process.wait()


async def test_typed_commands_that_send_protobuf(kubectl: Kubectl) -> None:
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    await kubectl("create", "rolebinding", "reads", "--role=reader", "--serviceaccount=default:robot")
    await kubectl("create", "secret", "generic", "s", "--from-literal=word=abc")
    await kubectl("create", "deployment", "d", "--image=x:1", "--port=80")
    secret = (await kubectl("get", "secret", "s", "-o", "json")).json()
    assert secret["data"] == {"word": "YWJj"}
    robot = "--as=system:serviceaccount:default:robot"
    assert (await kubectl("auth", "can-i", "list", "pods", robot)).out.strip() == "yes"
    assert (await kubectl("auth", "can-i", "delete", "pods", robot, ok=False)).out.strip() == "no"
    denied = await kubectl("get", "secrets", robot, ok=False)
    assert denied.err.strip() == (
        'Error from server (Forbidden): secrets is forbidden: User "system:serviceaccount:default:robot" cannot list '
        'resource "secrets" in API group "" in the namespace "default"'
    )


async def test_service_account_kubeconfig_has_only_its_rights(
    server: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "clusterrole", "one", "--verb=get,patch", "--resource=configmaps", "--resource-name=mine")
    await kubectl("create", "rolebinding", "one", "--clusterrole=one", "--serviceaccount=default:robot")
    await kubectl("create", "configmap", "mine")
    await kubectl("create", "configmap", "other")
    config = server.kubeconfig(tmp_path / "robot", user="system:serviceaccount:default:robot")
    await kubectl("get", "cm", "mine", kubeconfig=config)
    assert "Forbidden" in (await kubectl("get", "cm", "other", kubeconfig=config, ok=False)).err
    assert "Forbidden" in (await kubectl("delete", "cm", "mine", kubeconfig=config, ok=False)).err


async def test_nobody_grants_what_they_do_not_hold(server: ApiServer, kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl("create", "clusterrole", "own", "--verb=get,create", "--resource=configmaps,roles,rolebindings")
    await kubectl("create", "clusterrolebinding", "own", "--clusterrole=own", "--serviceaccount=default:robot")
    config = server.kubeconfig(tmp_path / "robot", user="system:serviceaccount:default:robot")
    await kubectl("create", "role", "less", "--verb=get", "--resource=configmaps", kubeconfig=config)
    more = await kubectl("create", "role", "more", "--verb=get", "--resource=secrets", kubeconfig=config, ok=False)
    assert "is attempting to grant RBAC permissions not currently held" in more.err
    await kubectl("create", "clusterrole", "big", "--verb=*", "--resource=secrets")
    bind = ("create", "rolebinding", "big", "--clusterrole=big", "--serviceaccount=default:robot")
    assert "not currently held" in (await kubectl(*bind, kubeconfig=config, ok=False)).err


async def test_what_is_not_supported_is_refused_clearly(kubectl: Kubectl) -> None:
    await kubectl("run", "p", "--image=x:1", '--overrides={"spec":{"nodeName":"somewhere"}}')
    assert "commands cannot be run inside its pods" in (await kubectl("exec", "p", "--", "ls", ok=False)).err
    assert "without a provider of logs" in (await kubectl("logs", "p", ok=False)).err
    assert "the server doesn't have a resource type" in (await kubectl("get", "cronjobs", ok=False)).err
