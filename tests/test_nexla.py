"""The client against the simulators of Nexla and Apple: the end state counts, not what the client says of itself."""

import logging
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.signing import ISSUER, NOW, Clock, HandSigner
from vault_asc import http
from vault_asc.credential_body import put_body
from vault_asc.credential_view import describe
from vault_asc.discovery import Plan, Wanted, discover
from vault_asc.errors import ConfigError, NexlaError
from vault_asc.http import Limits
from vault_asc.lab import faults
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.apple import faults as apple_faults
from vault_asc.lab.nexla import NexlaSimulator, Readings, User
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.lab.nexla.answers import edit_object
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla import LIMITS, RETRY_METHODS, NexlaClient
from vault_asc.outcome import Outcome, Probe
from vault_asc.secret import Secret

if TYPE_CHECKING:
    import requests

ID = 5001
CREDENTIAL = f"/data_credentials/{ID}"
PROBE = f"{CREDENTIAL}/probe"
SERVICE_KEY = "service-key-SENTINEL-5b1d"
READINGS = [
    Readings(),
    Readings(error_envelope="documented", probe_body="object", probe_status="relay", probe_message="status"),
    Readings(probe_body="result", probe_status="relay", announce_expiry=False, template_config="all"),
    Readings(expand=False, probe_message="status"),
]


@dataclass
class Tenant:
    """Nexla, Apple, a key at Apple, and our client, which never really sleeps."""

    nexla: NexlaSimulator
    apple: AppleSimulator
    clock: Clock
    signer: HandSigner = field(default_factory=HandSigner)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nexla.add_service_key(SERVICE_KEY)
        self.apple.add_key(self.signer.key_id, self.signer.public_pem, issuer_id=ISSUER)
        self.client = self.new_client()

    @property
    def test_url(self) -> str:
        return f"{self.apple.url}/v1/apps?limit=1"

    @property
    def wanted(self) -> Wanted:
        return Wanted(ID)

    def new_client(self, key: str = SERVICE_KEY, *, limits: Limits = LIMITS, url: str | None = None) -> NexlaClient:
        session = http.session(
            limits=limits, retry_methods=RETRY_METHODS, wait=self.waits.append, uniform=lambda _, high: high
        )
        return NexlaClient(session, url or self.nexla.url, Secret(key), self.clock)

    def token(self, **changes: Any) -> Secret:
        return Secret(self.signer.team(self.clock(), **changes))

    def probe(self, client: NexlaClient | None = None) -> Probe:
        return (client or self.client).probe(ID, wait=self.waits.append)

    def push(self, wanted: Wanted | None = None, remembered: Plan | None = None, token: Secret | None = None) -> Probe:
        wanted = wanted or self.wanted
        credential = self.client.credential(ID)
        plan = discover(credential, wanted, remembered)
        self.client.update(ID, put_body(plan, credential, wanted, token or self.token()))
        return self.probe()

    @property
    def writes(self) -> int:
        return self.nexla.credential(ID).writes

    def asked(self, method: str, path: str, status: int | None = None) -> int:
        return self.nexla.journal.count(method, path, status=status)


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    clock = Clock()
    with AppleSimulator(clock=clock) as apple, NexlaSimulator(clock=clock) as nexla:
        yield Tenant(nexla, apple, clock)


@pytest.fixture
def ready(tenant: Tenant) -> Tenant:
    """With the plain credential (fixture a) and a client that is logged in."""
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.client.login()
    return tenant


# -- every kind of credential ----------------------------------------------------------------------------------------

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "c": {"auth_template": "appstore_api.1"},
    "d": {"token_field": "first", "extra_fields": {"second": "s"}},
    "e": {"mode": "rest"},
    "h": {"extra_fields": {"page_size": 1}},
}
BLIND = {"a": "jwt_token", "b": "jwt_token", "c": "jwt_token", "g": "appstore_api.jwt", "h": "jwt_token"}


