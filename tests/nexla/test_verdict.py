"""What each answer to a probe proves: Nexla's ways to relay Apple's words, and everything else that may come back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_asc.lab.apple import answers
from vault_asc.nexla.verdict import judge, message_of, speaks_of_session, worth_another_try
from vault_asc.outcome import Outcome, Probe

APPLE_401 = answers.not_authorized().body.decode()
APPLE_ROLE = answers.forbidden_role().body.decode()
APPLE_AGREEMENT = answers.agreement_missing().body.decode()
APPLE_OLD_AGREEMENT = '{"errors":[{"status":"403","code":"FORBIDDEN","title":"Access Unavailable","detail":"..."}]}'
ENVELOPE_401 = '{"error":"unauthorized","error_description":"Session expired","error_code":"AUTH_001"}'
HTML = "<html><body>401 Unauthorized</body></html>"


def relayed(status: object, message: object) -> str:
    return json.dumps({"status": status, "message": message})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, ""),
        (200, "  \n"),
        (204, ""),
        (200, "{}"),
        (200, '{"output": {}}'),
        (200, '{"output": {"data": [{"name": "NOT_AUTHORIZED FORBIDDEN_ERROR"}]}}'),
        (200, relayed("ok", "Ok")),
        (200, relayed("200 Ok", "")),
        (200, relayed(200, "Ok")),
        (202, relayed("success", "")),
        (200, '{"status": null}'),
        (200, "[]"),
        (200, "OK"),
        (200, '{"status":"completed","request_id":1,"response":{"status":200,"message":"Ok"}}'),
        (200, '{"status":"completed","request_id":1,"result":{"status":"ok"}}'),
        (403, relayed(403, APPLE_ROLE)),
        (403, relayed(403, "The API key in use does not allow this request")),
        (403, APPLE_ROLE),
        (200, relayed("failed", APPLE_ROLE)),
    ],
)
def test_live(status: int, body: str) -> None:
    assert judge(status, body).outcome is Outcome.LIVE


def test_a_missing_role_is_said_to_prove_the_token() -> None:
    detail = judge(403, relayed(403, APPLE_ROLE)).detail
    assert "accepts the token" in detail
    assert "role" in detail


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, relayed(401, APPLE_401)),
        (403, relayed(403, APPLE_401)),
        (401, APPLE_401),
        (403, relayed(403, "Unauthorized")),
        (403, relayed(403, "Request failed with status code 401")),
        (401, relayed(401, "Invalid credentials")),
        (401, relayed("401 Unauthorized", "")),
        (200, relayed("401 Unauthorized", "")),
        (200, relayed(401, "no")),
        (200, relayed("failed", APPLE_401)),
        (200, APPLE_401),
        (200, '{"message": "NOT_AUTHORIZED"}'),
        (403, relayed("failed", "Unauthenticated\n\nRequest ID: x")),
        (200, json.dumps({"status": "failed", "request_id": 401, "response": {"status": 401, "message": APPLE_401}})),
        (200, json.dumps({"status": "completed", "result": {"status": 401, "message": "no"}})),
    ],
)
def test_refused(status: int, body: str) -> None:
    probe = judge(status, body)
    assert probe.outcome is Outcome.REFUSED
    assert worth_another_try(probe)


@pytest.mark.parametrize("text", [APPLE_AGREEMENT, APPLE_OLD_AGREEMENT])
@pytest.mark.parametrize("status", [200, 401, 403, 500])
def test_agreement(text: str, status: int) -> None:
    probe = judge(status, relayed("failed", text))
    assert probe.outcome is Outcome.AGREEMENT
    assert "Account Holder" in probe.detail
    assert not worth_another_try(probe)


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (401, "", "session"),
        (401, ENVELOPE_401, "Session expired"),
        (401, HTML, "session"),
        (403, "", "service key's user"),
        (403, HTML, "service key's user"),
        (403, relayed(403, "Forbidden"), "Forbidden"),
        (404, "", "offers no probe"),
        (405, relayed(405, "no"), "offers no probe"),
        (429, "", "429"),
        (429, answers.rate_limited().body.decode(), "429"),
        (400, relayed(400, "test.url is no URL"), "test.url is no URL"),
        (500, relayed(500, "timeout after 401000 ms"), "timeout"),
        (502, HTML, "502"),
        (503, "", "503"),
        (200, HTML, "page"),
        (200, '{"status": "ok', "page"),
        (200, '{"status":"pending","request_id":7}', "pending"),
        (200, '{"status":"running","request_id":7}', "running"),
        (200, '{"status":"cancelled","request_id":7}', "cancelled"),
        (202, "{}", "accepted"),
        (200, relayed("failed", "connection reset"), "connection reset"),
        (200, relayed("bewildered", ""), "bewildered"),
        (200, '{"success": false}', "200"),
        (200, '{"error": "boom"}', "boom"),
    ],
)
def test_unproven(status: int, body: str, word: str) -> None:
    probe = judge(status, body)
    assert probe.outcome is Outcome.UNPROVEN
    assert word in probe.detail
    assert probe.final is (status in {403, 404, 405}), "whether it is worth to ask again soon"
    assert not worth_another_try(probe)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, "", True),
        (401, ENVELOPE_401, True),
        (401, '{"message":"Invalid session"}', True),
        (401, relayed(401, "Unauthorized"), True),
        (401, HTML, True),
        (401, relayed(401, APPLE_401), False),
        (403, "", False),
        (200, "", False),
    ],
)
def test_which_401_is_worth_a_login(status: int, body: str, expected: bool) -> None:
    assert speaks_of_session(status, body) is expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"message": "a", "error": "b"}, "a"),
        ({"error": "b", "error_description": "c"}, "c"),
        ({"error": "b"}, "b"),
        ({"detail": {"error": "deep"}}, "deep"),
        ({"errors": [{"code": "X", "title": "t", "detail": "d"}]}, "X: t d"),
        ({"message": '{"errors": [{"code": "X", "title": "t", "detail": "d"}]}'}, "X: t d"),
        ({"message": '"[7]"'}, '"[7]"'),
        ({"message": "{broken"}, "{broken"),
        ({"message": "{}"}, "{}"),
        (["", {"message": "in a list"}], "in a list"),
        (" text ", "text"),
        ({}, ""),
        (None, ""),
        (7, ""),
    ],
)
def test_message(data: object, message: str) -> None:
    assert message_of(data) == message


@pytest.mark.parametrize("body", [APPLE_401, relayed(401, APPLE_401), relayed("failed", json.loads(APPLE_401))])
def test_apples_refusal_is_shown_in_apples_words(body: str) -> None:
    detail = judge(401, body).detail
    assert "NOT_AUTHORIZED: Authentication credentials are missing or invalid. Provide a properly" in detail
    assert "signed bearer token" in detail
    assert "{" not in detail
    assert "secret" not in detail


def test_details_are_one_masked_line() -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
    for status in (400, 401, 403, 500):
        detail = judge(status, relayed(status, f"bad\nheader\x1b[2J Bearer {token} {'x' * 5000}")).detail
        assert token not in detail
        assert detail.isprintable()
        assert len(detail) < 500


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"message":', "}")])
@pytest.mark.parametrize("depth", [100, 400, 900, 5000])
def test_deep_bodies_end_no_push(begin: str, end: str, depth: int) -> None:
    body = begin * depth + '"x"' + end * depth
    for status in (200, 401, 500):
        for text in (body, relayed(401, body), relayed("failed", body)):
            assert len(judge(status, text).detail) < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "message", "error", "response", "result", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(status=st.integers(100, 599), body=st.text() | JSON.map(json.dumps))
def test_never_raises_and_never_claims_what_was_not_said(status: int, body: str) -> None:
    probe = judge(status, body)
    assert isinstance(probe, Probe)
    assert probe.outcome is not Outcome.NOT_WRITTEN
    assert probe.detail.isprintable()
    if status >= 300 and not any(word in body for word in ("FORBIDDEN", "forbidden", "does not allow")):
        assert probe.outcome is not Outcome.LIVE
