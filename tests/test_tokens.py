import base64
import json
from dataclasses import dataclass, field

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from tests import keys
from tests.keys import ISSUER_ID, KEY_ID
from vault_asc.errors import TokenRequestError, VaultUnavailableError
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.tokens import (
    BACKDATE,
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    MIN_LIFETIME,
    Token,
    TokenRequest,
    claims,
    mint,
)

NOW = 1_772_366_400.0
TEAM = identity(key_id=KEY_ID, issuer_id=ISSUER_ID, individual=False)
INDIVIDUAL = identity(key_id=KEY_ID, issuer_id=None, individual=True)
AT_ENTERPRISE = identity(key_id=KEY_ID, issuer_id=ISSUER_ID, individual=False, audience=ENTERPRISE)


@dataclass
class OtherSigner:
    key: ec.EllipticCurvePrivateKey = field(default_factory=keys.ec_key)
    seen: list[bytes] = field(default_factory=list)

    def sign(self, message: bytes) -> bytes:
        self.seen.append(message)
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class LockedSigner:
    def sign(self, message: bytes) -> bytes:
        raise VaultUnavailableError("vault is sealed")


def part(token: Token, number: int) -> dict[str, object]:
    text = token.value.reveal().split(".")[number]
    data: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return data


def public(key: ec.EllipticCurvePrivateKey) -> ECKey:
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return ECKey.import_key({"kty": "EC", "crv": "P-256", "x": x, "y": y})


@pytest.mark.parametrize(
    ("who", "request_", "expected"),
    [
        (TEAM, TokenRequest(), {"iss": ISSUER_ID, "aud": "appstoreconnect-v1"}),
        (INDIVIDUAL, TokenRequest(), {"sub": "user", "aud": "appstoreconnect-v1"}),
        (AT_ENTERPRISE, TokenRequest(), {"iss": ISSUER_ID, "aud": "apple-developer-enterprise-v1"}),
        (
            TEAM,
            TokenRequest(scope=("GET /v1/apps", "GET /v1/apps?filter[platform]=IOS")),
            {
                "iss": ISSUER_ID,
                "aud": "appstoreconnect-v1",
                "scope": ["GET /v1/apps", "GET /v1/apps?filter[platform]=IOS"],
            },
        ),
    ],
)
def test_a_token_holds_exactly_what_apple_wants(
    who: Identity, request_: TokenRequest, expected: dict[str, object]
) -> None:
    token = mint(who, request_, keys.private_key(), NOW)
    assert part(token, 0) == {"alg": "ES256", "kid": KEY_ID, "typ": "JWT"}
    times = {"iat": 1_772_366_340, "exp": 1_772_367_480}
    assert part(token, 1) == expected | times == claims(who, request_, NOW)
    assert (token.issued_at, token.expires_at) == (times["iat"], times["exp"])
    assert (token.key_id, token.scope) == (KEY_ID, request_.scope)


@pytest.mark.parametrize("who", [TEAM, INDIVIDUAL])
def test_another_library_verifies_the_signature(who: Identity) -> None:
    token = mint(who, TokenRequest(), keys.private_key(), NOW)
    decoded = jwt.decode(token.value.reveal(), public(keys.ec_key()), algorithms=["ES256"])
    assert decoded.claims == claims(who, TokenRequest(), NOW)
    with pytest.raises(BadSignatureError):
        jwt.decode(token.value.reveal(), public(keys.other_ec_key()), algorithms=["ES256"])


def test_any_signer_will_do_and_sees_the_signing_input_once() -> None:
    signer = OtherSigner(keys.other_ec_key())
    token = mint(TEAM, TokenRequest(), signer, NOW)
    jwt.decode(token.value.reveal(), public(keys.other_ec_key()), algorithms=["ES256"])
    assert signer.seen == [token.value.reveal().rpartition(".")[0].encode()]


def test_what_the_signer_raises_goes_through() -> None:
    with pytest.raises(VaultUnavailableError, match="sealed"):
        mint(TEAM, TokenRequest(), LockedSigner(), NOW)


def test_a_token_is_not_shown() -> None:
    token = mint(TEAM, TokenRequest(), keys.private_key(), NOW)
    assert token.value.reveal() not in repr(token)
    assert token.value.reveal().rpartition(".")[2] not in f"{token}"


def test_minting_leaves_the_algorithms_of_others_alone() -> None:
    mint(TEAM, TokenRequest(), keys.private_key(), NOW)
    for jws in (pyjwt.PyJWS(), pyjwt.api_jws._jws_global_obj):
        assert type(jws.get_algorithm_by_name("ES256")) is pyjwt.algorithms.ECAlgorithm