@pytest.mark.parametrize("readings", READINGS)
@pytest.mark.parametrize("letter", "abcegh")
def test_a_push_ends_live(tenant: Tenant, letter: str, readings: Readings) -> None:
    tenant.nexla.readings = readings
    FIXTURES[letter](tenant.nexla, tenant.test_url)
    extra = {"extra_fields": {"test.url": tenant.test_url}} if letter == "e" else {}
    wanted = replace(tenant.wanted, **{**SETTINGS.get(letter, {}), **extra})
    assert tenant.nexla.flow_read() == 401
    probe = tenant.push(wanted)
    assert probe.outcome is Outcome.LIVE, probe.detail
    assert tenant.nexla.flow_read() == 200
    assert tenant.writes == 1
    assert tenant.asked("POST", "/token") == 1


def test_auto_takes_a_generic_credential_for_apple(tenant: Tenant) -> None:
    FIXTURES["e"](tenant.nexla, tenant.test_url)
    wanted = replace(tenant.wanted, extra_fields={"test.url": tenant.test_url})
    assert tenant.push(wanted).outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200


@pytest.mark.parametrize(
    ("letter", "wanted", "word"),
    [
        ("d", Wanted(ID), '"first", "second"'),
        ("e", Wanted(ID), "left alone"),
        ("e", Wanted(ID, mode="template"), "no vendor"),
        ("f", Wanted(ID), '"shopify_api"'),
        ("f", Wanted(ID, mode="rest"), '"shopify_api"'),
        ("h", Wanted(ID), '"page_size"'),
        ("d", Wanted(ID, token_field="first"), '"second"'),
    ],
)
def test_what_is_not_clear_is_not_written(tenant: Tenant, letter: str, wanted: Wanted, word: str) -> None:
    FIXTURES[letter](tenant.nexla, tenant.test_url)
    with pytest.raises(ConfigError) as caught:
        tenant.push(wanted)
    assert word in caught.value.message
    assert caught.value.hint
    assert tenant.asked("PUT", "*") == 0


@pytest.mark.parametrize("shown", ["resolved", "all"])
def test_what_nexla_shows_is_sent_again(tenant: Tenant, shown: Any) -> None:
    tenant.nexla.readings = Readings(template_config=shown)
    FIXTURES["h"](tenant.nexla, tenant.test_url)
    if shown == "resolved":
        with pytest.raises(ConfigError, match="page_size"):
            tenant.push()
        return
    assert tenant.push().outcome is Outcome.LIVE
    assert tenant.nexla.credential(ID).stored["test.url"] == tenant.test_url


# -- discovery that Nexla keeps to itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404])
def test_without_any_discovery_the_configuration_decides(tenant: Tenant, status: Any) -> None:
    tenant.nexla.readings = Readings(expand=False, discovery=status)
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    with pytest.raises(ConfigError, match="does not show the parameters"):
        tenant.push()
    assert tenant.asked("PUT", "*") == 0
    assert tenant.push(replace(tenant.wanted, token_field="jwt_token")).outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200


def test_without_any_discovery_the_last_plan_serves(tenant: Tenant) -> None:
    FIXTURES["b"](tenant.nexla, tenant.test_url)
    plan = discover(tenant.client.credential(ID), tenant.wanted)
    assert plan.token_prefix == "Bearer "
    tenant.nexla.readings = Readings(expand=False, discovery=403)
    assert tenant.push(remembered=plan).outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200


def test_a_failing_discovery_is_no_failure(tenant: Tenant) -> None:
    tenant.nexla.readings = Readings(expand=False)
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.nexla.inject(faults.html(500), path="/auth_templates/*")
    assert tenant.push(replace(tenant.wanted, token_field="jwt_token")).outcome is Outcome.LIVE


def test_templates_come_by_the_vendor_where_the_credential_names_none(ready: Tenant) -> None:
    ready.nexla.readings = Readings(expand=False)
    ready.nexla.inject(
        faults.Fault("no template", edit=lambda answer: edit_object(answer, auth_template=None)),
        method="GET",
        path=CREDENTIAL,
    )
    assert discover(ready.client.credential(ID), ready.wanted).token_field == "jwt_token"
    assert ready.asked("GET", "/vendors", 200) == 1


