"""What the backend makes of its storage: writes that fail, other nodes, entries that are newer, foreign or damaged."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests import keys
from tests.engine.mounted import Mounted, done, p8, team_key, verified, with_role
from tests.engine.storages import DictStorage, Fate
from vault_asc.engine.cache import Cache
from vault_asc.engine.mount import Memory
from vault_asc.engine.request import BadEntryError, Operation, RequestError
from vault_asc.engine.storage import StorageError

NEW: dict[str, Any] = {"private_key": p8(), "key_id": keys.OTHER_KEY_ID}
LATER: dict[str, Any] = {"private_key": p8(), "key_id": "K000000003"}

Step = Callable[[Mounted], object]
STEPS: list[Step] = [
    lambda mounted: mounted.write("keys/prod", **NEW),
    lambda mounted: mounted.write("keys/prod/rollback"),
    lambda mounted: mounted.write("keys/prod/promote", version=2),
    lambda mounted: mounted.write("keys/prod/stage", **LATER),
    lambda mounted: mounted.write("keys/prod/promote", version=3),
    lambda mounted: mounted.write("keys/prod/retire"),
    lambda mounted: mounted.write("keys/prod", **NEW),
    lambda mounted: mounted.write("keys/spare", **NEW, issuer_id=keys.ISSUER_ID),
    lambda mounted: mounted.write("roles/other", key="spare"),
    lambda mounted: mounted.write("roles/sales", key="spare"),
    lambda mounted: mounted.write("config", lifetime=600),
    lambda mounted: mounted.delete("keys/prod"),
    lambda mounted: mounted.delete("config"),
    lambda mounted: mounted.delete("roles/other"),
]


def seen(mounted: Mounted) -> dict[str, Any]:
    """All that can be read, and that every role's token is of its key."""
    facts = {f"keys/{name}": mounted.read(f"keys/{name}") for name in mounted.names("keys/")}
    for name in mounted.names("roles/"):
        role = mounted.read(f"roles/{name}")
        facts[f"roles/{name}"] = role
        key = facts[f"keys/{role['key']}"]
        verified(mounted.read(f"token/{name}"), key["public_key"])
        if key["previous"] is not None:
            older = mounted.read(f"token/{name}", key_version=key["previous"]["version"])
            verified(older, key["previous"]["public_key"])
    return {**facts, "config": mounted.read("config")}


@pytest.mark.parametrize("fate", Fate)
@pytest.mark.parametrize("crash", range(1, len(STEPS) + 1))
@pytest.mark.parametrize("restarted", [True, False])
def test_a_failed_write_leaves_the_old_or_the_new_and_repeating_it_completes(
    crash: int, fate: Fate, *, restarted: bool
) -> None:
    mounted = with_role()
    before = mounted.storage.writes
    mounted.storage.fail_at, mounted.storage.fate = before + crash, fate
    failed = 0
    for step in STEPS:
        old = seen(mounted)
        try:
            step(mounted)
        except StorageError:
            failed += 1
            if restarted:
                mounted = Mounted(mounted.storage)
            found = seen(mounted)
            assert (found == old) is (fate is Fate.LOST)
            step(mounted)
            if fate is Fate.UNHEARD:
                assert seen(mounted) == found
        # What is remembered is what a fresh process would read.
        assert seen(mounted) == seen(Mounted(mounted.storage))
    assert failed == 1
    assert mounted.storage.values.keys() == {"key/spare", "role/sales"}
    assert mounted.storage.writes == before + len(STEPS) + (
        fate is Fate.LOST or crash > len(STEPS) - 3  # only a delete is sent twice when it was done
    )


def test_a_write_that_arrives_late_is_seen() -> None:
    """Nothing is remembered after a failed write: the server may carry it out later, and tells nobody."""
    mounted = with_role()
    mounted.read("token/sales")
    late = Mounted(DictStorage(dict(mounted.storage.values)))
    late.write("keys/prod", **NEW)
    mounted.storage.fail_at = mounted.storage.writes + 1
    with pytest.raises(StorageError):
        mounted.write("keys/prod", **NEW)
    assert mounted.read("token/sales")["key_id"] == keys.KEY_ID
    mounted.storage.values["key/prod"] = late.storage.values["key/prod"]
    assert mounted.read("token/sales")["key_id"] == keys.OTHER_KEY_ID
    mounted.write("keys/prod", **LATER)
    mounted.read("token/sales")
    mounted.storage.reads = 0
    assert mounted.read("token/sales")["key_id"] == "K000000003"
    assert mounted.storage.reads == 0


