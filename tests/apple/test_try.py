"""Keys tried at the simulator of Apple, which judges tokens by code of its own."""

import time

import pytest

from tests.apple.tries import Tries
from tests.support import TEAM, new_key
from vault_asc.apple import Trial, TrialOutcome, refusal, tried
from vault_asc.errors import PrivateKeyError
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab.apple import AppleSimulator, Rules, faults
from vault_asc.lab.faults import Fault, answered, cut_off, dropped, html, redirected, throttled, truncated_json
from vault_asc.tokens import TokenRequest, mint

INDIVIDUAL = identity(key_id="IND1234567", issuer_id=None, individual=True)


def reasons(apple: AppleSimulator) -> list[str]:
    return [entry.reason or str(entry.fault) for entry in apple.journal.entries()]


def test_a_good_key_is_accepted_with_one_call(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    trial = tries.key(apple.url, key)
    assert trial == Trial(TrialOutcome.ACCEPTED, TEAM.key_id, f'apple accepts tokens of key "{TEAM.key_id}"')
    assert refusal(trial) is None
    assert [(entry.method, entry.path) for entry in apple.journal.entries()] == [("GET", "/v1/apps")]
    assert tries.slept == []


def test_an_individual_key_is_accepted(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    apple.add_key(INDIVIDUAL.key_id, key.public_key_pem(), issuer_id=None)
    assert tries.key(apple.url, key, INDIVIDUAL).outcome is TrialOutcome.ACCEPTED


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (TEAM._replace(key_id="UNKNOWN123"), "unknown kid"),
        (TEAM._replace(issuer_id="00000000-96fe-1a63-e053-0824d011072a"), "wrong issuer"),
        (INDIVIDUAL._replace(key_id=TEAM.key_id), "wrong issuer"),
    ],
)
def test_wrong_ids_are_refused_after_three_tries(
    apple: AppleSimulator, tries: Tries, key: PrivateKey, who: Identity, reason: str
) -> None:
    trial = tries.key(apple.url, key, who)
    assert trial.outcome is TrialOutcome.REFUSED
    assert reasons(apple) == [reason] * 3
    assert tries.slept == [1.0, 2.0]
    assert trial.detail == (
        f'apple does not accept tokens of key "{who.key_id}" (401 NOT_AUTHORIZED); it was asked 3 times'
    )
    error = refusal(trial)
    assert isinstance(error, PrivateKeyError)
    assert error.message == f"{trial.detail}; nothing was written"


def test_another_private_key_is_refused(apple: AppleSimulator, tries: Tries) -> None:
    assert tries.key(apple.url, new_key()).outcome is TrialOutcome.REFUSED
    assert reasons(apple) == ["bad signature"] * 3


def test_a_revoked_key_is_refused_and_where_apple_says_403_the_people_are_told(
    apple: AppleSimulator, tries: Tries, key: PrivateKey
) -> None:
    apple.revoke(TEAM.key_id)
    assert tries.key(apple.url, key).outcome is TrialOutcome.REFUSED
    apple.rules = Rules(revoked_status=403)
    trial = tries.key(apple.url, key)
    assert trial.outcome is TrialOutcome.ROLE
    assert "revoked" in trial.detail


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("fault", [faults.FALSE_401, faults.UNAUTHENTICATED_TEXT])
def test_false_refusals_do_not_count(
    apple: AppleSimulator, tries: Tries, key: PrivateKey, fault: Fault, count: int
) -> None:
    apple.inject(fault, count=count)
    assert tries.key(apple.url, key).outcome is TrialOutcome.ACCEPTED
    assert apple.journal.count() == count + 1
    assert tries.slept == [1.0, 2.0][:count]


