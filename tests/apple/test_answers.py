"""What each answer proves, without a server."""

import json
import string
from email.utils import format_datetime, formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_asc.apple.answers import Answer, clock_skew, judge, unknown
from vault_asc.apple.trial import Trial, TrialOutcome, refusal
from vault_asc.errors import PrivateKeyError, TargetError
from vault_asc.lab.apple import answers as apples
from vault_asc.lab.web import Answer as Sent

NOW = 1_780_000_000.0
KEY_ID = "2X9R4HXF34"
APPS = {"data": [{"type": "apps", "id": "1"}], "links": {"self": "x"}}


def of(status: int, data: Any = None, text: str = "", date: str | None = None) -> Trial:
    return judge(Answer(status, data, text or json.dumps(data), date), KEY_ID, NOW)


def sent(answer: Sent, status: int | None = None, date: str | None = None) -> Trial:
    return of(status or answer.status, json.loads(answer.body), answer.body.decode(), date)


def error(code: object, title: str = "", **more: object) -> dict[str, Any]:
    return {"errors": [{"status": "403", "code": code, "title": title, "detail": "..."} | more]}


def test_a_list_of_apps_is_accepted_even_if_it_is_empty() -> None:
    empty: dict[str, Any] = {"data": []}
    for data in (APPS, empty):
        assert of(200, data).outcome is TrialOutcome.ACCEPTED


@pytest.mark.parametrize("data", [None, {}, [], "data", {"data": {}}, {"data": "NOT_AUTHORIZED"}, error("FORBIDDEN")])
def test_a_success_without_a_list_is_not_apples(data: Any) -> None:
    trial = of(200, data)
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert "api_url" in str(trial.hint)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (apples.not_authorized(), TrialOutcome.REFUSED),
        (apples.forbidden_role(), TrialOutcome.ROLE),
        (apples.agreement_missing(), TrialOutcome.AGREEMENT),
        (apples.rate_limited(), TrialOutcome.UNKNOWN),
        (apples.server_error(), TrialOutcome.UNKNOWN),
        (apples.not_found("/v1/apps"), TrialOutcome.UNKNOWN),
        (apples.method_not_allowed("GET"), TrialOutcome.UNKNOWN),
        (apples.bad_limit(), TrialOutcome.UNKNOWN),
    ],
)
def test_apples_errors(answer: Sent, outcome: TrialOutcome) -> None:
    trial = sent(answer)
    assert trial.outcome is outcome
    assert KEY_ID in trial.detail


@pytest.mark.parametrize(
    ("status", "data", "outcome"),
    [
        (403, error("FORBIDDEN", "Access Unavailable"), TrialOutcome.AGREEMENT),
        (403, error("FORBIDDEN_ERROR.SOMETHING_NEW"), TrialOutcome.ROLE),
        (403, error("FORBIDDEN", detail="The API key in use does not allow this request"), TrialOutcome.ROLE),
        (403, error("FORBIDDEN"), TrialOutcome.UNKNOWN),
        (403, error("NOT_AUTHORIZED"), TrialOutcome.REFUSED),
        (401, error("SOMETHING_NEW"), TrialOutcome.REFUSED),
        (401, error("FORBIDDEN_ERROR"), TrialOutcome.REFUSED),
        (500, error("NOT_AUTHORIZED"), TrialOutcome.UNKNOWN),
        (503, error("FORBIDDEN_ERROR"), TrialOutcome.UNKNOWN),
        (404, error("FORBIDDEN_ERROR"), TrialOutcome.UNKNOWN),
    ],
)
def test_status_and_code_have_to_agree(status: int, data: Any, outcome: TrialOutcome) -> None:
    assert of(status, data).outcome is outcome


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, ""),
        (None, "<html><title>401 Unauthorized</title></html>"),
        (None, "Unauthorized"),
        (None, "NOT_AUTHORIZED FORBIDDEN_ERROR"),
        ({}, ""),
        ({"errors": []}, ""),
        ({"errors": {}}, ""),
        ({"errors": ["permission denied"]}, ""),
        ({"error": "NOT_AUTHORIZED"}, ""),
        (error(401), ""),
        (error("not authorized"), ""),
        (error("NOT_AUTHORIZED\n"), ""),
        ({"errors": [error("NOT_AUTHORIZED")["errors"][0], "x"]}, ""),
        (["NOT_AUTHORIZED"], ""),
    ],
)
def test_what_is_not_apples_error_proves_nothing(status: int, data: Any, text: str) -> None:
    trial = of(status, data, text)
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert f"the answer ({status}) is not one of apple's" in trial.detail


