"""``ApiServer``: the process-wide object that puts the parts together and listens."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from pathlib import Path

import yaml
from aiohttp import web

from localkube import tasks
from localkube.apiserver.errors import bad_request
from localkube.apiserver.http.app import App
from localkube.apiserver.http.authn import Tokens
from localkube.apiserver.http.call import Services, WriteKey
from localkube.apiserver.http.options import ApiServerOptions
from localkube.apiserver.http.rbac import Authorizer
from localkube.apiserver.http.tls import ensure_certificate
from localkube.apiserver.jsonobj import JsonObject, parse_time
from localkube.apiserver.kinds.bootstrap import bootstrap_objects
from localkube.apiserver.kinds.strategy import KindStrategy
from localkube.apiserver.objects.definitions import Definitions
from localkube.apiserver.objects.store import Store
from localkube.apiserver.resources import Registry
from localkube.apiserver.schema.provider import Schemas
from localkube.apiserver.storage.persistence import Memory, Persistence, SqliteFile

_EVENT_SWEEP_SECONDS = 60.0


class ApiServer:
    """An embedded Kubernetes API server: ``await start()``, then ``url`` and ``kubeconfig()``; ``await stop()``."""

    def __init__(self, options: ApiServerOptions | None = None) -> None:
        self.options = options or ApiServerOptions()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if self.options.data_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="apiserver-")
            self._directory = Path(self._temporary.name)
            persistence: Persistence = Memory()
        else:
            self._directory = self.options.data_dir
            persistence = SqliteFile(self._directory / "objects.sqlite")
        self.registry = Registry()
        self.schemas = Schemas()
        strategy = KindStrategy(self.schemas)
        self.store = Store(
            self.registry,
            strategy=strategy,
            persistence=persistence,
            history_capacity=self.options.history_capacity,
        )
        strategy.attach(self.store, self.options.service_cidr)
        self.definitions = Definitions(
            self.store, self.registry, self.schemas, lambda step: asyncio.get_running_loop().call_soon(step)
        )
        self.tokens = Tokens(self._directory / "keys")
        self.services = Services(
            self.options, self.registry, self.schemas, self.store, self.tokens, Authorizer(self.store)
        )
        hosts = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", "::1")
        self._certificate = ensure_certificate(
            self._directory / "tls", tuple(dict.fromkeys((*hosts, self.options.host, *self.options.extra_hosts)))
        )
        self._runner: web.AppRunner | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """``https://127.0.0.1:<port>``, valid once started."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"https://{host}:{self._port}"

    @property
    def ca_pem(self) -> bytes:
        """Returns the CA certificate clients trust."""
        return self._certificate.ca_pem

    @property
    def writes(self) -> dict[WriteKey, int]:
        """Returns how many write requests each user made over HTTP, by verb and resource (dry runs not counted)."""
        return dict(self.services.writes)

    async def start(self) -> None:
        """Create what is there from the start, and listen; raises OSError when the port is taken."""
        self._bootstrap()
        self.definitions.start()
        application = App(self.services).application()
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=2.0)
        await self._runner.setup()
        remembered = self._directory / "port"
        port = self.options.port
        if port == 0 and self.options.data_dir is not None and remembered.exists():
            port = int(remembered.read_text())
        site = web.TCPSite(self._runner, self.options.host, port, ssl_context=self._certificate.ssl_context())
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        remembered.write_text(str(self._port))
        self._sweeper = asyncio.create_task(self._sweep_events(), name="apiserver-event-sweeper")

    async def stop(self) -> None:
        """End watches, stop listening, close the store."""
        self.services.stopping = True
        await tasks.end(self._sweeper)
        self.store.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()
        self.store.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def mint_token(self, namespace: str, service_account: str, *, lifetime_seconds: int = 365 * 86400) -> str:
        """Returns a bearer token for a service account, whether or not that exists yet."""
        stored = self.store.peek("serviceaccounts", namespace, service_account)
        uid = str(stored.obj["metadata"]["uid"]) if stored is not None else ""
        return self.tokens.mint(namespace, service_account, uid=uid, lifetime_seconds=lifetime_seconds)

    def kubeconfig(self, path: Path, *, user: str = "admin", namespace: str = "default") -> Path:
        """Write a kubeconfig; ``user`` is ``admin`` or ``system:serviceaccount:<namespace>:<name>``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self.kubeconfig_content(user=user, namespace=namespace), sort_keys=False))
        return path

    def kubeconfig_content(self, *, user: str = "admin", namespace: str = "default") -> JsonObject:
        """Returns what ``kubeconfig`` writes."""
        if user == "admin":
            token = self.tokens.admin_token
        elif user.startswith("system:serviceaccount:") and user.count(":") == 3:
            _, _, space, account = user.split(":")
            token = self.mint_token(space, account)
        else:
            raise bad_request(f"no credentials for user {user!r}: admin or system:serviceaccount:<namespace>:<name>")
        cluster = {"server": self.url, "certificate-authority-data": base64.b64encode(self.ca_pem).decode()}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "localkube", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [
                {"name": "localkube", "context": {"cluster": "localkube", "user": user, "namespace": namespace}}
            ],
            "current-context": "localkube",
            "preferences": {},
        }

    def _bootstrap(self) -> None:
        for key, obj in bootstrap_objects():
            if self.store.peek(key, "", obj["metadata"]["name"]) is None:
                self.store.create(key, obj, manager="kube-apiserver")

    async def _sweep_events(self) -> None:
        """Drop Events older than their time to live."""
        while True:
            await asyncio.sleep(_EVENT_SWEEP_SECONDS)
            oldest = self.store.now().timestamp() - self.options.event_ttl_seconds
            for stored in self.store.peek_all("events"):
                seen = stored.obj.get("lastTimestamp") or stored.obj["metadata"]["creationTimestamp"]
                if parse_time(seen).timestamp() < oldest:
                    self.store.delete("events", stored.namespace, stored.name)
