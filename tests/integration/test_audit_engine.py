"""Tokens of the secrets engine, on a real server with a real audit log: each is traced to whoever was given it."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jwt
import pytest

from tests.conftest import Root, TokenWith
from tests.integration.audited import KID, LEAKED, Audited, Job, audited, auditor, hosts, token_of
from tests.integration.wrapped import (
    MAY_UNWRAP,
    WAYS,
    WRAPPED,
    Wire,
    by_another,
    cubbyhole_into_another,
    from_the_cubbyhole,
    inner,
    plainly,
    unwrapped_into_another,
    wrapped_again_and_from_the_cubbyhole,
    wrapping_token,
)
from tests.support import key_id, new_key, team
from tests.vaults import VaultUnderTest
from vault_asc import tokens
from vault_asc.audit import EngineSigner, Similar, TokenRead, Trace, leaked_token, presigned, reasons, verdict
from vault_asc.errors import NotFoundError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import ENGINE_TYPE, Custody
from vault_asc.secret import Secret
from vault_asc.tokens import BACKDATES, Token, TokenRequest

__all__ = ["auditor"]  # a fixture

ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SCOPE: Final = "GET /v1/apps?filter[platform]=IOS&limit=<5>"  # with signs that Go writes in another way
ONE_HASH: Final = (
    from_the_cubbyhole,
    wrapped_again_and_from_the_cubbyhole,
    unwrapped_into_another,
    cubbyhole_into_another,
)
"""Ways out that leave one hash of the whole answer in the log."""


@contextmanager
def mounted(root: Root, namespace: str = "") -> Iterator[str]:
    """A mount of the engine that no other test uses, so that its log is about nobody else."""
    mount = f"of/asc-{secrets.token_hex(4)}"
    root("POST", f"{namespace}sys/mounts/{mount}", {"type": ENGINE_TYPE})
    yield mount
    root("DELETE", f"{namespace}sys/mounts/{mount}")


@pytest.fixture
def scene(vault: VaultUnderTest, root: Root, kv_mount: str, shared_engine_mount: str) -> Iterator[Audited]:
    if vault.audit_device is None:
        pytest.skip("needs a server whose audit log can be read here")
    with mounted(root) as mount, audited(vault, root, kv_mount, mount) as scene:
        yield scene


@pytest.fixture
def key(scene: Audited) -> PrivateKey:
    """In the engine, as `prod`, imported now."""
    key = new_key()
    scene.import_key("prod", key, KID, Custody.ENGINE, time.time())
    return key


def reader(scene: Audited, host: str, *roles: str) -> Job:
    return scene.job(
        f"reads-on-{host}", host, *(scene.policy("token-reader", role=role) for role in roles or ("prod",))
    )


def read(scene: Audited, job: Job, role: str = "prod", query: str = "", **headers: str) -> dict[str, Any]:
    """The whole answer, as `vault read` and `curl` get it."""
    return Wire(scene).ask(job.token, "GET", f"{scene.layout.engine_mount}/token/{role}{query}", **headers)


def given(answer: dict[str, Any]) -> Token:
    token = leaked_token(inner(answer, "header"))
    assert token is not None
    return token


def hosts_of(calls: tuple[Similar, ...]) -> list[str]:
    return [dict(call.entry.caller.metadata)["host"] for call in calls]


def whys(found: Trace) -> str:
    return " ".join(reason.why for reason in reasons(found))


def log_of(scene: Audited, directory: Path, without: str) -> Path:
    """A copy of the log without the lines that hold a text."""
    log = directory / "audit.log"
    rows = scene.log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(row for row in rows if without.encode() not in row))
    return log


def test_leaked_tokens_among_decoys(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """Of the same role and the same second, so that header and payload are the same; half by `mint`, half by `read`."""
    jobs = [scene.job(f"on-{number}", f"host-{number}", scene.policy("minter", "prod")) for number in range(7)]
    leaked: list[tuple[Job, Token, str]] = []
    same_second = 0
    for number in range(LEAKED):
        job, twin = jobs[number % 7], jobs[(number + 1) % 7]
        if number % 2:
            token, lease = scene.mint(job, "prod", time.time()), ""
        else:
            answer = read(scene, job)
            token, lease = given(answer), str(answer["lease_id"])
        decoy = given(read(scene, twin))
        same_second += decoy.value.reveal().rpartition(".")[0] == token.value.reveal().rpartition(".")[0]
        leaked.append((job, token, lease))
    assert same_second > LEAKED // 5

    for job, token, lease in leaked:
        found = scene.trace(token, auditor)
        assert hosts(found) == [job.host]
        assert (verdict(found), reasons(found), found.in_clear, found.genuine) == (None, [], False, True)
        (signed,) = found.signed
        assert signed.read == TokenRead(scene.layout.engine_mount, "prod")
        assert signed.lease_id.startswith(f"{scene.layout.engine_mount}/token/prod/")
        assert signed.lease_id == (lease or signed.lease_id)
        assert (signed.key_version, signed.opening) == (1, None)
        assert (signed.entity_name or "").startswith("entity_")
        assert presigned(token, signed.entry) is None
        assert 59 <= signed.entry.moment - token.issued_at < 63
    elsewhere = [tokens.mint(team(KID), TokenRequest(), key, time.time() - number) for number in range(5)]
    for token in elsewhere:
        found = scene.trace(token, auditor)
        assert (found.signed, found.alike, found.wrapped, found.genuine) == ((), (), (), True)
        assert isinstance(verdict(found), NotFoundError)


# -- those who do not want to be found -------------------------------------------------------------------------------


def test_other_calls_and_other_forms_of_a_token(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    mount = scene.layout.engine_mount
    job = scene.job("free", "h1", f'path "{mount}/token/*" {{ capabilities = ["read", "create", "update"] }}')
    wire = Wire(scene)
    answers = [
        wire.ask(job.token, "POST", f"{mount}/token/prod", {"lifetime": "10m"}),
        wire.ask(job.token, "PUT", f"{mount}/token/prod", {"key_version": 1}),
        read(scene, job, query="?key_version=1"),
        read(scene, job, query=f"?scope={quote(SCOPE, safe='')}&lifetime=300"),
    ]
    token = given(read(scene, job))
    text, _, third = token.value.reveal().rpartition(".")
    raw = jwt.utils.base64url_decode(third)
    twin = raw[:32] + (ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    same_bytes = third[:-1] + chr(ord(third[-1]) + 1)
    assert jwt.utils.base64url_decode(same_bytes) == raw
    forms = [token_of(text.encode(), twin), token._replace(value=Secret(f"{text}.{same_bytes}"))]
    assert jwt.decode(forms[0].value.reveal(), key.public_key_pem(), ["ES256"], audience="appstoreconnect-v1")
    for leaked in (*map(given, answers), *forms):
        assert hosts(scene.trace(leaked, auditor)) == ["h1"]


@pytest.mark.parametrize("role", ["prod", "bulk"])
def test_wrapped_answers_are_led_back_to_who_asked(scene: Audited, auditor: Secret, key: PrivateKey, role: str) -> None:
    """One hash of a whole answer is proof only where there is no lease, because nobody knows the ID of a lease."""
    mount = scene.layout.engine_mount
    scene.root("POST", f"{mount}/roles/bulk", {"key": "prod", "lease": False, "scope": [SCOPE]})
    job, decoy = reader(scene, "h1", role), reader(scene, "h2", role)
    other, wire = scene.job("receiver", "h3", MAY_UNWRAP), Wire(scene)
    for way in WAYS:
        way(wire, wrapping_token(read(scene, decoy, role, **WRAPPED)), other.token)
        answer = way(wire, wrapping_token(read(scene, job, role, **WRAPPED)), other.token)
        way(wire, wrapping_token(read(scene, decoy, role, **WRAPPED)), other.token)
        found = scene.trace(given(answer), auditor)
        if role == "prod" and way in ONE_HASH:
            assert (found.signed, set(hosts_of(found.wrapped)), found.alike) == ((), {"h1", "h2"}, ())
            assert "had their answers wrapped" in str(verdict(found))
            continue
        assert (way.__name__, hosts(found), verdict(found)) == (way.__name__, ["h1"], None)
        (signed,) = found.signed
        assert (signed.read, signed.key_version) == (TokenRead(mount, role), 1)
        assert signed.opening is not None
        assert dict(signed.opening.caller.metadata).get("host") == ("h3" if way is by_another else None)
        assert signed.lease_id.startswith(f"{mount}/token/prod/" if role == "prod" else "")


def test_wrapped_reads_of_another_time_are_not_suspected(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """The engine sets the time in a token, so a wrapped read of another hour cannot be it; nor what came out otherwise."""
    read(scene, reader(scene, "h1"), **WRAPPED)
    honest = reader(scene, "h2")
    plainly(Wire(scene), wrapping_token(read(scene, honest, **WRAPPED)), honest.token)
    now = time.time()
    for age, suspects in ((0, ["h1"]), (120, ["h1"]), (3600, [])):
        found = scene.trace(tokens.mint(team(KID), TokenRequest(), key, now - age), auditor)
        assert (found.signed, hosts_of(found.wrapped)) == ((), suspects)


def test_a_copy_that_somebody_has_put_into_vault_is_no_proof(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """At a path like the engine's, with all that an answer of the engine has: otherwise anybody could be suspected."""
    mount = f"{scene.approle}-kv"
    scene.root("POST", f"sys/mounts/{mount}", {"type": "kv"})
    alien = tokens.mint(team(KID), TokenRequest(), key, time.time())
    copy = {"token": alien.value.reveal(), "expires_at": alien.expires_at, "key_id": KID, "key_version": 1}
    scene.root("POST", f"{mount}/token/prod", copy)
    victim = scene.job("victim", "h1", f'path "{mount}/*" {{ capabilities = ["read"] }}\n{MAY_UNWRAP}')
    wire = Wire(scene)
    wire.ask(victim.token, "GET", f"{mount}/token/prod")
    plainly(wire, wrapping_token(wire.ask(victim.token, "GET", f"{mount}/token/prod", **WRAPPED)), victim.token)
    found = scene.trace(alien, auditor)
    assert (found.signed, found.alike, hosts_of(found.held), len(found.opened)) == ((), (), ["h1"], 1)
    assert isinstance(verdict(found), NotFoundError)
    assert "a copy that somebody has put there" in whys(found)
    scene.root("DELETE", f"sys/mounts/{mount}")


