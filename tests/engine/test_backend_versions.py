"""The versions of a key: staged, promoted, rolled back and retired, and tokens by the number of a version."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests import keys
from tests.engine.mounted import NOW, Mounted, done, facts, p8, refused, team_key, verified, with_role
from tests.support import key_id
from vault_asc.engine.request import MissingError, Operation, RequestError
from vault_asc.key.identity import ENTERPRISE
from vault_asc.key.private_key import parse_private_key

SECOND, THIRD = key_id(2), key_id(3)
Versions = tuple[int, int | None, int | None]


def versions(read: dict[str, Any]) -> Versions:
    """Numbers of the current, the previous and the staged version."""
    previous, staged = read["previous"], read["staged"]
    return read["version"], previous and previous["version"], staged and staged["version"]


def new(kid: str) -> dict[str, Any]:
    return {"private_key": p8(), "key_id": kid}


def staged() -> Mounted:
    """A mount with version 1 of the key `prod`, version 2 staged, and the role `sales`."""
    mounted = with_role()
    mounted.write("keys/prod/stage", **new(SECOND))
    return mounted


def promoted() -> Mounted:
    mounted = staged()
    mounted.write("keys/prod/promote")
    return mounted


def warnings(mounted: Mounted, path: str, **data: Any) -> tuple[str, ...]:
    response = mounted.ask(Operation.UPDATE, path, data)
    assert response is not None
    return response.warnings


# -- stage


def test_a_staged_key_is_kept_beside_the_current_one_and_nothing_signs_by_it() -> None:
    mounted = with_role()
    before = mounted.read("keys/prod")
    mounted.now += 3600
    mounted.caller = "approle"
    key = new(SECOND)
    answer = mounted.write("keys/prod/stage", **key)
    read = mounted.read("keys/prod")
    public = parse_private_key(key["private_key"].encode())
    assert answer == {**read, "changed": True}
    assert read == {
        **before,
        "staged": {
            "version": 2,
            "key_id": SECOND,
            "issuer_id": keys.ISSUER_ID,
            "key_type": "team",
            "audience": before["audience"],
            "spki_sha256": public.spki_sha256,
            "public_key": public.public_key_pem(),
            "imported_at": "2026-03-01T13:00:00Z",
            "imported_by": "approle",
        },
    }
    token = mounted.read("token/sales")
    assert (token["key_id"], token["key_version"]) == (keys.KEY_ID, 1)
    verified(token, before["public_key"])


def test_the_same_key_staged_again_changes_nothing() -> None:
    mounted = with_role()
    key = {**new(SECOND), "enterprise": True}
    first = mounted.write("keys/prod/stage", **key)
    writes = mounted.storage.writes
    mounted.now += 100
    mounted.caller = "root"
    for again in (key, {"private_key": key["private_key"]}, {**key, "issuer_id": keys.ISSUER_ID.upper()}):
        assert mounted.write("keys/prod/stage", **again) == {**first, "changed": False}
    assert mounted.storage.writes == writes
    assert first["staged"]["audience"] == ENTERPRISE
    other = mounted.write("keys/prod/stage", **{**key, "enterprise": False})
    assert versions(other) == (1, None, 3), "other IDs are another version"


def test_another_staged_key_takes_the_place_of_the_first() -> None:
    mounted = staged()
    (warning,) = warnings(mounted, "keys/prod/stage", **new(THIRD))
    assert f'version 2 (key ID "{SECOND}") was staged and is dropped for good' in warning
    assert versions(mounted.read("keys/prod")) == (1, None, 3)
    assert mounted.storage.values["key/prod"].count(b"PRIVATE KEY") == 4, "two keys, two lines each"


def test_the_current_key_is_not_staged() -> None:
    mounted = Mounted()
    key = team_key()
    mounted.write("keys/prod", **key)
    for ids in ({}, {"key_id": SECOND}):
        error = refused(mounted, Operation.UPDATE, "keys/prod/stage", **{**key, **ids})
        assert "is the current key already, nothing was staged" in error.message
    for ids in ({}, {"key_id": keys.KEY_ID}):
        error = refused(mounted, Operation.UPDATE, "keys/prod/stage", private_key=p8(), **ids)
        assert "the key differs" in error.message
    for no_key in ({}, {"key_id": SECOND}):
        assert "needs a private key" in refused(mounted, Operation.UPDATE, "keys/prod/stage", **no_key).message


@pytest.mark.parametrize("change", ["stage", "promote", "rollback", "retire"])
def test_a_key_that_does_not_exist(change: str) -> None:
    data = new(SECOND) if change == "stage" else {}
    error = refused(Mounted(), Operation.UPDATE, f"keys/prod/{change}", **data)
    assert isinstance(error, MissingError)
    assert error.text == 'there is no key "prod" (hint: write asc/keys/prod first, it makes the key)'


@pytest.mark.parametrize("change", ["stage", "promote", "rollback", "retire"])
def test_unknown_fields_are_refused_with_the_list_of_the_known(change: str) -> None:
    error = refused(staged(), Operation.UPDATE, f"keys/prod/{change}", zzz=1)
    assert error.message == 'unknown field "zzz", nothing was done'
    assert str(error.hint).startswith("fields here: ")
    assert ("private_key" if change == "stage" else "version") in str(error.hint)


# -- promote


def test_a_promotion_makes_the_staged_key_current_and_keeps_the_one_before_it() -> None:
    mounted = staged()
    before = mounted.read("keys/prod")
    mounted.read("token/sales")
    answer = mounted.write("keys/prod/promote")
    assert answer["changed"] is True
    assert versions(answer) == (2, 1, None)
    assert {
        k: v for k, v in answer.items() if k not in {"enabled", "settled", "owner", "previous", "staged", "changed"}
    } == before["staged"]
    token = mounted.read("token/sales")
    assert (token["key_id"], token["key_version"]) == (SECOND, 2)
    verified(token, before["staged"]["public_key"])


def colons(digits: str) -> str:
    return "SHA256:" + ":".join(digits[at : at + 2] for at in range(0, 64, 2)).upper()


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("version", int),
        ("version", str),
        ("fingerprint", str),
        ("fingerprint", lambda digits: f"SHA256:{digits}"),
        ("fingerprint", colons),
        ("key_id", str),
    ],
)
def test_a_promotion_may_name_the_version_and_is_repeated_safely(field: str, written: Callable[[Any], object]) -> None:
    mounted = staged()
    facts_of_it = mounted.read("keys/prod")["staged"]
    named = {field: written(facts_of_it["spki_sha256" if field == "fingerprint" else field])}
    first = mounted.write("keys/prod/promote", **named)
    assert (first["changed"], versions(first)) == (True, (2, 1, None))
    assert mounted.write("keys/prod/promote", **named) == {**first, "changed": False}


def test_a_promotion_of_another_version_than_the_staged_one_is_refused() -> None:
    mounted = staged()
    read = mounted.read("keys/prod")
    foreign = parse_private_key(keys.new_p8_pem()).spki_sha256
    for named, told in (
        ({"version": 3}, "another version than"),
        ({"key_id": THIRD}, "another key ID than"),
        ({"fingerprint": foreign}, "another fingerprint than"),
        ({"version": 2, "key_id": THIRD}, "another key ID than"),
        ({"version": 1, "key_id": SECOND}, "another version than"),
        ({"version": 9, "fingerprint": foreign}, "another version and fingerprint than"),
    ):
        error = refused(mounted, Operation.UPDATE, "keys/prod/promote", **named)
        assert (error.status, told in error.message) == (400, True), error.message
        assert f'key ID "{SECOND}"' in str(error.hint)
        assert read["staged"]["spki_sha256"] in str(error.hint)
    # The one that is current already is where they want to be.
    assert mounted.write("keys/prod/promote", version=1) == {**read, "changed": False}


@pytest.mark.parametrize("fingerprint", ["", "SHA256:", "0" * 63, "x" * 64, "md5:" + "0" * 32, "0" * 100_000])
def test_fingerprints_that_are_none(fingerprint: str) -> None:
    error = refused(staged(), Operation.UPDATE, "keys/prod/promote", fingerprint=fingerprint)
    assert "nothing was changed" in error.message
    assert "64 hexadecimal digits" in str(error.hint)


def test_there_is_nothing_to_promote() -> None:
    mounted = with_role()
    for named in ({}, {"version": 2}, {"key_id": SECOND}):
        error = refused(mounted, Operation.UPDATE, "keys/prod/promote", **named)
        assert (error.status, error.message) == (400, 'nothing is staged for key "prod", the current key stays')


# -- a write to keys/<name>


def test_a_write_makes_its_key_current_and_drops_what_was_staged() -> None:
    mounted = staged()
    (warning,) = warnings(mounted, "keys/prod", **new(THIRD))
    assert "version 2" in warning
    assert versions(mounted.read("keys/prod")) == (3, 1, None)
    assert warnings(mounted, "keys/prod", **new(key_id(4))) == ()


def test_a_write_that_changes_nothing_leaves_what_is_staged() -> None:
    mounted = staged()
    answer = mounted.write("keys/prod", key_id=keys.KEY_ID)
    assert (answer["changed"], versions(answer)) == (False, (1, None, 2))


@pytest.mark.parametrize("path", ["keys/prod", "keys/prod/stage"])
def test_a_right_to_create_is_none_to_change_what_somebody_has_written_meanwhile(path: str) -> None:
    """The server asks whether the key exists before it checks the caller's rights, and the answer may grow old."""
    mounted = staged()
    before = dict(mounted.storage.values)
    request = mounted.request(Operation.CREATE, path, new(THIRD))
    with pytest.raises(RequestError, match="somebody else just now; nothing was written"):
        done(mounted.backend.handle(request))
    assert mounted.storage.values == before


