"""The replica's certificates: read again when the files change, so that a rotation needs no restart."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from rstore_api.logs import get_logger
from rstore_api.tls import TlsFiles, TlsPem

from rstore_replica.tls_contexts import HTTP2, Following, client_context, server_context

_log = get_logger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class TlsError(Exception):
    """The certificate files cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Fingerprints:
    """SHA-256 of the DER form of each trusted authority, and of the own certificate."""

    authorities: tuple[bytes, ...]
    certificate: bytes


class CertificateStore:
    """The three PEM files of a directory (``ca.crt``, ``tls.crt``, ``tls.key``) as last read in a usable state.

    Thread-safe. Files that are half-written or do not
    fit together leave the previous ones in use, with one warning per change.
    """

    def __init__(self, directory: Path) -> None:
        """Read the files. Raises TlsError."""
        self.files = TlsFiles.in_directory(directory)
        self._lock = threading.Lock()
        self._stamp = self._stat()
        self._pem = _checked(self.files)
        self._fingerprints: tuple[TlsPem, Fingerprints] | None = None

    def current(self) -> TlsPem:
        """Returns the newest usable contents."""
        with self._lock:
            stamp = self._stat()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._pem = _checked(self.files)
                except TlsError as error:
                    _log.warning("certificates_not_usable", reason=str(error))
                else:
                    _log.info("certificates_reloaded")
            return self._pem

    def fingerprints(self) -> Fingerprints:
        """What identifies the certificates in use, so that the operator sees which ones a replica has taken up."""
        pem = self.current()
        if self._fingerprints is None or self._fingerprints[0] != pem:
            authorities = x509.load_pem_x509_certificates(pem.ca)
            own = x509.load_pem_x509_certificates(pem.cert)[0]
            digests = tuple(certificate.fingerprint(SHA256()) for certificate in authorities)
            self._fingerprints = (pem, Fingerprints(digests, own.fingerprint(SHA256())))
        return self._fingerprints[1]

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Client credentials with the newest usable contents."""
        return self.current().channel_credentials()

    def server_contexts(
        self, *, require_client: bool, protocols: Sequence[str] = HTTP2
    ) -> Callable[[], ssl.SSLContext]:
        """Server contexts that follow the files; ``require_client`` refuses peers without a certificate of the CA."""
        make = partial(server_context, require_client=require_client, protocols=protocols)
        return Following(self.current, make)

    def client_contexts(self) -> Callable[[], ssl.SSLContext]:
        """Client contexts that follow the files."""
        return Following(self.current, client_context)

    def _stat(self) -> Stamp:
        stamps = []
        for path in (self.files.ca, self.files.cert, self.files.key):
            try:
                status = path.stat()
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)


def _checked(files: TlsFiles) -> TlsPem:
    """Read the files and see that they parse and that the key belongs to the certificate. Raises TlsError."""
    try:
        pem = files.read()
    except OSError as error:
        raise TlsError(f"cannot read {error.filename}: {error.strerror or error}") from error
    try:
        x509.load_pem_x509_certificates(pem.ca)
    except ValueError as error:
        raise TlsError(f"{files.ca} holds no usable certificate: {error}") from error
    try:
        certificate = x509.load_pem_x509_certificates(pem.cert)[0]
    except ValueError as error:
        raise TlsError(f"{files.cert} holds no usable certificate: {error}") from error
    try:
        key = load_pem_private_key(pem.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{files.key} holds no usable private key: {error}") from error
    if key.public_key() != certificate.public_key():
        raise TlsError(f"{files.key} is not the key of {files.cert}")
    return pem