# -- mounts, keys and settings ---------------------------------------------------------------------------------------


def written(scene: Audited, where: str, key: PrivateKey, kid: str = KID) -> None:
    """A key with a role, by `vault write`: without a record."""
    body = {"private_key": key.pem.reveal(), "key_id": kid, "issuer_id": team(kid).issuer_id}
    scene.root("POST", f"{where}/keys/by-hand", body)
    scene.root("POST", f"{where}/roles/by-hand", {"key": "by-hand"})


def test_a_token_of_another_mount(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    with mounted(scene.root) as mount:
        written(scene, mount, key)
        policy = f'path "{mount}/token/by-hand" {{ capabilities = ["read"] }}'
        job, wire = scene.job("other", "h1", policy), Wire(scene)
        read(scene, reader(scene, "h2"))
        found = scene.trace(given(wire.ask(job.token, "GET", f"{mount}/token/by-hand")), auditor)
    assert (hosts(found), found.signed[0].read) == (["h1"], TokenRead(mount, "by-hand"))


def test_a_mount_in_another_namespace(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    namespace = scene.approle
    scene.root("POST", f"sys/namespaces/{namespace}", {})
    with mounted(scene.root, f"{namespace}/") as mount:
        written(scene, f"{namespace}/{mount}", key)
        answer = scene.root("GET", f"{namespace}/{mount}/token/by-hand")
        (signed,) = scene.trace(given(answer), auditor).signed
    assert (signed.entry.namespace, signed.read) == (namespace, TokenRead(mount, "by-hand"))
    scene.root("DELETE", f"sys/namespaces/{namespace}")


def test_a_key_without_a_record(scene: Audited, auditor: Secret) -> None:
    key = new_key()
    written(scene, scene.layout.engine_mount, key)
    job = reader(scene, "h1", "by-hand")
    found = scene.trace(given(read(scene, job, "by-hand")), auditor)
    assert (hosts(found), found.keys, found.genuine) == (["h1"], (), True)
    assert found.engine_signers == (EngineSigner("by-hand", 1),)
    found = scene.trace(tokens.mint(team(KID), TokenRequest(), key, time.time()), auditor)
    assert (found.signed, found.genuine) == ((), True)
    assert 'of version 1 of key "by-hand" in the engine' in whys(found)


@pytest.mark.parametrize("names", [["token"], ["header"], ["token", "header", "key_id"]])
def test_a_mount_that_is_tuned_to_show_its_tokens(
    scene: Audited, auditor: Secret, key: PrivateKey, names: list[str]
) -> None:
    where = f"sys/mounts/{scene.layout.engine_mount}/tune"
    scene.root("POST", where, {"audit_non_hmac_response_keys": names})
    answers = [read(scene, reader(scene, f"h{number}")) for number in range(2)]
    scene.root("POST", where, {"audit_non_hmac_response_keys": []})
    for number, answer in enumerate(answers):
        found = scene.trace(given(answer), auditor)
        assert (hosts(found), found.in_clear) == ([f"h{number}"], True)
    assert not scene.trace(given(read(scene, reader(scene, "h3"))), auditor).in_clear


def test_hashes_of_another_device_do_not_clear_anybody(scene: Audited, auditor: Secret, tmp_path: Path) -> None:
    """The key ID in clear is that of the token, which says nothing of the hash beside it."""
    scene.root("POST", f"sys/mounts/{scene.layout.engine_mount}/tune", {"audit_non_hmac_response_keys": ["key_id"]})
    scene.import_key("other", new_key(), key_id(7), Custody.ENGINE, time.time())  # no other test's answers are alike
    token = given(read(scene, reader(scene, "h1", "other"), "other"))
    log = tmp_path / "audit.log"
    log.write_bytes(scene.log.read_bytes().replace(b"hmac-sha256:", b"hmac-sha256:00"))
    found = scene.trace(token, auditor, log)
    assert (found.signed, hosts_of(found.alike), found.genuine) == ((), ["h1"], True)


@pytest.mark.parametrize("backdate", BACKDATES)
def test_any_backdate(scene: Audited, auditor: Secret, key: PrivateKey, tmp_path: Path, backdate: int) -> None:
    scene.root("POST", f"{scene.layout.engine_mount}/config", {"backdate": backdate})
    token = given(read(scene, reader(scene, "h1")))
    found = scene.trace(token, auditor)
    assert (hosts(found), presigned(token, found.signed[0].entry)) == (["h1"], None)
    lost = log_of(scene, tmp_path, without='"lease_id"')
    assert hosts_of(scene.trace(token, auditor, lost).unanswered) == ["h1"]


def test_after_a_rotation_both_versions_are_found(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    old = given(read(scene, reader(scene, "h1")))
    with scene.store() as store:
        lifecycle = Lifecycle(store, time.time)
        lifecycle.stage("prod", new_key(), key_id(2))
        lifecycle.promote("prod")
    new = given(read(scene, reader(scene, "h2")))
    pinned = given(read(scene, reader(scene, "h3"), query="?key_version=1"))
    for token, host, version in ((old, "h1", 1), (new, "h2", 2), (pinned, "h3", 1)):
        found = scene.trace(token, auditor)
        assert (hosts(found), found.signed[0].key_version) == ([host], version)
        assert found.keys[0].current is (version == 2)


def test_a_key_that_was_in_transit_before(scene: Audited, auditor: Secret) -> None:
    key = new_key()
    scene.import_key("prod", key, KID, Custody.TRANSIT, time.time())
    job = scene.job("mints", "h1", scene.policy("minter", "prod"))
    before = scene.mint(job, "prod", time.time())
    with scene.store() as store:
        Moving(Lifecycle(store, time.time)).move("prod", Custody.ENGINE, key, granted=True)
    after = scene.mint(job, "prod", time.time())
    old, new = scene.trace(before, auditor), scene.trace(after, auditor)
    assert (hosts(old), old.signed[0].read) == (["h1"], None)
    assert (hosts(new), new.signed[0].read) == (["h1"], TokenRead(scene.layout.engine_mount, "prod"))
    assert old.keys[0].custodies == {Custody.TRANSIT, Custody.ENGINE}


# -- what is not found -----------------------------------------------------------------------------------------------


def test_what_nobody_has_read_is_told_as_that(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """Nobody but the engine has the key, as far as is known, so it is said what else there may be."""
    read(scene, reader(scene, "h1"))
    now = time.time()
    found = scene.trace(tokens.mint(team(KID), TokenRequest(700), key, now + 50), auditor)  # made now, not back-dated
    problem = verdict(found)
    assert isinstance(problem, NotFoundError)
    assert problem.message == "the log holds no answer of the engine with this token"
    assert "nobody but the engine who has this key" in whys(found)
    assert "revoke it at Apple" in str(problem.hint)
    early = scene.trace(tokens.mint(team(KID), TokenRequest(700), key, now - 86_400), auditor)
    assert "do not reach over" in whys(early)
    assert "nobody but the engine" not in whys(early)
    forged = scene.trace(tokens.mint(team(KID), TokenRequest(701), new_key(), now), auditor)
    assert (forged.genuine, "forged" in whys(forged)) == (False, True)


def test_a_token_that_is_cut_off(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """Its callers are those who got a token of the same key and expiry; a whole one is told from theirs."""
    job, twin, other = reader(scene, "h1"), reader(scene, "h2"), reader(scene, "h3")
    while True:
        token, same = given(read(scene, job)), given(read(scene, twin))
        if token.expires_at == same.expires_at:
            break
    read(scene, other, query="?lifetime=600")
    found = scene.trace(token._replace(value=Secret(token.value.reveal()[:-30])), auditor)
    assert (found.signed, {"h1", "h2"} <= set(hosts_of(found.alike)), "h3" in hosts_of(found.alike)) == (
        (),
        True,
        False,
    )
    assert "does not prove who was given this token" in str(verdict(found))
    alien = tokens.mint(team(KID), TokenRequest(), key, token.issued_at + 60)
    assert alien.expires_at == token.expires_at
    assert (scene.trace(alien, auditor).alike, scene.trace(alien, auditor).signed) == ((), ())


def test_a_log_without_the_answer(scene: Audited, auditor: Secret, key: PrivateKey, tmp_path: Path) -> None:
    answer = read(scene, reader(scene, "h1"))
    read(scene, reader(scene, "h2"))
    log = log_of(scene, tmp_path, without=str(answer["lease_id"]))
    found = scene.trace(given(answer), auditor, log)
    assert (found.signed, hosts_of(found.unanswered)) == ((), ["h1"])
    assert "no log given has their answers" in str(verdict(found))
    assert scene.trace(given(answer), auditor, log, scene.log).unanswered == ()


def test_a_log_of_another_device(scene: Audited, auditor: Secret, key: PrivateKey, tmp_path: Path) -> None:
    token = given(read(scene, reader(scene, "h1")))
    log = tmp_path / "audit.log"
    log.write_bytes(scene.log.read_bytes().replace(b"hmac-sha256:", b"hmac-sha256:00"))
    found = scene.trace(token, auditor, log)
    assert (found.signed, found.alike) == ((), ())
    assert "has this key ID, as audit device" in whys(found)
    log.write_bytes(b"".join(row for row in scene.log.read_bytes().splitlines(keepends=True) if b"/token/" not in row))
    assert "no token of the engine at all" in whys(scene.trace(token, auditor, log))


def test_an_auditor_who_may_not_read_the_engine(scene: Audited, key: PrivateKey, token_with: TokenWith) -> None:
    token = given(read(scene, reader(scene, "h1")))
    mount = scene.layout.engine_mount
    blind = token_with(scene.policy("auditor").replace(f"{mount}/", "nowhere/"))
    found = scene.trace(token, blind)
    assert (hosts(found), found.genuine, found.engine_signers) == (["h1"], True, ())


def test_a_mount_that_is_none_of_the_engine(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    """What the configuration names need not be one, and the token is found all the same."""
    token = given(read(scene, reader(scene, "h1")))
    elsewhere = replace(scene, layout=scene.layout._replace(engine_mount=scene.layout.transit_mount))
    assert hosts(elsewhere.trace(token, scene.server.root_token)) == ["h1"]