# -- rollback


def test_a_rollback_goes_back_once_and_a_promotion_forward_again() -> None:
    mounted = promoted()
    read = mounted.read("keys/prod")
    back = mounted.write("keys/prod/rollback")
    assert (back["changed"], versions(back)) == (True, (1, None, 2))
    verified(mounted.read("token/sales"), read["previous"]["public_key"])
    for again in ({}, {"version": 1}, {"version": "1"}):
        assert mounted.write("keys/prod/rollback", **again) == {**back, "changed": False}
    forward = mounted.write("keys/prod/promote", version=2)
    assert forward == {**read, "changed": True}
    verified(mounted.read("token/sales"), read["public_key"])


def test_a_rollback_names_the_version_that_is_kept() -> None:
    mounted = promoted()
    assert "kept are 2 (current) and 1" in str(refused(mounted, Operation.UPDATE, "keys/prod/rollback", version=3).hint)
    assert mounted.write("keys/prod/rollback", version=2)["changed"] is False
    assert mounted.write("keys/prod/rollback", version=1)["version"] == 1
    error = refused(mounted, Operation.UPDATE, "keys/prod/rollback", version=2)
    assert error.message == 'version 2 of key "prod" is staged, the current key stays'
    assert error.hint == "promote it: write keys/<name>/promote version=2"


