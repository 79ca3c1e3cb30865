"""Helm: the binary where there is one, else Helm's own Go library from the wheel `helm-python-sdk`.

The library runs in a child process (``python -m rstore_cli.helm``, one JSON request on standard input): a Go
runtime does not belong into a process that also runs gRPC and forks kubectl.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class ToolError(RuntimeError):
    """A command failed; the message is what it printed."""


def clean_environment() -> dict[str, str]:
    """Returns the environment without variables that would point a tool at another cluster or store."""
    return {
        key: value
        for key, value in os.environ.items()
        if key != "KUBECONFIG" and not key.startswith(("ETCDCTL_", "HELM_", "KUBERNETES_"))
    }


@dataclass(frozen=True)
class Helm:
    """Installs, upgrades and uninstalls one release in one namespace."""

    kubeconfig: Path
    release: str
    namespace: str

    def install(self, chart: Path, values: dict[str, Any]) -> None:
        """`helm install --create-namespace`. Raises ToolError with Helm's message."""
        self._run("install", chart, values)

    def upgrade(self, chart: Path, values: dict[str, Any]) -> None:
        """`helm upgrade`. Raises ToolError with Helm's message."""
        self._run("upgrade", chart, values)

    def uninstall(self) -> None:
        """`helm uninstall`. Raises ToolError with Helm's message."""
        self._run("uninstall", None, {})

    def _run(self, action: str, chart: Path | None, values: dict[str, Any]) -> None:
        binary = shutil.which("helm")
        if binary is not None:
            command = [binary, action, self.release, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
            text = ""
            if chart is not None:
                command.insert(3, str(chart))
                command.append("--values=-")
                text = json.dumps(values)
            if action == "install":
                command.append("--create-namespace")
        else:
            command = [sys.executable, "-m", "rstore_cli.helm"]
            request = {key: str(value) for key, value in asdict(self).items()}
            text = json.dumps({**request, "action": action, "chart": str(chart), "values": values})
        done = subprocess.run(
            command,
            input=text,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
            env=clean_environment(),
        )
        if done.returncode != 0:
            raise ToolError(f"helm {action} {self.release}: {done.stderr.strip() or done.stdout.strip()}")


def _library_main() -> int:
    import helm_python

    request = json.load(sys.stdin)
    helm_python.disable_logging()
    try:
        with helm_python.Config(kubeconfig_path=request["kubeconfig"], namespace=request["namespace"]) as config:
            if request["action"] == "install":
                config.install(
                    request["chart"],
                    request["release"],
                    request["values"],
                    namespace=request["namespace"],
                    create_namespace=True,
                )
            elif request["action"] == "upgrade":
                config.upgrade(request["chart"], request["release"], request["values"], namespace=request["namespace"])
            else:
                config.uninstall(request["release"])
    except helm_python.HelmError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_library_main())