def test_description_of_a_real_answer(ready: Tenant) -> None:
    view = describe(ready.client.credential(ID), ready.wanted)
    assert view.plan == Plan("template", "jwt_token", "", view.vendor_id, view.template_id)
    assert [p.name for p in view.parameters] == ["jwt_token"]


# -- sessions --------------------------------------------------------------------------------------------------------


def test_one_session_serves_many_calls(ready: Tenant) -> None:
    for _ in range(3):
        assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("POST", "/token") == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_session_is_renewed_before_it_ends(ready: Tenant, announced: bool) -> None:
    ready.nexla.readings = Readings(announce_expiry=announced)
    client = ready.new_client()
    client.login()
    ready.clock.now = NOW + 3539
    client.login()
    assert ready.asked("POST", "/token") == 2
    ready.clock.now = NOW + 3541
    client.credential(ID)
    assert ready.asked("POST", "/token") == 3
    assert ready.asked("*", "*", 401) == 0


def test_a_short_session_is_used_at_all() -> None:
    clock = Clock()
    with NexlaSimulator(clock=clock, session_seconds=20) as nexla, AppleSimulator(clock=clock) as apple:
        tenant = Tenant(nexla, apple, clock)
        FIXTURES["a"](nexla, tenant.test_url)
        assert tenant.push().outcome is Outcome.LIVE
        assert tenant.asked("POST", "/token") == 1


@pytest.mark.parametrize("path", [CREDENTIAL, PROBE])
@pytest.mark.parametrize("form", ["rails", "documented"])
def test_a_lost_session_costs_one_login(ready: Tenant, path: str, form: Any) -> None:
    ready.nexla.readings = Readings(error_envelope=form)
    ready.nexla.inject(nexla_faults.refused(401, form=form), path=path)
    assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("POST", "/token") == 2
    ready.nexla.end_sessions()
    assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("POST", "/token") == 3


def test_a_401_in_a_fresh_session_is_final(ready: Tenant) -> None:
    ready.nexla.inject(nexla_faults.SESSION_LOST, count=9, path=CREDENTIAL)
    with pytest.raises(NexlaError, match="answered 401") as caught:
        ready.client.credential(ID)
    assert (caught.value.status, caught.value.retryable) == (401, False)
    assert "api_url" in str(caught.value.hint)
    assert (ready.asked("POST", "/token"), ready.asked("GET", CREDENTIAL)) == (2, 2)
    with pytest.raises(NexlaError):
        ready.new_client().credential(ID)
    assert ready.asked("GET", CREDENTIAL) == 3


