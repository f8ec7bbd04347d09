"""Why the shipped policies are written as they are: what policies that look like them let through, on a real server."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import requests

from tests.conftest import Root, TokenWith
from tests.integration.entities import token_of_team
from tests.integration.transit_table import SIGN, without
from tests.support import new_key
from tests.vaults import VaultUnderTest
from vault_asc import policy
from vault_asc.key.private_key import PrivateKey, parse_private_key
from vault_asc.key.wrapping import wrapped
from vault_asc.names import Custody
from vault_asc.secret import Secret

KEYS: Final = ("asc.prod", "asc.team-a.prod", "asc.team-a.sub.prod", "asc.team-ab.prod")
CONFIG: Final = "keys/asc.prod/config"
DER_SEQUENCE: Final = 0x30
JWS_ONLY: Final = """
  allowed_parameters = {
    "input" = []  "marshaling_algorithm" = ["jws"]  "hash_algorithm" = ["sha2-256"]  "key_version" = []
  }
"""
ALL_REQUIRED: Final = 'required_parameters = ["input", "marshaling_algorithm", "hash_algorithm", "key_version"]'

Answer = tuple[int, Any]
Send = Callable[..., Answer]
"""`send(token, method, path, body=None)`: status and data of one call, the path below the Transit mount."""


@pytest.fixture
def send(vault: VaultUnderTest, transit_mount: str) -> Iterator[Send]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(vault.ca_file) if vault.ca_file else True

        def call(token: Secret, method: str, path: str, body: object = None, mount: str = transit_mount) -> Answer:
            answer = session.request(
                method,
                f"{vault.address}/v1/{mount}/{path}",
                json=body,
                headers={"X-Vault-Token": token.reveal()},
                timeout=10,
            )
            return answer.status_code, answer.json().get("data") if answer.content else None

        yield call


@pytest.fixture
def key(root: Root, transit_mount: str) -> PrivateKey:
    """What lies in Transit under all the names, once more as version 2 of `asc.prod`."""
    made = new_key()
    body = {"ciphertext": ciphertext(root, transit_mount, made), "hash_function": "SHA256"}
    for name in KEYS:
        root("POST", f"{transit_mount}/keys/{name}/import", {**body, "type": "ecdsa-p256"})
    root("POST", f"{transit_mount}/keys/asc.prod/import_version", body)
    return made


def ciphertext(root: Root, transit_mount: str, key: PrivateKey) -> str:
    return wrapped(key, root("GET", f"{transit_mount}/wrapping_key")["data"]["public_key"])


def stanza(path: str, *capabilities: str, more: str = "") -> str:
    return f'path "{path}" {{\n  capabilities = {json.dumps(capabilities)}\n  {more}\n}}\n'


def shipped(role: str, kv: str, transit: str, *custodies: Custody, key: str | None = None) -> str:
    return policy.render(
        role, mount=kv, prefix="asc", key=key, transit_mount=transit, custodies=custodies or (Custody.TRANSIT,)
    )


def test_naive_admin_of_keys_gets_the_private_key_out(
    send: Send, vault: VaultUnderTest, key: PrivateKey, transit_mount: str, token_with: TokenWith, kv_mount: str
) -> None:
    export = stanza(f"{transit_mount}/export/signing-key/+", "read")
    ours = token_with(*(shipped(role, kv_mount, transit_mount) for role in ("key-admin", "registrar")), export)
    assert send(ours, "POST", CONFIG, {"exportable": True})[0] == 403
    assert send(ours, "GET", "export/signing-key/asc.prod")[0] == 400
    naive = token_with(stanza(f"{transit_mount}/keys/*", "create", "read", "update"), export)
    assert send(naive, "GET", "export/signing-key/asc.prod")[0] == 400
    assert send(naive, "POST", CONFIG, {"exportable": True})[0] == 200
    status, data = send(naive, "GET", "export/signing-key/asc.prod")
    assert status == 200
    # The only names here are booleans: what pytest shows of a failure must not be the key.
    came_out = parse_private_key(data["keys"]["1"].encode()).spki_sha256 == key.spki_sha256
    assert came_out


def test_glob_over_the_keys_of_a_team_covers_their_settings(
    send: Send, key: PrivateKey, transit_mount: str, token_with: TokenWith
) -> None:
    token = token_with(stanza(f"{transit_mount}/keys/asc.team-a.*", "read", "update"))
    assert send(token, "GET", "keys/asc.team-a.prod")[0] == 200
    assert send(token, "POST", "keys/asc.team-a.prod/config", {"exportable": True})[0] == 200


def test_glob_without_a_separator_is_also_another_team(
    send: Send, root: Root, kv_mount: str, token_with: TokenWith
) -> None:
    root("POST", f"{kv_mount}/data/asc/team-ab/private/prod", {"data": {"value": "x"}})
    token = token_with(stanza(f"{kv_mount}/data/asc/team-a*", "read"))
    assert send(token, "GET", "data/asc/team-ab/private/prod", mount=kv_mount)[0] == 200


def test_plus_inside_a_segment_is_a_plain_character(
    send: Send, root: Root, key: PrivateKey, transit_mount: str, token_with: TokenWith
) -> None:
    token = token_with(stanza(f"{transit_mount}/sign/asc.team-a.+", "update"))
    assert send(token, "POST", "sign/asc.team-a.prod", SIGN)[0] == 403
    paths = [f"{transit_mount}/sign/asc.team-a.{name}" for name in ("+", "prod")]
    body = {"token": token.reveal(), "paths": paths}
    assert [root("POST", "sys/capabilities", body)["data"][path] for path in paths] == [["update"], ["deny"]]


@pytest.mark.parametrize("glob", ["sign/asc.team-a.*", "sign/asc.team-a.prod*", "sign/asc.team-a.prod/*"])
def test_glob_on_sign_covers_other_hashes_whatever_the_body_is_held_to(
    send: Send, vault: VaultUnderTest, key: PrivateKey, transit_mount: str, token_with: TokenWith, glob: str
) -> None:
    token = token_with(stanza(f"{transit_mount}/{glob}", "update", more=ALL_REQUIRED + JWS_ONLY))
    status, data = send(token, "POST", "sign/asc.team-a.prod/sha2-512", SIGN)
    assert status == 200
    body = {**without(SIGN, "hash_algorithm", "key_version"), "signature": data["signature"]}
    for hash_algorithm, valid in (("sha2-512", True), ("sha2-256", False)):
        answer = send(vault.root_token, "POST", "verify/asc.team-a.prod", {**body, "hash_algorithm": hash_algorithm})
        assert answer == (200, {"valid": valid})


def test_glob_on_sign_for_the_callers_team_is_also_every_store_below_it(
    send: Send, root: Root, key: PrivateKey, transit_mount: str
) -> None:
    path = f"{transit_mount}/sign/asc.{{{{identity.entity.metadata.team}}}}.*"
    # Further stanzas cannot take back what the glob gives: the narrower path wins, deny or not.
    denied = [stanza(f"{transit_mount}/sign/{wide}", "deny") for wide in ("+/+", "+/sha2-512", "*")]
    text = stanza(path, "update", more=ALL_REQUIRED + JWS_ONLY) + "".join(denied)
    token = token_of_team(root, text, "team-a").token
    for name, status in (("team-a.prod", 200), ("team-a.sub.prod", 200), ("team-ab.prod", 403)):
        assert send(token, "POST", f"sign/asc.{name}", SIGN)[0] == status
    assert send(token, "POST", "sign/asc.team-a.prod/sha2-512", SIGN)[0] == 200


def test_what_is_not_required_takes_its_default(
    send: Send, key: PrivateKey, transit_mount: str, token_with: TokenWith
) -> None:
    token = token_with(stanza(f"{transit_mount}/sign/asc.prod", "update", more=JWS_ONLY))
    status, data = send(token, "POST", "sign/asc.prod", without(SIGN, "marshaling_algorithm"))
    assert status == 200
    # ASN.1, which no JWT library takes for a signature.
    assert base64.b64decode(data["signature"].split(":")[2])[0] == DER_SEQUENCE
    status, data = send(token, "POST", "sign/asc.prod", without(SIGN, "key_version"))
    assert (status, data["key_version"]) == (200, 2)  # the latest, which may only be staged


def test_deny_list_lets_through_what_its_writer_has_not_thought_of(
    send: Send, root: Root, key: PrivateKey, transit_mount: str, token_with: TokenWith
) -> None:
    denied = 'denied_parameters = { "exportable" = [] }'
    token = token_with(stanza(f"{transit_mount}/keys/+/import", "update", more=denied))
    body = {
        "ciphertext": ciphertext(root, transit_mount, new_key()),
        "hash_function": "SHA256",
        "type": "ecdsa-p256",
    }
    # An empty list is every value: a client must leave the parameter out.
    for value in (True, False):
        assert send(token, "POST", "keys/asc.new/import", {**body, "exportable": value})[0] == 403
    assert send(token, "POST", "keys/asc.new/import", {**body, "allow_plaintext_backup": True})[0] == 204
    assert send(token, "POST", "keys/asc.newer/import", body)[0] == 204


def test_parameters_in_the_query_are_none(
    send: Send, vault: VaultUnderTest, key: PrivateKey, transit_mount: str, token_with: TokenWith, kv_mount: str
) -> None:
    minter = token_with(shipped("minter", kv_mount, transit_mount, key="prod"))
    status, data = send(minter, "POST", "sign/asc.prod?hash_algorithm=sha2-512&prehashed=true&key_version=2", SIGN)
    assert (status, data["key_version"]) == (200, 1)
    body = {**without(SIGN, "key_version"), "signature": data["signature"]}
    assert send(vault.root_token, "POST", "verify/asc.prod", body) == (200, {"valid": True})
    admin = token_with(shipped("key-admin", kv_mount, transit_mount))
    plain = {"hash_function": "SHA256", "type": "ecdsa-p256"}
    wrapping_key = send(admin, "GET", "wrapping_key")[1]["public_key"]
    body = {**plain, "ciphertext": wrapped(new_key(), wrapping_key)}
    assert send(admin, "POST", "keys/asc.new/import?exportable=true", body)[0] == 204
    assert send(admin, "GET", "keys/asc.new")[1]["exportable"] is False


def test_wide_deny_loses_to_a_narrow_allow(
    send: Send, root: Root, kv_mount: str, transit_mount: str, token_with: TokenWith
) -> None:
    root("POST", f"{kv_mount}/data/asc/private/prod", {"data": {"value": "x"}})
    allow = stanza(f"{kv_mount}/data/asc/private/prod", "read")
    wide = [stanza(f"{kv_mount}/data/asc/{path}", "deny") for path in ("*", "private/*", "private/+")]
    assert send(token_with(allow, *wide), "GET", "data/asc/private/prod", mount=kv_mount)[0] == 200
    same = stanza(f"{kv_mount}/data/asc/private/prod", "deny")
    assert send(token_with(allow, same), "GET", "data/asc/private/prod", mount=kv_mount)[0] == 403


def test_policy_of_one_key_hides_that_of_all_keys_unless_both_are_of_that_key(
    send: Send, root: Root, key: PrivateKey, kv_mount: str, transit_mount: str, token_with: TokenWith
) -> None:
    root("POST", f"{kv_mount}/data/asc/keys/prod", {"data": {"value": "x"}})
    write = ("POST", "data/asc/keys/prod", {"data": {"value": "y"}})
    retire = ("POST", CONFIG, {"min_encryption_version": 1})
    of_one = [shipped(role, kv_mount, transit_mount, *Custody, key="prod") for role in ("minter", "break-glass")]
    of_all = token_with(shipped("registrar", kv_mount, transit_mount))
    hidden = token_with(shipped("registrar", kv_mount, transit_mount), *of_one)
    added = token_with(shipped("registrar", kv_mount, transit_mount, key="prod"), *of_one)
    for token, status in ((of_all, 200), (hidden, 403), (added, 200)):
        assert send(token, *write, mount=kv_mount)[0] == status
        assert send(token, *retire)[0] == status
    assert send(added, "POST", CONFIG, {"deletion_allowed": False})[0] == 200
    assert send(added, "POST", CONFIG, {"exportable": True})[0] == 403


def test_required_parameters_add_up_over_policies(
    send: Send, key: PrivateKey, transit_mount: str, token_with: TokenWith
) -> None:
    def one(name: str) -> str:
        more = f'required_parameters = ["{name}"]\n  allowed_parameters = {{ "{name}" = [] }}'
        return stanza(f"{transit_mount}/{CONFIG}", "update", more=more)

    token = token_with(one("min_encryption_version"), one("deletion_allowed"))
    assert send(token, "POST", CONFIG, {"min_encryption_version": 1})[0] == 403
    assert send(token, "POST", CONFIG, {"min_encryption_version": 1, "deletion_allowed": False})[0] == 200


def test_no_policy_looks_into_what_is_signed(
    send: Send, key: PrivateKey, kv_mount: str, transit_mount: str, token_with: TokenWith
) -> None:
    for_ever = base64.b64encode(b'{"alg":"ES256"}.{"exp":9999999999}').decode()
    minter = token_with(shipped("minter", kv_mount, transit_mount, key="prod"))
    assert send(minter, "POST", "sign/asc.prod", {**SIGN, "input": for_ever})[0] == 200
