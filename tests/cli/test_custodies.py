"""Keys in Transit and on the way there and back, as somebody types it: what is printed, and what it leads to."""

import re
from collections.abc import Callable
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID, User
from tests.cli.test_policies import hinted_commands, written
from tests.conftest import NO_RIGHTS, Root, TokenWith
from tests.support import Wire, layout_of
from vault_asc.clock import iso, system_clock
from vault_asc.errors import VaultError
from vault_asc.lab.apple import AppleSimulator, faults
from vault_asc.names import Custody
from vault_asc.store import Layout

__all__ = ["written"]  # a fixture

TRANSIT = ("--custody", "transit")
each_custody = pytest.mark.parametrize("custody", [str(custody) for custody in Custody])
PROMOTE = r"  make it current:  vault-asc (key promote prod --key-id \w+ --fingerprint SHA256:[0-9a-f]{64})\n"


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(request)


@pytest.fixture
def owner(user: User, apple: AppleSimulator, layout: Layout) -> User:
    """Knows App Store Connect, and mounts of Transit and of the engine."""
    user.sets(transit_mount=layout.transit_mount, engine_mount=layout.engine_mount)
    return user


@pytest.fixture
def state(user: User, root: Root, layout: Layout) -> Callable[[], dict[str, Any]]:
    """All that the server holds of the keys, with every version and its time."""

    def look() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind in ("keys", "private", "staged"):
            for name in listed(root, f"{user.mount}/metadata/asc/{kind}"):
                path = f"asc/{kind}/{name}"
                found[f"metadata/{path}"] = root("GET", f"{user.mount}/metadata/{path}")["data"]
                found[f"data/{path}"] = root("GET", f"{user.mount}/data/{path}")["data"]
        for folder in (f"{layout.transit_mount}/keys", f"{layout.engine_mount}/keys", f"{layout.engine_mount}/roles"):
            for name in listed(root, folder):
                if not name.endswith("/"):
                    found[f"{folder}/{name}"] = root("GET", f"{folder}/{name}")["data"]
        found["policies"] = listed(root, "sys/policies/acl")
        return found

    return look


def listed(root: Root, path: str) -> list[str]:
    try:
        names: list[str] = root("LIST", path)["data"]["keys"]
    except VaultError:  # nothing there
        return []
    return names


def signs_with(user: User, file: Path, key_id: str) -> None:
    """What is minted now verifies with the key in a file, by another library."""
    done = user.does("mint", "prod", "--format", "json").json
    read = jwt.decode(done["token"], ECKey.import_key(file.read_bytes()), algorithms=["ES256"])
    assert (read.header["kid"], done["key_id"]) == (key_id, key_id)


def commands_in(text: str) -> list[list[str]]:
    """The commands that a text tells to type, each word by word."""
    return [found.split()[1:] for found in re.findall(r"vault-asc (?:policy write|key)(?: [a-z-]+)+", text)]


# -- import, look, mint ----------------------------------------------------------------------------------------------


def test_a_key_in_transit_is_told_and_recorded(owner: User, root: Root, transit_mount: str) -> None:
    file = owner.key_file()
    words = ("key", "import", str(file), "prod", "--issuer-id", keys.ISSUER_ID, *TRANSIT)
    done = owner.does(*words)
    told = r'imported "prod"\n  key ID           2X9R4HXF34\n  fingerprint      SHA256:[0-9a-f]{64}\n  Transit version  1\n'
    assert re.fullmatch(told, done.out)
    assert not done.err
    record = owner.record()
    assert record.keys() == {
        "name", "format", "key_id", "key_type", "audience", "issuer_id", "custody", "spki_sha256", "state",
        "private_version", "transit_key", "transit_version", "public_key", "imported_at", "imported_by", "changed_by",
        "record_version", "written_at",
    }  # fmt: skip
    assert (record["custody"], record["transit_key"], record["transit_version"]) == ("transit", "asc.prod", 1)
    assert owner.does("key", "list", "--json").json == [record]
    escrow = root("GET", f"{owner.mount}/data/asc/private/prod")["data"]["data"]
    assert escrow.keys() == {"private_key", "key_id"}
    in_vault = root("GET", f"{transit_mount}/keys/asc.prod")["data"]
    assert (in_vault["type"], in_vault["exportable"], in_vault["allow_plaintext_backup"]) == (
        "ecdsa-p256",
        False,
        False,
    )
    assert owner.does(*words).out.startswith('"prod" is this key already, nothing was changed\n')
    assert list(root("GET", f"{transit_mount}/keys/asc.prod")["data"]["keys"]) == ["1"]
    signs_with(owner, file, OLD_ID)


