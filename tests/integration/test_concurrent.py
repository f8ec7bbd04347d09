"""Many at once: consumers mint without pause while keys are rotated, and key owners get into each other's way."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import pytest

from tests import keys
from tests.support import NAME, TEAM, key_id, lifecycle_on, mint, minted_with, new_key, team, verified
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConflictError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Change, Lifecycle
from vault_asc.record import Note, Record
from vault_asc.store import Store
from vault_asc.tokens import Token

READERS = 4
CHANGES = 60


def read_on(server: VaultUnderTest, mount: str, over: threading.Event) -> list[Token]:
    """All tokens that one consumer minted until it was over; any failed mint ends the test."""
    tokens = []
    with lifecycle_on(server, mount) as keeper:
        while not over.is_set():
            tokens.append(mint(keeper.store).token)
    return tokens


def change_often(server: VaultUnderTest, mount: str, by_id: dict[str, PrivateKey]) -> Counter[str]:
    done: Counter[str] = Counter()
    numbers = count(2)
    with lifecycle_on(server, mount) as keeper:
        for turn in range(CHANGES):
            if turn % 3 == 2:
                keeper.rollback(NAME)
                done["rollbacks"] += 1
                continue
            kid = key_id(next(numbers))
            by_id[kid] = new_key()
            keeper.rotate(NAME, by_id[kid], kid)
            done["rotations"] += 1
    return done


def test_readers_never_fail_and_never_see_a_mismatch_during_rotations(
    vault: VaultUnderTest, kv_mount: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_id = {key_id(1): new_key()}
    with lifecycle_on(vault, kv_mount) as keeper:
        keeper.import_key(NAME, by_id[key_id(1)], team(key_id(1)))
    over = threading.Event()

    with ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(read_on, vault, kv_mount, over) for _ in range(READERS)]
        try:
            done = change_often(vault, kv_mount, by_id)
        finally:
            over.set()
        tokens = [token for reader in readers for token in reader.result()]

    used = Counter(token.key_id for token in tokens)
    for token in tokens:
        header, _ = verified(token, by_id[token.key_id])
        assert header["kid"] == token.key_id
    with capsys.disabled():
        print(  # noqa: T201 - the numbers are what this test is for
            f"\n{READERS} readers, {done['rotations']} rotations and {done['rollbacks']} rollbacks:"
            f" {len(tokens)} tokens of {len(used)} keys, 0 failed, 0 mismatches"
        )
    assert done.total() == CHANGES
    assert len(tokens) > CHANGES
    assert len(used) > 10


# Two key owners.


@dataclass(frozen=True)
class MeetingStore(Store):
    """A store in which something happens at one point: the other one arrives there, or is done meanwhile."""

    meet: Callable[[str], None] = lambda _where: None

    def write_private(self, name: str, key: PrivateKey, key_id: str, *, cas: int) -> int:
        self.meet("private")
        return super().write_private(name, key, key_id, cas=cas)

    def write_note(self, name: str, note: Note, *, cas: int) -> None:
        self.meet("note")
        super().write_note(name, note, cas=cas)
        self.meet("after the note")

    def write_record(self, name: str, record: Record, *, cas: int) -> int:
        self.meet("record")
        return super().write_record(name, record, cas=cas)


Act = Callable[[Lifecycle], Change]


def at_once(server: VaultUnderTest, mount: str, where: str, *acts: Act) -> list[Change | ConflictError]:
    """What comes of acts that all arrive at that write before any of them does it."""
    barrier = threading.Barrier(len(acts))

    def run(act: Act) -> Change | ConflictError:
        waiting = [where]

        def meet(here: str) -> None:
            if here in waiting:
                waiting.remove(here)
                barrier.wait(10)

        with lifecycle_on(server, mount) as keeper:
            store = keeper.store
            try:
                return act(Lifecycle(MeetingStore(store.vault, store.layout, meet), keeper.clock))
            except ConflictError as conflict:
                return conflict

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def one_winner(outcomes: list[Change | ConflictError]) -> tuple[int, list[ConflictError]]:
    winners = [position for position, outcome in enumerate(outcomes) if isinstance(outcome, Change)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
    assert (len(winners), len(losers)) == (1, len(outcomes) - 1)
    return winners[0], losers


@pytest.mark.parametrize("where", ["private", "record"])
@pytest.mark.parametrize("admins", [2, 4])
def test_of_those_who_rotate_at_once_one_wins_and_the_others_learn_who_and_when(
    vault: VaultUnderTest, kv_mount: str, where: str, admins: int
) -> None:
    rivals = [new_key() for _ in range(admins)]
    with lifecycle_on(vault, kv_mount) as keeper:
        keeper.import_key(NAME, new_key(), TEAM)
        if where == "record":  # each has staged the same key, and all promote it
            keeper.stage(NAME, rivals[0], key_id(1))
            rivals = [rivals[0]] * admins

        outcomes = at_once(
            vault,
            kv_mount,
            where,
            *(lambda k, rival=rival, n=n: k.rotate(NAME, rival, key_id(n)) for n, rival in _numbered(rivals)),
        )

        winner, losers = one_winner(outcomes)
        assert minted_with(keeper.store, rivals[winner], key_id(_numbered(rivals)[winner][0]))
        assert sorted(keeper.store.private_metadata(NAME).versions) == [1, 2]
        note, _ = keeper.store.note(NAME)
        assert note is not None
        when = {keeper.store.private_metadata(NAME).versions[2].created_time, keeper.store.read(NAME).written_at}
        for loser in losers:
            assert any(moment in loser.message for moment in when | {note.staged_at})
            assert "root" in loser.message or "has not left a note yet" in loser.message
            assert loser.exit_code == 9
            assert f"vault-asc key show {NAME}" in str(loser.hint)


def _numbered(rivals: list[PrivateKey]) -> list[tuple[int, PrivateKey]]:
    return [(1 if rivals[0] is rivals[-1] else n, rival) for n, rival in enumerate(rivals, 1)]


def test_of_two_imports_at_once_one_wins(vault: VaultUnderTest, kv_mount: str) -> None:
    rivals = [new_key(), new_key()]

    outcomes = at_once(
        vault,
        kv_mount,
        "private",
        lambda k: k.import_key(NAME, rivals[0], team(key_id(0))),
        lambda k: k.import_key(NAME, rivals[1], team(key_id(1))),
    )

    winner, _ = one_winner(outcomes)
    with lifecycle_on(vault, kv_mount) as keeper:
        assert minted_with(keeper.store, rivals[winner], key_id(winner))


def test_import_does_not_replace_what_was_imported_in_between(vault: VaultUnderTest, kv_mount: str) -> None:
    first, second = new_key(), new_key()
    with lifecycle_on(vault, kv_mount) as keeper:

        def meanwhile(here: str) -> None:
            if here == "record":
                keeper.import_key(NAME, first, TEAM)

        late = Lifecycle(MeetingStore(keeper.store.vault, keeper.store.layout, meanwhile), keeper.clock)
        with pytest.raises(ConflictError, match=f'the record of "{NAME}" was changed by root at 20'):
            late.import_key(NAME, second, team(keys.OTHER_KEY_ID))

        assert minted_with(keeper.store, first, keys.KEY_ID)


@pytest.mark.parametrize("where", ["private", "note", "after the note", "record"])
def test_rotation_never_replaces_a_key_that_it_has_not_seen(vault: VaultUnderTest, kv_mount: str, where: str) -> None:
    faster, slower = new_key(), new_key()
    with lifecycle_on(vault, kv_mount) as keeper:
        keeper.import_key(NAME, new_key(), TEAM)
        begun: list[str] = []

        def meanwhile(here: str) -> None:
            if here == where and not begun:
                begun.append(here)
                keeper.rotate(NAME, faster, key_id(1))

        late = Lifecycle(MeetingStore(keeper.store.vault, keeper.store.layout, meanwhile), keeper.clock)
        with pytest.raises(ConflictError, match=rf'"{NAME}" was (staged|changed) by root at 20\d\d-'):
            late.rotate(NAME, slower, key_id(2))

        assert minted_with(keeper.store, faster, key_id(1))


def test_promotion_and_rollback_at_once(vault: VaultUnderTest, kv_mount: str) -> None:
    pair = [new_key(), new_key()]
    with lifecycle_on(vault, kv_mount) as keeper:
        keeper.import_key(NAME, new_key(), team(key_id(9)))
        keeper.rotate(NAME, pair[0], key_id(0))
        keeper.stage(NAME, pair[1], key_id(1))

        outcomes = at_once(
            vault, kv_mount, "record", lambda k: k.promote(NAME), lambda k: k.rollback(NAME), lambda k: k.rollback(NAME)
        )

        winner, losers = one_winner(outcomes)
        stored = keeper.store.read(NAME)
        assert stored.record.private_version == (3 if winner == 0 else 1)
        assert all(f"was changed by root at {stored.written_at}" in loser.message for loser in losers)
        mint(keeper.store)
