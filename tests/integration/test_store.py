"""How keys lie in Vault: what is written, what is refused when it is read, and what becomes of lost answers."""

from collections.abc import Iterator

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import (
    LOSE_ANSWER,
    LOSE_REQUEST,
    NAME,
    PREFIX,
    TEAM,
    Wire,
    lifecycle_on,
    minted_with,
    new_key,
    team,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConflictError, NotFoundError, VaultError
from vault_asc.key.identity import identity
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.record import Note, Record, State
from vault_asc.store import Store
from vault_asc.vault import LostAnswerError, MissingVersionError

RECORD = Record(
    Custody.KV,
    TEAM,
    "ab" * 32,
    State.ENABLED,
    private_version=3,
    imported_at="2026-03-01T12:00:00Z",
    imported_by="approle (entity 1)",
    changed_by="token",
)
IN_TRANSIT = RECORD._replace(
    custody=Custody.TRANSIT, transit_key="asc.prod", transit_version=2, public_key="MFkw", moved_from=Custody.KV
)
IN_ENGINE = RECORD._replace(
    custody=Custody.ENGINE,
    role="sales",
    engine_version=2,
    public_key="MFkw",
    moved_from=Custody.KV,
    removing=Custody.KV,
)
NOTE = Note(4, keys.OTHER_KEY_ID, "cd" * 32, "2026-03-01T12:00:00Z", "ada")


@pytest.fixture
def keeper(vault: VaultUnderTest, kv_mount: str) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount) as made:
        yield made


@pytest.fixture
def store(keeper: Lifecycle) -> Store:
    return keeper.store


@pytest.fixture
def wire(vault: VaultUnderTest) -> Iterator[Wire]:
    with Wire(vault.address) as made:
        yield made


@pytest.fixture
def wired(vault: VaultUnderTest, kv_mount: str, wire: Wire) -> Iterator[Lifecycle]:
    with lifecycle_on(vault, kv_mount, address=wire.address) as made:
        yield made


# What is written.


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        RECORD._replace(state=State.DISABLED),
        RECORD._replace(identity=identity(key_id=keys.KEY_ID, issuer_id=None, individual=True)),
        IN_TRANSIT,
        IN_TRANSIT._replace(private_version=None, moved_from=None),
        IN_ENGINE,
        IN_ENGINE._replace(private_version=None, moved_from=None, removing=None),
    ],
    ids=["team", "disabled", "individual", "transit", "transit alone", "engine", "engine alone"],
)
def test_record_comes_back_as_it_was_written(store: Store, record: Record) -> None:
    assert store.write_record(NAME, record, cas=0) == 1

    stored = store.read(NAME)

    assert (stored.name, stored.record, stored.version) == (NAME, record, 1)
    assert stored.written_at == store.record_metadata(NAME).versions[1].created_time


