"""The kubernetes library is loaded in parts, and whole for whoever asks for more."""

from __future__ import annotations

import subprocess
import sys

PARTS = """
import sys
from rstore_kube import access, client, library
from rstore_operator import __main__
assert "kopf" not in sys.modules
with library.hidden("kubernetes.client"):
    import kopf
for name in ("kubernetes.client", "kubernetes.aio.client.models", "kubernetes.aio.client.api", "pydantic", "requests"):
    assert name not in sys.modules, name
"""
WHOLE = """
import kubernetes.client, kubernetes.config, kubernetes.stream
from kubernetes.aio import client, config, stream, utils, watch
assert client.Configuration is library.Configuration
assert client.CoreV1Api and kubernetes.client.CoreV1Api and utils.create_from_dict
assert issubclass(stream.WsApiClient, client.ApiClient)
assert not hasattr(kubernetes, "__no_such_name__")
assert type(config.kube_config.ApiClient()) is client.ApiClient
"""
AFTER = """
import kubernetes.aio.client
from rstore_kube import library
assert library.Configuration is kubernetes.aio.client.Configuration
import kubernetes.client
with library.hidden("kubernetes.client"):
    import kubernetes.client
"""


def _run(script: str) -> None:
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_only_what_is_used_is_loaded():
    _run(PARTS)


def test_others_in_the_process_find_the_library_whole():
    _run(PARTS + WHOLE)


def test_a_library_that_is_loaded_whole_stays_as_it_is():
    _run(AFTER)
