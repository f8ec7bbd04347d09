"""What each path answers and refuses, over a storage in memory."""

from typing import Any

import pytest

from tests import keys
from tests.bad_keys import BAD
from tests.engine.mounted import NOW, SCOPE, Mounted, done, facts, p8, refused, team_key, verified, with_role
from vault_asc import __version__
from vault_asc.engine.request import (
    MissingError,
    Operation,
    Request,
    UnsupportedOperationError,
    UnsupportedPathError,
)
from vault_asc.errors import PrivateKeyError
from vault_asc.key.identity import APP_STORE_CONNECT, ENTERPRISE
from vault_asc.key.private_key import parse_private_key
from vault_asc.secret import MASK

OTHER_SCOPE = "GET /v1/builds"


# -- tokens


def test_a_token_verifies_and_has_exactly_the_claims_of_its_role() -> None:
    mounted = with_role()
    answer = mounted.read("token/sales")
    claims = verified(answer, mounted.read("keys/prod")["public_key"])
    issued_at = int(NOW) - 60
    assert claims == {
        "iss": keys.ISSUER_ID,
        "iat": issued_at,
        "exp": issued_at + 1140,
        "aud": APP_STORE_CONNECT,
        "scope": SCOPE,
    }
    assert answer == {
        "token": answer["token"],
        "key_id": keys.KEY_ID,
        "key_version": 1,
        "expires_at": claims["exp"],
        "scope": SCOPE,
        "header": f"Authorization: Bearer {answer['token']}",
    }


def test_a_write_mints_like_a_read() -> None:
    mounted = with_role()
    assert mounted.write("token/sales", lifetime=300)["expires_at"] == int(NOW) + 240


def test_the_lease_lasts_half_of_the_usable_life() -> None:
    lease = with_role().token("sales").lease
    assert lease is not None
    assert lease.ttl_seconds == 540
    assert lease.internal == {"role": "sales"}
    narrowed = with_role().token("sales", lifetime="5m").lease
    assert narrowed is not None
    assert narrowed.ttl_seconds == 120


def test_a_role_without_leases_gives_none() -> None:
    assert with_role(lease=False).token("sales").lease is None
    assert with_role(lease="false").token("sales").lease is None


def test_the_configuration_holds_for_tokens() -> None:
    mounted = with_role()
    mounted.write("config", lifetime=900, backdate=100, lease_share=0.25)
    response = mounted.token("sales")
    claims = verified(facts(response), mounted.read("keys/prod")["public_key"])
    assert (claims["iat"], claims["exp"] - claims["iat"]) == (int(NOW) - 100, 900)
    assert response.lease is not None
    assert response.lease.ttl_seconds == 200
    mounted.write("config", max_lifetime=600, lifetime=600)
    assert mounted.read("token/sales")["expires_at"] == int(NOW) - 100 + 600


def test_a_lower_maximum_of_the_mount_holds_for_roles_that_allow_more() -> None:
    mounted = with_role(lifetime=1000, max_lifetime=1200)
    mounted.write("config", lifetime=500, max_lifetime=600)
    assert mounted.read("token/sales")["expires_at"] == int(NOW) + 540
    assert "at most 600s" in str(refused(mounted, Operation.READ, "token/sales", lifetime=601).hint)


@pytest.mark.parametrize(
    ("role", "asked", "lifetime"),
    [
        ({}, {}, 1140),
        ({}, {"lifetime": 1140}, 1140),
        ({}, {"lifetime": "600"}, 600),
        ({}, {"lifetime": "10m"}, 600),
        ({"lifetime": 600}, {}, 600),
        ({"lifetime": "10m"}, {"lifetime": 65}, 65),
        ({"lifetime": 600, "max_lifetime": 1200}, {}, 600),
        ({"lifetime": 600, "max_lifetime": 1200}, {"lifetime": 1200}, 1200),
        ({"max_lifetime": 300}, {}, 300),
    ],
)
def test_lifetimes_that_a_role_gives(role: dict[str, Any], asked: dict[str, Any], lifetime: int) -> None:
    mounted = with_role(**role)
    assert mounted.read("token/sales", **asked)["expires_at"] == int(NOW) - 60 + lifetime


