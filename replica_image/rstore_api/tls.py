"""Where the three PEM files of one identity are, and the client credentials made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc


@dataclass(frozen=True)
class TlsFiles:
    """Paths of a CA bundle, a certificate chain and its private key, all PEM. Files are read anew at each dial."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def in_directory(cls, directory: Path | str) -> TlsFiles:
        """The files as a mounted Secret of the store names them: ``ca.crt``, ``tls.crt``, ``tls.key``."""
        base = Path(directory)
        return cls(ca=base / "ca.crt", cert=base / "tls.crt", key=base / "tls.key")

    def read(self) -> TlsPem:
        """Reads all three. Raises OSError naming the file that cannot be read."""
        return TlsPem(ca=self.ca.read_bytes(), cert=self.cert.read_bytes(), key=self.key.read_bytes())

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Makes credentials of the files as they are now. Raises OSError."""
        return self.read().channel_credentials()


@dataclass(frozen=True)
class TlsPem:
    """The contents of a :class:`TlsFiles`; for callers that hold certificates in memory (the operator)."""

    ca: bytes
    cert: bytes
    key: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Makes client credentials that trust the CA and present the certificate."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.cert)


class TlsSource(Protocol):
    """Anything that gives client credentials at each dial: TlsFiles, TlsPem, or what keeps certificates itself."""

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Makes credentials, as of now. Raises OSError."""