def test_threads_share_one_login(ready: Tenant) -> None:
    client = ready.new_client()
    threads = [threading.Thread(target=client.credential, args=(ID,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ready.asked("POST", "/token") == 2
    assert ready.asked("GET", CREDENTIAL, 200) == 6


@pytest.mark.parametrize("key", ["wrong", SERVICE_KEY])
@pytest.mark.parametrize("form", ["rails", "documented"])
def test_a_bad_or_paused_service_key(ready: Tenant, key: str, form: Any) -> None:
    ready.nexla.readings = Readings(error_envelope=form)
    ready.nexla.set_service_key(SERVICE_KEY, active=False)
    with pytest.raises(NexlaError, match="answered 401 to the login") as caught:
        ready.new_client(key).login()
    assert "service key" in str(caught.value.hint)
    assert "request " in caught.value.message
    assert (caught.value.status, caught.value.retryable) == (401, False)


def test_a_service_key_with_a_line_break_is_not_sent(ready: Tenant) -> None:
    with pytest.raises(NexlaError) as caught:
        ready.new_client(f"{SERVICE_KEY}\nx").login()
    assert "service key" in str(caught.value.hint)
    assert not caught.value.retryable
    assert ready.asked("POST", "/token") == 1


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (nexla_faults.NO_ACCESS_TOKEN, "no access_token"),
        (faults.answered(200), "no JSON"),
        (faults.answered(200, b"[]"), "no JSON object"),
        (faults.html(200), "no JSON"),
        (faults.truncated_json(), "no JSON"),
    ],
)
def test_a_login_without_a_session_in_it(ready: Tenant, fault: faults.Fault, word: str) -> None:
    ready.nexla.inject(fault, path="/token")
    with pytest.raises(NexlaError, match=word):
        ready.new_client().login()


def test_a_wrong_api_url(ready: Tenant) -> None:
    with pytest.raises(NexlaError, match="answered 404 to the login") as caught:
        ready.new_client(url=f"{ready.nexla.url}/v1/").login()
    assert "nexla-api" in str(caught.value.hint)


# -- answers that are errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "retryable", "word"),
    [
        (400, False, "inspect"),
        (403, False, "admin or owner"),
        (404, False, "credential_id"),
        (405, False, "credential"),
        (409, False, "credential"),
        (418, False, "Nexla"),
        (422, False, "inspect"),
        (423, False, "locked"),
        (429, True, "throttles"),
        (500, True, "later"),
        (503, True, "later"),
    ],
)
def test_an_error_says_what_to_do(ready: Tenant, status: int, retryable: bool, word: str) -> None:
    for form in ("rails", "documented"):
        ready.nexla.inject(nexla_faults.refused(status, "no\nluck", form), count=9, method="PUT")
        with pytest.raises(NexlaError) as caught:
            ready.push()
        ready.nexla.heal()
        error = caught.value
        assert (error.status, error.retryable) == (status, retryable)
        assert f'answered {status} to the update of credential "{ID}": "no\\nluck"' in error.message
        assert "request " in error.message
        assert (", " in error.message.rpartition("(")[2]) is (form == "documented")
        assert word in str(error.hint)
    assert ready.writes == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"7", b"<html>secret</html>", b"\xff\xfe", b'{"message": {}}'])
def test_odd_error_bodies(ready: Tenant, body: bytes) -> None:
    ready.nexla.inject(faults.answered(400, body), path=CREDENTIAL)
    with pytest.raises(NexlaError, match="answered 400") as caught:
        ready.client.credential(ID)
    assert caught.value.message.isprintable()
    assert "html" not in caught.value.message


def test_roles(tenant: Tenant) -> None:
    other = User(3, "Other", "other@lab.example")
    tenant.nexla.add_service_key("other-key", user=other)
    tenant.nexla.add_template_credential(test_url=tenant.test_url)
    client = tenant.new_client("other-key")
    with pytest.raises(NexlaError, match="answered 403") as caught:
        client.credential(ID)
    assert "collaborator" in str(caught.value.hint)
    tenant.nexla.share(ID, other, "collaborator")
    credential = client.credential(ID)
    body = put_body(discover(credential, tenant.wanted), credential, tenant.wanted, tenant.token())
    with pytest.raises(NexlaError, match="answered 403") as caught:
        client.update(ID, body)
    assert "admin or owner" in str(caught.value.hint)
    with pytest.raises(NexlaError, match="answered 404"):
        client.credential(4711)


# -- answers that are late, lost or no answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.throttled(),
        faults.throttled("2"),
        faults.throttled("garbage"),
        faults.html(502),
        faults.answered(503),
        faults.answered(504),
        faults.dropped(),
        faults.dropped(committed=True),
        faults.cut_off(),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/token"), ("GET", CREDENTIAL), ("PUT", CREDENTIAL), ("GET", PROBE)]
)
def test_a_passing_fault_is_not_noticed(tenant: Tenant, fault: faults.Fault, method: str, path: str) -> None:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.nexla.inject(fault, method=method, path=path)
    assert tenant.push().outcome is Outcome.LIVE
    assert tenant.nexla.flow_read() == 200
    harmless = fault.name == "cut off" and path == PROBE  # an empty body cannot be cut
    assert tenant.asked(method, path) == (1 if harmless else 2)


