"""The Python clients (sync and aio), kopf, Helm; logs, port-forwarding, restart, counters."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import kubernetes.client
import kubernetes.config
import pytest
from helm_python import Config
from kubernetes.aio import client as aio_client
from kubernetes.aio import config as aio_config
from kubernetes.aio import watch as aio_watch
from kubernetes.stream import portforward
from localkube.apiserver import ApiServer, ApiServerOptions, LogRequest
from localkube.apiserver.errors import ApiError, bad_request
from widgets import widget

from .conftest import Kubectl


def sync_api(server: ApiServer) -> kubernetes.client.ApiClient:
    return kubernetes.config.new_client_from_config_dict(server.kubeconfig_content())


async def test_sync_client_creates_reads_and_gets_conflicts(server: ApiServer) -> None:
    def run() -> None:
        core = kubernetes.client.CoreV1Api(sync_api(server))
        core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "1"}})
        held = core.read_namespaced_config_map("c", "default")
        held.data["a"] = "2"
        core.replace_namespaced_config_map("c", "default", held)
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.replace_namespaced_config_map("c", "default", held)
        assert caught.value.status == 409
        assert [item.metadata.name for item in core.list_namespaced_config_map("default").items] == ["c"]
        core.delete_namespaced_config_map("c", "default")

    await asyncio.to_thread(run)


async def test_aio_client_applies_and_watches(server: ApiServer, tmp_path: Path) -> None:
    path = str(server.kubeconfig(tmp_path / "kubeconfig"))
    async with await aio_config.new_client_from_config(path) as api:
        core = aio_client.CoreV1Api(api)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
        seen: list[str] = []

        async def watch() -> None:
            async with aio_watch.Watch().stream(
                core.list_namespaced_config_map, "default", timeout_seconds=20
            ) as stream:
                async for event in stream:
                    seen.append(event["type"])
                    if event["type"] == "DELETED":
                        return

        task = asyncio.create_task(watch())
        await core.patch_namespaced_config_map(
            "c", "default", body, field_manager="m", force=True, _content_type="application/apply-patch+yaml"
        )
        await core.patch_namespaced_config_map("c", "default", {"data": {"b": "2"}})
        await core.delete_namespaced_config_map("c", "default")
        await asyncio.wait_for(task, 20)
    assert seen[-1] == "DELETED"
    assert seen[0] == "ADDED"


async def test_applying_again_writes_nothing_where_defaults_complete_it(server: ApiServer, tmp_path: Path) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    claim["spec"]["resources"] = {"requests": {"storage": "1024Mi"}}  # type: ignore[index]
    labels = {"app": "x"}
    container = {"name": "c", "image": "x:1", "resources": {"limits": {"cpu": "1000m"}}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "s"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [claim],
        },
    }
    versions = []
    async with await aio_config.new_client_from_config(str(server.kubeconfig(tmp_path / "kubeconfig"))) as api:
        apps = aio_client.AppsV1Api(api)
        for minutes in range(3):
            server.store._clock = lambda m=minutes: datetime.now(UTC) + timedelta(minutes=m)  # type: ignore[misc]
            made = await apps.patch_namespaced_stateful_set(
                "s", "default", body, field_manager="m", force=True, _content_type="application/apply-patch+yaml"
            )
            versions.append(made.metadata.resource_version)
    assert len(set(versions)) == 1


async def test_paging_is_consistent_while_objects_change(server: ApiServer) -> None:
    for index in range(5):
        server.store.create("configmaps", {"metadata": {"name": f"c{index}"}}, namespace="default")

    def run() -> list[str]:
        core = kubernetes.client.CoreV1Api(sync_api(server))
        names: list[str] = []
        page = core.list_namespaced_config_map("default", limit=2)
        while True:
            names += [item.metadata.name for item in page.items]
            token = getattr(page.metadata, "_continue", None) or getattr(page.metadata, "continue_", None)
            token = token or page.metadata.to_dict().get("continue") or page.metadata.to_dict().get("_continue")
            if not token:
                return names
            server.store.create("configmaps", {"metadata": {"generateName": "c0-"}}, namespace="default")
            page = core.list_namespaced_config_map("default", limit=2, _continue=token)

    assert await asyncio.to_thread(run) == ["c0", "c1", "c2", "c3", "c4"]


async def test_kopf_handles_creation_and_holds_deletion(widgets: ApiServer, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("KUBECONFIG", str(widgets.kubeconfig(tmp_path / "kubeconfig")))
    registry = kopf.OperatorRegistry()
    deleted = asyncio.Event()

    @kopf.on.login(registry=registry)
    def login(**options: Any) -> Any:
        return kopf.login_with_kubeconfig(**options)

    @kopf.on.create("widgets", registry=registry)
    async def created(body: Any, patch: Any, **_: Any) -> None:
        patch.status["phase"] = "Made"
        kopf.info(body, reason="Made", message="it is made")

    @kopf.on.delete("widgets", registry=registry)
    async def removed(**_: Any) -> None:
        deleted.set()

    stop = asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(registry=registry, namespaces=["default"], stop_flag=stop, standalone=True)
    )
    try:
        widgets.store.create("widgets.example.com", widget("w"), namespace="default")
        async with asyncio.timeout(30), widgets.store.watch("widgets.example.com") as watch:
            async for event in watch:
                if event.object.get("status", {}).get("phase") == "Made":
                    break
        async with asyncio.timeout(30), widgets.store.watch("events") as watch:
            async for event in watch:
                if event.object["reason"] == "Made":
                    break
        _, gone = widgets.store.delete("widgets.example.com", "default", "w")
        assert not gone
        async with asyncio.timeout(30):
            await deleted.wait()
            async with widgets.store.watch("widgets.example.com") as watch:
                while widgets.store.find("widgets.example.com", "default", "w"):
                    await watch.next()
    finally:
        stop.set()
        await asyncio.wait_for(operator, 20)


CHART = """apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: c, image: "x:1"}]}
"""


async def test_helm_installs_upgrades_and_uninstalls(server: ApiServer, tmp_path: Path) -> None:
    chart = tmp_path / "tiny"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\n")
    (chart / "values.yaml").write_text("replicas: 1\n")
    (chart / "templates" / "deployment.yaml").write_text(CHART)
    config = Config(kubeconfig_path=str(server.kubeconfig(tmp_path / "kubeconfig")), namespace="apps")
    await asyncio.to_thread(config.install, chart, "t", {"replicas": 2}, namespace="apps", create_namespace=True)
    assert server.store.get("deployments.apps", "apps", "t")["spec"]["replicas"] == 2
    await asyncio.to_thread(config.upgrade, chart, "t", {"replicas": 4}, namespace="apps")
    assert server.store.get("deployments.apps", "apps", "t")["spec"]["replicas"] == 4
    releases = server.store.list("secrets", "apps", label_selector="owner=helm").items
    assert [item["type"] for item in releases] == ["helm.sh/release.v1"] * 2
    await asyncio.to_thread(config.uninstall, "t")
    assert server.store.find("deployments.apps", "apps", "t") is None
    assert not server.store.list("secrets", "apps").items


async def _logs(request: LogRequest) -> AsyncIterator[bytes]:
    if request.previous:
        raise bad_request("previous terminated container not found")
    for line in ("one", "two", "three")[-(request.tail_lines or 3) :]:
        yield f"{request.container} {line}\n".encode()


@pytest.fixture
async def hooked() -> AsyncIterator[ApiServer]:
    made = ApiServer(ApiServerOptions(log_provider=_logs))
    await made.start()
    yield made
    await made.stop()


def _pod(address: str = "") -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "x"}], "nodeName": "n"}}


async def test_logs_come_from_the_provider(hooked: ApiServer, kubectl_path: str, tmp_path: Path) -> None:
    hooked.store.create("pods", _pod(), namespace="default")
    config = hooked.kubeconfig(tmp_path / "kubeconfig")

    async def logs(*args: str) -> tuple[str, str]:
        process = await asyncio.create_subprocess_exec(
            kubectl_path,
            f"--kubeconfig={config}",
            *("logs", "p", *args),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return out.decode(), err.decode()

    assert (await logs("--tail=2"))[0] == "main two\nmain three\n"
    assert (await logs("-f"))[0] == "main one\nmain two\nmain three\n"
    assert "previous terminated container not found" in (await logs("--previous"))[1]


async def test_port_forward_reaches_the_pods_address(server: ApiServer) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"echo:" + await reader.readline())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server.store.create("pods", _pod(), namespace="default")
    server.store.patch_status("pods", "default", "p", {"podIP": "127.0.0.1", "phase": "Running"})

    def run() -> bytes:
        core = kubernetes.client.CoreV1Api(sync_api(server))
        forward = portforward(core.connect_get_namespaced_pod_portforward, "p", "default", ports=str(port))
        socket = forward.socket(port)
        try:
            socket.settimeout(20)  # a thread that waits for ever would keep the whole run from ending
            socket.sendall(b"hello\n")
            return bytes(socket.recv(100))
        finally:
            socket.close()

    assert await asyncio.to_thread(run) == b"echo:hello\n"
    listener.close()


async def test_restart_keeps_objects_port_and_credentials(tmp_path: Path) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "data")
    first = ApiServer(options)
    await first.start()
    first.store.create("configmaps", {"metadata": {"name": "c"}}, namespace="default")
    url, content = first.url, first.kubeconfig_content()
    await first.stop()
    second = ApiServer(replace(options))
    await second.start()
    try:
        assert (second.url, second.kubeconfig_content()) == (url, content)
        assert second.store.find("configmaps", "default", "c")
    finally:
        await second.stop()


async def request(server: ApiServer, method: str, path: str, token: str | None, **more: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers.update(more.pop("headers", {}))
    context = ssl.create_default_context(cadata=server.ca_pem.decode())
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, server.url + path, ssl=context, **more) as response,
    ):
        return response.status, json.loads(await response.text())


async def test_writes_are_counted_by_user(server: ApiServer, kubectl: Kubectl) -> None:
    await kubectl("create", "configmap", "c")
    await kubectl("get", "cm")
    _, counted = await request(server, "GET", "/debug/writes", server.tokens.admin_token)
    assert counted == {"writes": [{"user": "kubernetes-admin", "verb": "create", "resource": "configmaps", "count": 1}]}
    token = server.mint_token("default", "robot")
    assert (await request(server, "GET", "/debug/writes", token))[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("GET", "/apis/apps/v1/jobs", {}, 404),
        ("PUT", "/api/v1/namespaces/default/pods", {}, 405),
        ("GET", "/api/v1/pods", {"Accept": "application/vnd.kubernetes.protobuf"}, 406),
        ("POST", "/api/v1/namespaces/default/pods", {"Content-Type": "text/plain"}, 415),
        ("GET", "/api/v1/pods?resourceVersion=999999", {}, 504),
        ("GET", "/api/v1/pods?limit=x", {}, 400),
        ("GET", "/api/v1/pods?resourceVersion=1&resourceVersionMatch=Exact", {}, 410),
    ],
)
async def test_refusals_are_statuses(server: ApiServer, method: str, path: str, headers: Any, code: int) -> None:
    status, body = await request(server, method, path, server.tokens.admin_token, headers=headers)
    assert (status, body["kind"], body["code"]) == (code, "Status", code)


async def test_nobody_gets_in_without_a_valid_token(server: ApiServer) -> None:
    assert (await request(server, "GET", "/api/v1/pods", None))[0] == 403
    assert (await request(server, "GET", "/api/v1/pods", "forged.token.x"))[0] == 401
    expired = server.mint_token("default", "x", lifetime_seconds=-10)
    assert (await request(server, "GET", "/api/v1/pods", expired))[0] == 401
    assert (await request(server, "GET", "/version", None))[0] == 200


async def test_minted_token_is_the_service_account(server: ApiServer) -> None:
    token = server.mint_token("default", "robot")
    status, body = await request(server, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", token, json={})
    assert status == 201
    assert body["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"


async def test_a_token_ends_with_its_account_and_is_for_its_audiences(server: ApiServer) -> None:
    admin = server.tokens.admin_token
    accounts, account = "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "robot"}}
    mine = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

    async def token(**spec: Any) -> tuple[int, Any]:
        return await request(server, "POST", f"{accounts}/robot/token", admin, json={"spec": spec})

    async def accepted(value: str) -> int:
        return (await request(server, "POST", mine, value, json={}))[0]

    await request(server, "POST", accounts, admin, json=account)
    _, own = await token()
    _, other = await token(audiences=["vault"])
    assert (await token(boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"}))[0] == 400
    assert (await token(expirationSeconds=2**33))[0] == 422
    assert other["spec"]["audiences"] == ["vault"]
    own_token, other_token = own["status"]["token"], other["status"]["token"]
    assert (await accepted(own_token), await accepted(other_token)) == (201, 401)

    await request(server, "DELETE", f"{accounts}/robot", admin)
    assert await accepted(own_token) == 401
    await request(server, "POST", accounts, admin, json=account)
    assert await accepted(own_token) == 401


def test_kubeconfig_for_an_unknown_user_is_refused() -> None:
    with pytest.raises(ApiError, match="no credentials"):
        ApiServer().kubeconfig_content(user="nobody")
