"""Tokens: what one key has signed, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rstore_replica.api.auth.tokens import MAX_TOKEN_BYTES, Claims, make_token, read_token

KEY, OTHER = b"k" * 32, b"o" * 32
CLAIMS = Claims("alice", 7, 1_000)


@given(st.text(max_size=256), st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_a_token_says_what_it_was_made_of(user: str, revision: int, expires_at: int) -> None:
    claims = Claims(user, revision, expires_at)
    token = make_token(claims, KEY)
    assert token.isascii()
    if len(token) <= MAX_TOKEN_BYTES:
        assert read_token(token, KEY) == claims


def test_another_key_has_other_tokens_and_no_key_has_none() -> None:
    token = make_token(CLAIMS, KEY)
    assert read_token(token, OTHER) is None
    assert read_token(make_token(CLAIMS, b""), b"") is None


def test_a_token_that_was_changed_anywhere_is_none() -> None:
    token = make_token(CLAIMS, KEY)
    for at, letter in enumerate(token):
        for other in "Aa_.":
            # The last letter of the signature has bits that say nothing.
            if other != letter and at != len(token) - 1:
                assert read_token(token[:at] + other + token[at + 1 :], KEY) is None
    for cut in range(len(token)):
        assert read_token(token[:cut], KEY) is None


@given(st.text(max_size=200))
def test_anything_else_is_none(text: str) -> None:
    assert read_token(text, KEY) is None


def test_claims_of_another_token_do_not_take_its_signature() -> None:
    body = make_token(Claims("root", 7, 1_000), KEY).partition(".")[0]
    signature = make_token(CLAIMS, KEY).partition(".")[2]
    assert read_token(f"{body}.{signature}", KEY) is None