def test_there_is_nothing_to_roll_back_to() -> None:
    for mounted in (with_role(), staged()):
        assert "no previous version" in refused(mounted, Operation.UPDATE, "keys/prod/rollback").message
    mounted = promoted()
    mounted.write("keys/prod/rollback")
    mounted.write("keys/prod/stage", **new(THIRD))  # from here on a rollback is no repetition
    assert "no previous version" in refused(mounted, Operation.UPDATE, "keys/prod/rollback").message


def test_a_rollback_drops_what_was_staged_and_says_so() -> None:
    mounted = promoted()
    mounted.write("keys/prod/stage", **new(THIRD))
    assert versions(mounted.read("keys/prod")) == (2, 1, 3)
    (warning,) = warnings(mounted, "keys/prod/rollback")
    assert f'version 3 (key ID "{THIRD}") was staged and is dropped' in warning
    assert versions(mounted.read("keys/prod")) == (1, None, 2)


def test_numbers_of_versions_are_never_used_twice() -> None:
    mounted = promoted()
    mounted.write("keys/prod/rollback")
    assert versions(mounted.write("keys/prod", **new(THIRD))) == (3, 1, None)
    mounted.write("keys/prod/stage", **new(key_id(4)))
    mounted.write("keys/prod/stage", **new(key_id(5)))
    assert versions(mounted.write("keys/prod", **new(key_id(6)))) == (6, 3, None)


