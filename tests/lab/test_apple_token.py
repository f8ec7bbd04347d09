import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab.signing import ABSENT, ISSUER, KEY_ID, NOW, Clock, HandSigner, b64
from tests.lab.wire import Response, ask
from vault_asc.lab.apple import AppleSimulator, Rules
from vault_asc.lab.apple.scope import ScopeReading, allows

APPS = "/v1/apps?limit=1"


def get(apple: AppleSimulator, token: str | None, target: str = APPS, method: str = "GET") -> Response:
    return ask(method, f"{apple.url}{target}", authorization=None if token is None else f"Bearer {token}")


def reason(apple: AppleSimulator, token: str | None, target: str = APPS, method: str = "GET") -> str:
    get(apple, token, target, method)
    return apple.journal.last().reason


def test_good_team_token_lists_apps(apple: AppleSimulator, signer: HandSigner) -> None:
    answer = get(apple, signer.team())
    assert answer.status == 200
    assert answer.json()["data"][0]["type"] == "apps"
    assert answer.json()["meta"]["paging"] == {"total": 1, "limit": 1}
    assert answer.headers["x-rate-limit"] == "user-hour-lim:3500;user-hour-rem:3499;"


def test_individual_key_wants_sub_and_no_issuer(apple: AppleSimulator, signer: HandSigner) -> None:
    apple.add_key(KEY_ID, signer.public_pem, issuer_id=None)
    assert get(apple, signer.individual()).status == 200
    assert reason(apple, signer.individual(iss=ISSUER)) == "wrong issuer"
    assert reason(apple, signer.individual(sub=ABSENT)) == "wrong subject"
    assert reason(apple, signer.individual(sub="User")) == "wrong subject"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "57246542-96fe-1a63-e053-000000000000"}, "wrong issuer"),
        ({"iss": ABSENT}, "wrong issuer"),
        ({"iss": None}, "wrong issuer"),
        ({"sub": "user"}, "wrong subject"),
        ({"aud": "appstoreconnect-v2"}, "wrong audience"),
        ({"aud": ["appstoreconnect-v1"]}, "wrong audience"),
        ({"aud": ABSENT}, "wrong audience"),
        ({"iat": ABSENT}, "bad claims"),
        ({"iat": float(NOW)}, "bad claims"),
        ({"iat": True}, "bad claims"),
        ({"iat": str(NOW)}, "bad claims"),
        ({"exp": ABSENT}, "bad claims"),
        ({"exp": NOW + 60.0}, "bad claims"),
        ({"exp": True}, "bad claims"),
        ({"nbf": NOW}, "bad claims"),
        ({"iat": NOW + 1, "exp": NOW + 600}, "issued in the future"),
        ({"iat": NOW - 100, "exp": NOW}, "expired"),
        ({"iat": NOW - 60, "exp": NOW + 1141}, "lifetime too long"),
        ({"iat": NOW * 1000, "exp": NOW * 1000 + 60}, "issued in the future"),
        ({"scope": "GET /v1/apps"}, "bad claims"),
        ({"scope": ["GET /v1/apps", 1]}, "bad claims"),
        ({"scope": []}, "out of scope"),
    ],
)
def test_each_claim_rule(apple: AppleSimulator, signer: HandSigner, changes: dict[str, Any], expected: str) -> None:
    answer = get(apple, signer.team(**changes))
    assert (answer.status, apple.journal.last().reason) == (401, expected)


def test_exp_beyond_twenty_minutes_from_now_is_refused_even_without_iat(
    apple: AppleSimulator, signer: HandSigner
) -> None:
    apple.rules = Rules(require_iat=False)
    assert reason(apple, signer.team(iat=ABSENT, exp=NOW + 1200)) == "accepted"
    assert reason(apple, signer.team(iat=ABSENT, exp=NOW + 1201)) == "expires too late"
    apple.rules = Rules(future_tolerance=60)
    assert reason(apple, signer.team(iat=NOW + 34, exp=NOW + 1234)) == "expires too late"


def test_edges_of_time_are_exact(apple: AppleSimulator, signer: HandSigner, clock: Clock) -> None:
    token = signer.team(iat=NOW, exp=NOW + 1200)
    clock.now = NOW - 0.001
    assert reason(apple, token) == "issued in the future"
    clock.now = NOW
    assert reason(apple, token) == "accepted"
    clock.now = NOW + 1199.999
    assert reason(apple, token) == "accepted"
    clock.now = NOW + 1200
    assert reason(apple, token) == "expired"


def test_tolerances_are_switches(apple: AppleSimulator, signer: HandSigner) -> None:
    apple.rules = Rules(future_tolerance=30, expired_tolerance=120, further_claims=True)
    assert reason(apple, signer.team(iat=NOW + 30, exp=NOW + 600)) == "accepted"
    assert reason(apple, signer.team(iat=NOW + 31, exp=NOW + 600)) == "issued in the future"
    assert reason(apple, signer.team(iat=NOW - 600, exp=NOW - 119)) == "accepted"
    assert reason(apple, signer.team(iat=NOW - 600, exp=NOW - 120)) == "expired"
    assert reason(apple, signer.team(jti="1")) == "accepted"


@pytest.mark.parametrize(
    "header",
    [{"alg": "ES384"}, {"alg": "none"}, {"typ": "jwt"}, {"typ": ABSENT}, {"kid": ABSENT}, {"kid": 7}, {"x5t": "abc"}],
)
def test_header_is_exactly_alg_kid_typ(apple: AppleSimulator, signer: HandSigner, header: dict[str, Any]) -> None:
    claims = {"iss": ISSUER, "iat": NOW, "exp": NOW + 60, "aud": "appstoreconnect-v1"}
    assert reason(apple, signer.sign(claims, header)) == "bad header"


