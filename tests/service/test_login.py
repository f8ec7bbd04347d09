"""The service's own login on the real server: one token for all threads, renewed, replaced, given back."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.leaks import Scanner
from tests.conftest import Root
from tests.fault_server import FaultServer
from tests.service.logins import AppRole, Stage, approle, holder, in_threads, revoke, staged
from tests.support import LOSE_ANSWER, LOSE_REQUEST, Answer
from tests.vaults import VaultUnderTest
from vault_asc import http
from vault_asc.errors import ConfigError, PermissionDeniedError, VaultAscError, VaultError, VaultUnavailableError
from vault_asc.http.watching import EndedCall, watching
from vault_asc.secret import Secret
from vault_asc.service.events import as_text
from vault_asc.service.telling import of_login
from vault_asc.vault import InvalidTokenError, LoggedIn, Login, LoginError, LoginFailed, Renewed, Vault

SEALED = Answer(503, b'{"errors": ["Vault is sealed"]}')


@pytest.fixture
def role(root: Root, tmp_path: Path, kv_mount: str) -> Iterator[AppRole]:
    with approle(root, tmp_path, kv_mount) as made:
        yield made


@pytest.fixture
def stage(vault: VaultUnderTest, role: AppRole) -> Iterator[Stage]:
    with staged(vault, role.auth) as made:
        yield made


@pytest.fixture
def read(stage: Stage, root: Root, kv_mount: str) -> Callable[[], object]:
    root("POST", f"{kv_mount}/data/it", {"data": {"value": "there"}})
    return lambda: stage.vault.kv_read(kv_mount, "it").data


THERE = {"value": "there"}


# -- one login for all -----------------------------------------------------------------------------------------------


def test_the_first_call_logs_in_once_for_all_threads(stage: Stage, read: Callable[[], object]) -> None:
    assert not stage.wire.calls
    assert in_threads(32, read) == [THERE] * 32
    assert (stage.logins, stage.login.count, stage.renewals()) == (1, 1, 0)
    assert [news.ttl for news in stage.news if isinstance(news, LoggedIn)] == [3600]


def test_a_revoked_token_costs_one_login_and_no_call(stage: Stage, root: Root, read: Callable[[], object]) -> None:
    assert read() == THERE
    revoke(root, stage.login)
    assert in_threads(32, read) == [THERE] * 32
    assert stage.logins == 2
    assert stage.wire.tokens.count(None) == 2, "logins carry no token"


def test_a_second_revocation_within_a_minute_is_told_and_leads_to_no_loop(
    stage: Stage, root: Root, read: Callable[[], object]
) -> None:
    read()
    revoke(root, stage.login)
    read()
    stage.clock.now += 30
    revoke(root, stage.login)
    for _ in range(5):
        with pytest.raises(InvalidTokenError, match="the Vault token of the login 30 s ago is not taken") as caught:
            read()
        assert "the next login is made in 30 s" in str(caught.value.hint)
    assert stage.logins == 2
    stage.clock.now += 30
    assert read() == THERE
    assert stage.logins == 3


def test_a_token_that_is_dead_at_once_is_replaced_once(stage: Stage, role: AppRole, read: Callable[[], object]) -> None:
    role.configure(token_num_uses=1)
    assert read() == THERE
    assert read() == THERE
    with pytest.raises(InvalidTokenError) as caught:
        read()
    assert "token_num_uses" in str(caught.value.hint)
    assert stage.logins == 2


def test_a_write_is_never_made_again(stage: Stage, root: Root, read: Callable[[], object], kv_mount: str) -> None:
    read()
    revoke(root, stage.login)
    with pytest.raises(InvalidTokenError, match="invalid, expired or revoked"):
        stage.vault.kv_write(kv_mount, "written", {}, cas=0)
    assert stage.calls("POST", "data/written") == 1
    assert stage.vault.kv_write(kv_mount, "written", {}, cas=0) == 1
    assert stage.logins == 2


def test_a_call_that_changes_nothing_is_made_again_though_it_is_a_post(
    stage: Stage, root: Root, read: Callable[[], object], kv_mount: str
) -> None:
    read()
    revoke(root, stage.login)
    body = {"paths": [f"{kv_mount}/data/it"]}
    said = stage.vault.ask("POST", "sys/capabilities-self", "update", body, repeatable=True)
    assert "read" in said[f"{kv_mount}/data/it"]
    assert (stage.logins, stage.calls("POST", "capabilities-self")) == (2, 2)


def test_what_a_policy_denies_is_no_reason_to_log_in(stage: Stage, role: AppRole, read: Callable[[], object]) -> None:
    read()
    role.root("PUT", f"sys/policies/acl/{role.policy}", {"policy": "# nothing"})
    for _ in range(5):
        with pytest.raises(PermissionDeniedError, match=r'lacks "read" on ".*/data/it"'):
            read()
    assert stage.logins == 1


# -- renewal ---------------------------------------------------------------------------------------------------------


def test_a_token_is_renewed_after_two_thirds_of_its_ttl_by_one_thread(
    stage: Stage, root: Root, role: AppRole, read: Callable[[], object]
) -> None:
    role.configure(token_ttl="60s", token_max_ttl="1h")
    read()
    stage.clock.now += 39
    read()
    assert stage.renewals() == 0
    before = holder(root, stage.login)["expire_time"]
    stage.clock.now += 2
    assert in_threads(32, read) == [THERE] * 32
    assert (stage.logins, stage.renewals()) == (1, 1)
    assert holder(root, stage.login)["expire_time"] > before
    assert stage.news == [LoggedIn(role.mount, 60), Renewed(role.mount, 60)]


def test_a_token_that_cannot_be_renewed_is_replaced_in_time(
    stage: Stage, role: AppRole, read: Callable[[], object]
) -> None:
    role.configure(token_ttl="60s", token_type="batch")
    read()
    stage.clock.now += 40
    assert in_threads(8, read) == [THERE] * 8
    assert (stage.logins, stage.renewals()) == (2, 0)


def test_a_periodic_token_is_renewed_for_ever(stage: Stage, role: AppRole, read: Callable[[], object]) -> None:
    role.configure(token_ttl="0", token_period="60s")
    for _ in range(10):
        read()
        stage.clock.now += 41
    assert (stage.logins, stage.renewals()) == (1, 9)


def test_near_its_maximum_ttl_a_token_is_replaced(stage: Stage, role: AppRole, read: Callable[[], object]) -> None:
    role.configure(token_ttl="30s", token_max_ttl="30s")
    read()
    stage.wire.done = lambda *_: None
    stage.wire.fate = lambda _method, path: (
        Answer(200, b'{"auth": {"client_token": "x", "lease_duration": 9, "renewable": true}}')
        if path.endswith("renew-self")
        else None
    )
    stage.clock.now += 20
    read()
    assert (stage.logins, stage.renewals()) == (1, 1)
    stage.clock.now += 6
    read()
    assert (stage.logins, stage.renewals()) == (2, 1)


def test_in_real_time_a_short_maximum_ttl_is_never_noticed(vault: VaultUnderTest, role: AppRole, kv_mount: str) -> None:
    role.configure(token_ttl="2s", token_max_ttl="3s")
    role.root("POST", f"{kv_mount}/data/it", {"data": THERE})
    with staged(vault, role.auth) as stage:
        login = Login(stage.login._vault, role.auth)
        connection = stage.vault.as_token(login)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert connection.kv_read(kv_mount, "it").data == THERE
            time.sleep(0.05)
        assert 2 <= login.count == stage.logins <= 5
        assert stage.renewals() >= 1
        assert login._replaced_at < 0, "no call was made with a dead token"


def test_a_renewal_that_vault_refuses_becomes_a_login(
    stage: Stage, root: Root, role: AppRole, read: Callable[[], object]
) -> None:
    role.configure(token_ttl="60s")
    read()
    revoke(root, stage.login)
    stage.clock.now += 41
    assert read() == THERE
    assert (stage.logins, stage.renewals()) == (2, 1)


def test_a_renewal_past_the_maximum_ttl_which_vault_answers_with_500_becomes_a_login(
    stage: Stage, role: AppRole, read: Callable[[], object]
) -> None:
    role.configure(token_ttl="60s")
    read()
    past = Answer(500, b'{"errors": ["1 error occurred: past the max TTL, cannot renew"]}')
    stage.wire.fate = lambda _method, path: past if path.endswith("renew-self") else None
    stage.clock.now += 41
    assert read() == THERE
    assert (stage.logins, stage.renewals()) == (2, 1)
    assert stage.news == [LoggedIn(role.mount, 60)] * 2, "nothing has failed"


@pytest.mark.parametrize("fate", [SEALED, LOSE_REQUEST, LOSE_ANSWER, Answer(200, b"[]"), Answer(500, b"oops")])
def test_while_the_token_is_good_nobody_suffers_from_what_keeps_it_from_being_renewed(
    stage: Stage, role: AppRole, read: Callable[[], object], fate: Answer | str
) -> None:
    role.configure(token_ttl="60s")
    read()
    stage.clock.now += 41
    stage.wire.fate = lambda _method, path: fate if path.endswith(("renew-self", "/login")) else None
    assert in_threads(8, read) == [THERE] * 8
    tries = stage.renewals() + stage.logins
    assert tries <= 3
    [_, failure] = stage.news
    assert isinstance(failure, LoginFailed), "though nobody suffers"
    stage.clock.now += 18
    assert in_threads(8, read) == [THERE] * 8
    stage.wire.fate = lambda _method, _path: None
    stage.clock.now += 60
    assert read() == THERE


# -- what can go wrong -----------------------------------------------------------------------------------------------


def test_a_sealed_vault_is_asked_ever_more_seldom(stage: Stage, read: Callable[[], object]) -> None:
    stage.wire.fate = lambda _method, _path: SEALED
    moments = []
    for _ in range(250):
        before = stage.logins
        with pytest.raises(VaultUnavailableError, match="is sealed"):
            read()
        if stage.logins > before:
            moments.append(int(stage.clock.now) - 1000)
        stage.clock.now += 1
    assert moments == [0, 2, 5, 10, 19, 36, 69, 130, 191], "after 1, 2, 4 ... 60 s of full jitter, here at its most"
    waits = [news.wait for news in stage.news if isinstance(news, LoginFailed)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60], "one for each try, not for each call"
    stage.wire.fate = lambda _method, _path: None
    stage.clock.now += 60
    assert read() == THERE


def test_a_vault_that_was_away_for_days_is_asked_as_often_as_after_an_hour(
    stage: Stage, read: Callable[[], object]
) -> None:
    stage.wire.fate = lambda _method, _path: SEALED
    with pytest.raises(VaultUnavailableError):
        read()
    assert stage.login._failure is not None
    stage.login._failure = stage.login._failure._replace(tries=100_000)
    for _ in range(2):
        stage.clock.now += 61
        with pytest.raises(VaultUnavailableError, match="is sealed"):
            read()
        assert stage.login._failure.until == stage.clock.now + 60
    stage.wire.fate = lambda _method, _path: None
    stage.clock.now += 61
    assert read() == THERE


@pytest.mark.parametrize("fate", [SEALED, LOSE_ANSWER, LOSE_REQUEST])
def test_a_login_is_not_sent_again_on_its_own_though_the_call_that_needs_it_may_be(
    stage: Stage, fate: Answer | str
) -> None:
    stage.wire.fate = lambda _method, _path: fate
    with pytest.raises(VaultUnavailableError):
        stage.vault.ask("POST", "sys/capabilities-self", "update", {"paths": ["x"]}, repeatable=True)
    assert len(stage.wire.calls) == 1


def test_who_waits_for_a_login_shares_its_failure_and_tells_whoever_watches(
    stage: Stage, read: Callable[[], object]
) -> None:
    stage.wire.fate = lambda _method, _path: LOSE_REQUEST
    watched = []

    class Watch:
        def __init__(self) -> None:
            self.ended_calls: list[EndedCall] = []
            watched.append(self)

        def may_repeat(self, endpoint: str) -> bool:
            return False

        def ended(self, call: EndedCall) -> None:
            self.ended_calls.append(call)

    def watched_read() -> object:
        with watching(Watch()):
            return read()

    results = in_threads(16, watched_read)
    assert {type(result) for result in results} == {VaultUnavailableError}
    assert stage.logins == len(stage.news) == 1
    assert [[call.broken for call in watch.ended_calls] for watch in watched] == [[True]] * 16
    assert len({call.endpoint for watch in watched for call in watch.ended_calls}) == 1


def test_a_login_that_is_refused_is_tried_again_after_a_minute_with_what_is_in_the_files_then(
    stage: Stage, role: AppRole, read: Callable[[], object]
) -> None:
    for accessor in role.accessors():
        role.root("POST", f"{role.role}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
    for _ in range(4):
        with pytest.raises(
            LoginError, match=rf'login at "auth/{role.mount}/login" was refused: .*invalid role or secret'
        ) as e:
            read()
        assert "[vault.auth]" in str(e.value.hint)
        assert "every 60 s" in str(e.value.hint)
    role.rotate()
    stage.clock.now += 59
    with pytest.raises(LoginError):
        read()
    assert stage.logins == 1
    stage.clock.now += 2
    assert read() == THERE
    assert stage.logins == 2


def test_a_secret_id_may_be_rotated_while_the_service_runs(
    stage: Stage, root: Root, role: AppRole, read: Callable[[], object]
) -> None:
    read()
    role.rotate()
    revoke(root, stage.login)
    assert read() == THERE
    assert stage.logins == 2


def test_a_missing_auth_method_is_told_as_that(vault: VaultUnderTest, role: AppRole) -> None:
    with staged(vault, role.auth._replace(mount="nowhere")) as stage:
        with pytest.raises(LoginError, match='"auth/nowhere/login" was refused') as caught:
            stage.login.current()
        assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: no such file"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"one\ntwo", "is not one line"),
        (b"one two", "is not one line"),
        (b"\xff\xfe", "is not one line"),
        (b"a\x00b", "is not one line"),
        (b"x" * 20_000, "is not one line"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_read_again_next_time(
    stage: Stage, role: AppRole, read: Callable[[], object], content: bytes | None, told: str
) -> None:
    file = role.auth.secret_id_file
    good = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f'"{file}" of .vault.auth. {told}'):
        read()
    assert stage.logins == 0
    file.write_bytes(good)
    assert read() == THERE


def test_a_file_that_is_missing_is_told_once_though_the_token_lives(
    stage: Stage, role: AppRole, read: Callable[[], object]
) -> None:
    role.configure(token_ttl="60s", token_type="batch")
    read()
    secret_id = role.auth.secret_id_file.read_text()
    role.auth.secret_id_file.unlink()
    stage.clock.now += 41
    assert [read(), read()] == [THERE] * 2
    [_, failure] = stage.news
    assert isinstance(failure, LoginFailed)
    assert "secret_id" in failure.error.message
    role.write(secret_id)
    assert read() == THERE
    assert stage.news[2:] == [LoggedIn(role.mount, 60)]


def test_what_is_told_is_told_without_the_lock(stage: Stage, role: AppRole) -> None:
    locked: list[bool] = []
    login = Login(stage.login._vault, role.auth, told=lambda _: locked.append(login._lock.locked()))
    login.current()
    login.end()
    stage.wire.fate = lambda _method, _path: SEALED
    other = Login(stage.login._vault, role.auth, told=lambda _: locked.append(other._lock.locked()))
    with pytest.raises(VaultUnavailableError):
        other.current()
    assert locked == [False, False]


def test_a_file_without_anybody_at_its_other_end_holds_up_nothing(stage: Stage, role: AppRole) -> None:
    role.auth.secret_id_file.unlink()
    os.mkfifo(role.auth.secret_id_file)
    with pytest.raises(ConfigError, match="is empty"):
        stage.login.current()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_login_follows_no_redirect(role: AppRole, status: int) -> None:
    with FaultServer() as here, FaultServer("127.0.0.2") as elsewhere, http.session() as session:
        address = f"{here.url}/redirect/{status}/{elsewhere.url.replace(':', '%3A').replace('/', '%2F')}"
        login = Login(Vault(address, None, session=session), role.auth)
        with pytest.raises(VaultUnavailableError, match=r"127\.0\.0\.2"):
            login.current()
        assert elsewhere.connections == 0
        assert len(here.requests) == 1


# -- wrapped secret IDs ----------------------------------------------------------------------------------------------


def wrapped(vault: VaultUnderTest, role: AppRole, path: str) -> str:
    with http.session(ca_file=vault.ca_file) as session:
        answer = session.post(
            f"{vault.address}/v1/{path}",
            headers={"X-Vault-Token": vault.root_token.reveal(), "X-Vault-Wrap-TTL": "60"},
            json={"secret_id": "00000000-0000-0000-0000-000000000000"},
        )
    return str(answer.json()["wrap_info"]["token"])


def test_a_wrapped_secret_id_is_opened_once_and_kept(vault: VaultUnderTest, root: Root, role: AppRole) -> None:
    made_at = f"{role.role}/secret-id"
    with staged(vault, role.auth._replace(secret_id_wrapping_path=made_at)) as stage:
        role.write(wrapped(vault, role, made_at))
        stage.login.current()
        revoke(root, stage.login)
        stage.login.instead_of(stage.login.current())
        assert (stage.logins, stage.calls("POST", "wrapping/unwrap")) == (2, 1)
        role.write(wrapped(vault, role, made_at))
        stage.clock.now += 61
        stage.login.instead_of(stage.login.current())
        assert (stage.logins, stage.calls("POST", "wrapping/unwrap")) == (3, 2)


def test_a_secret_id_that_somebody_else_wrapped_is_refused_and_left_as_it_is(
    vault: VaultUnderTest, role: AppRole
) -> None:
    with staged(vault, role.auth._replace(secret_id_wrapping_path=f"{role.role}/secret-id")) as stage:
        role.write(wrapped(vault, role, "sys/wrapping/wrap"))
        with pytest.raises(LoginError, match='wrapped at "sys/wrapping/wrap", not at'):
            stage.login.current()
        assert stage.calls("POST", "unwrap") == stage.logins == 0


def test_a_wrapping_token_that_was_opened_before_is_told(vault: VaultUnderTest, root: Root, role: AppRole) -> None:
    made_at = f"{role.role}/secret-id"
    with staged(vault, role.auth._replace(secret_id_wrapping_path=made_at)) as stage:
        token = wrapped(vault, role, made_at)
        root("POST", "sys/wrapping/unwrap", {"token": token})
        role.write(token)
        for _ in range(3):
            with pytest.raises(LoginError, match="the wrapping token is used up"):
                stage.login.current()
        assert stage.calls("POST", "wrapping") == 1


# -- the end ---------------------------------------------------------------------------------------------------------


def test_at_the_end_the_token_is_revoked_and_no_login_is_made(
    stage: Stage, root: Root, read: Callable[[], object]
) -> None:
    read()
    token = stage.login.current().reveal()
    stage.login.end()
    with pytest.raises(VaultError):
        root("POST", "auth/token/lookup", {"token": token})
    with pytest.raises(VaultUnavailableError, match="ending"):
        read()
    assert stage.logins == 1


@pytest.mark.parametrize("fate", [SEALED, LOSE_ANSWER, Answer(403, b'{"errors": ["permission denied"]}')])
def test_the_end_fails_for_nothing(stage: Stage, read: Callable[[], object], fate: Answer | str) -> None:
    stage.login.end()
    assert not stage.wire.calls
    stage.login._ended = False
    read()
    stage.wire.fate = lambda _method, path: fate if path.endswith("revoke-self") else None
    stage.login.end()
    assert stage.calls("POST", "revoke-self") == 1


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_no_text_of_a_failure_and_no_repr_holds_a_secret(
    stage: Stage, root: Root, role: AppRole, read: Callable[[], object]
) -> None:
    texts = []

    def failing(fate: Answer | str | None) -> None:
        stage.wire.fate = lambda _method, path: fate if path.endswith("/login") else None
        stage.clock.now += 61
        try:
            read()
        except VaultAscError as error:
            texts.append("".join(traceback.format_exception(error)) + str(error.hint))

    secret_id = role.auth.secret_id_file.read_text().strip()
    echo = f'{{"errors": ["what is secret_id {secret_id}?"]}}'.encode()
    kinds = [
        Answer(400, b"{}"),
        Answer(200, b"{}"),
        Answer(500, b"x"),
        *(Answer(s, echo) for s in (400, 403, 500, 503)),
    ]
    fates: list[Answer | str] = [SEALED, LOSE_REQUEST, LOSE_ANSWER, *kinds]
    for fate in fates:
        failing(fate)
    failing(None)
    assert all(isinstance(news, LoginFailed) for news in stage.news[1:-1])
    told = [as_text(of_login(news), 0) for news in stage.news]
    texts.append("\n".join(told) + repr(vars(stage.login)) + repr(vars(stage.login._files)) + repr(stage.vault))
    revoke(root, stage.login)
    stage.clock.now += 61
    read()
    token = stage.login.current().reveal()
    revoke(root, stage.login)
    try:
        read()
    except InvalidTokenError as error:
        texts.append("".join(traceback.format_exception(error)))
    assert len(texts) == 12
    sentinels: dict[str, str | bytes] = {"secret ID": secret_id, "token": token}
    assert not Scanner(sentinels).find("\n".join(texts), "texts")
    assert "[secret]" in texts[-2]
    assert isinstance(stage.login.current(), Secret)