# -- retire


def test_a_retired_version_leaves_storage_and_memory() -> None:
    mounted = promoted()
    mounted.write("keys/prod/stage", **new(THIRD))
    mounted.read("token/sales", key_version=1)
    remembered = mounted.backend._mount._memory
    assert any(getattr(value, "older", None) for value in remembered._values.values())
    answer = mounted.write("keys/prod/retire", version=2)
    assert (answer["changed"], versions(answer)) == (True, (2, None, 3))
    assert mounted.storage.values["key/prod"].count(b"PRIVATE KEY") == 4, "two keys, two lines each"
    assert not any(place == "key/prod" for _, place in remembered._values)
    assert refused(mounted, Operation.READ, "token/sales", key_version=1).status == 404
    assert mounted.read("token/sales")["key_version"] == 2
    for again in ({}, {"version": 2}):
        assert mounted.write("keys/prod/retire", **again) == {**answer, "changed": False}
    assert "no previous version" in refused(mounted, Operation.UPDATE, "keys/prod/rollback").message


def test_nothing_is_retired_for_somebody_who_believes_in_another_version() -> None:
    mounted = promoted()
    for believed in (1, 3, 0, -1):
        error = refused(mounted, Operation.UPDATE, "keys/prod/retire", version=believed)
        assert error.status == 400
        assert error.message == f'version {believed} of key "prod" is not the current one, nothing was retired'
    assert "current is version 2" in str(error.hint)


# -- disable and enable


def test_a_disabled_key_signs_by_no_version_and_all_of_them_are_kept() -> None:
    mounted = promoted()
    mounted.write("keys/prod/stage", **new(THIRD))
    mounted.read("token/sales", key_version=1)
    before = mounted.read("keys/prod")
    disabled = mounted.write("keys/prod/disable")
    assert disabled == {**before, "enabled": False, "changed": True}
    for asked in ({}, {"key_version": 1}, {"key_version": 2}):
        error = refused(mounted, Operation.READ, "token/sales", **asked)
        assert (error.status, error.message) == (400, 'key "prod" is disabled')
        assert error.hint == (
            "if that is over: vault-asc key enable prod; without a record: vault write -f asc/keys/prod/enable"
        )
    assert mounted.write("keys/prod/disable") == {**disabled, "changed": False}
    assert mounted.write("keys/prod/enable") == {**before, "changed": True}
    assert mounted.write("keys/prod/enable")["changed"] is False
    assert mounted.read("token/sales")["key_version"] == 2


def test_a_key_can_be_made_disabled_and_with_an_owner() -> None:
    mounted = Mounted()
    body = team_key()
    made = mounted.write("keys/prod", **body, owner="secret/asc/team-a", enabled="false")
    assert (made["owner"], made["enabled"], made["settled"]) == ("secret/asc/team-a", False, False)
    mounted.write("roles/sales", key="prod")
    assert "is disabled" in refused(mounted, Operation.READ, "token/sales").message
    assert mounted.write("keys/prod", **body, owner="secret/asc/team-a", enabled=False)["changed"] is False
    for change, hint in (
        ({"owner": "secret/other"}, "it is of the store secret/asc/team-a"),
        ({"enabled": True}, "write keys/<name>/enable or keys/<name>/disable"),
    ):
        error = refused(mounted, Operation.UPDATE, "keys/prod", **body, **change)
        assert (error.status, error.hint) == (400, hint)
    assert mounted.write("keys/prod/enable")["settled"] is True
    mounted.read("token/sales")
    assert mounted.read("keys/prod")["owner"] == "secret/asc/team-a"