def test_three_secrets_hold_what_the_design_says_and_nothing_else(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    key, other = new_key(), new_key()
    keeper.import_key(NAME, key, TEAM)
    keeper.stage(NAME, other, keys.OTHER_KEY_ID)

    def data(kind: str) -> dict[str, object]:
        found: dict[str, object] = root("GET", f"{kv_mount}/data/{PREFIX}/{kind}/{NAME}")["data"]["data"]
        return found

    record, private, note = data("keys"), data("private"), data("staged")
    facts = {"custody", "spki_sha256", "state", "private_version", "imported_at", "imported_by", "changed_by"}
    assert set(record) == {"format", "key_id", "key_type", "audience", "issuer_id"} | facts
    assert (record["format"], record["private_version"], record["custody"]) == (1, 1, "kv")
    assert private == {"private_key": other.pem.reveal(), "key_id": keys.OTHER_KEY_ID}
    assert list(note) == ["key_id", "private_version", "spki_sha256", "staged_at", "staged_by"]
    for public in (record, note):
        assert "PRIVATE" not in str(public)
    assert "issuer_id" not in RECORD._replace(identity=TEAM._replace(issuer_id=None)).dump()


def test_names_are_those_of_records(store: Store) -> None:
    assert store.names() == []
    for name in ("b", "a"):
        store.write_record(name, RECORD, cas=0)
    store.write_note("c", NOTE, cas=0)
    assert store.names() == ["a", "b"]


def test_note_comes_back_with_the_version_for_the_next_write(store: Store, root: Root, kv_mount: str) -> None:
    assert store.note(NAME) == (None, 0)
    store.write_note(NAME, NOTE, cas=0)
    assert store.note(NAME) == (NOTE, 1)
    store.write_note(NAME, NOTE._replace(private_version=5), cas=1)
    assert store.note(NAME) == (NOTE._replace(private_version=5), 2)

    root("DELETE", f"{kv_mount}/data/{PREFIX}/staged/{NAME}")
    assert store.note(NAME) == (None, 2)
    store.write_note(NAME, NOTE, cas=2)
    root("POST", f"{kv_mount}/data/{PREFIX}/staged/{NAME}", {"data": {"private_version": "no number"}})
    assert store.note(NAME) == (None, 4)


# What is refused when it is read.


def put(root: Root, mount: str, data: dict[str, object]) -> None:
    root("POST", f"{mount}/data/{PREFIX}/keys/{NAME}", {"data": data})


@pytest.mark.parametrize("found", [2, "1.5", None, [1], "x" * 500])
def test_record_of_another_format_is_refused_and_left_alone(
    keeper: Lifecycle, root: Root, kv_mount: str, found: object
) -> None:
    put(root, kv_mount, RECORD.dump() | {"format": found})

    with pytest.raises(VaultError, match=r"has format .*, this version of vault-asc reads format 1") as caught:
        keeper.store.read(NAME)
    assert "upgrade vault-asc" in str(caught.value.hint)
    assert len(caught.value.message) < 200

    for command in (
        lambda: keeper.import_key(NAME, new_key(), TEAM),
        lambda: keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID),
        lambda: keeper.set_state(NAME, State.DISABLED),
        lambda: keeper.destroy(NAME),
    ):
        with pytest.raises(VaultError, match="has format"):
            command()
    assert keeper.store.record_metadata(NAME).current_version == 1


@pytest.mark.parametrize(
    "change",
    [
        {"custody": "strongbox"},
        {"state": "\x1b[2J" + "x" * 500},
        {"private_version": "three"},
        {"private_version": None},
        {"key_type": 7},
    ],
    ids=str,
)
def test_damaged_record_is_refused_with_a_way_back(
    store: Store, root: Root, kv_mount: str, change: dict[str, object]
) -> None:
    store.write_record(NAME, RECORD, cas=0)
    put(root, kv_mount, RECORD.dump() | change)

    with pytest.raises(VaultError, match="is no record of vault-asc") as caught:
        store.read(NAME)

    assert "vault kv rollback" in str(caught.value.hint)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert store.read(NAME, 1).record == RECORD


@pytest.mark.parametrize("name", sorted(RECORD.dump().keys() - {"issuer_id"}))
def test_record_without_a_field_is_refused(store: Store, root: Root, kv_mount: str, name: str) -> None:
    put(root, kv_mount, {field: value for field, value in RECORD.dump().items() if field != name})
    with pytest.raises(VaultError, match="has format None" if name == "format" else f"no record .* '{name}'"):
        store.read(NAME)


def test_deleted_record_is_an_error_that_says_how_to_bring_it_back(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM)
    root("DELETE", f"{kv_mount}/data/{PREFIX}/keys/{NAME}")

    for command in (
        lambda: keeper.store.read(NAME),
        lambda: keeper.import_key(NAME, new_key(), TEAM),
    ):
        with pytest.raises(MissingVersionError, match=f'the record of key "{NAME}" was deleted; .* at 20') as caught:
            command()
        assert f"vault kv undelete -mount={kv_mount} -versions=1 {PREFIX}/keys/{NAME}" in str(caught.value.hint)

    root("POST", f"{kv_mount}/undelete/{PREFIX}/keys/{NAME}", {"versions": [1]})
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_destroyed_record_can_be_imported_again_as_the_hint_says(keeper: Lifecycle, root: Root, kv_mount: str) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    root("POST", f"{kv_mount}/destroy/{PREFIX}/keys/{NAME}", {"versions": [1]})

    with pytest.raises(MissingVersionError, match=f'the record of key "{NAME}" was destroyed') as caught:
        keeper.store.read(NAME)
    assert f"vault-asc key import FILE {NAME}" in str(caught.value.hint)

    key = new_key()
    change = keeper.import_key(NAME, key, team(keys.OTHER_KEY_ID))
    assert (change.changed, change.stored.version, change.stored.record.private_version) == (True, 2, 2)
    assert minted_with(keeper.store, key, keys.OTHER_KEY_ID)


