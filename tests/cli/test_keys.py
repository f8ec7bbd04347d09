import re

import pytest

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID, User, check_failure
from tests.conftest import Root, TokenWith
from tests.support import Wire
from vault_asc.clock import iso, system_clock
from vault_asc.lab.apple import AppleSimulator

ISSUER = ("--issuer-id", keys.ISSUER_ID)
BAD_NAMES = ["../x", "a/b", "é", "a\nb", "A", "", "-x", "x" * 64, "a b", "a%2fb", "a?version=1", "\x1b[31m"]


def test_import_tells_what_was_stored_and_repeats_without_a_change(user: User) -> None:
    file = user.key_file()
    first = user.does("key", "import", str(file), "prod", *ISSUER)
    assert re.fullmatch(
        r'imported "prod"\n  key ID           2X9R4HXF34\n  fingerprint      SHA256:[0-9a-f]{64}\n'
        r"  private version  1\n",
        first.out,
    )
    assert not first.err
    again = user.does("key", "import", str(file), "prod", *ISSUER)
    assert again.out.startswith('"prod" is this key already, nothing was changed\n')
    assert user.record()["record_version"] == 1


def test_another_key_under_a_name_that_is_taken_is_a_conflict(user: User, apple: AppleSimulator) -> None:
    user.imports()
    other = user.key_file(NEW_ID)
    done = user.fails(9, "key", "import", str(other), "prod", *ISSUER)
    assert OLD_ID in done.error
    assert "imported by root at " in done.error
    assert done.error.endswith("nothing was changed")
    assert "vault-asc key rotate prod FILE" in done.hint
    user.does("key", "rotate", "prod", str(other))


def test_options_stand_before_or_after_the_arguments(user: User) -> None:
    file = str(user.key_file())
    user.does("key", "import", *ISSUER, "--key-id", OLD_ID, file, "prod")
    user.does("key", "import", file, "prod", *ISSUER, "--key-id", OLD_ID)
    user.does("key", "import", file, *ISSUER, "prod")
    assert user.does("key", "show", "--json", "prod").json == user.does("key", "show", "prod", "--json").json


def test_a_key_comes_from_standard_input(user: User, apple: AppleSimulator) -> None:
    pem = keys.new_p8_pem()
    user.does("key", "import", "-", "prod", "--key-id", OLD_ID, *ISSUER, stdin=pem)
    done = user.fails(3, "key", "import", "-", "other", *ISSUER, stdin=pem)
    assert done.hint == "pass --key-id"
    assert "standard input is closed" in user.fails(2, "key", "import", "-", "other", *ISSUER, stdin=None).error
    assert "empty" in user.fails(3, "key", "import", "-", "other", *ISSUER, stdin=b"").error
    user.does("key", "rotate", "prod", "-", "--key-id", NEW_ID, stdin=user.new_pem(NEW_ID))
    assert user.record()["key_id"] == NEW_ID


def test_individual_and_enterprise_keys(user: User) -> None:
    file = str(user.key_file())
    user.does("key", "import", file, "mine", "--individual")
    user.does("key", "import", file, "firm", *ISSUER, "--enterprise")
    mine, firm = user.record("mine"), user.record("firm")
    assert (mine["key_type"], "issuer_id" in mine, mine["audience"]) == ("individual", False, "appstoreconnect-v1")
    assert (firm["key_type"], firm["issuer_id"]) == ("team", keys.ISSUER_ID)
    assert firm["audience"] == "apple-developer-enterprise-v1"
    assert "none (individual key)" in user.does("key", "show", "mine").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "has no issuer ID"),
        (("--issuer-id", OLD_ID), "is a key ID"),
        (("--issuer-id", OLD_ID, "--key-id", keys.ISSUER_ID), "are swapped"),
        (("--issuer-id", keys.ISSUER_ID, "--key-id", NEW_ID), "does not match the file name"),
        (("--issuer-id", "nonsense"), "is not 8-4-4-4-12"),
        (("--issuer-id", keys.ISSUER_ID, "--individual"), "individual keys have none"),
        (("--issuer-id", "$ISSUER"), "is a variable that nothing expanded"),
        (("--issuer-id", keys.ISSUER_ID, "--key-id", "a\nb"), "is not 2 to 64 letters and digits"),
    ],
)
def test_wrong_ids_are_named_and_nothing_is_sent(user: User, options: tuple[str, ...], said: str) -> None:
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        done = user.fails(3, "key", "import", str(user.key_file()), "prod", *options)
        assert said in done.error
        assert done.hint
        assert not wire.calls


