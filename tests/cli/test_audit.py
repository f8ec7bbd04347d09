"""`audit trace` as somebody types it: what is printed, for people and for programs, and every way in which it fails."""

import json
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from tests import keys
from tests.cli.conftest import User, check_failure
from tests.conftest import NO_RIGHTS, Root, TokenWith
from tests.integration.audited import Audited, Job, jose, message, minter, scene, token_of
from tests.support import new_key, team
from tests.vaults import wait_for_kv
from vault_asc import tokens
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab.bao import call
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.tokens import Token, TokenRequest

__all__ = ["scene"]  # a fixture


@pytest.fixture
def auditor(scene: Audited, user: User, token_with: TokenWith) -> User:
    """Logged in with the shipped policy, and nothing else."""
    mount = f'[store]\ntransit_mount = "{scene.layout.transit_mount}"\n'
    text = user.config_file.read_text(encoding="utf-8")
    user.config_file.write_text(text.replace("[store]\n", mount), encoding="utf-8")
    user.use(token_with(scene.policy("auditor")))
    return user


@pytest.fixture
def key(scene: Audited) -> PrivateKey:
    """In Transit, as `prod`."""
    key = new_key()
    scene.import_key("prod", key, keys.KEY_ID, Custody.TRANSIT)
    return key


def leaked(scene: Audited, name: str = "prod") -> Token:
    job = scene.job("nightly", "build-7\x1b[2J", scene.policy("minter", name))
    return scene.mint(job, name, time.time())


def saved(user: User, token: Token) -> str:
    file = user.home / "leaked.jwt"
    file.write_text(f"Authorization: Bearer {token.value.reveal()}\n", encoding="ascii")
    return str(file)


def asked(scene: Audited, file: str, *more: str) -> tuple[str, ...]:
    return ("audit", "trace", file, "--audit-log", str(scene.log), "--device", scene.device, *more)


def words(text: str) -> list[str]:
    return [" ".join(row.split()) for row in text.splitlines()]


def test_a_leaked_token_is_traced_to_its_job(scene: Audited, auditor: User, key: PrivateKey) -> None:
    token = leaked(scene)
    done = auditor.does(*asked(scene, saved(auditor, token)))
    rows = words(done.out)
    assert "metadata host build-7\\x1b[2J" in rows
    assert "metadata role_name nightly" in rows
    assert f"path {scene.layout.transit_mount}/sign/asc.prod" in rows
    assert "key version 1" in rows
    assert "key prod, custody transit, current" in rows
    assert [row for row in rows if row.startswith("entity ") and "(entity_" in row]
    assert (done.err, "eyJ" in done.out, "\x1b" in done.out) == ("", False, False)
    assert not [part for part in token.value.reveal().split(".") if part in done.out]


def test_for_programs_and_from_standard_input(scene: Audited, auditor: User, key: PrivateKey) -> None:
    token = leaked(scene)
    found = auditor.does(*asked(scene, "-", "--json"), stdin=token.value.reveal().encode()).json
    (signed,) = found["signed_by"]
    assert signed["metadata"] == {
        "host": "build-7\x1b[2J",
        "job": "job of build-7\x1b[2J",
        "role_name": "nightly",
    }
    assert signed["key_version"] == 1
    assert found["keys"] == [{"name": "prod", "custody": "transit", "current": True}]
    assert found["token"]["key_id"] == keys.KEY_ID
    assert found["genuine"] is True
    assert (found["reasons"], found["private_part_read_by"]) == ([], [])
    assert found["logs"][0]["lines"] > 2


def test_nothing_found_says_why_and_exits_with_7(scene: Audited, auditor: User, key: PrivateKey) -> None:
    leaked(scene)
    alien = tokens.mint(team(keys.KEY_ID), TokenRequest(600), key, time.time())
    done = auditor(*asked(scene, saved(auditor, alien)))
    check_failure(done, out=True)
    assert (done.code, done.error) == (7, "the log holds no call that signed this token")
    assert "probably signed elsewhere" in done.out
    assert "revoke it at Apple" in done.hint
    shown = auditor(*asked(scene, saved(auditor, alien), "--json"))
    assert (shown.code, shown.json["signed_by"]) == (7, [])
    assert "probably signed elsewhere" in shown.json["reasons"][0]


def test_for_custody_kv_readers_are_listed(scene: Audited, auditor: User) -> None:
    scene.import_key("old", new_key(), keys.KEY_ID, Custody.KV)
    token = leaked(scene, "old")
    done = auditor(*asked(scene, saved(auditor, token)))
    check_failure(done, out=True)
    assert done.code == 7
    assert "cannot tell who minted this token" in done.error
    assert "--custody transit" in done.hint
    (row,) = [row for row in words(done.out) if row.startswith("old 1 1 ")]
    assert "host=build-7\\x1b[2J" in row
    (reader,) = auditor(*asked(scene, saved(auditor, token), "--json")).json["private_part_read_by"]
    assert (reader["times"], reader["version"], reader["metadata"]["role_name"]) == (1, 1, "nightly")