@pytest.mark.parametrize(
    ("role", "asked"),
    [
        ({}, 1141),
        ({"lifetime": 600}, 601),
        ({"lifetime": 600, "max_lifetime": 700}, 701),
        ({"max_lifetime": 300}, "301"),
        ({}, 10**400),
        ({}, 64),
        ({}, 0),
        ({}, -5),
    ],
)
def test_lifetimes_beyond_the_role(role: dict[str, Any], asked: object) -> None:
    assert refused(with_role(**role), Operation.READ, "token/sales", lifetime=asked).status == 400


def test_a_scope_is_narrowed_and_never_widened() -> None:
    mounted = with_role()
    assert mounted.read("token/sales", scope=SCOPE[1])["scope"] == SCOPE[1:]
    assert mounted.read("token/sales", scope=[SCOPE[1], SCOPE[1]])["scope"] == SCOPE[1:]
    for scope in (OTHER_SCOPE, [*SCOPE, OTHER_SCOPE], [], "", "GET /v1/apps?limit=1", "*"):
        assert refused(mounted, Operation.READ, "token/sales", scope=scope).status == 400


def test_any_scope_narrows_a_role_without_one() -> None:
    mounted = with_role(scope=[])
    public = mounted.read("keys/prod")["public_key"]
    assert "scope" not in verified(mounted.read("token/sales"), public)
    assert verified(mounted.read("token/sales", scope=OTHER_SCOPE), public)["scope"] == [OTHER_SCOPE]


def test_a_role_that_does_not_exist() -> None:
    for operation in (Operation.READ, Operation.UPDATE):
        error = refused(with_role(), operation, "token/nobody")
        assert isinstance(error, MissingError)
        assert (error.status, error.message) == (404, 'there is no role "nobody"')
        assert "asc/roles" in error.text


def test_the_storage_is_not_asked_again_for_a_token() -> None:
    mounted = with_role()
    mounted.read("token/sales")
    mounted.storage.reads = 0
    for _ in range(3):
        mounted.read("token/sales", lifetime=300)
    assert mounted.storage.reads == 0


def test_revocation_succeeds_whatever_is_left_and_renewal_does_not() -> None:
    mounted = with_role()
    mounted.delete("roles/sales")
    mounted.storage.reads = 0
    for path in ("token/sales", "token/never-was", "", "\0/../x"):
        assert mounted.ask(Operation.REVOKE, path) is None
    assert mounted.storage.reads == 0
    assert "not renewable" in refused(mounted, Operation.RENEW, "token/sales").message


# -- keys


def test_a_key_is_read_by_its_public_facts_alone() -> None:
    mounted = Mounted()
    pem = keys.new_p8_pem()
    written = mounted.write("keys/prod", **team_key(pem))
    key = parse_private_key(pem)
    read = mounted.read("keys/prod")
    assert read == {
        "version": 1,
        "key_id": keys.KEY_ID,
        "issuer_id": keys.ISSUER_ID,
        "key_type": "team",
        "audience": APP_STORE_CONNECT,
        "spki_sha256": key.spki_sha256,
        "public_key": key.public_key_pem(),
        "imported_at": "2026-03-01T12:00:00Z",
        "imported_by": "userpass-ada",
        "enabled": True,
        "settled": True,
        "owner": "",
        "previous": None,
        "staged": None,
    }
    assert written == {**read, "changed": True}


def test_keys_are_seal_wrapped_and_nothing_else_is() -> None:
    mounted = with_role()
    mounted.write("config", lifetime=900)
    mounted.write("keys/prod", private_key=p8(), key_id=keys.OTHER_KEY_ID)
    assert "key/prod" in mounted.storage.sealed
    for step in ("rollback", "promote", "retire"):
        mounted.write(f"keys/prod/{step}")
        assert mounted.storage.sealed == {"key/prod"} == {k for k in mounted.storage.values if k.startswith("key/")}
    assert mounted.backend.special_paths() == (("key/",), (), ())