@pytest.mark.parametrize("owner", ["a b", "a//b", "/a", "../a", "x" * 201, "-----BEGIN PRIVATE KEY-----"])
def test_an_owner_is_a_plain_path_and_is_not_repeated(owner: str) -> None:
    error = refused(Mounted(), Operation.UPDATE, "keys/prod", **team_key(), owner=owner)
    assert (error.status, error.message) == (400, "the owner is no plain path")


@pytest.mark.parametrize("change", ["", "/stage", "/promote", "/rollback", "/retire"])
def test_whatever_becomes_of_a_disabled_key_it_stays_disabled(change: str) -> None:
    mounted = promoted()
    mounted.write("keys/prod/stage", **new(THIRD))
    mounted.write("keys/prod/disable")
    body = new(key_id(4)) if change in {"", "/stage"} else {}
    assert mounted.write(f"keys/prod{change}", **body)["changed"] is True
    assert mounted.read("keys/prod")["enabled"] is False
    assert "is disabled" in refused(mounted, Operation.READ, "token/sales").message


def test_a_key_that_is_not_there_is_neither_disabled_nor_enabled() -> None:
    for change in ("disable", "enable"):
        assert refused(with_role(), Operation.UPDATE, f"keys/nope/{change}").status == 404
        assert "unknown field" in refused(with_role(), Operation.UPDATE, f"keys/prod/{change}", zzz=1).message


# -- tokens by the number of a version


def test_a_token_is_signed_by_exactly_the_version_that_is_asked_for() -> None:
    mounted = promoted()
    read = mounted.read("keys/prod")
    for number, version in ((1, read["previous"]), ("1", read["previous"]), (2, read)):
        token = mounted.read("token/sales", key_version=number, lifetime=300)
        assert (token["key_version"], token["key_id"]) == (int(number), version["key_id"])
        assert verified(token, version["public_key"])["exp"] == int(NOW) + 240
    assert mounted.write("token/sales", key_version=1)["key_version"] == 1
    lease = mounted.token("sales", key_version=1).lease
    assert lease is not None
    assert lease.ttl_seconds == 540


@pytest.mark.parametrize("warm", [True, False])
def test_versions_that_nobody_signs_by(*, warm: bool) -> None:
    mounted = promoted()
    mounted.write("keys/prod/stage", **new(THIRD))
    if warm:
        mounted.read("token/sales")
        mounted.read("token/sales", key_version=1)
    for number, told in ((3, "staged, not current"), (4, "not kept"), (0, "not kept"), (-1, "not kept")):
        error = refused(mounted, Operation.READ, "token/sales", key_version=number)
        assert (type(error), error.status) == (MissingError, 404)
        assert error.message == f'version {number} of key "prod" is {told}'
        assert "current version is 2" in str(error.hint)
    mounted.write("keys/prod/rollback")
    assert "is staged, not current" in refused(mounted, Operation.READ, "token/sales", key_version=2).message
    for bad in ("x", 1.5, None, [1], True, 10**400):
        assert refused(mounted, Operation.READ, "token/sales", key_version=bad).status == 400


def test_a_role_by_version_whose_key_is_gone() -> None:
    mounted = with_role()
    del mounted.storage.values["key/prod"]
    error = refused(Mounted(mounted.storage), Operation.READ, "token/sales", key_version=1)
    assert 'names key "prod", which does not exist' in error.message


def test_neither_storage_nor_parser_is_asked_again_for_a_version() -> None:
    mounted = promoted()
    mounted.read("token/sales", key_version=1)
    mounted.storage.reads = 0
    entry = mounted.storage.values["key/prod"]
    mounted.storage.values["key/prod"] = b"\xff"  # whoever read it again would fail
    for number in (1, 2, 1):
        assert mounted.read("token/sales", key_version=number)["key_version"] == number
    assert mounted.read("token/sales")["key_version"] == 2
    assert mounted.storage.reads == 0
    mounted.storage.values["key/prod"] = entry


