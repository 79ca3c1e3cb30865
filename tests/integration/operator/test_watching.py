"""The operator's watches against a real list and watch: kinds, namespaces and rights that come, go and come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from localkube.apiserver import ApiServer
from rstore_api.domain.kubernetes import FINALIZER, KIND, STORE
from rstore_operator import watching
from rstore_operator.leadership import elector
from rstore_operator.process import run
from rstore_operator.resource.model import ReplicaImage
from rstore_operator.settings import Settings
from unit.operator.test_process import closed_port

ROOT = Path(__file__).parents[3]
CRD = yaml.safe_load((ROOT / "crds" / "replicatedstores.yaml").read_text())
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
STORES = "replicatedstores.replicatedstore.io"
USER = "system:serviceaccount:rstore-system:operator"


class Cluster:
    """An API server, and an operator that runs against it in this process."""

    def __init__(self, server: ApiServer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self._directory = directory
        self._monkeypatch = monkeypatch
        self._stop = asyncio.Event()
        self._running: asyncio.Future[None] | None = None
        self.port = closed_port()
        self.with_lease = True

    async def run(self, *namespaces: str, user: str = "admin") -> None:
        config = self.server.kubeconfig(self._directory / "kubeconfig", user=user)
        self._monkeypatch.setenv("KUBECONFIG", str(config))
        if user == USER and self.with_lease:
            self.allow("default", LEASES)
        settings = Settings(namespaces, ReplicaImage("replica", "IfNotPresent"), "127.0.0.1", self.port, "info")
        self._running = asyncio.ensure_future(run(settings, self._stop))

    async def end(self) -> None:
        self._stop.set()
        if self._running is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(self._running, 120)

    def define(self) -> None:
        """Makes the definition, and waits until it is served."""
        self.server.store.create(CRDS, CRD)
        self.server.definitions.settle()

    def namespace(self, name: str) -> None:
        self.server.store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def make(self, name: str, namespace: str = "default", **meta: Any) -> None:
        regions = [{"name": "us", "replicas": 1, "placement": {}}]
        body = {
            "apiVersion": STORE.api_version,
            "kind": KIND,
            "metadata": {"name": name, **meta},
            "spec": {"regions": regions},
        }
        self.server.store.create(STORES, body, namespace=namespace)

    def allow(self, namespace: str, rules: list[dict[str, Any]]) -> None:
        meta = {"name": "operator", "namespace": namespace}
        api = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": rules}
        self.server.store.create(f"roles.{api}", role, namespace=namespace)
        subject = {"kind": "ServiceAccount", "name": "operator", "namespace": "rstore-system"}
        reference = {"apiGroup": api, "kind": "Role", "name": "operator"}
        binding = {"apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": meta, "subjects": [subject]}
        self.server.store.create(f"rolebindings.{api}", {**binding, "roleRef": reference}, namespace=namespace)

    def forbid(self, namespace: str) -> None:
        for kind in ("rolebindings", "roles"):
            self.server.store.delete(f"{kind}.rbac.authorization.k8s.io", namespace, "operator")

    def child(self, name: str, namespace: str = "default", kind: str = "services") -> Any:
        stored = self.server.store.peek(kind, namespace, name)
        return stored.obj if stored is not None else None

    async def health(self, path: str = "healthz") -> tuple[int, str]:
        async with aiohttp.ClientSession() as http:
            try:
                async with http.get(f"http://127.0.0.1:{self.port}/{path}") as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientConnectionError:
                return 0, ""

    async def until(self, what: Callable[[], Any], seconds: float = 120.0) -> Any:
        assert self._running is not None
        async with asyncio.timeout(seconds):
            while True:
                assert not self._running.done(), self._running.exception()
                value = what()
                if isinstance(value, Awaitable):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.05)

    async def until_health(self, status: int, text: str = "") -> None:
        async def probe() -> bool:
            code, body = await self.health()
            return code == status and text in body

        await self.until(probe)


RULES: list[dict[str, Any]] = [
    {"apiGroups": ["replicatedstore.io"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": ["", "apps", "policy", "networking.k8s.io"], "resources": ["*"], "verbs": ["*"]},
]


LEASES: list[dict[str, Any]] = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(watching, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(elector, "GRACE_SECONDS", 1.0)
    server = ApiServer()
    await server.start()
    made = Cluster(server, tmp_path, monkeypatch)
    yield made
    await made.end()
    await server.stop()


async def test_a_definition_that_comes_late_goes_and_comes_back_is_noticed(cluster: Cluster) -> None:
    await cluster.run()
    await cluster.until_health(503, "replicatedstores.replicatedstore.io: the API server does not know it")
    assert (await cluster.health("livez"))[0] == 200
    cluster.define()
    cluster.make("orders")
    await cluster.until(lambda: cluster.child("orders"))
    await cluster.until_health(200)
    cluster.server.store.delete(CRDS, None, "replicatedstores.replicatedstore.io")
    await cluster.until_health(503, "replicatedstores")
    cluster.define()
    cluster.make("shop")
    await cluster.until(lambda: cluster.child("shop"))
    await cluster.until_health(200)


async def test_a_namespace_and_its_rights_may_come_late_and_stop_nobody_else(cluster: Cluster) -> None:
    cluster.define()
    for name in ("rstore-system", "team-a"):
        cluster.namespace(name)
    cluster.allow("team-a", RULES)
    await cluster.run("team-a", "team-b", user=USER)
    cluster.make("orders", "team-a")
    await cluster.until(lambda: cluster.child("orders", "team-a"))
    await cluster.until_health(503, "in namespace team-b")
    assert "team-a" not in (await cluster.health())[1]
    cluster.namespace("team-b")
    cluster.make("shop", "team-b")
    await cluster.until_health(503, "forbidden")
    cluster.allow("team-b", RULES)
    await cluster.until(lambda: cluster.child("shop", "team-b"))
    await cluster.until_health(200)
    cluster.forbid("team-a")
    cluster.server.store.end_watches()
    await cluster.until_health(503, "in namespace team-a")
    cluster.server.store.delete("services", "team-b", "shop")
    await cluster.until(lambda: cluster.child("shop", "team-b"))
    cluster.allow("team-a", RULES)
    cluster.server.store.delete("services", "team-a", "orders")
    await cluster.until(lambda: cluster.child("orders", "team-a"))
    await cluster.until_health(200)


async def test_a_missing_verb_is_a_condition_of_the_store_and_nothing_is_made(cluster: Cluster) -> None:
    cluster.define()
    for name in ("rstore-system", "team-a"):
        cluster.namespace(name)
    some = [*RULES[:1], {"apiGroups": ["apps", "policy", "networking.k8s.io"], "resources": ["*"], "verbs": ["*"]}]
    some += [{"apiGroups": [""], "resources": ["services", "configmaps", "pods", "events"], "verbs": ["*"]}]
    cluster.allow("team-a", some)
    await cluster.run("team-a", user=USER)
    cluster.make("orders", "team-a")

    def degraded() -> Any:
        status = cluster.child("orders", "team-a", STORES).get("status", {})
        return next((item for item in status.get("conditions", []) if item["type"] == "Degraded"), None)

    condition = await cluster.until(degraded)
    assert condition["reason"] == "CannotWatch"
    assert "secrets in namespace team-a" in condition["message"]
    assert cluster.child("orders", "team-a") is None
    cluster.forbid("team-a")
    cluster.allow("team-a", RULES)
    await cluster.until(lambda: cluster.child("orders", "team-a"))
    await cluster.until(lambda: degraded()["reason"] != "CannotWatch")


async def test_an_operator_that_may_not_use_its_lease_does_nothing_and_is_not_healthy(cluster: Cluster) -> None:
    cluster.define()
    for name in ("rstore-system", "team-a"):
        cluster.namespace(name)
    cluster.allow("team-a", RULES)
    cluster.with_lease = False
    await cluster.run("team-a", user=USER)
    cluster.make("orders", "team-a")
    await cluster.until_health(503, "the Lease default/replicated-store-operator cannot be used: leases")
    assert cluster.child("orders", "team-a") is None
    cluster.allow("default", LEASES)
    await cluster.until(lambda: cluster.child("orders", "team-a"))
    await cluster.until_health(200)


async def test_what_was_deleted_while_a_watch_was_down_is_made_again(cluster: Cluster) -> None:
    cluster.define()
    for name in ("rstore-system", "team-a"):
        cluster.namespace(name)
    cluster.allow("team-a", RULES)
    await cluster.run("team-a", user=USER)
    cluster.make("orders", "team-a")
    await cluster.until(lambda: cluster.child("orders-us", "team-a", "statefulsets.apps"))
    cluster.forbid("team-a")
    cluster.server.store.end_watches()
    await cluster.until_health(503)
    cluster.server.store.delete("configmaps", "team-a", "orders-us")
    cluster.allow("team-a", RULES)
    await cluster.until(lambda: cluster.child("orders-us", "team-a", "configmaps"))


async def test_nothing_holds_a_store_back_from_its_end(cluster: Cluster) -> None:
    """Nothing is written into its metadata; what an earlier version wrote there is removed."""
    cluster.define()
    cluster.make("old", finalizers=[FINALIZER, "example.com/other"])
    strange = {f"replicatedstore.io/{name}": "{" for name in ("last-handled-configuration", "kopf-managed", "store")}
    cluster.make("orders", annotations=strange)
    await cluster.run()
    await cluster.until(lambda: cluster.child("orders-us", kind="statefulsets.apps"))
    await cluster.until(
        lambda: cluster.child("old", kind=STORES)["metadata"].get("finalizers") == ["example.com/other"]
    )
    store = cluster.child("orders", kind=STORES)["metadata"]
    assert not store.get("finalizers")
    assert store["annotations"] == strange
    cluster.server.store.delete(STORES, "default", "orders")
    assert cluster.child("orders", kind=STORES) is None
    cluster.make("orders")
    uid = cluster.child("orders", kind=STORES)["metadata"]["uid"]
    await cluster.until(
        lambda: (
            cluster.child("orders")["metadata"]["ownerReferences"][0]["uid"] == uid
            and cluster.child("orders", kind=STORES).get("status")
        )
    )