@pytest.mark.parametrize("form", keys.GOOD)
def test_a_key_may_come_in_every_form_that_import_takes(form: str) -> None:
    mounted = Mounted()
    answer = mounted.write("keys/prod", **team_key(keys.GOOD[form]()))
    assert answer["spki_sha256"] == keys.private_key().spki_sha256


@pytest.mark.parametrize("form", BAD)
def test_a_key_that_import_refuses_is_refused_in_the_same_words(form: str) -> None:
    data = BAD[form]()
    with pytest.raises(PrivateKeyError) as expected:
        parse_private_key(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pytest.skip("no JSON string can hold this")
    error = refused(Mounted(), Operation.CREATE, "keys/prod", **{**team_key(), "private_key": text})
    assert error.message == expected.value.message


def test_hints_name_fields_and_no_options() -> None:
    error = refused(Mounted(), Operation.CREATE, "keys/prod", private_key=p8(), key_id=keys.KEY_ID)
    assert "pass issuer_id" in str(error.hint)
    assert "individual" in str(error.hint)
    assert "--" not in error.text


@pytest.mark.parametrize(
    "data",
    [
        {"private_key": ...},
        {"private_key": ..., "key_id": keys.KEY_ID},
        {"private_key": ..., "key_id": keys.ISSUER_ID, "issuer_id": keys.KEY_ID},
        {"private_key": ..., "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID, "individual": True},
        {"private_key": ..., "key_id": keys.KEY_ID, "issuer_id": "$ISSUER"},
        {"private_key": ..., "key_id": keys.KEY_ID, "individual": "yes"},
        {"private_key": ..., "key_id": keys.KEY_ID, "individual": True, "audience": "appstore"},
        {"private_key": ..., "key_id": keys.KEY_ID, "individual": True, "audience": ENTERPRISE, "enterprise": False},
        {"private_key": ..., "key_id": keys.KEY_ID, "individual": True, "team": True},
        {"private_key": "", "key_id": keys.KEY_ID, "individual": True},
        {"private_key": None, "key_id": keys.KEY_ID, "individual": True},
        {"private_key": ["a"], "key_id": keys.KEY_ID, "individual": True},
        {"private_key": "\ud800", "key_id": keys.KEY_ID, "individual": True},
        {"private_key": "x" * 70_000, "key_id": keys.KEY_ID, "individual": True},
        {"key_id": keys.KEY_ID, "individual": True},
        {},
    ],
)
def test_first_writes_that_are_refused(data: dict[str, Any]) -> None:
    given = {name: p8() if value is ... else value for name, value in data.items()}
    assert refused(Mounted(), Operation.CREATE, "keys/prod", **given).status == 400


def test_individual_and_enterprise_keys() -> None:
    mounted = Mounted()
    mounted.write("keys/one", private_key=p8(), key_id=keys.KEY_ID, individual="true", enterprise=True)
    read = mounted.read("keys/one")
    assert (read["key_type"], read["audience"], "issuer_id" in read) == ("individual", ENTERPRISE, False)
    mounted.write("roles/one", key="one")
    claims = verified(mounted.read("token/one"), read["public_key"])
    assert (claims["sub"], claims["aud"], "iss" in claims) == ("user", ENTERPRISE, False)


def test_the_same_key_again_changes_nothing() -> None:
    mounted = Mounted()
    data = team_key()
    mounted.write("keys/prod", **data)
    writes = mounted.storage.writes
    mounted.now += 100
    for again in (data, {"private_key": data["private_key"]}, {"key_id": keys.KEY_ID}, {}):
        answer = mounted.write("keys/prod", **again)
        assert (answer["changed"], answer["version"]) == (False, 1)
    assert mounted.storage.writes == writes


def test_a_new_key_is_a_new_version_and_the_previous_one_is_kept() -> None:
    mounted = with_role()
    first = mounted.read("keys/prod")
    mounted.read("token/sales")
    mounted.write("keys/prod", private_key=p8(), key_id=keys.OTHER_KEY_ID)
    second = mounted.read("keys/prod")
    assert (second["version"], second["key_id"], second["issuer_id"]) == (2, keys.OTHER_KEY_ID, keys.ISSUER_ID)
    assert second["previous"] == {
        k: v for k, v in first.items() if k not in {"enabled", "settled", "owner", "previous", "staged"}
    }
    answer = mounted.read("token/sales")
    assert answer["key_id"] == keys.OTHER_KEY_ID
    verified(answer, second["public_key"])


def test_a_new_key_needs_a_new_key_id() -> None:
    mounted = with_role()
    for ids in ({}, {"key_id": keys.KEY_ID}):
        error = refused(mounted, Operation.UPDATE, "keys/prod", private_key=p8(), **ids)
        assert "the key differs" in error.message


def test_a_mistyped_id_is_corrected_without_the_key() -> None:
    mounted = with_role()
    mounted.write("keys/prod", key_id=keys.OTHER_KEY_ID)
    read = mounted.read("keys/prod")
    assert (read["version"], read["key_id"], read["previous"]["key_id"]) == (2, keys.OTHER_KEY_ID, keys.KEY_ID)
    assert read["spki_sha256"] == read["previous"]["spki_sha256"]
    mounted.write("keys/prod", individual=True)
    assert mounted.read("keys/prod")["key_type"] == "individual"
    mounted.write("keys/prod", issuer_id=keys.ISSUER_ID)
    assert mounted.read("keys/prod")["key_type"] == "team"


def test_a_key_in_use_is_not_deleted() -> None:
    mounted = with_role()
    error = refused(mounted, Operation.DELETE, "keys/prod")
    assert error.message == 'key "prod" is used by role "sales"; nothing was deleted'
    for number in range(6):
        mounted.write(f"roles/r{number}", key="prod")
    mounted.write("keys/spare", **team_key())
    mounted.write("roles/r0", key="spare")
    message = refused(mounted, Operation.DELETE, "keys/prod").message
    assert '"r1", "r2", "r3", "r4", "r5" and 1 more' in message
    assert '"r0"' not in message


def test_a_key_is_deleted_with_all_its_versions() -> None:
    mounted = with_role()
    mounted.write("keys/prod", private_key=p8(), key_id=keys.OTHER_KEY_ID)
    mounted.delete("roles/sales")
    mounted.delete("keys/prod")
    assert not [key for key in mounted.storage.values if "prod" in key]
    assert mounted.ask(Operation.READ, "keys/prod") is None
    mounted.delete("keys/prod")


def test_an_unusual_key_id_is_worth_a_warning() -> None:
    mounted = Mounted()
    response = mounted.ask(Operation.UPDATE, "keys/prod", team_key(key_id="abc"))
    assert response is not None
    assert 'key ID "abc" does not look like' in response.warnings[0]


# -- roles


def test_a_role_is_read_as_it_was_written() -> None:
    mounted = with_role(lifetime="10m", max_lifetime=900, lease=False)
    read = mounted.read("roles/sales")
    assert read == {"key": "prod", "scope": SCOPE, "lifetime": 600, "max_lifetime": 900, "lease": False}
    mounted.write("roles/sales", **read)
    assert mounted.read("roles/sales") == read


def test_a_role_keeps_what_a_write_does_not_name() -> None:
    mounted = with_role(lifetime=600)
    mounted.write("roles/sales", lease=False)
    mounted.write("roles/sales", scope="")
    mounted.write("roles/sales", lifetime=0)
    assert mounted.read("roles/sales") == {
        "key": "prod",
        "scope": [],
        "lifetime": 0,
        "max_lifetime": 0,
        "lease": False,
    }


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scope": SCOPE},
        {"key": "missing"},
        {"key": "Prod"},
        {"key": "../prod"},
        {"key": "prod", "scop": "GET /v1/apps"},
        {"key": "prod", "scope": "POST /v1/apps"},
        {"key": "prod", "scope": ["GET /v1/apps", 5]},
        {"key": "prod", "scope": {"GET /v1/apps": 1}},
        {"key": "prod", "scope": [f"GET /v1/apps/{n}" for n in range(101)]},
        {"key": "prod", "lifetime": 64},
        {"key": "prod", "lifetime": 1201},
        {"key": "prod", "lifetime": 1.5},
        {"key": "prod", "lifetime": True},
        {"key": "prod", "lifetime": "ten minutes"},
        {"key": "prod", "max_lifetime": 1201},
        {"key": "prod", "lifetime": 700, "max_lifetime": 600},
        {"key": "prod", "lease": "no"},
        {"key": "prod", "lease": 0},
        {"key": "prod", "lease": None},
    ],
)
def test_roles_that_are_refused(data: dict[str, Any]) -> None:
    mounted = Mounted()
    mounted.write("keys/prod", **team_key())
    assert refused(mounted, Operation.CREATE, "roles/new", **data).status == 400