def test_a_key_id_is_taken_from_the_file_name_or_the_option(user: User) -> None:
    plain = str(user.key_file(name="downloaded.p8"))
    assert "name the file AuthKey_" in user.fails(3, "key", "import", plain, "prod", *ISSUER).hint
    user.does("key", "import", plain, "prod", "--key-id", OLD_ID, *ISSUER)
    subscription = str(user.key_file(name="SubscriptionKey_ABCDEFGHIJ.p8"))
    assert "In-App Purchase" in user.fails(3, "key", "import", subscription, "x", *ISSUER).error


def test_unusual_things_are_warned_of_on_stderr(user: User) -> None:
    file = user.key_file(name="key.p8")
    file.chmod(0o644)
    done = user.does("key", "import", str(file), "prod", "--key-id", "abc", *ISSUER)
    warnings = done.said("warning")
    assert f"chmod 600 {file}" in warnings[0]
    assert 'key ID "abc" does not look like Apple\'s' in warnings[1]
    assert "warning" not in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import",), "import needs one source and a name"),
        (("import", "FILE"), "import needs one source and a name"),
        (("import", "FILE", "prod", "--from-vault", "secret/x"), "import needs one source and a name"),
        (("import", "--from-vault", "secret/x"), "import needs one source and a name"),
        (("import", "FILE", "prod", "--field", "p8"), "--field is for --from-vault"),
        (("import", "--from-vault", "secret", "prod"), "is only a mount"),
        (("import", "--from-vault", "secret/../x", "prod"), "is not a plain path"),
        (("import", "/nowhere/AuthKey_X.p8", "prod"), "does not exist"),
        (("import", "/", "prod"), "is a directory"),
        (("import", "/dev/zero", "prod"), "is a device"),
        (("show",), 'missing argument "NAME"'),
        (("rollback", "prod", "--to", "0"), 'invalid value for "--to"'),
    ],
)
def test_wrong_command_lines_send_nothing(user: User, words: tuple[str, ...], said: str) -> None:
    file = str(user.key_file())
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        done = user.fails(2, "key", *(file if word == "FILE" else word for word in words))
        assert said in done.error
        assert done.hint
        assert not wire.calls


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused_before_any_request(user: User, name: str) -> None:
    file = str(user.key_file())
    with Wire(user.server.address) as wire:
        user.configure(address=wire.address)
        for words in (
            ("import", *ISSUER, "--", file, name),
            *((command, "--", name) for command in ("show", "check", "promote", "rollback", "disable", "enable")),
            ("destroy", "--yes", "--", name),
            ("stage", "--", name, file),
            ("rotate", "--", name, file),
        ):
            done = user.fails(2, "key", *words)
            assert done.error.startswith('key name "')
            assert "lower-case letters" in done.hint
        assert user.fails(2, "mint", "--", name).error.startswith('key name "')
        assert not wire.calls


def test_lists_in_both_forms(user: User) -> None:
    assert user.does("key", "list").out == f"no keys in {user.mount}/asc\n"
    assert user.does("key", "list", "--json").json == []
    user.imports("prod")
    user.imports("beta", NEW_ID)
    user.does("key", "disable", "beta")
    table = user.does("key", "list").out.splitlines()
    assert table[0].split() == ["NAME", "STATE", "CUSTODY", "KEY", "ID", "TYPE", "VERSION", "IMPORTED"]
    assert [row.split()[:6] for row in table[1:]] == [
        ["beta", "disabled", "kv", NEW_ID, "team", "1"],
        ["prod", "enabled", "kv", OLD_ID, "team", "1"],
    ]
    listed = user.does("key", "list", "--json").json
    assert [key["name"] for key in listed] == ["beta", "prod"]
    assert listed[1] == user.record("prod")