def test_a_part_of_a_token_leads_to_callers_without_proof(scene: Audited, auditor: User, key: PrivateKey) -> None:
    token = leaked(scene)
    file = Path(saved(auditor, token))
    file.write_text(token.value.reveal()[:-20], encoding="ascii")
    done = auditor(*asked(scene, str(file)))
    check_failure(done, out=True)
    assert (done.code, "does not prove" in done.error) == (7, True)
    assert "metadata role_name nightly" in words(done.out)
    (similar,) = auditor(*asked(scene, str(file), "--json")).json["same_content_signed_by"]
    assert similar["metadata"]["role_name"] == "nightly"


def wrapped(scene: Audited, job: Job, text: bytes) -> Secret:
    """Of a signing call that is as the shipped policy allows it, and whose input has another hash than the token's."""
    with scene.store(job.token) as store:
        body = {
            "input": f"{b64encode(text).decode()}\n",
            "marshaling_algorithm": "jws",
            "hash_algorithm": "sha2-256",
            "key_version": 1,
        }
        where = f"/v1/{scene.layout.transit_mount}/sign/asc.prod"
        return Secret(store.vault._client.adapter.post(where, json=body, wrap_ttl="60s")["wrap_info"]["token"])


def test_signed_in_advance_and_wrapped(scene: Audited, auditor: User, key: PrivateKey) -> None:
    job, text = minter(scene, "h1"), message(keys.KEY_ID, time.time() + 3600)
    receiver = scene.job("receiver", "h2", 'path "sys/wrapping/unwrap" { capabilities = ["update"] }')
    one, two = wrapped(scene, job, text), wrapped(scene, job, text)
    unwrap = "sys/wrapping/unwrap"
    answer = call(scene.server.address, "POST", unwrap, {"token": one.reveal()}, token=receiver.token)
    file = saved(auditor, token_of(text, jose(answer["data"]["signature"])))
    rows = words(auditor.does(*asked(scene, file)).out)
    assert rows.index("metadata host h1") < rows.index("metadata host h2")
    assert "the answer was wrapped, and taken out by" in rows
    assert [row for row in rows if row.startswith("PRE-SIGNED: 58m ")]
    (signed,) = auditor.does(*asked(scene, file, "--json")).json["signed_by"]
    assert 3000 < signed["presigned_seconds"] < 3600
    assert signed["unwrapped_by"]["metadata"]["host"] == "h2"

    answer = call(scene.server.address, "POST", unwrap, token=two)
    file = saved(auditor, token_of(text, jose(answer["data"]["signature"])))
    assert "entity whoever had the wrapping token" in words(auditor.does(*asked(scene, file)).out)


def test_wrapped_answers_that_may_be_it_are_listed(scene: Audited, auditor: User, key: PrivateKey) -> None:
    wrapped(scene, minter(scene, "h1"), message(keys.KEY_ID))
    alien = saved(auditor, tokens.mint(team(keys.KEY_ID), TokenRequest(600), key, time.time()))
    done = auditor(*asked(scene, alien))
    check_failure(done, out=True)
    assert (done.code, "had their answers wrapped" in done.error) == (7, True)
    assert "signed something, with the answer wrapped (what came out is not in the log)" in words(done.out)
    found = auditor(*asked(scene, alien, "--json")).json
    assert [one["metadata"]["host"] for one in found["wrapped_answers_of"]] == ["h1"]
    assert found["signature_fits"] == [{"transit_key": "asc.prod", "key_version": 1}]


@pytest.fixture
def engine(scene: Audited, auditor: User, engine_mount: str, token_with: TokenWith) -> Audited:
    """The same with the engine, and a key in it, as `sales`."""
    found = replace(scene, layout=scene.layout._replace(engine_mount=engine_mount))
    text = auditor.config_file.read_text(encoding="utf-8")
    auditor.config_file.write_text(text.replace("[store]\n", f'[store]\nengine_mount = "{engine_mount}"\n'), "utf-8")
    auditor.use(token_with(found.policy("auditor")))
    found.import_key("sales", new_key(), keys.KEY_ID, Custody.ENGINE, time.time())
    return found


