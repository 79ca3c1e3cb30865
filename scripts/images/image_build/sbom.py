"""The software bill of materials of an image, as CycloneDX JSON: Python, its packages, and shared libraries."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

LICENSE_CHARACTERS = 80
"""Older packages put the whole text of their license into the field; that is left out."""


def bill_of_materials(
    image: str, version: str, packages: Iterable[Distribution], libraries: Iterable[Path]
) -> dict[str, Any]:
    """Returns the document. It has neither a time nor a random number, so the same image has the same document."""
    components = [_python(), *map(_package, packages), *map(_library, libraries)]
    components.sort(key=lambda component: str(component["bom-ref"]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": image, "name": image, "version": version},
        },
        "components": components,
        "dependencies": [{"ref": image, "dependsOn": [component["bom-ref"] for component in components]}],
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Write the document to a file."""
    path.write_text(json.dumps(document, indent=2) + "\n")


def _python() -> dict[str, Any]:
    version = platform.python_version()
    reference = f"pkg:generic/python@{version}"
    return {"type": "platform", "bom-ref": reference, "name": "python", "version": version, "purl": reference}


def _package(installed: Distribution) -> dict[str, Any]:
    name = canonicalize_name(installed.metadata["Name"])
    reference = f"pkg:pypi/{name}@{installed.version}"
    component = {"type": "library", "bom-ref": reference, "name": name, "version": installed.version, "purl": reference}
    expression, text = installed.metadata.get("License-Expression"), installed.metadata.get("License") or ""
    if expression:
        component["licenses"] = [{"expression": expression}]
    elif 0 < len(text) <= LICENSE_CHARACTERS:
        component["licenses"] = [{"license": {"name": text}}]
    return component


def _library(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "bom-ref": f"{path.name}@{digest[:12]}", "name": path.name, "hashes": hashes}
