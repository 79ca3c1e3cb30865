"""The chart by a real helm, where there is one: what its own checks say, and that it renders what the library does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart.conftest import CHART, EVERYTHING, Helm

HELM = shutil.which("helm")
pytestmark = pytest.mark.skipif(HELM is None, reason="there is no helm binary")
VALUES: list[dict[str, Any]] = [{}, EVERYTHING, {"crds": {"create": False}}]
IDS = ["defaults", "every option", "without the definition"]


def run(directory: Path, values: dict[str, Any], *arguments: str) -> str:
    assert HELM is not None
    path = directory / "values.json"
    path.write_text(json.dumps(values))
    command = [HELM, *arguments, str(CHART), f"--values={path}", "--namespace=rstore-system"]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("values", VALUES, ids=IDS)
def test_lint_finds_nothing(tmp_path: Path, values: dict[str, Any]) -> None:
    found = run(tmp_path, values, "lint", "--strict")
    assert "0 chart(s) failed" in found
    assert "[WARNING]" not in found
    assert "[ERROR]" not in found


@pytest.mark.parametrize("values", VALUES, ids=IDS)
def test_it_renders_what_the_library_renders(tmp_path: Path, helm: Helm, values: dict[str, Any]) -> None:
    documents = yaml.safe_load_all(run(tmp_path, values, "template", "rstore"))
    assert _named(documents) == _named(helm.render(**values).objects)


def _named(objects: Any) -> dict[tuple[str, str], Any]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects if one is not None}