def test_a_caller_who_knows_more_than_this_process_is_served_from_storage() -> None:
    """A node that has not heard of a promotion yet; the record that its callers read names the new version already."""
    mounted = staged()
    other = Mounted(mounted.storage)
    assert other.read("token/sales")["key_version"] == 1
    mounted.write("keys/prod/promote")
    assert other.read("token/sales")["key_version"] == 1
    token = other.read("token/sales", key_version=2)
    verified(token, mounted.read("keys/prod")["public_key"])
    assert other.read("token/sales")["key_version"] == 2


def test_a_key_that_is_made_anew_is_not_mixed_up_with_the_old_one() -> None:
    mounted = promoted()
    mounted.read("token/sales", key_version=1)
    mounted.write("keys/spare", **team_key())
    mounted.write("roles/sales", key="spare")
    mounted.delete("keys/prod")
    mounted.write("keys/prod", **team_key(key_id=THIRD))
    mounted.write("roles/sales", key="prod")
    token = mounted.read("token/sales", key_version=1)
    assert token["key_id"] == THIRD
    verified(token, mounted.read("keys/prod")["public_key"])


# -- who wrote it


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        ("userpass-ada", "userpass-ada"),
        ("", "unknown"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("oidc-hvs.CAESIJ3VxyzPabc", "oidc-[secret]"),
        ("x" * 500, "x" * 199 + "…"),
    ],
)
def test_a_version_says_who_wrote_it(caller: str, shown: str) -> None:
    mounted = with_role()
    mounted.caller = caller
    mounted.write("keys/prod/stage", **new(SECOND))
    mounted.caller = "somebody else"
    answer = mounted.write("keys/prod/promote")
    assert (answer["imported_by"], answer["previous"]["imported_by"]) == (shown, "userpass-ada")
    assert mounted.write("keys/prod", issuer_id=keys.ISSUER_ID, key_id=THIRD)["imported_by"] == "somebody else"


# -- whatever the order


class Model:
    """What the numbers of the versions must be, written down again as plainly as possible."""

    def __init__(self) -> None:
        self.now: Versions = (1, None, None)
        self.latest = 1
        self.rolled_back = False

    def after(self, step: str) -> None:
        current, previous, waiting = self.now
        if step in {"write", "stage"}:
            self.latest += 1
            self.now = (self.latest, current, None) if step == "write" else (current, previous, self.latest)
            self.rolled_back = False
        elif step == "promote" and waiting:
            self.now, self.rolled_back = (waiting, current, None), False
        elif step == "rollback" and previous:
            self.now, self.rolled_back = (previous, None, current), True
        elif step == "retire":
            self.now = (current, None, waiting)

    def refuses(self, step: str) -> bool:
        _, previous, waiting = self.now
        return (step == "promote" and not waiting) or (step == "rollback" and not previous and not self.rolled_back)


def test_in_any_order_exactly_the_kept_versions_exist_and_sign() -> None:
    pick = random.Random(11)
    mounted, model = with_role(), Model()
    pems = {1: mounted.read("keys/prod")["public_key"]}
    for _ in range(250):
        step = pick.choice(["write", "stage", "promote", "promote", "rollback", "retire"])
        data = new(key_id(model.latest + 1)) if step in {"write", "stage"} else {}
        path = "keys/prod" if step == "write" else f"keys/prod/{step}"
        if model.refuses(step):
            refused(mounted, Operation.UPDATE, path)
            continue
        mounted.write(path, **data)
        model.after(step)
        read = facts(mounted.ask(Operation.READ, "keys/prod"))
        assert versions(read) == model.now
        if data:
            pems[model.latest] = parse_private_key(data["private_key"].encode()).public_key_pem()
        current, previous, waiting = model.now
        kept = [number for number in model.now if number]
        assert mounted.storage.values["key/prod"].count(b"BEGIN PRIVATE KEY") == len(kept)
        for node in (mounted, Mounted(mounted.storage)):
            verified(node.read("token/sales"), pems[current])
            for number in range(max(1, current - 3), model.latest + 2):
                if number in {current, previous}:
                    verified(node.read("token/sales", key_version=number), pems[number])
                    continue
                error = refused(node, Operation.READ, "token/sales", key_version=number)
                assert error.message.endswith("staged, not current" if number == waiting else "not kept")