def test_an_unknown_field_has_the_near_one_as_a_hint() -> None:
    assert refused(with_role(), Operation.UPDATE, "roles/sales", scop="x").hint == 'did you mean "scope"?'
    assert refused(with_role(), Operation.UPDATE, "config", zzz=1).hint == (
        "fields here: backdate, lease_share, lifetime, max_lifetime"
    )


def test_a_role_above_the_maximum_of_the_mount() -> None:
    mounted = with_role()
    mounted.write("config", max_lifetime=600, lifetime=500)
    assert "maximum of 600 s" in refused(mounted, Operation.UPDATE, "roles/sales", lifetime=601).message


def test_lists() -> None:
    mounted = Mounted()
    assert mounted.ask(Operation.LIST, "keys/") is None
    assert mounted.ask(Operation.LIST, "roles/") is None
    for name in ("b", "a"):
        mounted.write(f"keys/{name}", **team_key())
        mounted.write(f"roles/{name}2", key=name)
    assert mounted.names("keys/") == mounted.names("keys") == ["a", "b"]
    assert mounted.names("roles/") == ["a2", "b2"]


# -- config and info


def test_the_configuration_and_its_defaults() -> None:
    mounted = Mounted()
    defaults = {"lifetime": 1140, "max_lifetime": 1200, "backdate": 60, "lease_share": 0.5}
    assert mounted.read("config") == defaults
    mounted.write("config", lifetime="15m", lease_share="0.4")
    mounted.write("config", backdate=30)
    assert mounted.read("config") == {"lifetime": 900, "max_lifetime": 1200, "backdate": 30, "lease_share": 0.4}
    mounted.delete("config")
    assert mounted.read("config") == defaults
    assert mounted.storage.values == {}


