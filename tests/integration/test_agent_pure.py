"""The real OpenBao Agent alone, with the configuration that `vault-asc agent config --pure` prints."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Root
from tests.integration.pure_hosts import FileTarget, PureHost, Readers, ReadToken, judged, mode_of
from tests.integration.worlds import until
from tests.support import Wire, lifecycle_on
from tests.vaults import VaultUnderTest
from vault_asc import tokens
from vault_asc.key.identity import Identity
from vault_asc.lab.server import BaoAgent
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import State
from vault_asc.tokens import BACKDATE, TokenRequest

pytestmark = pytest.mark.waits

TICK = 1
LATE = 1.5  # seconds that a busy machine may add to any interval
FIRST, SECOND, THIRD = "TESTKEY001", "TESTKEY002", "TESTKEY003"
ALL = FileTarget("all", "prod")
NARROW = FileTarget("narrow", "prod", 600, ("GET /v1/apps", """GET /v1/apps?a=${HOME}%{if}{{.}}`"b\\'c<&>EOT"""))
OWN = FileTarget("own", "own")


@pytest.fixture
def host(root: Root, vault: VaultUnderTest, kv_mount: str, transit_mount: str, tmp_path: Path) -> Iterator[PureHost]:
    """A host without configuration, and Vault without keys."""
    with lifecycle_on(vault, kv_mount, transit_mount=transit_mount) as keeper, Wire(vault.address) as wire:
        yield PureHost(root, keeper, wire, tmp_path)


def signatures(host: PureHost, key: str) -> int:
    """How often Vault was asked to sign with a key."""
    return [path for _, path in host.wire.calls].count(host.sign_path(key))


def first_token(host: PureHost, target: str = ALL.name) -> None:
    until(host.file(target).exists, f"a token of {target}")


def holds(host: PureHost, target: str, key_id: str) -> bool:
    return bool(judged(host, host.file(target).read_text())[0]["kid"] == key_id)


def pause(ticks: float) -> None:
    time.sleep(ticks * TICK)


# -- what the tokens are -----------------------------------------------------------------------------------------------


def test_tokens_are_those_that_mint_makes(host: PureHost) -> None:
    """Team and individual key, with and without scope, two targets of one key; over several renders."""
    whose = {"prod": host.add_key("prod", FIRST), "own": host.add_key("own", SECOND, individual=True)}
    targets = [ALL, NARROW, OWN]
    with host.agent(targets, tick=TICK), Readers(host, [target.name for target in targets]) as readers:
        for target in targets:
            first_token(host, target.name)
        pause(6)
    for target in targets:
        read = readers.tokens(target.name)
        assert len({token.claims["iat"] for token in read}) >= 4, "minted again and again"
        for token in read:
            made_by_mint(token, whose[target.key], TokenRequest(target.lifetime, target.scope))
        assert mode_of(host.file(target.name)) == 0o600
    left_over = {path.name for path in host.dir.iterdir()} - {"role_id", "secret_id", "vault-asc.toml", "agent.hcl"}
    assert left_over == {host.file(target.name).name for target in targets}


def made_by_mint(token: ReadToken, identity: Identity, request: TokenRequest) -> None:
    claims = token.claims
    assert token.header == {"alg": "ES256", "kid": identity.key_id, "typ": "JWT"}
    assert claims == tokens.claims(identity, request, claims["iat"] + BACKDATE)
    assert {type(claims[name]) for name in ("iat", "exp")} == {int}
    assert claims["iat"] <= token.at - BACKDATE


def test_a_token_has_the_life_left_that_the_documentation_says(host: PureHost) -> None:
    """At least the usable life less 1.95 ticks, and at most the usable life; Vault is asked at a moderate rate."""
    tick = 2
    host.add_key("prod", FIRST)
    with host.agent([ALL, NARROW], tick=tick), Readers(host, [ALL.name, NARROW.name]) as readers:
        first_token(host)
        host.wire.calls.clear()
        time.sleep(5 * tick)
        calls = [path for _, path in host.wire.calls]
    for target in (ALL, NARROW):
        usable = target.lifetime - BACKDATE
        read = readers.tokens(target.name)
        left = [token.remaining for token in read]
        assert {(token.claims["iat"] + BACKDATE) % tick for token in read} == {0}, "else Vault is asked at every pass"
        assert usable - 1.95 * tick - LATE <= min(left)
        assert usable - tick <= max(left) <= usable
    # An interval is 0.85 of a tick at least. A signature is asked for once, and once more when the next one is there;
    # before each the Agent looks what kind of mount that is.
    intervals = 5 / 0.85 + 1
    assert calls.count(host.record_path("prod")) <= intervals
    assert signatures(host, "prod") <= 2 * 2 * intervals
    assert len(calls) <= 2 * 5 * intervals


# -- while the key changes -------------------------------------------------------------------------------------------


def test_no_reader_meets_a_token_whose_key_id_and_key_differ(host: PureHost) -> None:
    """Rotated, retired, rolled back, rotated and retired at once: each is there within an interval."""
    host.add_key("prod", FIRST)
    host.add_key("own", THIRD, individual=True)
    targets = [ALL, NARROW, OWN]
    with host.agent(targets, tick=TICK) as agent, Readers(host, [target.name for target in targets]) as readers:
        for target in targets:
            first_token(host, target.name)
        second, fourth = host.key(SECOND), host.key("TESTKEY004")
        host.keeper.rotate("prod", second, SECOND)
        soon(host, SECOND)
        host.keeper.retire("prod")
        pause(2)
        host.keeper.rollback("prod")
        soon(host, FIRST)
        host.keeper.rotate("prod", fourth, "TESTKEY004")
        host.keeper.retire("prod")
        soon(host, "TESTKEY004")
        pause(2)
        assert agent.running
    for target, key_ids in ((ALL, [FIRST, SECOND, FIRST, "TESTKEY004"]), (NARROW, None), (OWN, [THIRD])):
        read = readers.tokens(target.name)
        assert runs(read) == (key_ids or runs(readers.tokens(ALL.name)))
        assert min(token.remaining for token in read) >= target.lifetime - BACKDATE - 1.95 * TICK - LATE


def soon(host: PureHost, key_id: str) -> None:
    """Within an interval, at every target of the key."""
    began = time.monotonic()
    until(lambda: all(holds(host, target.name, key_id) for target in (ALL, NARROW)), f"a token of {key_id}")
    assert time.monotonic() - began <= 0.95 * TICK + LATE


def runs(read: list[ReadToken]) -> list[str]:
    """Key IDs in the order of their appearance."""
    key_ids = [token.key_id for token in read]
    return [new for old, new in zip(["", *key_ids], key_ids, strict=False) if old != new]


def test_a_key_that_is_moved_away_leaves_the_last_token_until_it_is_back(host: PureHost) -> None:
    identity = host.add_key("prod", FIRST)
    moving = Moving(host.keeper)
    with host.agent([ALL], tick=TICK) as agent, Readers(host, [ALL.name]) as readers:
        first_token(host)
        moving.move("prod", Custody.KV, granted=True)
        agent.wait_for_line('"format 1, custody kv, state enabled, ')
        left = settled(host, "prod")
        moving.move("prod", Custody.TRANSIT, granted=True)
        until(lambda: host.file(ALL.name).read_text() != left, "a token of the key that is back")
    for token in readers.tokens(ALL.name):
        made_by_mint(token, identity, TokenRequest())


def settled(host: PureHost, key: str) -> str:
    """Wait until the last signature that was on its way is over; what the file holds then.

    A signature that is not wanted any more is asked for once more: the Agent does not wake up for the news.
    """
    pause(1.5)
    text = host.file(ALL.name).read_text()
    before = signatures(host, key)
    pause(2)
    assert signatures(host, key) == before, "Vault is not asked to sign"
    assert host.file(ALL.name).read_text() == text
    return text


def test_a_disabled_key_is_signed_with_no_more_and_disturbs_nobody(host: PureHost) -> None:
    host.add_key("prod", FIRST)
    host.add_key("own", SECOND, individual=True)
    host.keeper.set_state("own", State.DISABLED)
    with host.agent([ALL, OWN], tick=TICK) as agent:
        first_token(host)
        pause(1.5)
        assert not host.file(OWN.name).exists(), "disabled from the beginning"
        assert signatures(host, "own") == 0
        host.keeper.set_state("own", State.ENABLED)
        first_token(host, OWN.name)
        host.keeper.set_state("prod", State.DISABLED)
        assert told(agent, "prod") == "target all: the record of key prod says"
        left = settled(host, "prod")
        a_moderate_rate(host, agent)
        assert host.file(ALL.name).read_text() == left
        assert fresh(host, OWN.name), "the other goes on"
        host.keeper.set_state("prod", State.ENABLED)
        until(lambda: fresh(host, ALL.name), "a fresh token")


def told(agent: BaoAgent, key: str) -> str:
    """What the Agent's log says of a key for which no token is made."""
    line = agent.wait_for_line(f'key {key} says "format 1, custody transit, state disabled, ')
    assert "[ERROR]" in line
    return line.rpartition("no new token for ")[2].partition(' "')[0]


def fresh(host: PureHost, target: str) -> bool:
    _, claims = judged(host, host.file(target).read_text())
    return bool(claims["iat"] + BACKDATE >= time.time() - 1.95 * TICK - LATE)


def a_moderate_rate(host: PureHost, agent: BaoAgent) -> None:
    """With one of two keys disabled: no more calls than with both, and the log says it once per pass."""
    host.wire.calls.clear()
    lines, ticks = len(agent.log_lines()), 4
    pause(ticks)
    intervals = ticks / 0.85 + 1
    assert len(host.wire.calls) <= 2 * 5 * intervals
    assert len([line for line in agent.log_lines()[lines:] if "[ERROR]" in line]) <= 5 * intervals


def test_what_one_target_may_not_do_stops_no_other(host: PureHost) -> None:
    host.add_key("prod", FIRST)
    host.add_key("own", SECOND, individual=True)
    with host.agent([ALL, OWN], tick=TICK, may_sign=["prod"]) as agent, Readers(host, [ALL.name]) as readers:
        first_token(host)
        agent.wait_for_line("permission denied")
        pause(5)
        assert agent.running
        assert not host.file(OWN.name).exists()
    read = readers.tokens(ALL.name)
    assert min(token.remaining for token in read) >= ALL.lifetime - BACKDATE - 1.95 * TICK - LATE
    assert len({token.claims["iat"] for token in read}) >= 3


# -- records that somebody has bent ----------------------------------------------------------------------------------

QUOTES = """x","sub":"admin","scope":["GET /v1/users"],"exp":99999999999,"a\\":"<&>'\u2028{{.}}%s"""
SAID_AS_IT_IS: dict[str, dict[str, Any]] = {
    "quoted-issuer": {"issuer_id": QUOTES},
    "quoted-audience": {"audience": QUOTES},
    "more-fields": {"scope": ["GET /v1/users"], "sub": "admin", "exp": 1, "later": {"than": [1]}},
    "number-as-text": {"transit_version": "1"},
}
NO_TOKEN: dict[str, dict[str, Any]] = {
    "later-format": {"format": 2},
    "no-format": {"format": None},
    "other-custody": {"custody": "engine"},
    "custody-with-more": {"custody": "transit, state enabled, transit key a, version 1"},
    "other-state": {"state": "Enabled"},
    "latest-version": {"transit_version": 0},
    "two-versions": {"transit_version": "1,2"},
    "no-version": {"transit_version": None},
    "version-with-more": {"transit_version": "1\n"},
    "key-elsewhere": {"transit_key": "asc.prod/../../../auth/token/renew-self"},
    "key-above": {"transit_key": ".."},
    "key-with-query": {"transit_key": "asc.prod?x"},
    "no-key": {"transit_key": None},
    "no-key-id": {"key_id": None},
    "bent-key-id": {"key_id": QUOTES},
    "key-of-another": {"transit_key": "asc.prod"},
    "no-audience": {"audience": None},
}
NO_ENTRY = {"no-audience": 'no entry for key "audience"'}


def test_a_bent_record_adds_no_claim_and_leads_nowhere(host: PureHost) -> None:
    """One Agent for all of them, and for one that is well."""
    host.add_key("prod", FIRST)
    cases = {**SAID_AS_IT_IS, **NO_TOKEN}
    for number, (name, changes) in enumerate(cases.items()):
        host.add_key(name, f"BENT{number:06d}")
        host.overwrite(name, **changes)
    with host.agent([ALL, *(FileTarget(name, name) for name in cases)], tick=2) as agent:
        for name in ("all", *SAID_AS_IT_IS):
            first_token(host, name)
        for name in NO_TOKEN:
            agent.wait_for_line(NO_ENTRY.get(name, f"no new token for target {name}: "))
        time.sleep(2)
        assert agent.running
        assert fresh(host, ALL.name)
    for name, changes in SAID_AS_IT_IS.items():
        header, claims = judged(host, host.file(name).read_text())
        identity = host.keeper.store.read(name).record.identity
        assert header == {"alg": "ES256", "kid": identity.key_id, "typ": "JWT"}
        assert claims == tokens.claims(identity, TokenRequest(), claims["iat"] + BACKDATE)
        assert claims[{"issuer_id": "iss", "audience": "aud"}.get(next(iter(changes)), "aud")]
    for name in NO_TOKEN:
        assert not host.file(name).exists(), name
    written = {path for method, path in host.wire.calls if method != "GET"} - {"auth/approle/login"}
    assert written <= {"auth/token/renew-self", *(host.sign_path(name) for name in ("prod", *SAID_AS_IT_IS))}


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_refuses_an_owner_for_a_socket_that_is_not_there(tmp_path: Path) -> None:
    words = ["agent", "config", "--pure", "--user", "root"]
    done = subprocess.run(
        [sys.executable, "-m", "vault_asc", *words], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "there is no socket" in done.stderr
    assert "leave --user out" in done.stderr
