"""The operator's program begins without what it does not use, and changes nothing for what it does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, os, sys
before = dict(os.environ)
from rstore_operator.__main__ import main
sys.argv = ["rstore_operator", "--version"]
with contextlib.suppress(SystemExit):
    main()
assert os.environ == before, set(os.environ.items()) ^ set(before.items())
import aiohttp.connector
assert aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs() == []
assert "kopf" in sys.modules
assert "kubernetes.client" not in sys.modules
"""


@pytest.mark.parametrize("variables", [{}, {"SSL_CERT_FILE": "/etc/ssl/of-their-own.pem"}])
def test_its_environment_stays_as_it_was(variables: dict[str, str]):
    rest = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**rest, **variables}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