def test_three_refusals_count_whatever_the_key_is(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    apple.inject(faults.FALSE_401, count=3)
    assert tries.key(apple.url, key).outcome is TrialOutcome.REFUSED
    assert apple.journal.count() == 3


@pytest.mark.parametrize(("count", "said"), [(1, "once"), (2, "twice")])
def test_refusals_and_then_no_answer_prove_nothing(
    apple: AppleSimulator, tries: Tries, key: PrivateKey, count: int, said: str
) -> None:
    apple.inject(faults.FALSE_401, count=count)
    apple.inject(faults.SERVER_ERROR)
    trial = tries.key(apple.url, key)
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert trial.detail.endswith(f"it failed (500 UNEXPECTED_ERROR), after it had refused the token {said}")
    assert apple.journal.count() == count + 1


def test_lack_of_role_proves_authentication(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    apple.set_role(TEAM.key_id, denied=["/v1/apps"])
    trial = tries.key(apple.url, key)
    assert (trial.outcome, refusal(trial)) == (TrialOutcome.ROLE, None)
    assert "role" in trial.detail


def test_a_missing_agreement_is_a_warning(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    apple.agreement_signed = False
    trial = tries.key(apple.url, key)
    assert (trial.outcome, refusal(trial)) == (TrialOutcome.AGREEMENT, None)
    assert "Account Holder" in trial.detail
    assert apple.journal.count() == 1


@pytest.mark.parametrize(
    ("fault", "calls", "said"),
    [
        (faults.RATE_LIMITED, 3, "too many requests with this key (429 RATE_LIMIT_EXCEEDED)"),
        (throttled("3600"), 1, "too many requests with this key (429)"),
        (faults.SERVER_ERROR, 1, "it failed (500 UNEXPECTED_ERROR)"),
        (answered(503), 3, "it failed (503)"),
        (html(), 3, "it failed (502)"),
        (html(200), 1, "the answer (200) is not one of apple's"),
        (html(401), 1, "the answer (401) is not one of apple's"),
        (html(403), 1, "the answer (403) is not one of apple's"),
        (answered(401), 1, "the answer (401) is not one of apple's"),
        (answered(204), 1, "the answer (204) is not one of apple's"),
        (truncated_json(), 1, "the answer (200) is not one of apple's"),
        (cut_off(), 3, "answer cut short"),
        (dropped(), 3, "connection reset"),
        (redirected("http://127.0.0.1:9/login"), 1, "redirect"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_proves_nothing(
    apple: AppleSimulator, tries: Tries, key: PrivateKey, fault: Fault, calls: int, said: str
) -> None:
    apple.inject(fault, count=9)
    trial = tries.key(apple.url, key)
    assert trial.outcome is TrialOutcome.UNKNOWN
    assert said in trial.detail
    assert apple.journal.count() == calls
    assert tries.slept == []
    error = refusal(trial)
    assert error is not None
    assert error.exit_code == 8
    assert "nothing was written" in error.message
    assert "--no-apple-check" in str(error.hint)


def test_a_connection_that_breaks_once_is_no_matter(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    apple.inject(dropped())
    assert tries.key(apple.url, key).outcome is TrialOutcome.ACCEPTED


@pytest.mark.parametrize(("ahead", "said"), [(300, "ahead of"), (-400, "behind")])
def test_a_wrong_clock_is_told(apple: AppleSimulator, tries: Tries, key: PrivateKey, ahead: float, said: str) -> None:
    trial = tries.key(apple.url, key, clock=lambda: time.time() + ahead)
    assert trial.outcome is TrialOutcome.REFUSED
    assert f"{said} apple's, which is the likeliest cause; it was asked 3 times" in trial.detail
    assert "NTP" in str(trial.hint)


@pytest.mark.parametrize("ahead", [-55, 55])
def test_a_clock_that_is_a_little_wrong_is_no_matter(
    apple: AppleSimulator, tries: Tries, key: PrivateKey, ahead: float
) -> None:
    assert tries.key(apple.url, key, clock=lambda: time.time() + ahead).outcome is TrialOutcome.ACCEPTED


def test_a_key_of_the_enterprise_program_is_not_sent_anywhere(
    apple: AppleSimulator, tries: Tries, key: PrivateKey
) -> None:
    trial = tries.key(apple.url, key, TEAM._replace(audience=ENTERPRISE))
    assert (trial.outcome, refusal(trial)) == (TrialOutcome.SKIPPED, None)
    assert "Enterprise" in trial.detail
    assert apple.journal.count() == 0


class Broken(PrivateKey):
    """Signs what nobody asked for."""

    def sign(self, message: bytes) -> bytes:
        return super().sign(message + b"x")


def test_what_does_not_verify_is_not_sent(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    with pytest.raises(PrivateKeyError, match="does not verify with its public half, nothing was sent"):
        tries.key(apple.url, Broken(key.pem, key.spki_sha256, key._ec))
    assert apple.journal.count() == 0


def test_a_token_of_any_custody_can_be_tried(apple: AppleSimulator, tries: Tries, key: PrivateKey) -> None:
    token = mint(TEAM, TokenRequest(), key, time.time())
    assert tried(tries.api(apple.url), token).outcome is TrialOutcome.ACCEPTED
    foreign = mint(TEAM, TokenRequest(), new_key(), time.time())
    assert tried(tries.api(apple.url), foreign).outcome is TrialOutcome.REFUSED