@pytest.mark.parametrize("forgotten", ["key/prod", "key/", ""])
def test_a_change_by_another_node_is_seen_once_it_is_told(forgotten: str) -> None:
    mounted = with_role()
    other = Mounted(mounted.storage)
    mounted.read("token/sales")
    other.write("keys/prod", **NEW)
    assert mounted.read("token/sales")["key_id"] == keys.KEY_ID
    mounted.backend.invalidate("role/other")
    mounted.backend.invalidate("nonsense\0")
    assert mounted.read("token/sales")["key_id"] == keys.KEY_ID
    mounted.backend.invalidate(forgotten)
    assert mounted.read("token/sales")["key_id"] == keys.OTHER_KEY_ID


@pytest.mark.parametrize(("path", "place"), [("roles/sales", "role/sales"), ("config", "config")])
def test_so_are_changes_of_roles_and_of_the_configuration(path: str, place: str) -> None:
    mounted = with_role()
    other = Mounted(mounted.storage)
    first = mounted.read("token/sales")["expires_at"]
    other.write(path, lifetime=600)
    assert mounted.read("token/sales")["expires_at"] == first
    mounted.backend.invalidate(place)
    assert mounted.read("token/sales")["expires_at"] == first - 540


def test_mounts_of_one_process_share_what_they_remember_and_never_mix_it_up() -> None:
    memory = Memory(limit=6)
    mounts = [Mounted(memory=memory) for _ in range(4)]
    for number, mounted in enumerate(mounts):
        mounted.write("keys/prod", **team_key(key_id=f"K{number:09d}"))
        mounted.write("roles/sales", key="prod")
    for _ in range(3):
        for number, mounted in enumerate(mounts):
            assert mounted.read("token/sales")["key_id"] == f"K{number:09d}"
            assert len(memory.entries) <= 6
    mounts[-1].backend.close()
    assert len(memory.entries) == 3


def test_the_least_used_is_forgotten_first() -> None:
    cache: Cache[str, str] = Cache(2)
    for key in ("a", "b"):
        cache.keep(key, key, cache.moment)
    assert cache.get("a") == "a"
    cache.keep("c", "c", cache.moment)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("a", None, "c")


# -- entries that are not as they should be


def test_entries_have_a_format() -> None:
    mounted = with_role()
    mounted.write("config", lifetime=600)
    assert {json.loads(value)["format"] for value in mounted.storage.values.values()} == {1}


def refusal(mounted: Mounted, operation: Operation, path: str, data: dict[str, Any]) -> RequestError:
    with pytest.raises(BadEntryError) as caught:
        mounted.ask(operation, path, data)
    assert caught.value.status == 500
    return caught.value


USES: dict[str, list[tuple[Operation, str, dict[str, Any]]]] = {
    "config": [(Operation.READ, "config", {}), (Operation.UPDATE, "config", {"backdate": 30})],
    "role/sales": [
        (Operation.READ, "roles/sales", {}),
        (Operation.UPDATE, "roles/sales", {"lease": False}),
        (Operation.DELETE, "keys/prod", {}),
    ],
    "key/prod": [
        (Operation.READ, "keys/prod", {}),
        (Operation.UPDATE, "keys/prod", NEW),
        (Operation.UPDATE, "keys/prod/stage", NEW),
        (Operation.UPDATE, "keys/prod/promote", {}),
        (Operation.UPDATE, "keys/prod/rollback", {}),
        (Operation.UPDATE, "keys/prod/retire", {}),
        (Operation.READ, "token/sales", {"key_version": 1}),
    ],
}


@pytest.mark.parametrize("place", USES)
def test_an_entry_of_a_newer_version_is_refused_and_never_written_over(place: str) -> None:
    storage = with_role().storage
    entry = json.loads(storage.values.get(place, b"{}"))
    storage.values[place] = json.dumps({**entry, "format": 2}).encode()
    before = dict(storage.values)
    for operation, path, data in [*USES[place], (Operation.READ, "token/sales", {})]:
        error = refusal(Mounted(storage), operation, path, data)
        assert "newer version of the engine" in error.message
        assert "upgrade the plugin" in str(error.hint)
    assert storage.values == before


DAMAGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no JSON": lambda _entry: ...,
    "no object": lambda _entry: [],
    "null": lambda _entry: None,
    "empty": lambda _entry: {},
    "format alone": lambda _entry: {"format": 1},
    "format as text": lambda entry: {**entry, "format": "1"},
    "format true": lambda entry: {**entry, "format": True},
    "format 0": lambda entry: {**entry, "format": 0},
    "all null": lambda entry: {**dict.fromkeys(entry), "format": 1},
    "all text": lambda entry: {**dict.fromkeys(entry, "x"), "format": 1},
    "all lists": lambda entry: {**{name: [1] for name in entry}, "format": 1},
}


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("place", USES)
def test_a_damaged_entry_is_an_error_that_repeats_nothing_of_it(place: str, damage: str) -> None:
    mounted = with_role()
    mounted.write("config", lifetime=600)
    storage = mounted.storage
    entry = json.loads(storage.values[place])
    found = DAMAGED[damage](entry)
    storage.values[place] = storage.values[place][:-2] if found is ... else json.dumps(found).encode()
    for operation, path, data in USES[place]:
        error = refusal(Mounted(storage), operation, path, data)
        assert "PRIVATE" not in error.text
        assert "MIG" not in repr(error.__cause__)
        assert "MIG" not in repr(error.__context__)