def test_without_escrow_nothing_of_it_is_in_kv(owner: User, root: Root) -> None:
    done = owner.does(
        "key", "import", str(owner.key_file()), "prod", "--issuer-id", keys.ISSUER_ID, *TRANSIT, "--no-escrow"
    )
    (warning,) = done.said("warning")
    assert "only the .p8 file leads out of this Transit mount" in warning
    assert "private_version" not in owner.record()
    new = owner.key_file(NEW_ID)
    owner.does("key", "rotate", "prod", str(new))
    signs_with(owner, new, NEW_ID)
    assert not listed(root, f"{owner.mount}/metadata/asc/private")
    assert re.search(r"escrow in KV +none\n", owner.does("key", "show", "prod").out)


@pytest.mark.parametrize(
    ("custodies", "options", "custody"),
    [
        (None, (), "kv"),
        (("engine", "kv", "transit"), (), "engine"),
        (("kv",), ("--custody", "engine"), "engine"),
        (("kv", "transit"), (), "transit"),
        (("transit", "kv"), (), "transit"),
        (("transit", "kv"), ("--custody", "kv"), "kv"),
        (("kv",), TRANSIT, "transit"),
    ],
)
def test_custody_comes_from_the_option_or_is_the_strictest_of_the_deployment(
    owner: User, custodies: tuple[str, ...] | None, options: tuple[str, ...], custody: str
) -> None:
    owner.sets(custodies=custodies)
    owner.imports("prod", OLD_ID, *options)
    assert owner.record()["custody"] == custody


def test_the_name_in_transit_is_the_prefix_with_dots(owner: User, root: Root, transit_mount: str) -> None:
    owner.sets(prefix="asc/team-a")
    owner.imports("prod", OLD_ID, *TRANSIT)
    assert owner.record()["transit_key"] == "asc.team-a.prod"
    assert "asc.team-a.prod" in listed(root, f"{transit_mount}/keys")
    owner.does("mint", "prod")


# -- rotate ----------------------------------------------------------------------------------------------------------


@each_custody
def test_no_token_of_the_old_key_lives_longer_than_is_told(owner: User, custody: str) -> None:
    owner.imports("prod", OLD_ID, "--custody", custody)
    new = owner.key_file(NEW_ID)
    before = iso(system_clock() + 1200)
    longest = "19m" if custody == "engine" else "20m"  # what its role gives by default
    last = owner.does("mint", "prod", "--lifetime", longest, "--format", "json").json["expires_at"]
    out = owner.does("key", "rotate", "prod", str(new)).out
    told = re.search(rf"\n  old key {OLD_ID}: none of its tokens can be alive after (\S+)\n", out)
    if custody == "engine":  # which gives them to whoever asks for the version, until it is retired
        assert told is None
        assert "none of its tokens can be alive 20 minutes after that\n" in out
    else:
        assert told
        assert max(iso(last), before) <= told[1] <= iso(system_clock() + 1200)
    assert f"provided that `vault-asc status` shows {NEW_ID} on every host\n" in out
    assert ("vault-asc key retire prod" in out) == (custody != "kv")


