"""How an API server is reached, by kubeconfig and as a pod."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from rstore_kube.access import TOKEN_SECONDS, Access, from_kubeconfig, from_pod
from rstore_kube.errors import ConfigurationError
from rstore_operator.handlers import access_of_kubeconfig
from rstore_operator.specs.certificates import make_authority, new_key

SERVER = "https://10.0.0.1:6443"


@pytest.fixture
def authority() -> str:
    return make_authority("test", new_key(), datetime.now(UTC)).certificate.decode()


def kubeconfig(directory: Path, cluster: dict[str, object], user: dict[str, object], namespace: str = "") -> Path:
    path = directory / "kubeconfig"
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": SERVER, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def of_command_line(path: Path) -> Access:
    return await from_kubeconfig(str(path))


async def of_operator(path: Path) -> Access:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        return access_of_kubeconfig()


both = pytest.mark.parametrize("read", [of_command_line, of_operator])


@both
async def test_a_kubeconfig_says_where_as_whom_and_whom_to_trust(read, tmp_path: Path, authority: str) -> None:
    data = base64.b64encode(authority.encode()).decode()
    path = kubeconfig(tmp_path, {"certificate-authority-data": data}, {"token": "secret"}, "team")
    access = await read(path)
    assert (access.host, access.namespace) == (SERVER, "team")
    assert await access.authorization() == "Bearer secret"
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert access.tls.check_hostname
    assert len(access.tls.get_ca_certs()) == 1


@both
async def test_a_kubeconfig_may_name_a_password_and_switch_verification_off(read, tmp_path: Path) -> None:
    user = {"username": "jane", "password": "pa:ss"}
    access = await read(kubeconfig(tmp_path, {"insecure-skip-tls-verify": True}, user))
    assert access.namespace == "default"
    assert await access.authorization() == "Basic " + base64.b64encode(b"jane:pa:ss").decode()
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE


@both
@pytest.mark.parametrize("content", ["{", "a: [", "current-context: nowhere", "contexts: 7", ""])
async def test_a_file_that_is_no_kubeconfig_is_refused(read, tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ConfigurationError):
        await read(path)


@both
async def test_a_kubeconfig_that_names_a_missing_file_is_refused(read, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        await read(kubeconfig(tmp_path, {"certificate-authority": str(tmp_path / "none")}, {"token": "t"}))
    with pytest.raises(ConfigurationError):
        await read(tmp_path / "none")


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: str) -> Path:
    """The files of a pod's service account."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, content in {"token": "first\n", "namespace": "team\n", "ca.crt": authority}.items():
        (tmp_path / name).write_text(content)
    return tmp_path


async def test_a_pod_reads_its_token_again_every_minute(account: Path) -> None:
    now = 1000.0
    access = from_pod(account, clock=lambda: now)
    assert (access.host, access.namespace) == ("https://10.0.0.1:443", "team")
    assert access.tls is not None
    assert len(access.tls.get_ca_certs()) == 1
    assert await access.authorization() == "Bearer first"
    (account / "token").write_text("second")
    now += TOKEN_SECONDS - 1
    assert await access.authorization() == "Bearer first"
    now += 1
    assert await access.authorization() == "Bearer second"
    (account / "token").write_text("")
    now += TOKEN_SECONDS
    with pytest.raises(OSError, match="empty"):
        await access.authorization()


def test_an_address_of_ipv6_is_bracketed(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert from_pod(account).host == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "namespace", "ca.crt"])
def test_a_pod_without_one_of_the_files_is_refused(account: Path, missing: str) -> None:
    (account / missing).unlink()
    with pytest.raises(
        ConfigurationError, match=missing.replace(".", r"\.") if missing != "ca.crt" else "service account"
    ):
        from_pod(account)


def test_a_process_outside_of_a_pod_is_refused(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(ConfigurationError, match="no pod"):
        from_pod(account)
