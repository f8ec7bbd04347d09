import base64
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import keys
from tests.keys import ISSUER_ID, KEY_ID
from vault_asc.inspection import decode, read_token_file
from vault_asc.key.identity import identity
from vault_asc.tokens import Token, TokenRequest, mint

NOW = 1_772_366_400.0
TEAM = identity(key_id=KEY_ID, issuer_id=ISSUER_ID, individual=False)


def minted(*scope: str) -> Token:
    return mint(TEAM, TokenRequest(scope=scope), keys.private_key(), NOW)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def handmade(claims: str, header: str | None = None) -> str:
    header = header or json.dumps({"alg": "ES256", "kid": KEY_ID, "typ": "JWT"})
    return ".".join(encoded(text.encode()) for text in (header, claims, "no signature"))


@pytest.mark.parametrize(
    "form",
    ["{}", "{}\n", "Authorization: Bearer {}\n", '{{"token": "{}", "expires_at": 1}}', "\r\n# mine\r\n{}\r\n"],
)
@pytest.mark.parametrize("scope", [(), ("GET /v1/apps",)])
def test_a_token_is_found_in_every_format(tmp_path: Path, form: str, scope: tuple[str, ...]) -> None:
    token = minted(*scope)
    file = tmp_path / "sales.jwt"
    file.write_text(form.format(token.value.reveal()))
    assert read_token_file(file) == token


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no token\n",
        b"\xff\xfe\x00",
        "töken".encode(),
        b"eyJ.eyJ.x",
        b"eyJhbGciOiJFUzI1NiJ9.eyJub3QganNvbg.x",
        b"x" * 70_000 + b"eyJhbGciOiJFUzI1NiJ9.eyJpYXQiOjF9.x",
        handmade('{"iat": 1}').encode(),
        handmade('{"iat": 1, "exp": null}').encode(),
        handmade('{"iat": 1, "exp": []}').encode(),
        handmade('{"iat": 1, "exp": "soon"}').encode(),
        handmade('{"iat": 1, "exp": Infinity}').encode(),
        handmade('{"iat": 1, "exp": NaN}').encode(),
        handmade('{"iat": 1, "exp": 2, "scope": 3}').encode(),
        handmade('{"iat": 1, "exp": ' + "9" * 5000 + "}").encode(),
        handmade('{"a": ' + "[" * 20_000).encode(),
        handmade("[1]").encode(),
        handmade('{"iat": 1, "exp": 2}', '{"alg": "ES256"}').encode(),
    ],
)
def test_what_is_no_token_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "sales.jwt"
    file.write_bytes(content)
    assert read_token_file(file) is None


def test_no_file_and_a_directory_are_none(tmp_path: Path) -> None:
    assert read_token_file(tmp_path / "missing") is None
    assert read_token_file(tmp_path) is None


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
@example({"iat": True})
def test_any_claims_are_read_or_are_none(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    file = tmp_path_factory.getbasetemp() / "any.jwt"
    for claims in (value, {"iat": value, "exp": value, "scope": value}, {"iat": 1, "exp": 2, "scope": value}):
        file.write_text(handmade(json.dumps(claims)))
        token = read_token_file(file)
        assert token is None or isinstance(token.expires_at, int)


def test_decode_needs_no_valid_signature_and_no_time() -> None:
    token = minted()
    header, claims = decode(token.value.reveal())
    assert header == {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}
    assert claims["exp"] == token.expires_at
    assert decode(handmade('{"exp": 1}'))[1] == {"exp": 1}


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "eyJhbGciOiJub25lIn0..", handmade('{"a": ' + "[" * 50_000)])
def test_decode_says_when_it_is_no_jwt(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a JWT$"):
        decode(text)
