"""The store's certificate authority and its certificates (library: cryptography).

Randomness is in the keys alone; they and the time come in as arguments, so whether something is due is a pure question.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, wraps
from hashlib import sha256
from typing import ParamSpec, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rstore_operator.facts.actions import CertificateRequest

AUTHORITY_LIFETIME = timedelta(days=3650)
CERTIFICATE_LIFETIME = timedelta(days=365)
CLOCK_SKEW = timedelta(days=1)
"""Certificates begin this long before now, so that a machine whose clock is behind ours, or is set back, accepts them:
a handshake that fails over the time of day would do to a tenure what a broken link does."""
RENEW_AFTER = 2 / 3
"""The part of its lifetime after which a certificate or an authority is replaced."""
UNUSABLE = "it cannot be used"
"""How the problems of a certificate begin that nobody accepts; with any other one it works until it is replaced."""
LOADED = 64
"""Certificates that are kept as objects."""
CHECKED = 8192
"""Results of each check that are kept, in 0.2 KiB each: the same certificates of hundreds of stores are looked at again
and again."""
T = TypeVar("T")
P = ParamSpec("P")
AuthorityKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_authority(name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> KeyPair:
    """A self-signed authority that may sign certificates but no other authority."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    usage = _key_usage(signs_certificates=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _key_pair(certificate, key)


def make_certificate(
    authority: KeyPair, request: CertificateRequest, key: ec.EllipticCurvePrivateKey, now: datetime
) -> KeyPair:
    """A certificate of the authority. Raises ValueError when the authority's PEM cannot be read."""
    issuer = _loaded(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(issuer_key, AuthorityKey):
        raise ValueError("the authority's key is neither an elliptic-curve nor an RSA key")
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if request.server:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(request))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - CLOCK_SKEW, datetime.fromtimestamp(request.valid_from, UTC)))
        .not_valid_after(min(now + CERTIFICATE_LIFETIME, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_identifier(issuer), critical=False)
    )
    names = _alternative_names(request)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _key_pair(builder.sign(issuer_key, hashes.SHA256()), key)


def authority_problem(pair: KeyPair, now: datetime) -> str:
    """Why this authority cannot be used; "" when it can."""
    problem = _pair_problem(pair.certificate, pair.key)
    if problem:
        return problem
    certificate = _loaded(pair.certificate)
    if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return "its key is neither an elliptic-curve nor an RSA key"
    if not _is_root(certificate):
        return "its certificate is not a self-signed one that may sign certificates"
    if now >= certificate.not_valid_after_utc:
        return "it has expired"
    return ""


def _kept(check: Callable[P, T]) -> Callable[P, T]:
    """Returns the check with its newest results kept, by a digest of what it was given and not by that itself."""
    results: dict[bytes, T] = {}

    @wraps(check)
    def checked(*given: P.args, **named: P.kwargs) -> T:
        key = sha256(repr((given, named)).encode()).digest()
        if key not in results:
            if len(results) >= CHECKED:
                del results[next(iter(results))]
            results[key] = check(*given, **named)
        return results[key]

    return checked


@lru_cache(maxsize=LOADED)
def _loaded(certificate: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate)


@_kept
def _pair_problem(certificate: bytes, key: bytes) -> str:
    """Why certificate and key are no pair; checking an RSA key takes tens of milliseconds."""
    try:
        public = _loaded(certificate).public_key()
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "it cannot be read: certificate and key must be PEM"
    return "" if private.public_key() == public else "its key does not belong to its certificate"


def authority_due(certificate: bytes, now: datetime) -> bool:
    """Whether an authority that can be used should have a successor by now."""
    return now >= _renewal_time(_loaded(certificate))


def authorities_in(bundle: bytes, now: datetime) -> tuple[bytes, ...]:
    """Each authority in a PEM bundle that has not expired, once, in order; none when the bundle cannot be read."""
    try:
        certificates = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return ()
    usable = (item for item in certificates if _is_root(item) and now < item.not_valid_after_utc)
    return tuple(dict.fromkeys(item.public_bytes(serialization.Encoding.PEM) for item in usable))


def normalized(certificate: bytes) -> bytes:
    """The first certificate of a PEM text, without what stands around it. Raises ValueError."""
    return _loaded(certificate).public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 of a PEM certificate, in hexadecimal. Raises ValueError."""
    return _loaded(certificate).fingerprint(hashes.SHA256()).hex()


def issued_at(certificate: bytes) -> datetime:
    """When the operator made a certificate. Raises ValueError."""
    return _loaded(certificate).not_valid_before_utc + CLOCK_SKEW


@_kept
def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    """Whether the authority has signed the certificate (both PEM); False when either cannot be read."""
    try:
        issuer = _loaded(authority)
        _loaded(certificate).verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def certificate_problem(pair: KeyPair, authorities: Iterable[bytes], request: CertificateRequest, now: datetime) -> str:
    """Why this certificate must be replaced: unreadable, of none of the authorities, other names, due; "" when it is
    good."""
    problem = _pair_problem(pair.certificate, pair.key)
    if problem:
        return f"{UNUSABLE}: {problem}"
    certificate = _loaded(pair.certificate)
    if not any(is_issued_by(pair.certificate, authority) for authority in authorities):
        return f"{UNUSABLE}: it is not of the store's authority"
    if now >= certificate.not_valid_after_utc:
        return f"{UNUSABLE}: it has expired"
    if certificate.not_valid_before_utc.timestamp() < request.valid_from:
        return f"{UNUSABLE}: it was revoked"
    if problem := _names_problem(pair.certificate, request):
        return problem
    return "two thirds of its lifetime have passed" if now >= _renewal_time(certificate) else ""


@_kept
def _names_problem(certificate: bytes, request: CertificateRequest) -> str:
    """Which names of the certificate are not those that were asked for; "" if all are."""
    loaded = _loaded(certificate)
    if loaded.subject != _subject(request):
        return "it is for another name"
    if _names_of(loaded) != frozenset(_alternative_names(request)):
        return "it is for other host names or addresses"
    return ""


def _renewal_time(certificate: x509.Certificate) -> datetime:
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + lifetime * RENEW_AFTER


@lru_cache(maxsize=LOADED)
def _is_root(certificate: x509.Certificate) -> bool:
    """Whether it is a self-signed certificate that may sign others, as far as its extensions say."""
    try:
        certificate.verify_directly_issued_by(certificate)
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What the issuer calls its key, so that verifiers find it among authorities of the same name."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public_key = issuer.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def expires_at(certificate: bytes) -> datetime:
    """When a PEM certificate expires. Raises ValueError."""
    return _loaded(certificate).not_valid_after_utc


@lru_cache(maxsize=LOADED)
def hosts_of(certificate: bytes) -> frozenset[str]:
    """The host names and IP addresses that a PEM certificate is for; none when it cannot be read."""
    try:
        names = _names_of(_loaded(certificate))
    except ValueError:
        return frozenset()
    return frozenset(str(name.value) for name in names)


def _names_of(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(extension.value)


def _subject(request: CertificateRequest) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)]
    if request.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, request.organization))
    return x509.Name(attributes)


def _alternative_names(request: CertificateRequest) -> list[x509.GeneralName]:
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in request.ip_addresses]
    return [*(x509.DNSName(name) for name in request.dns_names), *addresses]


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