def test_two_people_stage_promote_roll_back_and_retire(owner: User, root: Root, transit_mount: str) -> None:
    old = owner.imports("prod", OLD_ID, *TRANSIT)
    new = owner.key_file(NEW_ID)
    staged = owner.does("key", "stage", "prod", str(new)).out
    told = re.search(PROMOTE, staged)
    assert told
    assert owner.does("key", "stage", "prod", str(new)).out == staged
    wrong = owner.fails(3, "key", "promote", "prod", "--fingerprint", "SHA256:" + "00" * 32)
    assert "another fingerprint" in wrong.error
    signs_with(owner, old, OLD_ID)
    owner.does(*told[1].split())
    signs_with(owner, new, NEW_ID)

    def can_sign(version: int) -> bool:
        ask = {"input": "eA==", "key_version": version, "marshaling_algorithm": "jws", "hash_algorithm": "sha2-256"}
        try:
            return bool(root("POST", f"{transit_mount}/sign/asc.prod", ask))
        except VaultError:
            return False

    assert [can_sign(1), can_sign(2)] == [True, True]
    assert owner.does("key", "retire", "prod").out == 'retired "prod": only its current and newer versions can sign\n'
    assert owner.does("key", "retire", "prod").out == 'older versions of "prod" are retired already\n'
    assert [can_sign(1), can_sign(2)] == [False, True]
    signs_with(owner, new, NEW_ID)
    owner.does("key", "rollback", "prod")
    assert [can_sign(1), can_sign(2)] == [True, True]
    signs_with(owner, old, OLD_ID)
    owner.does("key", "promote", "prod")
    signs_with(owner, new, NEW_ID)


@each_custody
def test_a_dry_run_says_what_and_writes_nothing(
    owner: User, token_with: TokenWith, state: Callable[[], dict[str, Any]], custody: str
) -> None:
    owner.imports("prod", OLD_ID, "--custody", custody)
    new = owner.key_file(NEW_ID)
    policies = [
        owner.does("policy", "show", name, *(word for c in Custody for word in ("--custody", str(c)))).out
        for name in ("key-admin", "registrar")
    ]
    owner.use(token_with(*policies))
    before = state()
    with Wire(owner.server.address) as wire:
        owner.sets(address=wire.address)
        out = owner.does("key", "rotate", "prod", str(new), "--dry-run").out
        assert set(wire.writes) == {"sys/capabilities-self"}
    assert state() == before
    owner.sets(address=None)
    assert re.match(
        rf'would rotate "prod", nothing was written\n  from key ID +{OLD_ID}\n  to key ID +{NEW_ID}\n'
        rf"  fingerprint +SHA256:[0-9a-f]{{64}}\n  custody +{custody}\n",
        out,
    )
    assert out.endswith(f'  apple accepts tokens of key "{NEW_ID}"\n')
    rotated = owner.does("key", "rotate", "prod", str(new)).out
    fingerprint = re.compile(r"SHA256:[0-9a-f]{64}")
    assert fingerprint.findall(rotated) == fingerprint.findall(out)
    assert state() != before


def test_a_dry_run_refuses_what_the_rotation_would(
    owner: User, root: Root, state: Callable[[], dict[str, Any]]
) -> None:
    owner.imports("prod", OLD_ID)
    new = str(owner.key_file(NEW_ID))
    root("POST", f"{owner.mount}/metadata/asc/private/prod", {"max_versions": 1})
    before = state()
    for more in (("--dry-run",), ()):
        refused = owner.fails(4, "key", "rotate", "prod", new, *more)
        assert "would prune version 1, which is current" in refused.error
    assert state() == before


@each_custody
def test_a_key_that_got_out_is_replaced_while_it_is_disabled(owner: User, apple: AppleSimulator, custody: str) -> None:
    """docs/compromise.md, after the revocation at Apple."""
    owner.imports("prod", OLD_ID, "--custody", custody)
    apple.revoke(OLD_ID)
    new = owner.key_file(NEW_ID)
    owner.does("key", "disable", "prod")
    owner.does("key", "rotate", "prod", str(new), "--no-apple-check")
    assert "was disabled by root" in owner.fails(3, "mint", "prod").error
    owner.does("key", "enable", "prod")
    signs_with(owner, new, NEW_ID)
    assert (owner("key", "retire", "prod").code == 0) == (custody != "kv")
    signs_with(owner, new, NEW_ID)