def test_retry_after_is_obeyed(ready: Tenant) -> None:
    ready.nexla.inject(faults.throttled("2"), method="PUT")
    assert ready.push().outcome is Outcome.LIVE
    assert 2 in ready.waits


def test_a_long_retry_after_is_left_to_the_schedule(ready: Tenant) -> None:
    ready.nexla.inject(faults.throttled("99999999"), method="PUT")
    with pytest.raises(NexlaError, match="answered 429") as caught:
        ready.push()
    assert caught.value.retryable
    assert ready.asked("PUT", CREDENTIAL) == 1


@pytest.mark.parametrize("committed", [False, True])
def test_a_lost_answer_to_a_write_is_said_to_be_one(ready: Tenant, committed: bool) -> None:
    ready.nexla.inject(faults.dropped(committed=committed), method="PUT", count=3)
    with pytest.raises(NexlaError, match="may or may not have been carried out, and is safe to repeat") as caught:
        ready.push()
    assert (caught.value.status, caught.value.retryable) == (None, True)
    assert ready.nexla.flow_read() == (200 if committed else 401)
    assert ready.push().outcome is Outcome.LIVE


@pytest.mark.parametrize("committed", [False, True])
def test_a_slow_answer_ends_with_the_deadline(ready: Tenant, committed: bool) -> None:
    client = ready.new_client(limits=Limits(total=0.3, attempts=1))
    client.login()
    ready.nexla.inject(faults.slow(5, committed=committed), method="PUT")
    credential = client.credential(ID)
    body = put_body(discover(credential, ready.wanted), credential, ready.wanted, ready.token())
    with pytest.raises(NexlaError, match="no answer within") as caught:
        client.update(ID, body)
    assert caught.value.retryable
    assert "may or may not" in caught.value.message
    ready.nexla.inject(faults.slow(5), path=PROBE)
    assert ready.probe(client).outcome is Outcome.UNPROVEN


def test_nobody_listens() -> None:
    client = NexlaClient(http.session(limits=Limits(attempts=1)), "http://127.0.0.1:9", Secret(SERVICE_KEY), Clock())
    with pytest.raises(NexlaError, match="nothing was changed") as caught:
        client.login()
    assert "api_url" in str(caught.value.hint)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("status", "method", "path"),
    [(status, "PUT", CREDENTIAL) for status in (301, 302, 303, 307, 308)]
    + [(302, "POST", "/token"), (307, "POST", "/token"), (302, "GET", CREDENTIAL)],
)
def test_no_redirect_is_followed(tenant: Tenant, status: int, method: str, path: str) -> None:
    FIXTURES["a"](tenant.nexla, tenant.test_url)
    tenant.nexla.inject(faults.redirected(f"{tenant.apple.url}/v1/apps", status), method=method, path=path)
    with pytest.raises(NexlaError) as caught:
        tenant.push()
    assert not caught.value.retryable
    assert "api_url" in str(caught.value.hint)
    assert tenant.apple.journal.count() == 0


@pytest.mark.parametrize("fault", [nexla_faults.EMPTY_CONNECTOR, nexla_faults.NULL_NAME])
def test_answers_that_the_sdk_cannot_read(ready: Tenant, fault: faults.Fault) -> None:
    ready.nexla.inject(fault, count=2, path=CREDENTIAL)
    assert ready.push().outcome is Outcome.LIVE
    assert ready.nexla.journal.entries()[-1].status == 200


def test_half_an_answer_to_a_write_is_enough(ready: Tenant) -> None:
    ready.nexla.inject(faults.truncated_json(), method="PUT")
    assert ready.push().outcome is Outcome.LIVE
    assert ready.asked("PUT", CREDENTIAL) == 1


def test_half_a_credential_is_not(ready: Tenant) -> None:
    ready.nexla.inject(faults.truncated_json(), method="GET", path=CREDENTIAL)
    with pytest.raises(NexlaError, match="no JSON"):
        ready.push()
    assert ready.asked("PUT", CREDENTIAL) == 0


