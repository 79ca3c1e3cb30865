"""Requests to a running server, with headers as given."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from localkube.apiserver import ApiServer


async def send(server: ApiServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    """Returns status, headers and the body as it came."""
    context = ssl.create_default_context(cadata=server.ca_pem.decode())
    sent = {"Authorization": f"Bearer {server.tokens.admin_token}", "Accept-Encoding": "identity"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, server.url + path, ssl=context, headers=sent, json=body) as response,
    ):
        return response.status, response.headers, await response.read()