def test_a_token_of_the_engine(engine: Audited, auditor: User) -> None:
    token, mount = leaked(engine, "sales"), engine.layout.engine_mount
    file = saved(auditor, token)
    done = auditor.does(*asked(engine, file))
    rows = words(done.out)
    assert "given by the engine to" in rows
    assert {"role sales", f"engine mount {mount}", "key version 1", f"path {mount}/token/sales"} <= {*rows}
    assert "metadata host build-7\\x1b[2J" in rows
    assert [row for row in rows if row.startswith(f"lease {mount}/token/sales/")]
    assert not [part for part in token.value.reveal().split(".") if part in done.out]
    found = auditor.does(*asked(engine, file, "--json")).json
    (signed,) = found["signed_by"]
    assert (signed["role"], signed["engine_mount"], signed["namespace"]) == ("sales", mount, "")
    assert signed["lease_id"].startswith(f"{mount}/token/sales/")
    assert (signed["metadata"]["role_name"], signed["presigned_seconds"]) == ("nightly", None)
    assert found["keys"] == [{"name": "sales", "custody": "engine", "current": True}]
    assert found["signature_fits"] == [{"engine_key": "sales", "key_version": 1}]
    assert found["in_clear"] is False


def test_live_tokens_in_the_log_are_told(engine: Audited, auditor: User) -> None:
    where = f"sys/mounts/{engine.layout.engine_mount}/tune"
    engine.root("POST", where, {"audit_non_hmac_response_keys": ["token"]})
    token = leaked(engine, "sales")
    engine.root("POST", where, {"audit_non_hmac_response_keys": []})
    file = saved(auditor, token)
    done = auditor.does(*asked(engine, file))
    assert [row for row in words(done.out) if row.startswith("LIVE TOKENS IN THE LOG")]
    assert not [part for part in token.value.reveal().split(".") if part in done.out]
    assert auditor.does(*asked(engine, file, "--json")).json["in_clear"] is True


def test_reads_that_may_have_given_it_are_listed(engine: Audited, auditor: User) -> None:
    token = leaked(engine, "sales")
    file = Path(saved(auditor, token))
    file.write_text(token.value.reveal()[:-20], encoding="ascii")
    done = auditor(*asked(engine, str(file)))
    check_failure(done, out=True)
    assert (done.code, "who was given this token" in done.error) == (7, True)
    assert "token of the same key and expiry given to (this signature is not in the log)" in words(done.out)
    found = auditor(*asked(engine, str(file), "--json")).json
    assert {call["metadata"]["role_name"] for call in found["same_expiry_given_to"]} == {"nightly"}


def test_what_can_go_wrong(scene: Audited, auditor: User, key: PrivateKey, token_with: TokenWith) -> None:
    file = saved(auditor, leaked(scene))
    auditor.fails(2, "audit", "trace", file)
    auditor.fails(2, *asked(scene, str(auditor.home / "missing.jwt")))
    (auditor.home / "none.jwt").write_text("nothing here", encoding="ascii")
    assert "there is no token" in auditor.fails(3, *asked(scene, str(auditor.home / "none.jwt"))).error
    assert "cannot be read" in auditor.fails(2, *asked(scene, file, "--audit-log", "nowhere.log")).error
    assert "no audit device" in auditor.fails(2, *asked(scene, file, "--device", "nope")).error
    assert "vault audit list" in auditor.fails(2, *asked(scene, file, "--device", "nope")).hint
    assert "audit device" in auditor.fails(2, *asked(scene, file, "--device", "../x")).error
    auditor.use(token_with(NO_RIGHTS))
    assert "auditor" in auditor.fails(6, *asked(scene, file)).hint


def test_the_log_that_is_there_several_times_is_read_once(scene: Audited, auditor: User, key: PrivateKey) -> None:
    file = saved(auditor, leaked(scene))
    done = auditor.does(*asked(scene, file, "--audit-log", str(scene.log), "--json"))
    assert len(json.loads(done.out)["logs"]) == 1


def test_a_store_in_a_namespace(scene: Audited, user: User, root: Root) -> None:
    """The hashes come from the root namespace, the records from the team's."""
    team_name = scene.approle
    root("POST", f"sys/namespaces/{team_name}", {})
    root("POST", f"{team_name}/sys/mounts/{user.mount}", {"type": "kv", "options": {"version": "2"}})
    root("POST", f"{team_name}/sys/mounts/asc-transit", {"type": "transit"})
    wait_for_kv(scene.server, f"{team_name}/{user.mount}")
    text = user.config_file.read_text(encoding="utf-8")
    user.config_file.write_text(text.replace("[vault]\n", f'[vault]\nnamespace = "{team_name}"\n'), encoding="utf-8")
    file = user.key_file()
    user.does("key", "import", str(file), "prod", "--issuer-id", keys.ISSUER_ID, "--custody", "transit")
    token = user.does("mint", "prod").out
    found = user.does(*asked(scene, "-", "--json"), stdin=token.encode()).json
    assert [signed["path"] for signed in found["signed_by"]] == ["asc-transit/sign/asc.prod"]
    root("DELETE", f"sys/namespaces/{team_name}")