@pytest.mark.parametrize(
    "data",
    [
        {"lifetime": 1201},
        {"lifetime": 64},
        {"lifetime": "1e3"},
        {"max_lifetime": 1201},
        {"max_lifetime": 1139},
        {"backdate": 9},
        {"backdate": 301},
        {"lifetime": 200, "backdate": 200},
        {"lease_share": 0.05},
        {"lease_share": 0.95},
        {"lease_share": float("nan")},
        {"lease_share": float("inf")},
        {"lease_share": "half"},
        {"lease_share": "nan"},
        {"lease_share": True},
        {"ttl": 5},
    ],
)
def test_configurations_that_are_refused(data: dict[str, Any]) -> None:
    assert refused(Mounted(), Operation.UPDATE, "config", **data).status == 400


def test_info() -> None:
    assert Mounted().read("info") == {"version": __version__, "commit": "abc"}


# -- create or update, other paths and operations


def test_what_exists() -> None:
    mounted = with_role()

    def exists(path: str) -> bool | None:
        return done(mounted.backend.exists(mounted.request(Operation.UPDATE, path, {"nonsense": 1})))

    assert exists("keys/prod") is exists("roles/sales") is True
    assert exists("keys/other") is exists("roles/other") is False
    for always in ("config", "token/sales", "token/other"):
        assert exists(always) is True
    for change in ("promote", "rollback", "retire"):
        assert exists(f"keys/prod/{change}") is exists(f"keys/other/{change}") is True
    # Whoever may only create makes new keys, and neither replaces one nor puts another beside it.
    assert exists("keys/prod/stage") is True
    assert exists("keys/other/stage") is False
    for never in ("info", "keys", "keys/", "roles/", "nowhere", "", "keys/prod/x"):
        assert exists(never) is None
    mounted.storage.reads = 0
    assert exists("keys/UPPER") is exists("roles/a b") is exists("keys/" + "x" * 10_000) is False
    assert mounted.storage.reads == 0


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/config",
        "config/",
        "config/x",
        "info/",
        "keys/prod/",
        "keys/prod/rollback/",
        "keys/prod/rollback/x",
        "keys/prod/stage/",
        "keys/prod/promote/2",
        "roles/sales/stage",
        "keys/prod/other",
        "keys//rollback",
        "keys//stage",
        "keys//",
        "roles/sales/",
        "roles/sales/rollback",
        "token",
        "token/",
        "token/sales/",
        "Token/sales",
        "token/sales/x",
        "nowhere",
        ":name",
        "a/" * 10_000,
    ],
)
def test_paths_that_do_not_exist(path: str) -> None:
    """A slash too many is one of them: a policy that denies the path without it would be passed by."""
    for operation in (Operation.READ, Operation.UPDATE, Operation.DELETE):
        assert isinstance(refused(with_role(), operation, path), UnsupportedPathError)


