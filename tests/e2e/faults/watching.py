"""Notices a step of a failover as soon as it is in `.status`."""

from __future__ import annotations

import subprocess

from rstore_cli.helm import clean_environment
from rstore_testkit.tools import Kubectl

TIMEOUT_SECONDS = 240
_PATH = "{.status.failover.step}{'\\n'}"


def wait_for_step(kubectl: Kubectl, store: str, step: str) -> bool:
    """Blocks until that step, or a later one of the same failover, is in `.status`; False if none came in time."""
    command = kubectl.command(
        "get", "rstore", store, "--watch", f"-o=jsonpath={_PATH}", f"--request-timeout={TIMEOUT_SECONDS}s"
    )
    order = ["Fencing", "Waiting", "Promoting", "Repointing"]
    wanted = order[order.index(step) :]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        assert process.stdout is not None
        try:
            return any(line.strip() in wanted for line in process.stdout)
        finally:
            process.kill()
