"""The certificate authority and what it signs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import verification
from rstore_operator.facts.actions import CertificateRequest
from rstore_operator.specs import certificates
from rstore_operator.specs.certificates import (
    KeyPair,
    authority_problem,
    certificate_problem,
    expires_at,
    make_authority,
    make_certificate,
    new_key,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AUTHORITY = make_authority("default/orders", new_key(), NOW)
REQUEST = CertificateRequest("peer", ("*.peers.default.svc", "localhost"), ("10.0.0.1", "::1"), server=True)
GOOD = make_certificate(AUTHORITY, REQUEST, new_key(), NOW)


def test_a_fresh_certificate_is_good_and_stays_so_for_two_thirds_of_its_life() -> None:
    assert authority_problem(AUTHORITY, NOW) == ""
    assert certificate_problem(GOOD, [AUTHORITY.certificate], REQUEST, NOW) == ""
    assert certificate_problem(GOOD, [AUTHORITY.certificate], REQUEST, NOW + timedelta(days=242)) == ""
    late = certificate_problem(GOOD, [AUTHORITY.certificate], REQUEST, NOW + timedelta(days=244))
    assert "two thirds" in late


def test_what_is_remembered_of_one_request_is_not_the_answer_to_another() -> None:
    others = [replace(REQUEST, common_name="else"), replace(REQUEST, dns_names=("else.example",))]
    for _ in range(2):
        problems = [certificate_problem(GOOD, [AUTHORITY.certificate], one, NOW) for one in (REQUEST, *others)]
        assert problems == ["", "it is for another name", "it is for other host names or addresses"]


def test_it_is_accepted_by_a_strict_verifier_for_its_names_only() -> None:
    store = verification.Store([x509.load_pem_x509_certificate(AUTHORITY.certificate)])
    builder = verification.PolicyBuilder().store(store).time(NOW)
    leaf = x509.load_pem_x509_certificate(GOOD.certificate)
    builder.build_server_verifier(x509.DNSName("pod-0.peers.default.svc")).verify(leaf, [])
    with pytest.raises(verification.VerificationError):
        builder.build_server_verifier(x509.DNSName("elsewhere")).verify(leaf, [])
    other = make_authority("default/other", new_key(), NOW)
    wrong = verification.Store([x509.load_pem_x509_certificate(other.certificate)])
    with pytest.raises(verification.VerificationError):
        verification.PolicyBuilder().store(wrong).time(NOW).build_server_verifier(x509.DNSName("localhost")).verify(
            leaf, []
        )


@pytest.mark.parametrize("hours", [-23, -1, 1])
def test_machines_whose_clocks_are_hours_off_accept_it_at_once(hours: int) -> None:
    store = verification.Store([x509.load_pem_x509_certificate(AUTHORITY.certificate)])
    builder = verification.PolicyBuilder().store(store).time(NOW + timedelta(hours=hours))
    builder.build_server_verifier(x509.DNSName("localhost")).verify(
        x509.load_pem_x509_certificate(GOOD.certificate), []
    )


def test_a_clients_certificate_cannot_serve() -> None:
    client = make_certificate(AUTHORITY, CertificateRequest("client"), new_key(), NOW)
    usage = x509.load_pem_x509_certificate(client.certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert [item._name for item in usage.value] == ["clientAuth"]


def test_one_that_was_revoked_is_replaced_by_one_that_begins_when_it_was_revoked() -> None:
    shop = CertificateRequest("shop", organization="client")
    leaked = make_certificate(AUTHORITY, shop, new_key(), NOW)
    revoked = replace(shop, valid_from=int(NOW.timestamp()))
    later = NOW + timedelta(minutes=1)
    assert "it was revoked" in certificate_problem(leaked, [AUTHORITY.certificate], revoked, later)
    renewed = make_certificate(AUTHORITY, revoked, new_key(), later)
    assert certificate_problem(renewed, [AUTHORITY.certificate], revoked, later) == ""
    assert x509.load_pem_x509_certificate(renewed.certificate).not_valid_before_utc == NOW
    in_a_year = make_certificate(AUTHORITY, revoked, new_key(), NOW + timedelta(days=365))
    begins = x509.load_pem_x509_certificate(in_a_year.certificate).not_valid_before_utc
    assert begins == NOW + timedelta(days=364), "dated back as every other certificate"


def test_the_name_of_a_client_does_not_make_it_the_shared_one() -> None:
    own = make_certificate(AUTHORITY, CertificateRequest("client", organization="client"), new_key(), NOW)
    shared = CertificateRequest("client")
    assert "another name" in certificate_problem(own, [AUTHORITY.certificate], shared, NOW)


@pytest.mark.parametrize(
    ("pair", "request_", "expected"),
    [
        (KeyPair(b"", b""), REQUEST, "cannot be read"),
        (KeyPair(b"-----BEGIN CERTIFICATE-----", GOOD.key), REQUEST, "cannot be read"),
        (replace(GOOD, key=AUTHORITY.key), REQUEST, "does not belong"),
        (GOOD, replace(REQUEST, common_name="operator"), "another name"),
        (GOOD, replace(REQUEST, ip_addresses=("10.0.0.2",)), "other host names"),
        (
            make_certificate(make_authority("x", new_key(), NOW), REQUEST, new_key(), NOW),
            REQUEST,
            "not of the store's authority",
        ),
    ],
)
def test_a_bad_certificate_is_replaced(pair: KeyPair, request_: CertificateRequest, expected: str) -> None:
    assert expected in certificate_problem(pair, [AUTHORITY.certificate], request_, NOW)


def test_a_bad_authority_is_noticed() -> None:
    assert "cannot be read" in authority_problem(KeyPair(b"x", b"y"), NOW)
    assert "does not belong" in authority_problem(replace(AUTHORITY, key=GOOD.key), NOW)
    assert "expired" in authority_problem(AUTHORITY, NOW + timedelta(days=3651))


def test_a_certificate_never_outlives_its_authority() -> None:
    near_the_end = NOW + timedelta(days=3600)
    pair = make_certificate(AUTHORITY, REQUEST, new_key(), near_the_end)
    assert expires_at(pair.certificate) == expires_at(AUTHORITY.certificate)


def test_private_keys_are_not_shown_by_accident() -> None:
    assert "PRIVATE" not in repr(GOOD)


def test_results_of_checks_are_kept_for_each_pair_of_texts_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "CHECKED", 3)
    asked: list[tuple[bytes, bytes]] = []

    @certificates._kept
    def check(first: bytes, second: bytes) -> str:
        asked.append((first, second))
        return f"{first!r} {second!r}"

    for texts in ((b"ab", b"c"), (b"a", b"bc"), (b"", b"abc")) * 2:
        assert check(*texts) == f"{texts[0]!r} {texts[1]!r}"
    assert len(asked) == 3
    check(b"new", b"")
    check(b"", b"abc")
    assert len(asked) == 4
    check(b"ab", b"c")
    assert len(asked) == 5, "the oldest made room"