def test_list_shows_every_key_though_some_records_are_bad(user: User, root: Root, token_with: TokenWith) -> None:
    for name in ("deleted", "destroyed", "foreign", "good", "newer"):
        user.imports(name)
    root("DELETE", f"{user.mount}/data/asc/keys/deleted")
    root("PUT", f"{user.mount}/destroy/asc/keys/destroyed", {"versions": [1]})
    root("POST", f"{user.mount}/data/asc/keys/foreign", {"data": {"format": 1}})
    root("POST", f"{user.mount}/data/asc/keys/newer", {"data": {"format": 2}})
    states = ["deleted", "destroyed", "unreadable", "enabled", "unreadable"]

    listed = user("key", "list")
    assert listed.code == 7
    check_failure(listed, out=True)
    assert listed.error.startswith('the record of key "deleted" was deleted')
    assert [line.split()[1] for line in listed.out.splitlines()[1:]] == states
    as_json = user("key", "list", "--json")
    assert as_json.code == 7
    assert [key["state"] for key in as_json.json] == states
    assert "has format 2" in as_json.json[4]["problem"]

    user.use(
        token_with(f"""
        path "{user.mount}/metadata/asc/keys/" {{ capabilities = ["list"] }}
        path "{user.mount}/data/asc/keys/good" {{ capabilities = ["read"] }}
    """)
    )
    denied = user("key", "list")
    assert denied.code == 6
    assert [line.split()[1] for line in denied.out.splitlines()[1:]] == ["denied"] * 3 + ["enabled", "denied"]


@pytest.mark.parametrize("deed", ["delete", "destroy"])
@pytest.mark.parametrize("private_too", [True, False])
def test_a_key_whose_record_is_gone_is_destroyed_all_the_same(
    user: User, root: Root, deed: str, private_too: bool
) -> None:
    user.imports()
    root("PUT", f"{user.mount}/{deed}/asc/keys/prod", {"versions": [1]})
    if private_too:
        root("DELETE", f"{user.mount}/metadata/asc/private/prod")
    assert user.does("key", "destroy", "prod", "--yes").out == 'destroyed "prod"\n'
    assert user.does("key", "list").out.startswith("no keys in")


def test_the_record_as_json(user: User) -> None:
    before = iso(system_clock())
    user.imports()
    record = user.record()
    assert record.keys() == {
        "name", "format", "key_id", "key_type", "audience", "issuer_id", "custody", "spki_sha256", "state",
        "private_version", "imported_at", "imported_by", "changed_by", "record_version", "written_at",
    }  # fmt: skip
    assert before <= record["imported_at"] <= iso(system_clock())
    assert record["imported_by"] == record["changed_by"] == "root"
    assert re.fullmatch(r"[0-9a-f]{64}", record["spki_sha256"])


def test_show_tells_every_version_and_what_to_do_with_it(user: User, root: Root, apple: AppleSimulator) -> None:
    user.imports()
    user.does("key", "stage", "prod", str(user.key_file(NEW_ID)))
    shown = user.does("key", "show", "prod").out
    assert shown.startswith("prod\n  state            enabled\n")
    assert re.search(r"version 1  \S+  current\n", shown)
    assert re.search(rf"version 2  \S+  staged \S+ by root: key ID {NEW_ID}, SHA256:[0-9a-f]{{64}};", shown)
    assert "make it current: vault-asc key promote prod" in shown
    root("DELETE", f"{user.mount}/data/asc/staged/prod")
    unknown = "of unknown origin (an interrupted command, or somebody else); not used by anything"
    assert unknown in user.does("key", "show", "prod").out
    for deed, told in (("delete", r"deleted 20\S+"), ("undelete", None), ("destroy", "destroyed")):
        root("PUT", f"{user.mount}/{deed}/asc/private/prod", {"versions": [1]})
        shown = user.does("key", "show", "prod").out
        if told:
            assert re.search(rf"version 1  \S+  current, but gone \({told}\)", shown)
    root("DELETE", f"{user.mount}/metadata/asc/private/prod")
    assert "version 1  current, but gone (pruned" in user.does("key", "show", "prod").out


