"""Proxies in the environment are for what is outside the cluster: no API server and no replica is behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from aiohttp import web
from kopf._cogs.structs.credentials import ConnectionInfo
from rstore_api.dialling.channels import CHANNEL_OPTIONS
from rstore_api.domain.kubernetes import STORE
from rstore_operator.handlers import connect


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


async def test_the_api_server_is_reached_without_the_proxy(
    proxied: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": "orders"}})

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = tmp_path / "kubeconfig"
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(config))
    client, namespace = await connect()
    assert namespace == "default"
    try:
        assert (await client.get(STORE, "default", "orders"))["metadata"]["name"] == "orders"
    finally:
        await client.close()
        await runner.cleanup()


def test_neither_kopf_nor_grpc_asks_the_environment_for_proxies() -> None:
    assert not ConnectionInfo(server="https://10.0.0.1").trust_env
    assert ("grpc.enable_http_proxy", 0) in CHANNEL_OPTIONS
