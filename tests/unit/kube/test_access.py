"""How an API server is reached, by kubeconfig."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from rstore_kube.access import from_kubeconfig
from rstore_kube.errors import ConfigurationError


def kubeconfig(directory: Path, cluster: dict[str, object], namespace: str = "") -> str:
    path = directory / "kubeconfig"
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443", **cluster}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": context}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize(("written", "read"), [("team", "team"), ("", "default")])
async def test_a_kubeconfig_says_where_and_in_which_namespace(written: str, read: str, tmp_path: Path) -> None:
    access = await from_kubeconfig(kubeconfig(tmp_path, {"insecure-skip-tls-verify": True}, written))
    assert (access.configuration.host, access.namespace) == ("https://10.0.0.1:6443", read)


@pytest.mark.parametrize("content", ["{", "a: [", "current-context: nowhere", "contexts: 7", ""])
async def test_a_file_that_is_no_kubeconfig_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ConfigurationError):
        await from_kubeconfig(str(path))


async def test_a_kubeconfig_that_is_missing_or_names_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        await from_kubeconfig(str(tmp_path / "none"))
    with pytest.raises(ConfigurationError):
        await from_kubeconfig(kubeconfig(tmp_path, {"certificate-authority": str(tmp_path / "none")}))
