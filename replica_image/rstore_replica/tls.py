"""The replica's certificates: read again when the files change, so that a rotation needs no restart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from rstore_api.tls import TlsFiles, TlsPem

from rstore_replica.log import get_logger

_log = get_logger("tls")

Stamp = tuple[tuple[int, int, int], ...]


class TlsError(Exception):
    """The certificate files cannot be used; the text says which and why."""


class CertificateStore:
    """The three PEM files of a directory (``ca.crt``, ``tls.crt``, ``tls.key``) as last read in a usable state.

    Thread-safe: gRPC asks for the server's certificates from its own threads. Files that are half-written or do not
    fit together leave the previous ones in use, with one warning per change.
    """

    def __init__(self, directory: Path) -> None:
        """Read the files. Raises TlsError."""
        self.files = TlsFiles.in_directory(directory)
        self._lock = threading.Lock()
        self._stamp = self._stat()
        self._pem = _checked(self.files)

    def current(self) -> TlsPem:
        """The newest usable contents."""
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

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Client credentials with the newest usable contents."""
        return self.current().channel_credentials()

    def server_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        """Server credentials that follow the files; ``require_client`` refuses peers without one of the CA."""
        pem = self.current()
        return grpc.dynamic_ssl_server_credentials(
            _server_configuration(pem),
            self._fetcher(pem),  # type: ignore[arg-type]  # None ("as before") is allowed, the stubs do not know
            require_client_authentication=require_client,
        )

    def _fetcher(self, first: TlsPem) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """What gRPC calls at each handshake: new certificates, or None when nothing changed."""
        in_use = first

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal in_use
            pem = self.current()
            if pem is in_use:
                return None
            in_use = pem
            return _server_configuration(pem)

        return fetch

    def _stat(self) -> Stamp:
        stamps = []
        for path in (self.files.ca, self.files.cert, self.files.key):
            try:
                found = path.stat()
                stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)


def _server_configuration(pem: TlsPem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.cert)], root_certificates=pem.ca)


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