def test_show_tells_a_pruned_current_version_and_a_planned_deletion(
    user: User, root: Root, apple: AppleSimulator
) -> None:
    root("POST", f"{user.mount}/metadata/asc/private/prod", {"max_versions": 2})
    user.imports()
    for _ in range(2):
        root("POST", f"{user.mount}/data/asc/private/prod", {"data": {"key_id": "x"}})
    shown = user.does("key", "show", "prod").out
    assert "version 1  current, but gone (pruned" in shown
    assert shown.count("of unknown origin") == 2
    failed = user.fails(7, "mint", "prod")
    assert "pruned by max_versions" in failed.error
    assert failed.hint == "rotate to a new key (vault-asc key rotate prod FILE)"
    user.does("key", "rotate", "prod", str(user.key_file(NEW_ID)))
    user.does("mint", "prod")
    root("POST", f"{user.mount}/metadata/asc/private/soon", {"delete_version_after": "1h"})
    planned = {"private_key": keys.new_p8_pem().decode(), "key_id": OLD_ID}
    root("POST", f"{user.mount}/data/asc/private/soon", {"data": planned})
    root(
        "POST",
        f"{user.mount}/data/asc/keys/soon",
        {"data": root("GET", f"{user.mount}/data/asc/keys/prod")["data"]["data"] | {"private_version": 1}},
    )
    assert re.search(r"current, but to be deleted 20\S+\n", user.does("key", "show", "soon").out)


def test_control_characters_in_a_record_do_not_reach_the_terminal(user: User, root: Root) -> None:
    user.imports()
    path = f"{user.mount}/data/asc/keys/prod"
    record = root("GET", path)["data"]["data"]
    root("POST", path, {"data": {**record, "imported_by": "\x1b[2JX\nvault-asc: error: forged"}})
    for words in (("list",), ("show", "prod")):
        done = user.does("key", *words)
        assert "\x1b" not in done.out
        assert not [line for line in done.out.splitlines() if line.startswith("vault-asc:")]


def test_check_proves_that_tokens_can_be_minted(user: User, root: Root) -> None:
    user.imports()
    good = user.does("key", "check", "prod")
    assert good.out.startswith('"prod" is good: private version 1 has the key ID 2X9R4HXF34')
    root("POST", f"{user.mount}/metadata/asc/private/prod", {"delete_version_after": "24h"})
    assert "deleted after 24h" in user.does("key", "check", "prod").said("warning")[0]
    path = f"{user.mount}/data/asc/private/prod"
    private = {"private_key": keys.new_p8_pem().decode(), "key_id": OLD_ID}
    root("DELETE", f"{user.mount}/metadata/asc/private/prod")
    root("POST", path, {"data": private})
    swapped = user.fails(4, "key", "check", "prod")
    assert "does not belong to the record" in swapped.error
    assert "no token was minted" in swapped.error