def test_signature_must_be_raw_and_by_this_key(apple: AppleSimulator, signer: HandSigner) -> None:
    claims = {"iss": ISSUER, "iat": NOW, "exp": NOW + 60, "aud": "appstoreconnect-v1"}
    assert reason(apple, signer.sign(claims)) == "accepted"
    assert reason(apple, signer.sign(claims, der=True)) == "bad signature"
    assert reason(apple, HandSigner().sign(claims)) == "bad signature"
    assert reason(apple, f"{signer.sign(claims).rpartition('.')[0]}.") == "bad signature"
    head, _, signature = signer.sign(claims).split(".")
    forged = b64(json.dumps(claims | {"exp": NOW + 900}).encode())
    assert reason(apple, f"{head}.{forged}.{signature}") == "bad signature"


def test_malformed_tokens(apple: AppleSimulator, signer: HandSigner) -> None:
    good = signer.team()
    head, claims, signature = good.split(".")
    twice = b'{"iss":"%s","exp":1,"exp":%d}' % (ISSUER.encode(), NOW + 60)
    for bad in [
        "x",
        f"{head}.{claims}",
        f"{good}.",
        f"{head}=.{claims}.{signature}",
        f"{head}.{claims}.{signature[:-1]}+",
        f"{head}.{b64(b'[]')}.{signature}",
        f"{head}.{b64(b'not json')}.{signature}",
        f"{head}.{b64(bytes([0xFF]))}.{signature}",
        signer.sign_raw(b'{"alg":"ES256","kid":"%s","typ":"JWT"}' % KEY_ID.encode(), twice),
        signer.sign_raw(b'{"alg":"ES256","kid":"%s","typ":"JWT"}' % KEY_ID.encode(), b'{"exp":NaN}'),
    ]:
        assert reason(apple, bad) == "malformed token", bad


def test_no_token_at_all(apple: AppleSimulator, signer: HandSigner) -> None:
    assert reason(apple, None) == "no token"
    ask("GET", f"{apple.url}{APPS}", authorization=f"Basic {signer.team()}")
    assert apple.journal.last().reason == "no token"
    ask("GET", f"{apple.url}{APPS}", authorization=f"Bearer Bearer {signer.team()}")
    assert apple.journal.last().reason == "malformed token"


def test_unknown_and_revoked_keys(apple: AppleSimulator, signer: HandSigner) -> None:
    assert reason(apple, replace(signer, key_id="AAAAAAAAAA").team()) == "unknown kid"
    token = signer.team()
    apple.revoke(KEY_ID)
    answer = get(apple, token)
    assert (answer.status, apple.journal.last().reason) == (401, "revoked key")
    apple.rules = Rules(revoked_status=403)
    assert get(apple, token).status == 403


def test_only_public_p256_keys_are_taken(apple: AppleSimulator) -> None:
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    other_curve = (
        ec.generate_private_key(ec.SECP384R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for pem in (private, other_curve):
        with pytest.raises(ValueError, match="public P-256"):
            apple.add_key("B", pem, issuer_id=None)


def test_scope_limits_the_requests(apple: AppleSimulator, signer: HandSigner) -> None:
    token = signer.team(scope=["GET /v1/builds", "GET /v1/apps?filter[platform]=IOS&sort=name"])
    assert get(apple, token, "/v1/apps?limit=1&filter%5Bplatform%5D=IOS").status == 200
    assert get(apple, token, "/v1/builds?cursor=abc").status == 200
    answer = get(apple, token, "/v1/apps")
    assert (answer.status, apple.journal.last().reason) == (401, "out of scope")
    assert reason(apple, token, "/v1/builds", "POST") == "out of scope"
    apple.rules = Rules(scope_status=403)
    assert get(apple, token, "/v1/users").status == 403


@pytest.mark.parametrize(
    ("entry", "target", "expected"),
    [
        ("GET /v1/apps", "/v1/apps", True),
        ("GET /v1/apps", "/v1/apps?limit=1&cursor=x&sort=name", True),
        ("GET /v1/apps?limit=5", "/v1/apps", True),
        ("GET /v1/apps", "/v1/apps/1", False),
        ("GET /v1/apps", "/v1/app", False),
        ("GET /v1/apps?a=1&b=2", "/v1/apps?b=2&a=1", True),
        ("GET /v1/apps?a=1", "/v1/apps?a=1&b=2", False),
        ("GET /v1/apps?a=1", "/v1/apps?a=2", False),
        ("GET /v1/apps?a=1", "/v1/apps", False),
        ("GET /v1/*", "/v1/apps", False),
        ("get /v1/apps", "/v1/apps", False),
        ("POST /v1/apps", "/v1/apps", False),
        ("GET https://api.appstoreconnect.apple.com/v1/apps", "/v1/apps", False),
    ],
)
def test_scope_entries(entry: str, target: str, expected: bool) -> None:
    path, _, query = target.partition("?")
    assert allows(entry, "GET", path, query, ScopeReading()) is expected


def test_scope_readings() -> None:
    encoded = ("GET", "/v1/apps", "filter%5Ba%5D=1")
    assert not allows("GET /v1/apps?filter[a]=1", *encoded, ScopeReading(decode_percent=False))
    assert allows("GET /v1/apps", *encoded, ScopeReading(further_parameters=True))
    assert not allows("GET /v1/apps", *encoded, ScopeReading())
