"""Service key in, session out: how often the client logs in, and what it says when it cannot."""

import threading
from typing import Any

import pytest

from tests.lab.signing import NOW, Clock
from tests.nexla.tenant import CREDENTIAL, ID, PROBE, SERVICE_KEY, Tenant
from vault_asc.errors import NexlaError, VaultUnavailableError
from vault_asc.lab import faults
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.nexla import NexlaSimulator, Readings
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.lab.nexla.fixtures import FIXTURES
from vault_asc.nexla.session import PAUSE, Session, SharedSession
from vault_asc.outcome import Outcome
from vault_asc.secret import Secret


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


# --- a service key that is refused ---------------------------------------------------------------------------------


class Keys:
    """Where a service key is kept, and a Nexla that takes some; what was asked of both."""

    def __init__(self) -> None:
        self.kept, self.good = "old", {"old"}
        self.reads, self.logins = 0, list[str]()
        self.now = 0.0
        self.away = False
        self.session = SharedSession(self.read, self.log_in, lambda: self.now, lambda: self.now)

    def read(self) -> Secret:
        self.reads += 1
        if self.away:
            raise VaultUnavailableError("sealed")
        return Secret(self.kept)

    def log_in(self, key: Secret) -> Session:
        self.logins.append(key.reveal())
        if key.reveal() not in self.good:
            raise NexlaError("nexla answered 401 to the login", hint="look", status=401)
        return Session(Secret(f"token-{len(self.logins)}"), self.now + 3600)

    def enter(self) -> str:
        """Come in as who has a session that Nexla refuses."""
        known = self.session._session
        try:
            return self.session.enter(instead_of=known)[0].token.reveal()
        except NexlaError as error:
            return "refused" if (error.status, error.hint, error.retryable) == (401, "look", False) else repr(error)


def test_a_service_key_that_was_rotated_is_read_again_by_who_meets_the_refusal() -> None:
    keys = Keys()
    assert (keys.enter(), keys.reads) == ("token-1", 1)
    keys.kept, keys.good = "new", {"new"}
    assert keys.enter() == "token-3"
    assert (keys.logins, keys.reads) == (["old", "old", "new"], 2)
    assert keys.enter() == "token-4"
    assert (keys.logins[3:], keys.reads) == (["new"], 2)


def test_a_refused_login_is_shared_for_a_minute_then_there_is_one_look() -> None:
    keys = Keys()
    keys.enter()
    keys.good = set()
    assert [keys.enter() for _ in range(20)] == ["refused"] * 20
    assert (keys.logins, keys.reads) == (["old", "old"], 2), "the same key is not sent twice"
    keys.kept, keys.good = "new", {"new"}
    keys.now += PAUSE - 1
    assert keys.enter() == "refused"
    assert keys.reads == 2
    keys.now += 1
    assert keys.enter() == "token-3"
    assert keys.reads == 3
    keys.kept, keys.good = "newer", set()
    assert [keys.enter() for _ in range(20)] == ["refused"] * 20
    assert (keys.logins[3:], keys.reads) == (["new", "newer"], 4)


def test_a_look_that_fails_tells_why_and_sends_no_key_that_was_refused() -> None:
    keys = Keys()
    keys.enter()
    keys.good, keys.away = set(), True
    for _ in range(3):
        with pytest.raises(VaultUnavailableError):
            keys.enter()
    assert keys.logins == ["old", "old"]
    keys.kept, keys.good, keys.away = "new", {"new"}, False
    assert keys.enter() == "token-3"


def test_what_is_no_refusal_is_not_shared() -> None:
    keys = Keys()
    down = [True]

    def log_in(_: Secret) -> Session:
        if down[0]:
            raise NexlaError("nexla answered 503 to the login", status=503, retryable=True)
        return Session(Secret("token"), 3600)

    keys.session._log_in = log_in
    with pytest.raises(NexlaError, match="503"):
        keys.session.enter()
    down[0] = False
    assert (keys.session.enter()[0].token.reveal(), keys.reads) == ("token", 1)