def test_a_key_that_is_not_that_of_its_fingerprint_signs_nothing() -> None:
    mounted = with_role()
    entry = json.loads(mounted.storage.values["key/prod"])
    for private_key in (p8(), "no key", ""):
        entry["current"]["private_key"] = private_key
        mounted.storage.values["key/prod"] = json.dumps(entry).encode()
        error = refusal(Mounted(mounted.storage), Operation.READ, "token/sales", {})
        assert 'key "prod" is damaged' in error.message


def three_versions() -> Mounted:
    """Version 2 current, 1 before it, 3 staged."""
    mounted = with_role()
    mounted.write("keys/prod", **NEW)
    mounted.write("keys/prod/stage", **LATER)
    return mounted


DAMAGED_VERSIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "no staged field": lambda entry: {name: value for name, value in entry.items() if name != "staged"},
    "staged as text": lambda entry: {**entry, "staged": "x"},
    "staged of no fields": lambda entry: {**entry, "staged": {}},
    "staged without a key": lambda entry: {**entry, "staged": {**entry["staged"], "private_key": None}},
    "current missing": lambda entry: {**entry, "current": None},
    "previous and current exchanged": lambda entry: {
        **entry,
        "previous": entry["current"],
        "current": entry["previous"],
    },
    "current staged too": lambda entry: {**entry, "staged": entry["current"]},
    "numbers given out forgotten": lambda entry: {**entry, "latest": 2},
    "a number below 1": lambda entry: {**entry, "previous": {**entry["previous"], "version": 0}},
    "a number that is none": lambda entry: {**entry, "previous": {**entry["previous"], "version": True}},
    "rolled back by number": lambda entry: {**entry, "rolled_back": 1},
    "nobody wrote it": lambda entry: {**entry, "current": {**entry["current"], "imported_by": None}},
}


@pytest.mark.parametrize("damage", DAMAGED_VERSIONS)
def test_versions_that_contradict_each_other_are_never_written_over(damage: str) -> None:
    storage = three_versions().storage
    entry = DAMAGED_VERSIONS[damage](json.loads(storage.values["key/prod"]))
    storage.values["key/prod"] = json.dumps(entry).encode()
    before = dict(storage.values)
    for operation, path, data in USES["key/prod"]:
        error = refusal(Mounted(storage), operation, path, data)
        assert 'key "prod" is damaged in storage' in error.message
        assert "MIG" not in error.text + repr(error.__cause__)
    assert storage.values == before


@pytest.mark.parametrize("private_key", ["no key", "", "another"])
def test_a_damaged_previous_or_staged_version_does_not_stop_the_current_one(private_key: str) -> None:
    mounted = three_versions()
    entry = json.loads(mounted.storage.values["key/prod"])
    for version in ("previous", "staged"):
        entry[version]["private_key"] = p8() if private_key == "another" else private_key
    mounted.storage.values["key/prod"] = json.dumps(entry).encode()
    mounted = Mounted(mounted.storage)
    for asked in ({}, {"key_version": 2}, {}):
        verified(mounted.read("token/sales", **asked), mounted.read("keys/prod")["public_key"])
        error = refusal(mounted, Operation.READ, "token/sales", {"key_version": 1})
        assert 'key "prod" is damaged' in error.message
    mounted.write("keys/prod/retire")
    assert mounted.read("token/sales")["key_version"] == 2


def test_a_role_whose_key_is_gone() -> None:
    mounted = with_role()
    del mounted.storage.values["key/prod"]
    with pytest.raises(RequestError, match='names key "prod", which does not exist') as caught:
        Mounted(mounted.storage).read("token/sales")
    assert caught.value.status == 404


def test_what_can_only_be_deleted_still_can() -> None:
    mounted = with_role()
    mounted.storage.values["config"] = mounted.storage.values["role/sales"] = b"\xff"
    mounted.delete("config")
    mounted.delete("roles/sales")
    mounted.storage.values["key/prod"] = b"\xff"
    mounted.delete("keys/prod")
    assert mounted.storage.values == {}
    assert done(mounted.backend.exists(mounted.request(Operation.UPDATE, "keys/prod"))) is False
