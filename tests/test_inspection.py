import base64
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import keys
from tests.keys import ISSUER_ID, KEY_ID
from vault_asc.inspection import broken_rules, decode, read_token_file, token_in
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
def test_a_token_is_found_in_every_format(form: str, scope: tuple[str, ...]) -> None:
    token = minted(*scope)
    assert token_in(form.format(token.value.reveal())) == token


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
    file = private(tmp_path / "sales.jwt", content)
    text = read_token_file(file)
    assert (None if text is None else token_in(text)) is None


def private(file: Path, content: bytes) -> Path:
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file


def test_only_a_private_file_of_ours_is_read(tmp_path: Path) -> None:
    file = private(tmp_path / "token", b"hello\n")
    assert read_token_file(file) == "hello\n"
    for mode in (0o644, 0o640, 0o604, 0o660, 0o700, 0o4600):
        file.chmod(mode)
        assert read_token_file(file) is None, oct(mode)
    file.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(file)
    os.mkfifo(tmp_path / "fifo", 0o600)
    bound = socket.socket(socket.AF_UNIX)
    with bound:
        bound.bind(str(tmp_path / "socket"))
        for name in ("link", "fifo", "socket", "missing", ".", "a\0b"):
            assert read_token_file(tmp_path / name) is None, name
    assert read_token_file(Path("/dev/zero")) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_not_read(tmp_path: Path) -> None:
    file = private(tmp_path / "token", b"hello\n")
    os.chown(file, 65534, 65534)
    assert read_token_file(file) is None


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
@example({"iat": True})
def test_any_claims_are_read_or_are_none(value: object) -> None:
    for claims in (value, {"iat": value, "exp": value, "scope": value}, {"iat": 1, "exp": 2, "scope": value}):
        token = token_in(handmade(json.dumps(claims)))
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


def whole(**changes: Any) -> str:
    """A token by the rules, but for the changes; header members are given as `header_alg` and so on."""
    header = {"alg": "ES256", "kid": "ABCDE12345", "typ": "JWT"}
    payload: dict[str, Any] = {"iss": "x", "iat": 940, "exp": 2080, "aud": "appstoreconnect-v1"}
    for name, value in changes.items():
        part = header if name.startswith("header_") else payload
        part[name.removeprefix("header_")] = value
        if value is None:
            del part[name.removeprefix("header_")]
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload)]
    return ".".join([*parts, "A" * 86])


def test_a_good_token_breaks_no_rule() -> None:
    assert broken_rules(whole(), 1000) == []
    assert broken_rules(whole(iss=None, sub="user", scope=["GET /v1/apps"]), 1000) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"header_alg": "HS256"}, "alg is not"),
        ({"header_typ": None}, "typ is not"),
        ({"header_kid": ""}, "kid is missing"),
        ({"aud": "other"}, "aud is not one of"),
        ({"sub": "user"}, "iss and sub are both there"),
        ({"iss": None}, "sub has to be"),
        ({"iat": 940.5}, "whole numbers"),
        ({"exp": True}, "whole numbers"),
        ({"exp": 1000}, "it expired 0s ago"),
        ({"iat": 1030}, "iat is 30s in the future"),
        ({"exp": 2141}, "it lives 20m 1s from iat to exp"),
        ({"iat": 1000, "exp": 2230}, "exp is 20m 30s away"),
        ({"scope": "GET /v1/apps"}, "scope is not an array"),
        ({"scope": ["POST /v1/apps"]}, 'scope entry "POST /v1/apps"'),
    ],
)
def test_each_rule_of_apples_is_told(changes: dict[str, Any], rule: str) -> None:
    assert [told for told in broken_rules(whole(**changes), 1000) if rule in told]


def test_a_der_signature_is_told() -> None:
    assert ["DER" in rule for rule in broken_rules(whole()[:-86] + "A" * 96, 1000)] == [True]


def test_what_is_no_token_has_no_rules() -> None:
    with pytest.raises(ValueError, match="not a JWT"):
        broken_rules("", 1000)
