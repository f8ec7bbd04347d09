"""Many at once: consumers mint without pause while keys are rotated, and key owners get into each other's way."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from tests import keys
from tests.conftest import Root
from tests.support import NAME, PREFIX, TEAM, key_id, lifecycle_on, mint, minted_with, new_key, team, verified
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConflictError, VaultError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Change, Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import Note, Record, State
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token
from vault_asc.vault import Transit

READERS = 4
ROTATE, ROLL_BACK, RETIRE, TO_KV, TO_TRANSIT = (
    "rotations",
    "rollbacks",
    "retirements",
    "moves to kv",
    "moves to transit",
)
PLANS = {
    Custody.KV: [ROTATE, ROTATE, ROLL_BACK] * 20,
    # Each rollback also undoes the retirement before it.
    Custody.TRANSIT: [ROTATE, RETIRE, ROLL_BACK, TO_KV, ROTATE, TO_TRANSIT] * 15,
}
"""What happens to a key that was imported in that custody."""


@pytest.fixture
def layout(kv_mount: str, transit_mount: str) -> Layout:
    return Layout(kv_mount, PREFIX, transit_mount)


@contextmanager
def keeper_on(server: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    with lifecycle_on(server, layout.mount, transit_mount=layout.transit_mount) as keeper:
        yield keeper


@pytest.fixture
def keeper(vault: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    with keeper_on(vault, layout) as made:
        yield made


def read_on(server: VaultUnderTest, layout: Layout, over: threading.Event) -> list[Token]:
    """All tokens that one consumer minted until it was over; any failed mint ends the test."""
    tokens = []
    with keeper_on(server, layout) as keeper:
        while not over.is_set():
            tokens.append(mint(keeper.store).token)
    return tokens


def change_often(keeper: Lifecycle, plan: Sequence[str], by_id: dict[str, PrivateKey]) -> None:
    numbers = count(2)
    moving = Moving(keeper)

    def rotate() -> None:
        kid = key_id(next(numbers))
        by_id[kid] = new_key()
        keeper.rotate(NAME, by_id[kid], kid)

    acts: dict[str, Callable[[], object]] = {
        ROTATE: rotate,
        ROLL_BACK: lambda: keeper.rollback(NAME),
        RETIRE: lambda: keeper.retire(NAME),
        TO_KV: lambda: moving.move(NAME, Custody.KV, granted=True),
        TO_TRANSIT: lambda: moving.move(NAME, Custody.TRANSIT, granted=True),
    }
    for what in plan:
        acts[what]()


@pytest.mark.parametrize("custody", PLANS)
def test_readers_never_fail_and_never_see_a_mismatch_during_changes(
    vault: VaultUnderTest,
    layout: Layout,
    keeper: Lifecycle,
    root: Root,
    capsys: pytest.CaptureFixture[str],
    custody: Custody,
) -> None:
    plan, by_id, over = PLANS[custody], {key_id(1): new_key()}, threading.Event()
    keeper.import_key(NAME, by_id[key_id(1)], team(key_id(1)), custody)
    if custody is Custody.TRANSIT:  # more versions of the escrow than Vault keeps of itself
        root("POST", f"{layout.mount}/config", {"max_versions": 100})

    with ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(read_on, vault, layout, over) for _ in range(READERS)]
        try:
            change_often(keeper, plan, by_id)
        finally:
            over.set()
        tokens = [token for reader in readers for token in reader.result()]

    used = Counter(token.key_id for token in tokens)
    for token in tokens:
        header, _ = verified(token, by_id[token.key_id])
        assert header["kid"] == token.key_id
    with capsys.disabled():
        done = ", ".join(f"{number} {what}" for what, number in Counter(plan).items())
        print(  # noqa: T201 - the numbers are what this test is for
            f"\n{READERS} readers, {done}: {len(tokens)} tokens of {len(used)} keys, 0 failed, 0 mismatches"
        )
    assert len(tokens) > len(plan)
    assert len(used) > 10


# Two key owners.


Meet = Callable[[str], None]


@dataclass(frozen=True)
class MeetingTransit(Transit):
    """The same for what is written to Transit."""

    meet: Meet = lambda _where: None

    def put(self, key: str, ciphertext: str, *, further: bool) -> None:
        self.meet("transit")
        super().put(key, ciphertext, further=further)

    def retire_below(self, key: str, version: int) -> None:
        self.meet("config")
        super().retire_below(key, version)


@dataclass(frozen=True)
class MeetingStore(Store):
    """A store in which something happens at one point: the other one arrives there, or is done meanwhile."""

    meet: Meet = lambda _where: None

    @property
    def transit(self) -> Transit:
        return MeetingTransit(self.vault, self.layout.transit_mount, self.meet)

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


def interrupted_by(keeper: Lifecycle, where: str, deed: Callable[[], object]) -> Lifecycle:
    """The commands of somebody who is slower: the deed of another is done when they first come to that write."""
    begun: list[str] = []

    def meanwhile(here: str) -> None:
        if here == where and not begun:
            begun.append(here)
            deed()

    return Lifecycle(MeetingStore(keeper.store.vault, keeper.store.layout, meanwhile), keeper.clock)


Act = Callable[[Lifecycle], Change | bool]
Outcome = Change | bool | ConflictError


def at_once(server: VaultUnderTest, layout: Layout, where: str | tuple[str, ...], *acts: Act) -> list[Outcome]:
    """What comes of acts that all arrive at that write, or at the first of those, before any of them does it."""
    barrier = threading.Barrier(len(acts))
    places = (where,) if isinstance(where, str) else where

    def run(act: Act) -> Outcome:
        waiting = [places]

        def meet(here: str) -> None:
            if waiting and here in waiting[0]:
                waiting.clear()
                barrier.wait(10)

        with keeper_on(server, layout) as keeper:
            store = keeper.store
            try:
                return act(Lifecycle(MeetingStore(store.vault, store.layout, meet), keeper.clock))
            except ConflictError as conflict:
                return conflict

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def one_winner(outcomes: list[Outcome]) -> tuple[int, list[ConflictError]]:
    winners = [position for position, outcome in enumerate(outcomes) if isinstance(outcome, Change)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
    assert (len(winners), len(losers)) == (1, len(outcomes) - 1)
    return winners[0], losers


@pytest.mark.parametrize(
    ("custody", "escrow", "where"),
    [
        (Custody.KV, True, "private"),
        (Custody.KV, True, "record"),
        (Custody.TRANSIT, True, "private"),
        (Custody.TRANSIT, True, "record"),
        (Custody.TRANSIT, False, "transit"),
        (Custody.TRANSIT, False, "note"),
        (Custody.TRANSIT, False, "record"),
    ],
)
@pytest.mark.parametrize("admins", [2, 4])
def test_of_those_who_rotate_at_once_one_wins_and_the_others_learn_who_and_when(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, where: str, admins: int, custody: Custody, escrow: bool
) -> None:
    rivals = [new_key() for _ in range(admins)]
    keeper.import_key(NAME, new_key(), TEAM, custody, escrow=escrow)
    if where == "record":  # each has staged the same key, and all promote it
        keeper.stage(NAME, rivals[0], key_id(1))
        rivals = [rivals[0]] * admins

    outcomes = at_once(
        vault,
        layout,
        where,
        *(lambda k, rival=rival, n=n: k.rotate(NAME, rival, key_id(n)) for n, rival in _numbered(rivals)),
    )

    winner, losers = one_winner(outcomes)
    assert minted_with(keeper.store, rivals[winner], key_id(_numbered(rivals)[winner][0]))
    versions = keeper.store.private_metadata(NAME).versions
    assert sorted(versions) == ([1, 2] if escrow else [])
    note, _ = keeper.store.note(NAME)
    assert note is not None
    when = {keeper.store.read(NAME).written_at, note.staged_at, *(facts.created_time for facts in versions.values())}
    for loser in losers:
        assert any(moment in loser.message for moment in when)
        assert "root" in loser.message or "has not left a note yet" in loser.message
        assert loser.exit_code == 9
        assert f"vault-asc key show {NAME}" in str(loser.hint)


def _numbered(rivals: list[PrivateKey]) -> list[tuple[int, PrivateKey]]:
    return [(1 if rivals[0] is rivals[-1] else n, rival) for n, rival in enumerate(rivals, 1)]


@pytest.mark.parametrize(
    ("custody", "escrow", "where"),
    [
        (Custody.KV, True, "private"),
        (Custody.TRANSIT, True, "private"),
        (Custody.TRANSIT, False, "transit"),
    ],
)
@pytest.mark.parametrize("admins", [2, 4])
def test_of_imports_at_once_one_wins(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, custody: Custody, escrow: bool, where: str, admins: int
) -> None:
    rivals = [new_key() for _ in range(admins)]

    outcomes = at_once(
        vault,
        layout,
        where,
        *(
            lambda k, rival=rival, n=n: k.import_key(NAME, rival, team(key_id(n)), custody, escrow=escrow)
            for n, rival in enumerate(rivals)
        ),
    )

    winner, losers = one_winner(outcomes)
    assert minted_with(keeper.store, rivals[winner], key_id(winner))
    if where != "private":
        written = keeper.store.read(NAME).written_at
        assert all(f'the record of "{NAME}" was changed by root at {written}' in loser.message for loser in losers)
    # The losers can still import theirs: under another name.
    keeper.import_key("other", rivals[winner - 1], team(key_id(9)), custody, escrow=escrow)
    assert minted_with(keeper.store, rivals[winner - 1], key_id(9), "other")


def test_of_the_same_import_at_once_one_wins_and_transit_has_the_key_once_for_each_at_most(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle
) -> None:
    key = new_key()

    outcomes = at_once(
        vault,
        layout,
        "transit",
        *(lambda k: k.import_key(NAME, key, TEAM, Custody.TRANSIT, escrow=False) for _ in range(2)),
    )

    one_winner(outcomes)
    assert minted_with(keeper.store, key, keys.KEY_ID)


def test_import_does_not_replace_what_was_imported_in_between(keeper: Lifecycle) -> None:
    first, second = new_key(), new_key()
    late = interrupted_by(keeper, "record", lambda: keeper.import_key(NAME, first, TEAM))

    with pytest.raises(ConflictError, match=f'the record of "{NAME}" was changed by root at 20'):
        late.import_key(NAME, second, team(keys.OTHER_KEY_ID))

    assert minted_with(keeper.store, first, keys.KEY_ID)


def test_key_is_not_imported_into_one_that_was_made_exportable_in_between(
    keeper: Lifecycle, layout: Layout, root: Root
) -> None:
    where = f"{layout.transit_mount}/keys/{PREFIX}.{NAME}"
    late = interrupted_by(keeper, "transit", lambda: root("POST", where, {"type": "ecdsa-p256", "exportable": True}))

    with pytest.raises(VaultError, match="can be exported or backed up in plain text, so it is not used"):
        late.import_key(NAME, new_key(), TEAM, Custody.TRANSIT, escrow=False)

    assert list(root("GET", where)["data"]["keys"]) == ["1"]
    assert keeper.store.find(NAME) is None


@pytest.mark.parametrize("where", ["private", "note", "after the note", "record"])
@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_rotation_never_replaces_a_key_that_it_has_not_seen(keeper: Lifecycle, custody: Custody, where: str) -> None:
    faster, slower = new_key(), new_key()
    keeper.import_key(NAME, new_key(), TEAM, custody)
    late = interrupted_by(keeper, where, lambda: keeper.rotate(NAME, faster, key_id(1)))

    with pytest.raises(ConflictError, match=rf'"{NAME}" was (staged|changed) by root at 20\d\d-'):
        late.rotate(NAME, slower, key_id(2))

    assert minted_with(keeper.store, faster, key_id(1))


@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_promotion_and_rollback_at_once(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, custody: Custody
) -> None:
    pair = [new_key(), new_key()]
    keeper.import_key(NAME, new_key(), team(key_id(9)), custody)
    keeper.rotate(NAME, pair[0], key_id(0))
    keeper.stage(NAME, pair[1], key_id(1))

    outcomes = at_once(
        vault, layout, "record", lambda k: k.promote(NAME), lambda k: k.rollback(NAME), lambda k: k.rollback(NAME)
    )

    winner, losers = one_winner(outcomes)
    stored = keeper.store.read(NAME)
    assert stored.record.version == (3 if winner == 0 else 1)
    assert all(f"was changed by root at {stored.written_at}" in loser.message for loser in losers)
    mint(keeper.store)


@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_of_a_move_and_a_rotation_at_once_one_wins(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, custody: Custody
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM, custody)
    (other,) = set(Custody) - {custody}

    outcomes = at_once(
        vault,
        layout,
        "record",
        lambda k: Moving(k).move(NAME, other, granted=True),
        lambda k: k.rotate(NAME, new, keys.OTHER_KEY_ID),
        lambda k: Moving(k).move(NAME, other, granted=True),
        lambda k: k.set_state(NAME, State.DISABLED),
    )

    winner, losers = one_winner(outcomes)
    stored = keeper.store.read(NAME)
    assert stored.record.custody is (other if winner in {0, 2} else custody)
    assert all(f"was changed by root at {stored.written_at}" in loser.message for loser in losers)


@pytest.mark.parametrize("where", ["transit", "record"])
def test_move_never_replaces_a_key_that_it_has_not_seen(keeper: Lifecycle, where: str) -> None:
    faster = new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    late = interrupted_by(keeper, where, lambda: keeper.rotate(NAME, faster, keys.OTHER_KEY_ID))

    with pytest.raises(ConflictError, match=rf'the record of "{NAME}" was changed by root at 20\d\d-'):
        Moving(late).move(NAME, Custody.TRANSIT, granted=True)

    assert keeper.store.read(NAME).record.custody is Custody.KV
    assert minted_with(keeper.store, faster, keys.OTHER_KEY_ID)


# Retiring against those who still need an older version.


@pytest.fixture
def rotated(keeper: Lifecycle) -> list[PrivateKey]:
    """A key in Transit that was rotated twice."""
    made = [new_key() for _ in range(3)]
    keeper.import_key(NAME, made[0], team(key_id(0)), Custody.TRANSIT)
    for number in (1, 2):
        keeper.rotate(NAME, made[number], key_id(number))
    return made


def test_retirement_that_is_overtaken_by_a_rollback_is_taken_back(keeper: Lifecycle, rotated: list[PrivateKey]) -> None:
    late = interrupted_by(keeper, "config", lambda: keeper.rollback(NAME))

    with pytest.raises(ConflictError, match=f'the record of "{NAME}" was changed by root at 20') as caught:
        late.retire(NAME)

    assert f"vault-asc key show {NAME}" in str(caught.value.hint)
    assert minted_with(keeper.store, rotated[1], key_id(1))


@pytest.mark.parametrize("where", ["record", "config"])
def test_rollback_that_is_overtaken_by_a_retirement_still_signs(
    keeper: Lifecycle, rotated: list[PrivateKey], where: str
) -> None:
    if where == "config":  # written by a rollback only when there is a retirement to undo
        keeper.retire(NAME)
    late = interrupted_by(keeper, where, lambda: keeper.retire(NAME))

    late.rollback(NAME)

    assert minted_with(keeper.store, rotated[1], key_id(1))


def test_move_that_is_overtaken_by_a_retirement_still_signs(keeper: Lifecycle) -> None:
    key = new_key()
    keeper.import_key(NAME, key, TEAM, Custody.TRANSIT)
    keeper.stage(NAME, new_key(), keys.OTHER_KEY_ID)
    Moving(keeper).move(NAME, Custody.KV, granted=True)
    late = interrupted_by(keeper, "record", lambda: keeper.store.transit.retire_below(f"{PREFIX}.{NAME}", 2))

    Moving(late).move(NAME, Custody.TRANSIT, granted=True)

    assert keeper.store.read(NAME).record.transit_version == 1
    assert minted_with(keeper.store, key, keys.KEY_ID)


@pytest.mark.parametrize("retired", [False, True], ids=["none retired", "some retired"])
def test_after_retirements_and_rollbacks_at_once_the_current_version_signs(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, rotated: list[PrivateKey], retired: bool
) -> None:
    if retired:
        keeper.retire(NAME)
        keeper.rotate(NAME, new_key(), key_id(3))

    outcomes = at_once(
        vault,
        layout,
        ("config", "record"),
        lambda k: k.retire(NAME),
        lambda k: k.rollback(NAME),
        lambda k: k.retire(NAME),
        lambda k: k.rollback(NAME, 1),
    )

    one_winner(outcomes[1::2])
    stored = keeper.store.read(NAME)
    number = stored.record.version - 1
    assert minted_with(keeper.store, rotated[number], key_id(number))
    key = keeper.store.transit.find(f"{PREFIX}.{NAME}")
    assert key is not None
    assert key.retired_below <= stored.record.version