@pytest.mark.parametrize(
    "name", ["Prod", "-a", "a.b", "ä", "a\0b", "a\n", "keys ", "..", "x" * 64, "x" * 10_000, "\ud800"]
)
def test_names_that_are_not_allowed(name: str) -> None:
    changes = [f"keys/{name}/{change}" for change in ("stage", "promote", "rollback", "retire")]
    for path in (f"keys/{name}", f"roles/{name}", f"token/{name}", *changes):
        for operation in (Operation.READ, Operation.UPDATE):
            if path in changes and operation is Operation.READ:
                continue
            error = refused(with_role(), operation, path)
            assert "is not allowed" in error.message
            assert len(error.text) < 400


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        (Operation.ROLLBACK, ""),
        (Operation.ROLLBACK, "keys/prod"),
        (Operation.PATCH, "config"),
        (Operation.PATCH, "keys/prod"),
        (Operation.PATCH, "roles/sales"),
        (Operation.READ, "keys"),
        (Operation.READ, "keys/"),
        (Operation.UPDATE, "roles/"),
        (Operation.LIST, "config"),
        (Operation.LIST, "keys/prod"),
        (Operation.DELETE, "token/sales"),
        (Operation.DELETE, "info"),
        (Operation.UPDATE, "info"),
        (Operation.READ, "keys/prod/rollback"),
        (Operation.READ, "keys/prod/stage"),
        (Operation.DELETE, "keys/prod/stage"),
        (Operation.LIST, "keys/prod/promote"),
        (Operation.PATCH, "keys/prod/retire"),
    ],
)
def test_operations_that_a_path_has_not(operation: Operation, path: str) -> None:
    error = refused(with_role(), operation, path)
    assert isinstance(error, UnsupportedOperationError)
    assert error.status == 405


def test_neither_requests_nor_answers_show_what_they_carry() -> None:
    mounted = with_role()
    pem = p8()
    request = Request(Operation.UPDATE, "keys/prod", {"private_key": pem}, mounted.storage)
    assert "PRIVATE" not in repr(request)
    response = mounted.token("sales")
    assert "eyJ" not in repr(response)
    signing = done(mounted.backend._mount.signing_key(mounted.storage, "prod"))
    assert MASK in repr(signing)
    assert "PRIVATE" not in repr(signing)
