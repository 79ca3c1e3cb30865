"""Fixtures: a running API server, and the real kubectl against it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from localkube.apiserver import ApiServer

WIDGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wg"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A widget.",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["parts"],
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "!has(self.main) || self.parts.exists(p, p.name == self.main)",
                                        "message": "main must be one of the parts",
                                        "fieldPath": ".main",
                                    },
                                    {
                                        "rule": "!has(oldSelf.colour) || self.colour == oldSelf.colour",
                                        "messageExpression": "'colour is fixed at ' + oldSelf.colour",
                                        "reason": "FieldValueForbidden",
                                    },
                                ],
                                "properties": {
                                    "size": {"type": "integer", "default": 3, "minimum": 1, "maximum": 9},
                                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                                    "main": {"type": "string", "description": "The main part."},
                                    "limit": {
                                        "x-kubernetes-int-or-string": True,
                                        "x-kubernetes-validations": [
                                            {
                                                "rule": "isQuantity(string(self)) && "
                                                "quantity(string(self)).isGreaterThan(quantity('0'))",
                                                "message": "must be a positive quantity",
                                            }
                                        ],
                                    },
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "tags": {
                                        "type": "array",
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "set",
                                    },
                                    "parts": {
                                        "type": "array",
                                        "minItems": 1,
                                        "maxItems": 3,
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string", "pattern": "^[a-z]+$"},
                                                "count": {"type": "integer", "default": 1},
                                            },
                                        },
                                    },
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


def widget(name: str, **spec: Any) -> dict[str, Any]:
    """A valid Widget."""
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"parts": [{"name": "a"}], **spec},
    }


@dataclass(frozen=True)
class Result:
    """What a command printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The output as JSON."""
        return json.loads(self.out)


Kubectl = Callable[..., Awaitable[Result]]


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    """A fresh server in memory."""
    made = ApiServer()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def widgets(server: ApiServer) -> ApiServer:
    """A server that serves Widgets."""
    server.store.create("customresourcedefinitions.apiextensions.k8s.io", WIDGETS)
    server.definitions.settle()
    return server


@pytest.fixture
def kubectl_path() -> str:
    """The real kubectl."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "kubectl is needed for these tests"
    return found


@pytest.fixture
async def kubectl(server: ApiServer, tmp_path: Path, kubectl_path: str) -> Kubectl:
    """Run kubectl against the server; ``stdin`` is an object (or several) to feed it."""
    config = server.kubeconfig(tmp_path / "kubeconfig")

    async def run(*args: str, stdin: Any = None, ok: bool = True, kubeconfig: Path = config) -> Result:
        process = await asyncio.create_subprocess_exec(
            kubectl_path,
            f"--kubeconfig={kubeconfig}",
            f"--cache-dir={tmp_path / 'cache'}",
            *args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        text = (
            "\n---\n".join(json.dumps(item) for item in (stdin if isinstance(stdin, list) else [stdin]))
            if stdin
            else ""
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(text.encode())
        result = Result(process.returncode or 0, out.decode(), err.decode())
        if ok:
            assert result.code == 0, result.err
        return result

    return run
