"""The rendered chart, for the tests of this folder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "replicated-store-operator"
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "extraEnv": [{"name": "A", "value": "b"}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "serviceAccount": {"annotations": {"a": "b"}},
    "additionalArgs": ["--log-level=debug"],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "hostNetwork": True,
    "commonAnnotations": {"c": "d"},
    "service": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
    "networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    "monitoring": {
        "podMonitorEnabled": True,
        "podMonitorAdditionalLabels": {"a": "b"},
        "podMonitorInterval": "15s",
        "podMonitorRelabelings": [{"targetLabel": "a", "replacement": "b"}],
        "podMonitorMetricRelabelings": [{"action": "drop", "sourceLabels": ["a"], "regex": "b"}],
        "podMonitorEtcdJob": True,
        "prometheusRule": {"create": True, "additionalLabels": {"a": "b"}},
        "grafanaDashboard": {"create": True, "labels": {"a": "b"}, "annotations": {"a": "b"}},
    },
}
"""Values that use every option of the chart."""


class HelmRefusalError(Exception):
    """Helm refused the chart or the values; the text is its message."""


@dataclass(frozen=True)
class Rendered:
    """The objects that the chart renders for some values."""

    objects: tuple[dict[str, Any], ...]
    notes: str

    def one(self, kind: str) -> dict[str, Any]:
        """Returns the only object of a kind."""
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} objects of kind {kind}"
        return found[0]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Returns every object of a kind."""
        return [made for made in self.objects if made["kind"] == kind]

    @property
    def operator_role(self) -> dict[str, Any]:
        """Returns the ClusterRole that is bound to the operator; others are for people."""
        name = self.one("ClusterRoleBinding")["roleRef"]["name"]
        (role,) = [role for role in self.all("ClusterRole") if role["metadata"]["name"] == name]
        return role

    @property
    def pod(self) -> dict[str, Any]:
        """Returns the operator's pod spec."""
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """Returns the operator's only container."""
        (only,) = self.pod["containers"]
        container: dict[str, Any] = only
        return container


class Helm:
    """Asks Helm about the chart. Raises HelmRefusalError with its message."""

    def ask(
        self, action: str, values: dict[str, Any], *, release: str = "rstore", namespace: str = "rstore-system"
    ) -> Any:
        request = {
            "action": action,
            "chart": str(CHART),
            "values": values,
            "release": release,
            "namespace": namespace,
        }
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("helm_child.py"))],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        reply = json.loads(done.stdout)
        if "error" in reply:
            raise HelmRefusalError(reply["error"])
        return reply["result"]

    def render(self, **values: Any) -> Rendered:
        return self.render_as("rstore", "rstore-system", **values)

    def render_as(self, release: str, namespace: str, **values: Any) -> Rendered:
        """Renders the chart for a release of that name in that namespace."""
        files = self.ask("render", values, release=release, namespace=namespace)
        notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
        objects = [
            made
            for path, text in files.items()
            if path.endswith(".yaml")
            for made in yaml.safe_load_all(text)
            if made is not None
        ]
        return Rendered(tuple(objects), notes)


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm()


@pytest.fixture(scope="session")
def default(helm: Helm) -> Rendered:
    """The chart rendered with its defaults."""
    return helm.render()


@pytest.fixture(scope="session")
def namespaced(helm: Helm) -> Rendered:
    """The chart rendered for an operator of two namespaces."""
    return helm.render(watchNamespaces=["team-a", "team-b"])