@pytest.mark.parametrize("now", [NOW, NOW + 0.0001, NOW + 0.5, NOW + 0.9999])
def test_the_fraction_of_a_second_never_lengthens_a_token(now: float) -> None:
    body = claims(TEAM, TokenRequest(MAX_LIFETIME), now)
    assert body["iat"] == int(NOW) - 60
    assert body["exp"] == int(NOW) + 1140
    assert type(body["iat"]) is type(body["exp"]) is int


@settings(max_examples=300, deadline=None)
@given(st.integers(MIN_LIFETIME, MAX_LIFETIME), st.floats(1e9, 4e9))
@example(MAX_LIFETIME, 1_772_366_400.999999)
def test_apple_has_no_reason_to_refuse_the_times(lifetime: int, now: float) -> None:
    body = claims(TEAM, TokenRequest(lifetime), now)
    assert body["exp"] - body["iat"] == lifetime <= 1200
    assert now < body["exp"] <= now + 1140
    assert body["iat"] <= now - 60
    token = Token(keys.private_key().pem, KEY_ID, body["iat"], body["exp"])
    assert TokenRequest(lifetime).usable_life - 1 < token.remaining(now) <= TokenRequest(lifetime).usable_life


def test_minted_tokens_have_distinct_signatures_and_the_same_claims() -> None:
    first, second = (mint(TEAM, TokenRequest(), keys.private_key(), NOW) for _ in range(2))
    assert part(first, 1) == part(second, 1)
    assert first.value != second.value


def test_the_default_is_19_minutes_of_which_18_lie_ahead() -> None:
    assert (DEFAULT_LIFETIME, BACKDATE, TokenRequest().usable_life) == (1140, 60, 1080)


@pytest.mark.parametrize("lifetime", [-1, 0, 60, 64, 1201, 3600, 15_777_000])
def test_impossible_lifetimes(lifetime: int) -> None:
    with pytest.raises(TokenRequestError, match=f"{lifetime} s") as caught:
        TokenRequest(lifetime)
    assert "65s to 1200s" in str(caught.value.hint)


@pytest.mark.parametrize("lifetime", [65, 120, 1140, 1200])
def test_possible_lifetimes(lifetime: int) -> None:
    assert TokenRequest(lifetime).usable_life == lifetime - 60


@pytest.mark.parametrize(
    "entry",
    [
        "GET /v1/apps",
        "GET /v1/apps/123",
        "GET /v1/apps?filter[platform]=IOS",
        "GET /v1/apps?filter%5Bplatform%5D=IOS&limit=1",
        "GET /v2/inAppPurchases/1",
        "GET /v1/ciWorkflows/a-b_c.d~e",
    ],
)
def test_scope_entries_that_apple_takes(entry: str) -> None:
    assert TokenRequest(scope=(entry,)).scope == (entry,)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "GET",
        "GET ",
        "/v1/apps",
        "get /v1/apps",
        "POST /v1/apps",
        "DELETE /v1/apps/1",
        "GET  /v1/apps",
        " GET /v1/apps",
        "GET /v1/apps ",
        "GET /v1/apps\n",
        "GET /v1/apps\r\nX: y",
        "GET /v1/apps?a=b c",
        "GET\t/v1/apps",
        "GET v1/apps",
        "GET /v1",
        "GET /v1/",
        "GET /v0/apps",
        "GET /apps",
        "GET /v1//apps",
        "GET /v1/apps/../users",
        "GET /v1/apps/..",
        "GET /v1/apps?",
        "GET /v1/apps#x",
        "GET /v1/apps?x#y",
        "GET /v1/*",
        "GET /v1/apps/{id}",
        "GET /v1/äpps",
        "GET https://api.appstoreconnect.apple.com/v1/apps",
        "GET //evil.example/v1/apps",
        "GET /v1/apps, GET /v1/users",
    ],
)
def test_scope_entries_that_are_refused(entry: str) -> None:
    with pytest.raises(TokenRequestError) as caught:
        TokenRequest(scope=("GET /v1/apps", entry))
    assert caught.value.message.isprintable()
    assert "GET /v1/apps" in str(caught.value.hint)


def test_a_refused_scope_repeats_neither_secrets_nor_novels() -> None:
    with pytest.raises(TokenRequestError) as caught:
        TokenRequest(scope=("GET /v1/apps with hvs.CAESIJ3VxyzPabc " + "x" * 10_000,))
    assert "CAES" not in caught.value.message
    assert len(caught.value.message) < 300


def test_at_most_a_hundred_scope_entries() -> None:
    entries = tuple(f"GET /v1/apps/{n}" for n in range(101))
    assert len(TokenRequest(scope=entries[:100]).scope) == 100
    with pytest.raises(TokenRequestError, match="101 entries"):
        TokenRequest(scope=entries)