def test_what_is_left_of_a_key_with_a_destroyed_record_can_be_removed(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    root("POST", f"{kv_mount}/destroy/{PREFIX}/keys/{NAME}", {"versions": [1]})

    assert keeper.destroy(NAME)
    assert keeper.store.private_metadata(NAME).current_version == 0
    assert not keeper.destroy(NAME)


@pytest.mark.parametrize("kind", ["version 1", "transit", "missing"])
def test_other_mounts_are_refused_before_anything_is_written(vault: VaultUnderTest, root: Root, kind: str) -> None:
    mount = "other-engine"
    settings = {"version 1": {"type": "kv", "options": {"version": "1"}}, "transit": {"type": "transit"}}.get(kind)
    if settings:
        root("POST", f"sys/mounts/{mount}", settings)
    try:
        with Wire(vault.address) as wire, lifecycle_on(vault, mount, address=wire.address) as keeper:
            for command in (
                lambda: keeper.import_key(NAME, new_key(), TEAM),
                lambda: keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID),
                lambda: keeper.rotate(NAME, new_key(), keys.OTHER_KEY_ID),
                lambda: keeper.promote(NAME),
                lambda: keeper.rollback(NAME),
                lambda: keeper.set_state(NAME, State.DISABLED),
                lambda: keeper.destroy(NAME),
                lambda: keeper.store.read(NAME),
                keeper.store.names,
            ):
                with pytest.raises(VaultError, match="nothing was written"):
                    command()
            assert wire.writes == []
        if kind == "version 1":
            with pytest.raises(NotFoundError):
                root("LIST", mount)
    finally:
        if settings:
            root("DELETE", f"sys/mounts/{mount}")


def test_foreign_text_in_records_and_notes_is_made_fit_for_a_terminal(
    keeper: Lifecycle, root: Root, kv_mount: str
) -> None:
    keeper.import_key(NAME, new_key(), TEAM)
    evil = "\x1b]0;owned\x07\r\nvault-asc: error: none"
    put(root, kv_mount, keeper.store.read(NAME).record.dump() | {"changed_by": evil, "state": "disabled"})
    root("POST", f"{kv_mount}/data/{PREFIX}/staged/{NAME}", {"data": {**NOTE._asdict(), "staged_by": evil}})

    note, _ = keeper.store.note(NAME)
    assert note is not None
    assert note.staged_by.isprintable()
    assert keeper.store.read(NAME).record.changed_by.isprintable()


# Races and lost answers.


def test_conflict_on_the_record_says_who_was_faster_and_when(store: Store) -> None:
    store.write_record(NAME, RECORD, cas=0)
    store.write_record(NAME, RECORD._replace(changed_by="ada"), cas=1)
    when = store.read(NAME).written_at

    with pytest.raises(ConflictError) as caught:
        store.write_record(NAME, RECORD._replace(changed_by="bob"), cas=1)

    assert f'the record of "{NAME}" was changed by ada at {when}; your change was not made' in caught.value.message
    assert f"vault-asc key show {NAME}" in str(caught.value.hint)
    assert store.read(NAME).record.changed_by == "ada"


def test_conflict_with_a_removal(store: Store) -> None:
    with pytest.raises(ConflictError, match="was removed in the meantime"):
        store.write_record(NAME, RECORD, cas=1)


def test_conflict_on_the_private_part_says_who_and_when(store: Store) -> None:
    store.write_private(NAME, new_key(), keys.KEY_ID, cas=0)
    when = store.private_metadata(NAME).versions[1].created_time
    with pytest.raises(ConflictError) as caught:
        store.write_private(NAME, new_key(), keys.KEY_ID, cas=0)
    assert f"was written at {when} by somebody who has not left a note yet; the current key is" in caught.value.message

    store.write_note(NAME, NOTE._replace(private_version=1), cas=0)
    with pytest.raises(ConflictError, match=f"was staged by ada at {NOTE.staged_at}; the current key is untouched"):
        store.write_private(NAME, new_key(), keys.KEY_ID, cas=0)
    with pytest.raises(ConflictError, match=f"was staged by ada at {NOTE.staged_at}; the current key is untouched"):
        store.write_note(NAME, NOTE, cas=0)