def test_a_page_in_place_of_the_answer_to_a_write(ready: Tenant) -> None:
    ready.nexla.inject(faults.html(200), method="PUT")
    with pytest.raises(NexlaError, match="not one of nexla's") as caught:
        ready.push()
    assert caught.value.retryable
    assert ready.writes == 0


def test_another_credential_than_asked_for(ready: Tenant) -> None:
    ready.nexla.inject(faults.answered(200, b'{"id": 5002, "credentials_type": "rest"}'), path=CREDENTIAL)
    with pytest.raises(NexlaError, match="another credential"):
        ready.push()


# -- probes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("readings", READINGS)
def test_false_refusals_of_apple_do_not_count(ready: Tenant, count: int, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.inject(apple_faults.FALSE_401, count=count)
    assert ready.push(replace(ready.wanted, token_field="jwt_token")).outcome is Outcome.LIVE
    assert ready.apple.journal.count(status=401) == count


@pytest.mark.parametrize("readings", READINGS)
def test_a_refusal_that_lasts_counts(ready: Tenant, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.revoke(ready.signer.key_id)
    probe = ready.push(replace(ready.wanted, token_field="jwt_token"))
    assert probe.outcome is Outcome.REFUSED
    assert "asked 3 times" in probe.detail
    assert sum(ready.waits) == 3
    assert ready.writes == 1
    assert ready.asked("POST", "/token") <= 2


def test_an_expired_token_is_refused(ready: Tenant) -> None:
    assert ready.push(token=ready.token(iat=NOW - 3000, exp=NOW - 2000)).outcome is Outcome.REFUSED


def test_a_refusal_is_not_taken_back_by_a_try_that_failed(ready: Tenant) -> None:
    ready.apple.revoke(ready.signer.key_id)
    ready.nexla.inject(faults.answered(404), path=PROBE, skip=1, count=1)
    assert ready.push().outcome is Outcome.REFUSED


@pytest.mark.parametrize("readings", [READINGS[0], READINGS[2]])
def test_a_missing_role_proves_the_token(ready: Tenant, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.set_role(ready.signer.key_id, denied=["/v1/apps"])
    probe = ready.push()
    assert probe.outcome is Outcome.LIVE
    assert "role" in probe.detail
    assert ready.asked("GET", PROBE) == 1


@pytest.mark.parametrize("readings", [READINGS[0], READINGS[2]])
def test_a_missing_agreement(ready: Tenant, readings: Readings) -> None:
    ready.nexla.readings = readings
    ready.apple.agreement_signed = False
    probe = ready.push()
    assert probe.outcome is Outcome.AGREEMENT
    assert ready.asked("GET", PROBE) == 1


def test_a_403_whose_reason_is_lost_proves_nothing(ready: Tenant) -> None:
    ready.nexla.readings = Readings(probe_message="status")
    ready.apple.set_role(ready.signer.key_id, denied=["/v1/apps"])
    assert ready.push().outcome is Outcome.UNPROVEN


@pytest.mark.parametrize(
    "fault",
    [
        faults.answered(404),
        faults.answered(405),
        faults.answered(500),
        faults.html(200),
        faults.answered(200, b'{"status":"pending","request_id":7}'),
        faults.redirected("http://127.0.0.1:9/"),
        nexla_faults.refused(403, form="documented"),
        nexla_faults.refused(403),
    ],
    ids=lambda fault: fault.name,
)
def test_a_probe_that_does_not_work_proves_nothing(ready: Tenant, fault: faults.Fault) -> None:
    ready.nexla.inject(fault, path=PROBE, count=9)
    assert ready.push().outcome is Outcome.UNPROVEN
    assert ready.nexla.flow_read() == 200


@pytest.mark.parametrize("fault", [faults.throttled(), faults.answered(503), faults.dropped()])
def test_a_probe_that_fails_for_long_proves_nothing(ready: Tenant, fault: faults.Fault) -> None:
    ready.nexla.inject(fault, path=PROBE, count=9)
    assert ready.push().outcome is Outcome.UNPROVEN
    assert ready.asked("GET", PROBE) == 3


def test_a_probe_never_raises_because_the_token_is_written(ready: Tenant) -> None:
    ready.nexla.inject(nexla_faults.SESSION_LOST, path=PROBE, count=9)
    ready.nexla.inject(faults.answered(401), path="/token", count=9)
    probe = ready.push()
    assert probe.outcome is Outcome.UNPROVEN
    assert "login" in probe.detail


def test_apple_down_proves_nothing(ready: Tenant) -> None:
    ready.apple.inject(apple_faults.SERVER_ERROR, count=9)
    probe = ready.push()
    assert probe.outcome is Outcome.UNPROVEN
    ready.apple.heal()
    assert ready.probe().outcome is Outcome.LIVE


# -- secrets ---------------------------------------------------------------------------------------------------------


def _everything(error: BaseException) -> str:
    """All texts that could end in a log: messages, hints, attributes and traceback, of the causes too."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [str(seen), repr(seen), repr(vars(seen)), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def _echoes(*secrets: str) -> list[faults.Fault]:
    """Answers that repeat what was sent, in every form, and calls that get none."""
    text = f"no {' '.join(secrets)}"
    forms = [nexla_faults.refused(400, text, form) for form in ("rails", "documented")]
    forms += [faults.plain_text(status, text) for status in (200, 400, 401, 403, 500)]
    return [*forms, faults.dropped(), faults.redirected(f"http://127.0.0.1:9/{secrets[-1]}")]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/token"), ("GET", CREDENTIAL), ("PUT", CREDENTIAL), ("GET", PROBE)]
)
def test_no_secret_is_shown(
    ready: Tenant, method: str, path: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    token = ready.token()
    claims = token.reveal().split(".")[1]
    caplog.set_level(logging.DEBUG)
    shown = []
    for number in range(len(_echoes(""))):
        client = ready.client = ready.new_client()
        client.login()
        assert client._session is not None
        secrets = (SERVICE_KEY, client._session.token.reveal(), token.reveal())
        if path == "/token":
            ready.nexla.end_sessions()
        ready.nexla.inject(_echoes(*secrets)[number], method=method, path=path, count=9)
        try:
            shown = [repr(ready.push(token=token))]
        except NexlaError as error:
            shown = [_everything(error)]
        ready.nexla.heal()
        shown += [repr(client), repr(vars(client)), caplog.text, *map(repr, caplog.records), *capfd.readouterr()]
        assert not any(secret in text for text in shown for secret in (*secrets, claims))


def test_an_echo_of_the_body_is_masked(ready: Tenant) -> None:
    """Nexla may repeat in a 400 what it refuses."""
    ready.nexla.readings = Readings(echo_input=True)
    token = Secret("not-a-jwt-but-secret")
    with pytest.raises(NexlaError, match="answered 400") as caught:
        ready.client.update(ID, {"vendor_name": "nobody", "template_config": {"jwt_token": token}})
    assert "Invalid vendor" in caught.value.message
    assert token.reveal() not in _everything(caught.value)


def test_the_wire(ready: Tenant) -> None:
    session = http.session(limits=LIMITS, retry_methods=RETRY_METHODS)
    seen: list[requests.PreparedRequest] = []
    session.hooks["response"].append(lambda response, **_: seen.append(response.request))
    ready.client = NexlaClient(session, f"{ready.nexla.url}/", Secret(SERVICE_KEY), ready.clock)
    ready.push()
    login, get, put, _ = seen
    assert login.headers["Authorization"] == f"Basic {SERVICE_KEY}"
    assert login.headers["Content-Length"] == "0"
    assert {request.headers["Accept"] for request in seen} == {"application/vnd.nexla.api.v1+json"}
    assert get.path_url == f"/nexla-api{CREDENTIAL}?expand=1"
    assert put.headers["Content-Type"] == "application/json"
