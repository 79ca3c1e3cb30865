"""Probes: one check of a container, and the counting of checks that makes a verdict of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from localkube.controllers.resources import Obj
from localkube.runner.process import Command, run_once

MAX_REDIRECTS = 10


@dataclass(frozen=True)
class ProbeSpec:
    """The numbers of a probe, with the defaults of the API."""

    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, probe: Mapping[str, int]) -> ProbeSpec:
        """From a probe of a container's spec."""
        return cls(
            initial_delay_seconds=float(probe.get("initialDelaySeconds") or 0),
            period_seconds=float(probe.get("periodSeconds") or 10),
            timeout_seconds=float(probe.get("timeoutSeconds") or 1),
            success_threshold=int(probe.get("successThreshold") or 1),
            failure_threshold=int(probe.get("failureThreshold") or 3),
        )


class Verdict:
    """Counts results in a row; `value` changes when a threshold is reached."""

    def __init__(self, spec: ProbeSpec, *, initial: bool) -> None:
        self._spec = spec
        self._streak = 0
        self._last: bool | None = None
        self.value = initial

    def add(self, success: bool) -> bool:
        """Count a result; returns whether it completes a threshold (then `value` is the verdict)."""
        self._streak = self._streak + 1 if success == self._last else 1
        self._last = success
        if self._streak < (self._spec.success_threshold if success else self._spec.failure_threshold):
            return False
        self.value = success
        return True


@dataclass(frozen=True)
class Target:
    """The container to check: where it listens, its named ports, and how to execute a command in it."""

    address: str
    ports: Mapping[str, int]
    command: Callable[[list[str]], Command]

    def port(self, value: int | str) -> int:
        """Returns a port by number or name; raises ValueError."""
        if isinstance(value, int):
            return value
        if value in self.ports:
            return self.ports[value]
        if value.isdigit():
            return int(value)
        raise ValueError(f"no port named {value!r}")


async def check(handler: Obj, target: Target, timeout_seconds: float, session: aiohttp.ClientSession) -> str | None:
    """Run one check; None when it succeeded, else what failed, as the kubelet words it."""
    try:
        async with asyncio.timeout(timeout_seconds):
            if "httpGet" in handler:
                return await _http(handler["httpGet"], target, session)
            if "tcpSocket" in handler:
                return await _tcp(handler["tcpSocket"], target)
            if "exec" in handler:
                return await _exec(handler["exec"], target, timeout_seconds)
    except TimeoutError:
        return f"probe timed out after {timeout_seconds:g}s"
    except (OSError, ValueError, aiohttp.ClientError) as error:
        return f"{type(error).__name__}: {error}"
    return "unsupported probe"


async def _http(action: Obj, target: Target, session: aiohttp.ClientSession) -> str | None:
    scheme = (action.get("scheme") or "HTTP").lower()
    host = action.get("host") or target.address
    url = f"{scheme}://{host}:{target.port(action['port'])}{action.get('path') or '/'}"
    headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or []}
    headers.setdefault("User-Agent", "kube-probe/1.36")
    async with session.get(url, headers=headers, ssl=False, max_redirects=MAX_REDIRECTS) as response:
        if 200 <= response.status < 400:
            return None
        body = (await response.content.read(256)).decode(errors="replace").strip()
        return f"HTTP probe failed with statuscode: {response.status}" + (f" ({body})" if body else "")


async def _tcp(action: Obj, target: Target) -> str | None:
    _, writer = await asyncio.open_connection(action.get("host") or target.address, target.port(action["port"]))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


async def _exec(action: Obj, target: Target, timeout_seconds: float) -> str | None:
    command = target.command(list(action["command"]))
    code, output = await run_once(command, timeout_seconds=timeout_seconds)
    if code == 0:
        return None
    return f"command timed out after {timeout_seconds:g}s" if code is None else output.strip() or f"exit code {code}"