def test_record_whose_answer_was_lost_is_recognised_and_not_written_twice(wire: Wire, wired: Lifecycle) -> None:
    wire.lose_once("POST", f"data/{PREFIX}/keys/", LOSE_ANSWER)

    assert wired.store.write_record(NAME, RECORD, cas=0) == 1

    assert [method for method, _ in wire.calls] == ["POST", "GET"]
    assert wired.store.read(NAME).record == RECORD


def test_record_that_never_arrived_is_an_unknown_outcome_and_the_repetition_completes(
    wire: Wire, wired: Lifecycle
) -> None:
    wire.lose_once("POST", f"data/{PREFIX}/keys/", LOSE_REQUEST)
    with pytest.raises(LostAnswerError):
        wired.store.write_record(NAME, RECORD, cas=0)
    assert len(wire.writes) == 1

    assert wired.store.write_record(NAME, RECORD, cas=0) == 1


def test_lost_answer_of_a_later_version_is_not_taken_for_the_one_before(wire: Wire, wired: Lifecycle) -> None:
    wired.store.write_record(NAME, RECORD, cas=0)
    wire.lose_once("POST", f"data/{PREFIX}/keys/", LOSE_REQUEST)
    with pytest.raises(LostAnswerError):
        wired.store.write_record(NAME, RECORD._replace(state=State.DISABLED), cas=1)
    assert wired.store.read(NAME).record.state is State.ENABLED


def test_server_that_is_gone_after_a_write_still_means_an_unknown_outcome(wire: Wire, wired: Lifecycle) -> None:
    wire.fate = lambda method, _path: LOSE_ANSWER if method == "POST" else LOSE_REQUEST

    with pytest.raises(LostAnswerError, match=f"no answer to the write to .*/keys/{NAME}"):
        wired.store.write_record(NAME, RECORD, cas=0)

    wire.fate = lambda _method, _path: None
    assert wired.store.read(NAME).record == RECORD


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("lost", ["private", "keys"])
def test_repeated_import_completes_after_a_lost_write(wire: Wire, wired: Lifecycle, lost: str, fate: str) -> None:
    key = new_key()
    wire.lose_once("POST", f"/{lost}/", fate)

    if (lost, fate) == ("keys", LOSE_ANSWER):
        assert wired.import_key(NAME, key, TEAM).changed
    else:
        with pytest.raises(LostAnswerError, match=f"/{lost}/{NAME}"):
            wired.import_key(NAME, key, TEAM)
        with pytest.raises(MissingVersionError):
            wired.store.read(NAME)
        assert wired.import_key(NAME, key, TEAM).changed

    assert not wired.import_key(NAME, key, TEAM).changed
    assert minted_with(wired.store, key, keys.KEY_ID)


@pytest.mark.parametrize("fate", [LOSE_ANSWER, LOSE_REQUEST])
@pytest.mark.parametrize("lost", ["private", "staged", "keys"])
def test_repeated_rotation_completes_after_a_lost_write(wire: Wire, wired: Lifecycle, lost: str, fate: str) -> None:
    old, new = new_key(), new_key()
    wired.import_key(NAME, old, TEAM)
    wire.calls.clear()
    wire.lose_once("POST", f"/{lost}/", fate)

    if (lost, fate) == ("keys", LOSE_ANSWER):
        assert wired.rotate(NAME, new, keys.OTHER_KEY_ID).changed
    else:
        with pytest.raises(LostAnswerError, match=f"/{lost}/{NAME}"):
            wired.rotate(NAME, new, keys.OTHER_KEY_ID)
        # No write is sent twice, and what is lost leaves the old key current.
        assert len(wire.writes) == len(set(wire.writes)) == ["private", "staged", "keys"].index(lost) + 1
        assert minted_with(wired.store, old, keys.KEY_ID)
        assert wired.rotate(NAME, new, keys.OTHER_KEY_ID).changed

    assert not wired.rotate(NAME, new, keys.OTHER_KEY_ID).changed
    assert minted_with(wired.store, new, keys.OTHER_KEY_ID)
