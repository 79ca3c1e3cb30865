"""The replica's certificate files: read again when they change, never worse than before."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from integration.replicas.server_certificates import Authority
from rstore_replica.tls import CertificateStore, TlsError


def test_new_files_are_taken_up(tmp_path: Path, authority: Authority) -> None:
    authority.issue(tmp_path, "peer")
    store = CertificateStore(tmp_path)
    before = store.current()
    assert store.current() is before
    authority.issue(tmp_path, "peer")
    after = store.current()
    assert after.cert == (tmp_path / "tls.crt").read_bytes() != before.cert


def test_files_that_do_not_fit_together_leave_the_old_ones_in_use(tmp_path: Path, authority: Authority) -> None:
    authority.issue(tmp_path, "peer")
    other = authority.issue(tmp_path / "other", "peer")
    store = CertificateStore(tmp_path)
    before = store.current()
    (tmp_path / "tls.crt").write_bytes(other.cert.read_bytes())
    assert store.current() == before
    (tmp_path / "tls.key").write_bytes(other.key.read_bytes())
    assert store.current().key == other.key.read_bytes()
    (tmp_path / "ca.crt").unlink()
    assert store.current().key == other.key.read_bytes()


def test_it_says_which_certificates_are_in_use(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue(tmp_path, "peer")
    store = CertificateStore(tmp_path)
    authorities = x509.load_pem_x509_certificates(files.ca.read_bytes())
    before = store.fingerprints()
    assert before.authorities == tuple(item.fingerprint(SHA256()) for item in authorities)
    assert before.certificate == x509.load_pem_x509_certificate(files.cert.read_bytes()).fingerprint(SHA256())
    other = Authority.make().issue(tmp_path / "other", "peer")
    files.ca.write_bytes(other.ca.read_bytes() + files.ca.read_bytes())
    after = store.fingerprints()
    assert after.authorities[1:] == before.authorities
    assert len(after.authorities) == 2


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN nonsense-----"])
def test_a_replica_does_not_start_on_unusable_files(
    tmp_path: Path, authority: Authority, name: str, content: bytes | None
) -> None:
    authority.issue(tmp_path, "peer")
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TlsError, match=name):
        CertificateStore(tmp_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    authority.issue(tmp_path, "peer")
    other = authority.issue(tmp_path / "other", "peer")
    (tmp_path / "tls.key").write_bytes(other.key.read_bytes())
    with pytest.raises(TlsError, match="is not the key of"):
        CertificateStore(tmp_path)
