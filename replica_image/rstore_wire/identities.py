"""A caller's certificate, under the names that gRPC gives to what is in it."""

from __future__ import annotations

import ssl
from typing import Any

from rstore_wire.service import AuthContext

_SUBJECT = {"commonName": "x509_common_name", "organizationName": "x509_organization"}


def identity(certificate: Any) -> AuthContext:
    """Returns a certificate as gRPC shows it, as far as that is used here, and when it begins to be valid.

    ``certificate`` is what ``SSLObject.getpeercert`` returns.
    """
    if not certificate:
        return {}
    texts: dict[str, list[bytes]] = {name: [] for name in _SUBJECT.values()}
    for relative in certificate.get("subject", ()):
        for kind, value in relative:
            if kind in _SUBJECT:
                texts[_SUBJECT[kind]].append(str(value).encode())
    begins = certificate.get("notBefore")
    texts["x509_not_before"] = [b"%d" % ssl.cert_time_to_seconds(begins)] if begins else []
    return texts