# -- App Store Connect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["stage", "rotate"])
@each_custody
def test_a_key_that_apple_refuses_is_not_written(
    owner: User, apple: AppleSimulator, state: Callable[[], dict[str, Any]], command: str, custody: str
) -> None:
    owner.imports("prod", OLD_ID, "--custody", custody)
    new = owner.key_file(NEW_ID)
    apple.revoke(NEW_ID)
    before = state()
    refused = owner.fails(3, "key", command, "prod", str(new))
    assert refused.error == (
        f'apple does not accept tokens of key "{NEW_ID}" (401 NOT_AUTHORIZED); it was asked 3 times; nothing was written'
    )
    assert apple.journal.count("GET", "/v1/apps") == 3
    owner.sets(apple_url="http://127.0.0.1:1")
    unreachable = owner.fails(8, "key", command, "prod", str(new))
    assert "connection refused" in unreachable.error
    assert unreachable.error.endswith("nothing was written")
    assert unreachable.hint.endswith("--no-apple-check")
    assert state() == before
    owner.does("key", command, "prod", str(new), "--no-apple-check")
    assert apple.journal.count("GET", "/v1/apps") == 3


def test_apple_is_asked_about_the_new_key_until_it_accepts_it(owner: User, apple: AppleSimulator) -> None:
    old = owner.imports("prod", OLD_ID)
    assert owner.does("key", "rotate", "prod", str(old)).out.startswith('"prod" is that key already')
    assert not apple.journal.entries()
    apple.inject(faults.FALSE_401, count=2)
    owner.does("key", "rotate", "prod", str(owner.key_file(NEW_ID)))
    assert apple.journal.count("GET", "/v1/apps") == 3
    assert apple.journal.last().who == NEW_ID


# -- move ------------------------------------------------------------------------------------------------------------


def test_there_and_back_by_the_printed_commands_alone(
    owner: User, root: Root, token_with: TokenWith, written: None
) -> None:
    """A consumer that holds the minter policy mints at every step."""
    file = owner.imports("prod", OLD_ID)
    name = owner.does("policy", "write", "minter", "--key", "prod").out.strip()

    def consumer_mints() -> None:
        owner.use(token_with(root("GET", f"sys/policies/acl/{name}")["data"]["policy"]))
        signs_with(owner, file, OLD_ID)
        owner.use(owner.server.root_token)

    def drop_consumers() -> None:
        for other in listed(root, "sys/policies/acl"):
            if other.startswith("test-"):
                root("DELETE", f"sys/policies/acl/{other}")

    ways = ("kv", "transit", "kv", "engine", "transit", "engine", "kv")
    for old, custody in pairwise(ways):
        source = ("--file", str(file)) if old == "engine" or (old, custody) == ("transit", "engine") else ()
        refused = owner.fails(3, "key", "move", "prod", "--custody", custody)
        assert name in refused.error or "no policy grants it" in refused.error
        (grant,) = commands_in(refused.hint)
        assert owner.does(*grant).out.strip() == name
        consumer_mints()
        drop_consumers()
        told = owner.does("key", "move", "prod", "--custody", custody, *source).out
        consumer_mints()
        drop_consumers()
        early = owner.fails(3, "key", "move", "prod", "--finish")
        assert early.error.endswith(f"is still granted by {name}")
        assert owner.record()["moved_from"] == old
        ungrant, finish = commands_in(told)
        owner.does(*ungrant)
        consumer_mints()
        drop_consumers()
        assert owner.does(*finish).out.startswith('finished the move of "prod"')
        consumer_mints()
        drop_consumers()
        assert "moved_from" not in owner.record()
        assert owner.record()["custody"] == custody


