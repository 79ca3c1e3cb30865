"""kubectl and etcdctl, from beside the interpreter or from PATH."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rstore_cli.helm import ToolError, clean_environment

from rstore_testkit.patience import WAIT_SECONDS

ETCDCTL_PATIENCE = (f"--command-timeout={WAIT_SECONDS:g}s", f"--dial-timeout={WAIT_SECONDS / 2:g}s")
"""Options of etcdctl; without them it gives up a connection after 2 s, and a request after 5 s."""


def find_tool(name: str) -> str:
    """Returns the path of a command-line tool: beside the interpreter first, where wheels install tools, then on PATH.

    Raises:
        ToolError: it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"{name} was found neither beside {sys.executable} nor on PATH; run `make setup`")
    return path


@dataclass(frozen=True)
class Kubectl:
    """The real kubectl against one kubeconfig."""

    kubeconfig: Path
    namespace: str = "default"
    reach: Callable[[str], str] | None = None
    """The ``host:port`` at which this machine reaches a Service's client port; None: at its ClusterIP."""

    def command(self, *args: str) -> list[str]:
        """Returns the full argument vector for `kubectl ARGS`."""
        return [find_tool("kubectl"), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *args]

    def run(self, *args: str, input_text: str | None = None, timeout_seconds: float = WAIT_SECONDS) -> str:
        """Runs kubectl and returns its standard output.

        Raises:
            ToolError: it exited non-zero; the message is its standard error.
        """
        done = self.try_run(*args, input_text=input_text, timeout_seconds=timeout_seconds)
        if done.returncode != 0:
            raise ToolError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def try_run(
        self, *args: str, input_text: str | None = None, timeout_seconds: float = WAIT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl and returns its result, also if it failed."""
        return subprocess.run(
            self.command(*args),
            input=input_text,
            text=True,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
            env=clean_environment(),
        )

    def get(self, *args: str) -> dict[str, Any]:
        """Returns the parsed output of `kubectl get ARGS -o json`."""
        parsed: dict[str, Any] = json.loads(self.run("get", *args, "-o", "json"))
        return parsed
