import copy
import json
import logging
import pickle
import traceback
from dataclasses import dataclass

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.keys import new_p8_pem
from vault_asc.secret import MASK, Secret, mask, safe_text

VALUE = "SENT-9f3c1b-" + "value"
JWT = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjJYOVI0SFhGMzQifQ.eyJpc3MiOiI1NzI0NjU0MiJ9.c2lnbmF0dXJlLW9mLTY0LWJ5dGVz"
ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Holder:
    name: str
    token: Secret


def test_reveal_is_the_only_way_out() -> None:
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret!s:>20}",
        f"{secret:>20}",
        "{:<12}".format(secret),  # noqa: UP032  # str.format is what is tested
        "%s %r" % (secret, secret),  # noqa: UP031  # so is the % operator
        repr([secret]),
        repr({"token": secret}),
        repr(Holder("a", secret)),
        str(Secret),
        repr(dir(secret)),
        repr(Secret.__slots__),
    ]
    assert not [text for text in shown if VALUE in text or VALUE[:8] in text]
    assert shown[0] == shown[1] == shown[2] == MASK
    assert shown[5] == f"{MASK:>20}"
    with pytest.raises(TypeError):
        vars(secret)


def test_serialisers_refuse_it() -> None:
    secret = Secret(VALUE)
    for attempt in (
        lambda: pickle.dumps(secret),
        lambda: pickle.dumps(Holder("a", secret), protocol=0),
        lambda: copy.copy(secret),
        lambda: copy.deepcopy([secret]),
        lambda: json.dumps({"token": secret}),
    ):
        with pytest.raises(TypeError) as caught:
            attempt()
        assert VALUE not in str(caught.value)


def test_equal_by_value_and_true_when_not_empty() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret("")


def test_log_lines_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("token %s %r in %s", secret, secret, Holder("a", secret))
    assert MASK in caplog.text
    assert VALUE not in caplog.text


def test_traceback_with_locals_is_masked() -> None:
    def fail(secret: Secret, holder: Holder) -> None:
        raise ValueError(secret, holder)

    try:
        fail(Secret(VALUE), Holder("a", Secret(VALUE)))
    except ValueError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert MASK in text
    assert VALUE not in text


@pytest.mark.parametrize(
    ("secret", "around"),
    [
        (JWT, "{}"),
        (JWT, "token={}&x=1"),
        (JWT, "x{}"),
        (JWT.rpartition(".")[0], "unsigned {}"),
        (JWT.partition(".")[0], "the header {} alone"),
        ("hvs.CAESIJ3Vx-0aP_uQ", "{}"),
        ("hvs.CAESIJ3Vx-0aP_uQ", "token{}"),
        ("hvb.AAAAAQJ-x_2PpS1K0v", 'errors: ["{}"]'),
        ("hvr.CAESIJ3VxyzP", "recovery {}"),
        ("s.Zq3XyT1rB7uKpW9mNc4vLd2e", "old {} form"),
        ("s.Zq3XyT1rB7uKpW9mNc4vLd2e", "glued{}"),
        ("b.AAAAAQ-J4kPq_w2ZxC8vBn1MmL", "batch {}"),
        ("swordfish", "Authorization: Bearer {}"),
        ("swordfish", "authorization: bearer  {}"),
        ("dXNlcjpwYXNz", "BEARER\t{}\n"),
        ("swordfishswordfish", "bearer {}"),
        ("sword-fish", "bearer {}"),
        ("Swordfish1", "Bearer {}."),
        ("swordfish", '{{"authorization": "bearer {}"}}'),
        ("dXNlcjpwYXNz", "'Authorization': 'Basic {}'"),
        ("dXNlcjpwYXNz", "BASIC {}"),
    ],
)
def test_what_looks_secret_is_masked(secret: str, around: str) -> None:
    for shown in (mask(around.format(secret)), safe_text(around.format(secret))):
        assert MASK in shown
        assert secret not in shown


@pytest.mark.parametrize("newline", ["\n", "\r\n", r"\n", " ", ""])
@pytest.mark.parametrize("whole", [True, False])
def test_pem_is_masked_in_every_spelling(newline: str, whole: bool) -> None:
    pem = new_p8_pem().decode()
    lines = pem.split("\n")[:-1] if whole else pem.split("\n")[:-3]
    shown = safe_text(f"nexla said: {newline.join(lines)} (end)", limit=10_000)
    assert MASK in shown
    assert not [line for line in lines[1:-1] if line in shown]
    assert lines[1][:16] not in shown


def test_sec1_pem_is_masked() -> None:
    assert "AAAA" not in mask("x -----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY----- y")
    assert mask("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY----- y") == f"{MASK} y"


@pytest.mark.parametrize(
    "text",
    [
        "vault_asc.errors.PermissionDeniedError",
        "https://docs.internal-platform.example/v1/apps",
        "no route to host",
        "Provide a properly configured and signed bearer token, and make sure that it has not expired.",
        "Bearer Token missing",
        "no bearer token",
        "Basic authentication is off.",
        'key "prod" has no version 3',
        "ecdsa.s. 12",
    ],
)
def test_plain_text_stays(text: str) -> None:
    assert safe_text(text) == text


def test_control_characters_cannot_make_a_second_line() -> None:
    hostile = "a\nb\rc\x1b[2Jd\u2028e\u2029f\x00g\x7fh\x85i\u202ej\ud800k"
    shown = safe_text(hostile)
    assert shown == r"a\nb\rc\x1b[2Jd\u2028e\u2029f\x00g\x7fh\x85i\u202ej\ud800k"
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1


def test_cut_at_200() -> None:
    assert safe_text("x" * 200) == "x" * 200
    assert safe_text("x" * 201) == "x" * 199 + "…"
    assert safe_text("x" * 50, limit=10) == "x" * 9 + "…"
    assert len(safe_text("\n" * 150)) == 200


@settings(max_examples=200, deadline=None)
@given(st.text())
@example("\ud800")
def test_any_text_becomes_one_printable_line(text: str) -> None:
    shown = safe_text(text)
    assert len(shown) <= 200
    assert shown.isprintable()


planted = st.one_of(
    st.builds(
        "eyJ{}.eyJ{}.{}".format,
        st.text(ALNUM + "-_", min_size=20, max_size=60),
        st.text(ALNUM + "-_", min_size=20, max_size=60),
        st.text(ALNUM + "-_", min_size=86, max_size=86),
    ),
    st.builds(
        "{}{}".format, st.sampled_from(["hvs.", "hvb.", "hvr."]), st.text(ALNUM + "-_", min_size=24, max_size=120)
    ),
    st.builds("s.{}".format, st.text(ALNUM, min_size=24, max_size=24)),
)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), planted, st.text(max_size=80))
@example("this", "s." + "A1" * 12, "")
@example("eyJ", "s." + "A1" * 12, "")
@example("Bearer", "hvs." + "A1" * 12, "\n")
def test_a_planted_token_never_shows(before: str, token: str, after: str) -> None:
    assume(token[-16:] not in before + after)
    for shown in (mask(before + token + after), safe_text(before + token + after, limit=10_000)):
        assert token not in shown
        # nor its larger part: a mask that stops in the middle would leave enough to go on with
        assert token[-16:] not in shown