def test_a_removed_copy_is_gone_and_moving_back_needs_the_file(
    owner: User, root: Root, transit_mount: str, written: None
) -> None:
    file = owner.imports("prod", OLD_ID)
    owner.does("key", "move", "prod", *TRANSIT, "--granted")
    removed = owner.does("key", "move", "prod", "--finish", "--remove-copy", "--granted").out
    assert "\n  removed what lay there\n" in removed
    assert not listed(root, f"{owner.mount}/metadata/asc/private")
    again = owner.does("key", "move", "prod", "--finish", "--remove-copy", "--granted").out
    assert "nothing was changed" in again
    assert "removed" not in again
    signs_with(owner, file, OLD_ID)
    back = owner.fails(7, "key", "move", "prod", "--custody", "kv", "--granted")
    assert "no private part of the current version" in back.error
    owner.does("key", "move", "prod", "--custody", "kv", "--granted", "--file", str(file))
    owner.does("key", "move", "prod", "--finish", "--remove-copy", "--granted")
    assert "asc.prod" not in listed(root, f"{transit_mount}/keys")
    signs_with(owner, file, OLD_ID)


def test_a_move_with_a_file_reads_no_private_part(owner: User, token_with: TokenWith, root: Root) -> None:
    file = owner.imports("prod", OLD_ID)
    other = owner.key_file(NEW_ID)
    names = ("key-admin", "registrar", "auditor")
    owner.use(token_with(*(owner.does("policy", "show", name, *TRANSIT, "--custody", "kv").out for name in names)))
    wrong = owner.fails(3, "key", "move", "prod", *TRANSIT, "--granted", "--file", str(other))
    assert wrong.error.startswith('this is not the current key of "prod"')
    denied = owner.fails(6, "key", "move", "prod", *TRANSIT, "--granted")
    assert f'lacks "read" on "{owner.mount}/data/asc/private/prod"' in denied.error
    owner.does("key", "move", "prod", *TRANSIT, "--granted", "--file", "-", stdin=file.read_bytes())
    assert owner.record()["custody"] == "transit"


@pytest.mark.parametrize("custodies", [("kv",), ("transit",), ("kv", "transit", "engine")])
@pytest.mark.parametrize(
    ("start", "end", "more"),
    [
        *((*way, ()) for way in permutations(map(str, Custody), 2) if way[0] != "engine"),
        *((*way, ("--file", "FILE")) for way in permutations(map(str, Custody), 2)),
    ],
)
def test_the_hint_of_a_denied_move_mends_it(
    owner: User,
    root: Root,
    token_with: TokenWith,
    written: None,
    custodies: tuple[str, ...],
    more: tuple[str, ...],
    start: str,
    end: str,
) -> None:
    """Whatever the deployment's custodies are; reading the private part is asked for only where it is read."""
    owner.sets(custodies=custodies)
    file = str(owner.imports("prod", OLD_ID, "--custody", start))
    words = ("key", "move", "prod", "--custody", end, "--granted", *(file if word == "FILE" else word for word in more))
    owner.use(token_with(NO_RIGHTS))
    commands = hinted_commands(owner.fails(6, *words).hint)
    assert ("minter" in {command[2] for command in commands}) == (not more)
    owner.use(owner.server.root_token)
    names = [owner.does(*command).out.strip() for command in commands]
    owner.use(token_with(*(root("GET", f"sys/policies/acl/{name}")["data"]["policy"] for name in names)))
    owner.does(*words)
    assert owner.record()["custody"] == end


@pytest.mark.parametrize("name", ["../x", "A", "a\nb", ""])
def test_bad_names_are_refused_before_any_request(owner: User, name: str) -> None:
    with Wire(owner.server.address) as wire:
        owner.sets(address=wire.address)
        for words in (("retire", "--", name), ("move", *TRANSIT, "--", name), ("move", "--finish", "--", name)):
            assert owner.fails(2, "key", *words).error.startswith('key name "')
        assert not wire.calls
