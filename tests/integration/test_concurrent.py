"""Many at once: consumers mint without pause while keys are rotated, and key owners get into each other's way."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, permutations

import pytest

from tests import keys
from tests.conftest import Root
from tests.effort import effort
from tests.support import (
    NAME,
    PREFIX,
    TEAM,
    in_step,
    key_id,
    layout_of,
    lifecycle_at,
    mint,
    minted_with,
    new_key,
    read_by_role,
    team,
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc.errors import ConflictError, TokenRequestError, VaultError
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.pointing import Change
from vault_asc.record import Note, Record, State
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token
from vault_asc.vault import Engine, Transit

READERS = 4
ROTATE, ROLL_BACK, RETIRE, TO_KV, TO_TRANSIT, TO_ENGINE = (
    "rotations",
    "rollbacks",
    "retirements",
    "moves to kv",
    "moves to transit",
    "moves to the engine",
)
PLANS = {
    Custody.KV: [ROTATE, ROTATE, ROLL_BACK] * effort(20, 8),
    # Each rollback also undoes the retirement before it.
    Custody.TRANSIT: [ROTATE, RETIRE, ROLL_BACK, TO_KV, ROTATE, TO_TRANSIT] * effort(15, 5),
    # What was retired there cannot be rolled back to.
    Custody.ENGINE: [ROTATE, ROLL_BACK, ROTATE, RETIRE, ROTATE, TO_KV, ROTATE, TO_ENGINE, TO_TRANSIT, TO_ENGINE]
    * effort(4, 2),
}
"""What happens to a key that was imported in that custody."""


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(request)


@pytest.fixture
def keeper(vault: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    with lifecycle_at(vault, layout) as made:
        yield made


Read = Callable[[Store], Token]


def read_on(server: VaultUnderTest, layout: Layout, over: threading.Event, read: Read) -> list[Token]:
    """All tokens that one consumer got until it was over; any failure ends the test."""
    tokens = []
    with lifecycle_at(server, layout) as keeper:
        while not over.is_set():
            tokens.append(read(keeper.store))
    return tokens


def by_name(store: Store) -> Token:
    return mint(store).token


def change_often(keeper: Lifecycle, plan: Sequence[str], by_id: dict[str, PrivateKey]) -> None:
    numbers = count(2)
    moving = Moving(keeper)

    def rotate() -> None:
        kid = key_id(next(numbers))
        by_id[kid] = new_key()
        keeper.rotate(NAME, by_id[kid], kid)

    def move(custody: Custody) -> None:
        record = keeper.store.read(NAME).record
        # Out of the engine nothing comes but by the file. No third custody before a move is finished.
        key = by_id[record.identity.key_id] if record.custody is Custody.ENGINE else None
        if record.moved_from not in {None, custody}:
            moving.finish(NAME, granted=True)
        moving.move(NAME, custody, key, granted=True)

    acts: dict[str, Callable[[], object]] = {
        ROTATE: rotate,
        ROLL_BACK: lambda: keeper.rollback(NAME),
        RETIRE: lambda: keeper.retire(NAME),
        TO_KV: lambda: move(Custody.KV),
        TO_TRANSIT: lambda: move(Custody.TRANSIT),
        TO_ENGINE: lambda: move(Custody.ENGINE),
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
    if custody is not Custody.KV:  # more versions of the record and the escrow than Vault keeps of itself
        root("POST", f"{layout.mount}/config", {"max_versions": 100})
    reads: list[Read] = [by_name, read_by_role] if custody is Custody.ENGINE else [by_name]

    with ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(read_on, vault, layout, over, reads[n % len(reads)]) for n in range(READERS)]
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
    assert len(used) > 5


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
class MeetingEngine(Engine):
    """And for what is written to the engine."""

    meet: Meet = lambda _where: None

    def create(self, name: str, key: PrivateKey, identity: Identity, *, owner: str = "", enabled: bool = True) -> None:
        self.meet("engine")
        super().create(name, key, identity, owner=owner, enabled=enabled)

    def stage(self, name: str, key: PrivateKey, identity: Identity) -> None:
        self.meet("engine")
        super().stage(name, key, identity)

    def promote(self, name: str, version: int) -> None:
        self.meet("promote")
        super().promote(name, version)

    def retire(self, name: str, current: int) -> None:
        self.meet("retire")
        super().retire(name, current)


@dataclass(frozen=True)
class MeetingStore(Store):
    """A store in which something happens at one point: the other one arrives there, or is done meanwhile."""

    meet: Meet = lambda _where: None

    @property
    def transit(self) -> Transit:
        return MeetingTransit(self.vault, self.layout.transit_mount, self.meet)

    @property
    def engine(self) -> Engine:
        return MeetingEngine(self.vault, self.layout.engine_mount, self.meet)

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

        with lifecycle_at(server, layout) as keeper:
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
        (Custody.ENGINE, False, "record"),
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
    ("custody", "escrow", "where", "admins"),
    [
        *((Custody.KV, True, "private", admins) for admins in (2, 4)),
        *((Custody.TRANSIT, True, "private", admins) for admins in (2, 4)),
        *((Custody.TRANSIT, False, "transit", admins) for admins in (2, 4)),
        (Custody.ENGINE, False, "engine", 2),  # it keeps two versions
    ],
)
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
    if where == "transit":
        written = keeper.store.read(NAME).written_at
        assert all(f'the record of "{NAME}" was changed by root at {written}' in loser.message for loser in losers)
    if custody is Custody.ENGINE:
        assert in_step(keeper.store)
        verified(read_by_role(keeper.store), rivals[winner])
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


@pytest.mark.parametrize(
    ("custody", "where"),
    [
        (custody, where)
        for custody in Custody
        # In the engine the new version is current before the record is written: then the faster one has to wait.
        for where in ("note", "after the note", *(["engine"] if custody is Custody.ENGINE else ["private", "record"]))
    ],
)
def test_rotation_never_replaces_a_key_that_it_has_not_seen(keeper: Lifecycle, custody: Custody, where: str) -> None:
    faster, slower = new_key(), new_key()
    keeper.import_key(NAME, new_key(), TEAM, custody)
    late = interrupted_by(keeper, where, lambda: keeper.rotate(NAME, faster, key_id(1)))

    with pytest.raises(ConflictError, match=rf'"{NAME}" was (staged|changed) by root at 20\d\d-|at the same time'):
        late.rotate(NAME, slower, key_id(2))

    assert minted_with(keeper.store, faster, key_id(1))
    if custody is Custody.ENGINE:
        assert in_step(keeper.store)


@pytest.mark.parametrize("custody", list(Custody), ids=str)
def test_promotion_and_rollback_at_once(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, custody: Custody
) -> None:
    pair = [new_key(), new_key()]
    keeper.import_key(NAME, new_key(), team(key_id(9)), custody)
    keeper.rotate(NAME, pair[0], key_id(0))
    keeper.stage(NAME, pair[1], key_id(1))

    outcomes = at_once(
        vault,
        layout,
        ("promote", "record"),
        lambda k: k.promote(NAME),
        lambda k: k.rollback(NAME),
        lambda k: k.rollback(NAME),
    )

    stored = keeper.store.read(NAME)
    mint(keeper.store)
    if custody is Custody.ENGINE:
        assert in_step(keeper.store)
        if not any(isinstance(outcome, Change) for outcome in outcomes):  # a promotion drops what a rollback goes to
            assert stored.record.version == 2
            assert any("so the change was taken back" in str(outcome) for outcome in outcomes)
            return
    winner, losers = one_winner(outcomes)
    assert stored.record.version == (3 if winner == 0 else 1)
    assert all(f"was changed by root at {stored.written_at}" in loser.message for loser in losers)


@pytest.mark.parametrize(("custody", "other"), list(permutations(Custody, 2)))
def test_of_a_move_and_a_rotation_at_once_one_wins(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, custody: Custody, other: Custody
) -> None:
    old, new = new_key(), new_key()
    keeper.import_key(NAME, old, TEAM, custody)

    file = old if custody is Custody.ENGINE else None  # nothing else leads out of it

    outcomes = at_once(
        vault,
        layout,
        ("private", "record") if file and other is Custody.KV else "record",
        lambda k: Moving(k).move(NAME, other, file, granted=True),
        lambda k: k.rotate(NAME, new, keys.OTHER_KEY_ID),
        lambda k: Moving(k).move(NAME, other, file, granted=True),
        lambda k: k.set_state(NAME, State.DISABLED),
    )

    winner, losers = one_winner(outcomes)
    stored = keeper.store.read(NAME)
    assert stored.record.custody is (other if winner in {0, 2} else custody)
    # A move to the engine writes the record twice, so losers may have seen either.
    when = "" if other is Custody.ENGINE else stored.written_at
    assert all(
        f"was changed by root at {when}" in loser.message or "current key is untouched" in loser.message
        for loser in losers
    )
    if winner != 3:
        assert minted_with(keeper.store, *((new, keys.OTHER_KEY_ID) if winner == 1 else (old, keys.KEY_ID)))
    if Custody.ENGINE in {custody, other}:
        there = keeper.store.engine.find(NAME)
        assert there is not None
        assert stored.record.custody is not Custody.ENGINE or in_step(keeper.store)
        # Whatever still lies there gives tokens only while the record, if it knows of it, says so.
        assert there.enabled == (stored.record.role is not None and stored.record.state is State.ENABLED)


@pytest.mark.parametrize(
    ("to", "where"),
    [
        (Custody.TRANSIT, "transit"),
        (Custody.TRANSIT, "record"),
        (Custody.ENGINE, "engine"),
        (Custody.ENGINE, "record"),
    ],
)
def test_move_never_replaces_a_key_that_it_has_not_seen(keeper: Lifecycle, to: Custody, where: str) -> None:
    faster = new_key()
    keeper.import_key(NAME, new_key(), TEAM)
    late = interrupted_by(keeper, where, lambda: keeper.rotate(NAME, faster, keys.OTHER_KEY_ID))

    with pytest.raises(ConflictError, match=rf'the record of "{NAME}" was changed by root at 20\d\d-'):
        Moving(late).move(NAME, to, granted=True)

    assert keeper.store.read(NAME).record.custody is Custody.KV
    assert minted_with(keeper.store, faster, keys.OTHER_KEY_ID)
    if to is Custody.ENGINE:
        with pytest.raises(TokenRequestError, match="is disabled"):
            read_by_role(keeper.store)  # no record knows of it


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


# The engine has a current version of its own, and keeps the one before it and no other.


@pytest.fixture
def in_engine(keeper: Lifecycle) -> list[PrivateKey]:
    """A key in the engine: one version before the current one, and one that is staged."""
    made = [new_key() for _ in range(3)]
    keeper.import_key(NAME, made[0], team(key_id(0)), Custody.ENGINE)
    keeper.rotate(NAME, made[1], key_id(1))
    keeper.stage(NAME, made[2], key_id(2))
    return made


def both_say(keeper: Lifecycle, number: int, made: list[PrivateKey]) -> bool:
    """Whether this version is what everybody gets, by record and by role."""
    token = read_by_role(keeper.store)
    verified(token, made[number - 1])
    assert minted_with(keeper.store, made[number - 1], key_id(number - 1))
    return in_step(keeper.store) and keeper.store.read(NAME).record.version == number


def test_who_rotates_in_the_engine_while_a_promotion_is_not_over_has_to_wait(
    keeper: Lifecycle, in_engine: list[PrivateKey]
) -> None:
    refused: list[ConflictError] = []

    def rotate() -> None:
        with pytest.raises(ConflictError, match="was interrupted, or is not over: engine version 3") as caught:
            keeper.rotate(NAME, new_key(), key_id(9))
        refused.append(caught.value)

    assert interrupted_by(keeper, "record", rotate).promote(NAME).changed

    assert f"vault-asc key rollback {NAME} --to 2" in str(refused[0].hint)
    assert both_say(keeper, 3, in_engine)


def test_rollback_to_what_a_promotion_has_dropped_is_taken_back(keeper: Lifecycle, in_engine: list[PrivateKey]) -> None:
    late = interrupted_by(keeper, "record", lambda: keeper.store.engine.promote(NAME, 3))

    with pytest.raises(ConflictError, match=r"engine version 1 .* was dropped by somebody else .* taken back"):
        late.rollback(NAME)

    assert both_say(keeper, 2, in_engine)


def test_rollback_to_what_a_retirement_has_forgotten_is_taken_back(
    keeper: Lifecycle, in_engine: list[PrivateKey]
) -> None:
    with pytest.raises(ConflictError, match=r"engine version 1 .* was dropped by somebody else .* taken back"):
        interrupted_by(keeper, "record", lambda: keeper.retire(NAME)).rollback(NAME)

    assert both_say(keeper, 2, in_engine)


def test_retirement_in_the_engine_that_is_overtaken_by_a_rollback_forgets_nothing(
    keeper: Lifecycle, in_engine: list[PrivateKey]
) -> None:
    late = interrupted_by(keeper, "retire", lambda: keeper.rollback(NAME))

    with pytest.raises(VaultError, match=r"version 2 of key .* is not the current one, nothing was retired"):
        late.retire(NAME)

    assert both_say(keeper, 1, in_engine)


@pytest.mark.parametrize("to", [Custody.KV, Custody.TRANSIT])
@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_engine_is_left_alone_when_the_key_was_moved_away_in_between(
    keeper: Lifecycle, in_engine: list[PrivateKey], to: Custody, command: str
) -> None:
    """The record counts in the numbers of another custody then."""
    late = interrupted_by(keeper, "record", lambda: Moving(keeper).move(NAME, to, in_engine[1], granted=True))

    with pytest.raises(ConflictError, match="was changed by root"):
        getattr(late, command)(NAME)

    assert minted_with(keeper.store, in_engine[1], key_id(1))
    number = {"promote": 3, "rollback": 2}[command]
    verified(read_by_role(keeper.store), in_engine[number - 1])


def test_disabling_and_enabling_at_once_leave_engine_and_record_of_one_mind(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle, in_engine: list[PrivateKey]
) -> None:
    keeper.set_state(NAME, State.DISABLED)
    keeper.store.engine.set_enabled(NAME, enabled=True)  # as an interrupted one leaves it

    def enable(other: Lifecycle) -> Change:
        return other.set_state(NAME, State.ENABLED)

    def rotate(other: Lifecycle) -> Change:
        return other.promote(NAME)

    one_winner(at_once(vault, layout, ("promote", "record"), enable, rotate, enable))

    assert in_step(keeper.store)
    record = keeper.store.read(NAME).record
    if record.state is State.DISABLED:
        with pytest.raises(TokenRequestError, match="disabled"):
            read_by_role(keeper.store)
    else:
        assert both_say(keeper, 2, in_engine)


def test_state_that_lost_is_taken_back_in_the_engine(keeper: Lifecycle, in_engine: list[PrivateKey]) -> None:
    late = interrupted_by(keeper, "record", lambda: keeper.promote(NAME))

    with pytest.raises(ConflictError, match="was changed by root"):
        late.set_state(NAME, State.DISABLED)

    assert both_say(keeper, 3, in_engine)


def test_of_those_who_stage_in_the_engine_at_once_one_at_most_wins_and_nobody_believes_what_was_dropped(
    vault: VaultUnderTest, layout: Layout, keeper: Lifecycle
) -> None:
    old, rivals = new_key(), [new_key() for _ in range(3)]
    keeper.import_key(NAME, old, TEAM, Custody.ENGINE)

    outcomes = at_once(
        vault,
        layout,
        "engine",
        *(lambda k, n=n, key=key: k.rotate(NAME, key, key_id(n)) for n, key in enumerate(rivals)),
    )

    winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Change)]
    assert len(winners) <= 1
    key, kid = (rivals[winners[0]], key_id(winners[0])) if winners else (old, keys.KEY_ID)
    assert minted_with(keeper.store, key, kid)
    verified(read_by_role(keeper.store), key)
    assert in_step(keeper.store)
    last = new_key()
    keeper.rotate(NAME, last, key_id(9))
    assert minted_with(keeper.store, last, key_id(9))