def test_stage_promote_roll_back(user: User, apple: AppleSimulator) -> None:
    user.imports()
    new = user.key_file(NEW_ID)
    staged = user.does("key", "stage", "prod", str(new)).out
    told = re.fullmatch(
        rf'staged private version 2 of "prod", key ID {NEW_ID}\n'
        rf'  apple accepts tokens of key "{NEW_ID}"\n'
        r"  make it current:  (vault-asc key promote prod --key-id \w+ --fingerprint (SHA256:[0-9a-f]{64}))\n",
        staged,
    )
    assert told
    assert user.does("key", "stage", "prod", str(new)).out == staged
    wrong = user.fails(3, "key", "promote", "prod", "--fingerprint", "SHA256:" + "00" * 32)
    assert "another fingerprint" in wrong.error
    assert wrong.hint.startswith("ask whoever staged it at ")
    assert user.record()["key_id"] == OLD_ID

    promoted = user.does(*told[1].split()[1:]).out
    assert promoted.startswith('promoted "prod"\n')
    assert re.search(
        rf"  old key {OLD_ID}: none of its tokens can be alive after (\S+Z)\n  revoke it at Apple after that,"
        rf" provided that `vault-asc status` shows {NEW_ID} on every host\n$",
        promoted,
    )
    assert user.does(*told[1].split()[1:]).out.startswith('"prod" is that key already')
    assert "nothing is staged" in user.fails(7, "key", "promote", "prod").error

    assert user.does("key", "rollback", "prod").out.startswith('rolled "prod" back\n  key ID           2X9R4HXF34')
    assert "does not show an earlier key" in user.fails(7, "key", "rollback", "prod").error
    assert user.does("key", "rollback", "prod", "--to", "1").out.startswith('"prod" is at that version already')
    assert "private version 9" in user.fails(7, "key", "rollback", "prod", "--to", "9").error
    user.does("key", "rollback", "prod", "--to", "2")
    assert user.record()["key_id"] == NEW_ID


def test_who_is_superseded_and_whose_version_is_promoted_is_told(user: User, apple: AppleSimulator) -> None:
    user.imports()
    assert "replaces" not in user.does("key", "stage", "prod", str(user.key_file(NEW_ID))).out
    replaced = rf"\n  replaces what root staged at \S+ \(key ID {NEW_ID}\)\n"
    second = str(user.key_file("ABCDEFGHI2"))
    assert re.search(replaced, user.does("key", "stage", "prod", second).out)
    assert "replaces" not in user.does("key", "stage", "prod", second).out
    third = user.does("key", "rotate", "prod", str(user.key_file("ABCDEFGHI3"))).out
    assert re.search(replaced.replace(NEW_ID, "ABCDEFGHI2"), third)
    user.does("key", "stage", "prod", str(user.key_file("ABCDEFGHI4")))
    assert re.search(r"\n  the version that root staged at \S+\n", user.does("key", "promote", "prod").out)


def test_rotate_and_what_it_refuses(user: User, apple: AppleSimulator) -> None:
    old = user.imports()
    new = user.key_file(NEW_ID)
    assert user.does("key", "rotate", "prod", str(new)).out.startswith(f'rotated "prod"\n  key ID           {NEW_ID}')
    assert user.does("key", "rotate", "prod", str(new)).out.startswith('"prod" is that key already')
    assert user.record()["record_version"] == 2
    same_id = user.home / "again" / new.name
    same_id.parent.mkdir()
    same_id.touch(mode=0o600)
    same_id.write_bytes(old.read_bytes())
    assert "but the key differs" in user.fails(3, "key", "rotate", "prod", str(same_id)).error
    assert "nothing was staged" in user.fails(3, "key", "stage", "prod", str(new)).error
    assert 'no key "nope"' in user.fails(7, "key", "rotate", "nope", str(new)).error