def test_the_plain_text_of_apples_gateway_is_a_refusal() -> None:
    text = "Unauthenticated\n\nRequest ID: 5F0A\n"
    assert of(401, None, text).outcome is TrialOutcome.REFUSED
    assert of(403, None, text).outcome is TrialOutcome.UNKNOWN
    assert of(401, None, "UnauthenticatedX").outcome is TrialOutcome.UNKNOWN


def test_what_people_are_told() -> None:
    refused = sent(apples.not_authorized())
    assert refused.detail == f'apple does not accept tokens of key "{KEY_ID}" (401 NOT_AUTHORIZED)'
    for word in ("key ID", "issuer ID", "revoked", "minutes ago", "clock"):
        assert word in str(refused.hint)
    assert "Account Holder" in sent(apples.agreement_missing()).detail
    assert "role" in sent(apples.forbidden_role()).detail
    assert "429 RATE_LIMIT_EXCEEDED" in sent(apples.rate_limited()).detail
    assert "hour" in str(sent(apples.rate_limited()).hint)
    assert "500 UNEXPECTED_ERROR" in sent(apples.server_error()).detail


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(61, "1m 1s ahead of"), (-61, "1m 1s behind"), (86400 * 3, "3d 0h ahead of"), (60, None), (-60, None), (0, None)],
)
def test_a_wrong_clock_is_named_as_the_likeliest_cause(ahead: float, said: str | None) -> None:
    trial = sent(apples.not_authorized(), date=formatdate(NOW - ahead, usegmt=True))
    assert ("clock of this machine is" in trial.detail) is (said is not None)
    assert said is None or f"{said} apple's" in trial.detail
    assert ("NTP" in str(trial.hint)) is (said is not None)
    assert trial.outcome is TrialOutcome.REFUSED


def test_a_wrong_clock_is_no_news_unless_apple_refuses() -> None:
    date = formatdate(NOW + 3600, usegmt=True)
    for trial in (of(200, APPS, date=date), sent(apples.forbidden_role(), date=date), of(503, date=date)):
        assert "clock" not in trial.detail


@pytest.mark.parametrize(
    "date",
    [None, "", "now", "0", "Thu, 99 Foo 2026 99:99:99 GMT", "Fri, 29 May 99999 00:00:00 GMT", ",", "\0", "1 2 3"],
)
def test_a_date_that_is_none_says_nothing(date: str | None) -> None:
    assert clock_skew(date, NOW) == 0.0


@given(st.datetimes().map(format_datetime) | st.text(max_size=60) | st.text(string.digits + " :,-+GMTJan", max_size=40))
def test_no_date_is_an_error(date: str) -> None:
    assert isinstance(clock_skew(date, NOW), float)


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["errors", "data", "code", "title", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.integers(200, 599), values, st.text(max_size=40))
def test_any_answer_is_judged_and_nothing_foreign_is_repeated(status: int, data: Any, text: str) -> None:
    trial = of(status, data, text)
    assert trial.detail.isprintable()
    assert trial.detail.isascii()
    assert status == 200 or trial.outcome is not TrialOutcome.ACCEPTED
    assert status in {401, 403} or trial.outcome is not TrialOutcome.REFUSED


@pytest.mark.parametrize(
    "code", ["eyJhbGciOiJFUzI1NiJ9", "A" * 101, "A..B", ".A", "A.B.C.D.E.F.G", "FORBIDDEN_ERROR é"]
)
def test_a_code_that_is_none_of_apples_is_not_repeated(code: str) -> None:
    for status in (401, 403, 404, 500):
        assert code not in repr(of(status, error(code, code, detail=code)))


def test_title_and_detail_are_never_repeated() -> None:
    for status in (400, 401, 403, 429, 500):
        assert "SENTINEL" not in repr(of(status, error("FORBIDDEN", "SENTINEL", detail="SENTINEL", id="SENTINEL")))


def test_what_follows() -> None:
    refused = refusal(sent(apples.not_authorized()))
    assert isinstance(refused, PrivateKeyError)
    assert refused.exit_code == 3
    assert refused.message.endswith("(401 NOT_AUTHORIZED); nothing was written")
    assert refused.hint
    assert "--no-apple-check" not in refused.hint
    asked_in_vain = refusal(unknown(KEY_ID, "no connection"))
    assert isinstance(asked_in_vain, TargetError)
    assert asked_in_vain.exit_code == 8
    assert asked_in_vain.message == (
        f'app store connect could not be asked about key "{KEY_ID}": no connection; nothing was written'
    )
    assert asked_in_vain.hint == "try again later, or go on without asking apple: --no-apple-check"


@pytest.mark.parametrize("outcome", TrialOutcome)
def test_only_a_refusal_and_ignorance_stop_a_rotation(outcome: TrialOutcome) -> None:
    stops = outcome in {TrialOutcome.REFUSED, TrialOutcome.UNKNOWN}
    assert (refusal(Trial(outcome, KEY_ID, "x")) is not None) is stops