def test_disable_enable_destroy(user: User) -> None:
    user.imports()
    kept = user.fails(3, "key", "destroy", "prod", "--yes")
    assert "is enabled, nothing was destroyed" in kept.error
    assert "vault-asc key disable prod" in kept.hint
    assert user.does("key", "disable", "prod").out.startswith('disabled "prod"')
    assert user.does("key", "disable", "prod").out.startswith('"prod" is disabled already')
    refused = user.fails(3, "mint", "prod")
    assert re.fullmatch(r'key "prod" was disabled by root at \S+', refused.error)
    assert "vault-asc key enable prod" in refused.hint
    assert user.does("key", "enable", "prod").out.startswith('enabled "prod"')
    assert user.does("key", "enable", "prod").out.startswith('"prod" is enabled already')
    user.does("mint", "prod")
    user.does("key", "disable", "prod")
    for typed in (b"", b"\n", b"prod2\n", None):
        refused = user.fails(2, "key", "destroy", "prod", stdin=typed)
        assert refused.error == "the name was not typed, nothing was destroyed"
    done = user.does("key", "destroy", "prod", stdin=b"prod\n")
    assert done.out == 'destroyed "prod"\n'
    assert done.err.startswith('type "prod" to destroy it')
    assert user.does("key", "destroy", "prod", "--yes").out == 'there is nothing of "prod" to destroy\n'
    assert 'no key "prod"' in user.fails(7, "key", "show", "prod").error


def put(root: Root, mount: str, version: int, path: str, data: dict[str, str]) -> str:
    root(
        "POST", f"{mount}/data/{path}" if version == 2 else f"{mount}/{path}", {"data": data} if version == 2 else data
    )
    return f"{mount}/{path}"


@pytest.mark.parametrize("version", [1, 2])
def test_a_key_that_lies_in_vault_already(user: User, root: Root, version: int) -> None:
    mount = user.mount
    if version == 1:
        mount = f"{user.mount}-v1"
        root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    try:
        pem = keys.new_p8_pem().decode()
        beside = {"key_id": OLD_ID, "issuer_id": keys.ISSUER_ID, "note": "apple"}
        where = put(root, mount, version, "old/apple", {"p8": pem, **beside})
        done = user.does("key", "import", "--from-vault", where, "prod")
        assert f'"{where}" still holds the private key' in done.said("warning")[0]
        assert (user.record()["key_id"], user.record()["issuer_id"]) == (OLD_ID, keys.ISSUER_ID)
        user.does("key", "check", "prod")
        again = user.does("key", "import", "prod", "--from-vault", where)
        assert not again.err
        user.does("key", "import", "--from-vault", where, "mine", "--individual", "--key-id", NEW_ID)
        assert (user.record("mine")["key_id"], user.record("mine")["key_type"]) == (NEW_ID, "individual")
        both = user.fails(3, "key", "import", "--from-vault", where, "x", "--individual", *ISSUER)
        assert "individual keys have none" in both.error

        where = put(root, mount, version, "old/two", {"a": pem, "b": keys.new_p8_pem().decode(), "c": "-"})
        options = ("--key-id", OLD_ID, *ISSUER)
        several = user.fails(2, "key", "import", "--from-vault", where, "two", *options)
        assert "several fields with a private key (a, b)" in several.error
        assert several.hint == "name it with --field: a, b, c"
        missing = user.fails(2, "key", "import", "--from-vault", where, "two", "--field", "d", *options)
        assert missing.hint == "its fields: a, b, c"
        assert (
            "no BEGIN line"
            in user.fails(3, "key", "import", "--from-vault", where, "two", "--field", "c", *options).error
        )
        user.does("key", "import", "--from-vault", where, "two", "--field", "b", *options)
        assert "pass --key-id" in user.fails(3, "key", "import", "--from-vault", where, "x", "--field", "a").hint
    finally:
        if version == 1:
            root("DELETE", f"sys/mounts/{mount}")


def test_nothing_to_take_from_vault(user: User, root: Root) -> None:
    nothing = user.fails(7, "key", "import", "--from-vault", f"{user.mount}/old/none", "prod")
    assert f'"{user.mount}/old/none" does not exist' in nothing.error
    where = put(root, user.mount, 2, "old/apple", {"a": "x"})
    assert "no field with one, nothing was imported" in user.fails(2, "key", "import", "--from-vault", where, "x").error
    unmounted = user.fails(7, "key", "import", "--from-vault", "nowhere/apple", "prod")
    assert "there is no mount at" in unmounted.error
    engine = user.fails(4, "key", "import", "--from-vault", "sys/apple", "prod")
    assert "not KV" in engine.error
