"""Every command of key owners, killed after each of its writes: nothing is lost, and the same command completes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests import keys
from tests.effort import effort
from tests.support import (
    NAME,
    TEAM,
    Wire,
    connected,
    in_step,
    key_id,
    layout_of,
    lifecycle_at,
    minted_with,
    new_key,
    read_by_role,
    verified,
)
from tests.vaults import VaultUnderTest
from vault_asc import http
from vault_asc.clock import system_clock
from vault_asc.errors import NotFoundError, TokenRequestError, VaultError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.moving import Moving
from vault_asc.names import Custody
from vault_asc.record import State
from vault_asc.store import Layout, Store
from vault_asc.vault import Vault


class Killed(BaseException):
    """The process is gone: nothing that catches errors catches this."""


@contextmanager
def killed_after(writes: int, server: VaultUnderTest, layout: Layout) -> Iterator[Lifecycle]:
    """Commands that die as soon as so many writes were answered."""
    left = writes

    def send(request: requests.PreparedRequest, **options: Any) -> requests.Response:
        nonlocal left
        answer = through(request, **options)
        if request.method not in {"GET", "LIST"}:
            left -= 1
            if left == 0:
                raise Killed
        return answer

    with http.session(ca_file=server.ca_file) as session:
        through = session.send
        session.send = send  # type: ignore[method-assign]  # below hvac and above the wire, as a kill would strike
        yield Lifecycle(Store(Vault(server.address, server.root_token, session=session), layout), system_clock)


@dataclass(frozen=True)
class Scene:
    """A key and its successor, and how the first one is imported."""

    custody: Custody = Custody.KV
    escrow: bool = True
    old: PrivateKey = field(default_factory=new_key)
    new: PrivateKey = field(default_factory=new_key)

    def state(self, keeper: Lifecycle) -> str:
        """What a consumer of the name gets. A mismatch, or any unexpected error, is raised."""
        try:
            for word, key, kid in (("old", self.old, keys.KEY_ID), ("new", self.new, keys.OTHER_KEY_ID)):
                if minted_with(keeper.store, key, kid):
                    return word
        except TokenRequestError:
            return "disabled"
        except NotFoundError:
            if keeper.store.find(NAME) is None:
                return "none"
            raise
        raise AssertionError("the name stands for an unknown key")

    def read(self, keeper: Lifecycle) -> str:
        """What somebody gets who reads tokens from the engine by the key's role, without a look at the record."""
        try:
            token = read_by_role(keeper.store)
        except TokenRequestError:
            return "disabled"
        except NotFoundError:
            return "none"
        word, key = {keys.KEY_ID: ("old", self.old), keys.OTHER_KEY_ID: ("new", self.new)}[token.key_id]
        verified(token, key)
        return word

    def imported(self, keeper: Lifecycle) -> object:
        return keeper.import_key(NAME, self.old, TEAM, self.custody, escrow=self.escrow)

    def staged(self, keeper: Lifecycle) -> object:
        return keeper.stage(NAME, self.new, keys.OTHER_KEY_ID)

    def promoted(self, keeper: Lifecycle) -> object:
        return keeper.promote(NAME, self.new.spki_sha256)

    def rotated(self, keeper: Lifecycle) -> object:
        return keeper.rotate(NAME, self.new, keys.OTHER_KEY_ID)

    def rolled_back(self, keeper: Lifecycle) -> object:
        return keeper.rollback(NAME, 1)

    def retired(self, keeper: Lifecycle) -> object:
        return keeper.retire(NAME)

    def disabled(self, keeper: Lifecycle) -> object:
        return keeper.set_state(NAME, State.DISABLED)

    def enabled(self, keeper: Lifecycle) -> object:
        return keeper.set_state(NAME, State.ENABLED)

    def destroyed(self, keeper: Lifecycle) -> object:
        return keeper.destroy(NAME)

    def destroyed_with_leftover(self, keeper: Lifecycle) -> object:
        return keeper.destroy(NAME, leftover=True)

    def finished(self, keeper: Lifecycle) -> object:
        return Moving(keeper).finish(NAME, granted=True)

    def finished_without_copy(self, keeper: Lifecycle) -> object:
        return Moving(keeper).finish(NAME, remove_copy=True, granted=True)


Step = Callable[[Scene, Lifecycle], object]


def move(custody: Custody, file: str = "") -> Step:
    """Without a file, or with that of the `old` or the `new` key."""

    def step(scene: Scene, keeper: Lifecycle) -> object:
        return Moving(keeper).move(NAME, custody, getattr(scene, file) if file else None, granted=True)

    return step


TO_KV: Final = move(Custody.KV)
TO_TRANSIT: Final = move(Custody.TRANSIT)
TO_ENGINE: Final = move(Custody.ENGINE)


@dataclass(frozen=True)
class Command:
    """A command, what goes before it, and what a consumer sees after its 1st, 2nd, ... write; the last one completes.

    `read` is what those see who read tokens from the engine by the key's role.
    """

    before: tuple[Step, ...]
    run: Step
    seen: tuple[str, ...]
    custody: Custody = Custody.KV
    escrow: bool = True
    read: tuple[str, ...] = ()

    def scene(self) -> Scene:
        return Scene(self.custody, self.escrow)


def _in_transit(before: tuple[Step, ...], run: Step, seen: tuple[str, ...], *, escrow: bool = True) -> Command:
    return Command(before, run, seen, Custody.TRANSIT, escrow)


def _in_engine(before: tuple[Step, ...], run: Step, seen: tuple[str, ...], read: tuple[str, ...] = ()) -> Command:
    return Command(before, run, seen, Custody.ENGINE, escrow=False, read=read or seen)


def _other_waits(_scene: Scene, keeper: Lifecycle) -> object:
    """A third key was staged, and is waiting."""
    return keeper.stage(NAME, new_key(), key_id(3))


_MOVED_TO_ENGINE: Final = ("none", "none", "disabled", "disabled", "old", "old")


COMMANDS: Final = {
    "import": Command((), Scene.imported, ("none", "old")),
    "stage": Command((Scene.imported,), Scene.staged, ("old", "old")),
    "promote": Command((Scene.imported, Scene.staged), Scene.promoted, ("new",)),
    "rotate": Command((Scene.imported,), Scene.rotated, ("old", "old", "new")),
    "roll back": Command((Scene.imported, Scene.rotated), Scene.rolled_back, ("old",)),
    "disable": Command((Scene.imported,), Scene.disabled, ("disabled",)),
    "enable": Command((Scene.imported, Scene.disabled), Scene.enabled, ("old",)),
    "destroy": Command(
        (Scene.imported, Scene.rotated, Scene.disabled), Scene.destroyed, ("disabled", "disabled", "none")
    ),
    # Private part or not, Transit, note or not, record.
    "import to transit": _in_transit((), Scene.imported, ("none", "none", "old")),
    "import to transit alone": _in_transit((), Scene.imported, ("none", "old"), escrow=False),
    "stage in transit": _in_transit((Scene.imported,), Scene.staged, ("old", "old", "old")),
    "stage in transit alone": _in_transit((Scene.imported,), Scene.staged, ("old", "old"), escrow=False),
    "promote in transit": _in_transit((Scene.imported, Scene.staged), Scene.promoted, ("new",)),
    "rotate in transit": _in_transit((Scene.imported,), Scene.rotated, ("old", "old", "old", "new")),
    "rotate in transit alone": _in_transit((Scene.imported,), Scene.rotated, ("old", "old", "new"), escrow=False),
    "retire": _in_transit((Scene.imported, Scene.rotated), Scene.retired, ("new",)),
    "roll back in transit": _in_transit((Scene.imported, Scene.rotated), Scene.rolled_back, ("old",)),
    # First the version may sign again, then it is current.
    "roll back a retirement": _in_transit(
        (Scene.imported, Scene.rotated, Scene.retired), Scene.rolled_back, ("new", "old")
    ),
    "disable in transit": _in_transit((Scene.imported,), Scene.disabled, ("disabled",)),
    "enable in transit": _in_transit((Scene.imported, Scene.disabled), Scene.enabled, ("old",)),
    # Leave to delete, deletion, private part, note, record.
    "destroy in transit": _in_transit(
        (Scene.imported, Scene.rotated, Scene.disabled), Scene.destroyed, (*["disabled"] * 4, "none")
    ),
    "move to transit": Command((Scene.imported,), TO_TRANSIT, ("old", "old")),
    "move to transit with file": Command((Scene.imported,), move(Custody.TRANSIT, "old"), ("old", "old")),
    "move to where it was retired": _in_transit(
        (Scene.imported, Scene.rotated, Scene.retired, TO_KV), TO_TRANSIT, ("new",)
    ),
    "move to kv": _in_transit((Scene.imported,), TO_KV, ("old",)),
    "move to kv with file": _in_transit((Scene.imported,), move(Custody.KV, "old"), ("old", "old"), escrow=False),
    "move there and back": Command((Scene.imported, TO_TRANSIT), TO_KV, ("old",)),
    "finish": Command((Scene.imported, TO_TRANSIT), Scene.finished, ("old",)),
    # Vault is asked for the right, the record lets go of the copy, the copy goes, the record says that the move is over.
    "finish without copy in kv": Command((Scene.imported, TO_TRANSIT), Scene.finished_without_copy, ("old",) * 5),
    "finish without copy in transit": _in_transit((Scene.imported, TO_KV), Scene.finished_without_copy, ("old",) * 5),
    "destroy what an import left": _in_transit(
        (Scene.imported, lambda _scene, keeper: keeper.store.vault.kv_delete_all(*_record_of(keeper))),
        Scene.destroyed_with_leftover,
        ("none",) * 5,
    ),
    # Vault is asked for the right to make the role; key, role, record, and only then the key is enabled.
    "import to the engine": _in_engine(
        (),
        Scene.imported,
        ("none", "none", "none", "disabled", "old"),
        ("none", "none", "disabled", "disabled", "old"),
    ),
    "stage in the engine": _in_engine((Scene.imported,), Scene.staged, ("old", "old")),
    "stage in the engine what was another": _in_engine((Scene.imported, _other_waits), Scene.staged, ("old", "old")),
    # The engine goes ahead, and its version before still signs for those who go by the record.
    "promote in the engine": _in_engine((Scene.imported, Scene.staged), Scene.promoted, ("old", "new"), ("new", "new")),
    "rotate in the engine": _in_engine(
        (Scene.imported,), Scene.rotated, ("old", "old", "old", "new"), ("old", "old", "new", "new")
    ),
    # And it comes back last.
    "roll back in the engine": _in_engine(
        (Scene.imported, Scene.rotated), Scene.rolled_back, ("old", "old"), ("new", "old")
    ),
    "promote again in the engine": _in_engine(
        (Scene.imported, Scene.rotated, Scene.rolled_back), Scene.promoted, ("old", "new"), ("new", "new")
    ),
    "retire in the engine": _in_engine((Scene.imported, Scene.rotated), Scene.retired, ("new",)),
    "disable in the engine": _in_engine((Scene.imported,), Scene.disabled, ("disabled", "disabled")),
    "enable in the engine": _in_engine(
        (Scene.imported, Scene.disabled), Scene.enabled, ("disabled", "old"), ("disabled", "old")
    ),
    # Role, key, private part, note, record.
    "destroy in the engine": _in_engine(
        (Scene.imported, Scene.rotated, Scene.disabled), Scene.destroyed, (*["disabled"] * 4, "none"), ("none",) * 5
    ),
    "destroy what an import left in the engine": _in_engine(
        (Scene.imported, Scene.disabled, lambda _scene, keeper: keeper.store.vault.kv_delete_all(*_record_of(keeper))),
        Scene.destroyed_with_leftover,
        ("none",) * 2,
    ),
    # The right, key, role, the record tells of the copy, which then may sign, and is what counts.
    "move from kv to the engine": Command((Scene.imported,), TO_ENGINE, ("old",) * 6, read=_MOVED_TO_ENGINE),
    "move from transit to the engine": replace(
        _in_transit((Scene.imported,), TO_ENGINE, ("old",) * 6), read=_MOVED_TO_ENGINE
    ),
    "move to the engine with file": replace(
        _in_transit((Scene.imported,), move(Custody.ENGINE, "old"), ("old",) * 6, escrow=False),
        read=_MOVED_TO_ENGINE,
    ),
    "move to the engine of a disabled key": Command(
        (Scene.imported, Scene.disabled),
        TO_ENGINE,
        ("disabled",) * 5,
        read=("none", "none", "disabled", "disabled", "disabled"),
    ),
    "move from the engine to kv": _in_engine((Scene.imported,), move(Custody.KV, "old"), ("old", "old")),
    "move from the engine to transit": _in_engine((Scene.imported,), move(Custody.TRANSIT, "old"), ("old", "old")),
    # What was rotated elsewhere is staged, promoted, and then the record goes there.
    "move back to the engine after a rotation": _in_engine(
        (Scene.imported, move(Custody.KV, "old"), Scene.rotated),
        TO_ENGINE,
        ("new",) * 3,
        ("old", "new", "new"),
    ),
    "finish of a move to the engine": Command((Scene.imported, TO_ENGINE), Scene.finished, ("old",), read=("old",)),
    # The right, the record, note, private part, the record.
    "finish in the engine without copy in kv": Command(
        (Scene.imported, TO_ENGINE), Scene.finished_without_copy, ("old",) * 5, read=("old",) * 5
    ),
    # Each copy: the right, the record, two deletions; then the record says that the move is over.
    "finish in the engine without copies in transit and kv": replace(
        _in_transit((Scene.imported, TO_ENGINE), Scene.finished_without_copy, ("old",) * 9), read=("old",) * 9
    ),
    "finish without copy in the engine": _in_engine(
        (Scene.imported, move(Custody.KV, "old")),
        Scene.finished_without_copy,
        ("old",) * 5,
        ("old", "old", "none", "none", "none"),
    ),
}
CASES: Final = [(name, writes) for name, command in COMMANDS.items() for writes in range(1, len(command.seen) + 1)]


def _record_of(keeper: Lifecycle) -> tuple[str, str]:
    layout = keeper.store.layout
    return layout.mount, layout.record(NAME)


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(request)


@pytest.mark.parametrize(("name", "writes"), effort(CASES, CASES[::2]))
def test_killed_command_leaves_a_working_state_and_completes_when_it_is_repeated(
    vault: VaultUnderTest, layout: Layout, name: str, writes: int
) -> None:
    command = COMMANDS[name]
    scene = command.scene()
    with lifecycle_at(vault, layout) as keeper:
        for step in command.before:
            step(scene, keeper)

        with killed_after(writes, vault, layout) as doomed, pytest.raises(Killed):
            command.run(scene, doomed)
        assert scene.state(keeper) == command.seen[writes - 1]
        if command.read:
            assert scene.read(keeper) == command.read[writes - 1]

        command.run(scene, keeper)
        assert scene.state(keeper) == command.seen[-1]
        after = keeper.store.find(NAME)
        command.run(scene, keeper)
        assert scene.state(keeper) == command.seen[-1]

        assert keeper.store.find(NAME) == after
        assert_no_key_is_twice_in_transit(keeper)
        if command.read:
            assert scene.read(keeper) == command.read[-1]
        if after is not None and after.record.custody is Custody.ENGINE:
            assert in_step(keeper.store)


def assert_no_key_is_twice_in_transit(keeper: Lifecycle) -> None:
    found = keeper.store.transit.find(keeper.store.layout.transit(NAME))
    versions = list(found.public_keys.values()) if found else []
    assert len(versions) == len(set(versions))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_writes_more_often_than_the_kills_above_cover(
    vault: VaultUnderTest, layout: Layout, name: str
) -> None:
    command = COMMANDS[name]
    scene = command.scene()
    with (
        Wire(vault.address) as wire,
        lifecycle_at(vault, layout, address=wire.address) as keeper,
    ):
        for step in command.before:
            step(scene, keeper)
        wire.calls.clear()
        command.run(scene, keeper)
        assert len(wire.writes) == len(command.seen)


def test_rotation_that_is_killed_again_and_again_never_prunes_the_current_key(
    vault: VaultUnderTest, layout: Layout
) -> None:
    scene = Scene()
    with lifecycle_at(vault, layout) as keeper:
        scene.imported(keeper)
        for _ in range(9):  # with version 1 that makes the ten that Vault keeps
            with killed_after(1, vault, layout) as doomed, pytest.raises(Killed):
                scene.rotated(doomed)
            assert scene.state(keeper) == "old"

        with pytest.raises(VaultError, match="would prune version 1, which is current"):
            scene.rotated(keeper)

        assert scene.state(keeper) == "old"


def test_staged_and_half_done_versions_are_visible_without_their_values(vault: VaultUnderTest, layout: Layout) -> None:
    scene = Scene()
    with lifecycle_at(vault, layout) as keeper:
        scene.imported(keeper)
        with killed_after(1, vault, layout) as doomed, pytest.raises(Killed):
            scene.rotated(doomed)
        half_done = keeper.store.private_metadata(NAME)
        assert (sorted(half_done.versions), keeper.store.note(NAME)[0]) == ([1, 2], None)

        scene.staged(keeper)

        note, _ = keeper.store.note(NAME)
        assert note is not None
        assert (note.private_version, keeper.store.read(NAME).record.private_version) == (3, 1)


# The real program, and a real kill.


def program(wire: Wire, directory: Path, layout: Layout, *arguments: str) -> "subprocess.Popen[bytes]":
    config = directory / "vault-asc.toml"
    config.write_text(
        f'version = 1\n[vault]\naddress = "{wire.address}"\n'
        f'[store]\nmount = "{layout.mount}"\ntransit_mount = "{layout.transit_mount}"\n'
        f'engine_mount = "{layout.engine_mount}"\n',
        encoding="utf-8",
    )
    return subprocess.Popen(
        [sys.executable, "-m", "vault_asc", *arguments, "--config", str(config)],
        env={"HOME": str(directory), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, (out + err).decode()


def private_file(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text, encoding="ascii")
    return path


@pytest.mark.parametrize(
    ("custody", "writes", "last"),
    [
        (custody, writes, last)
        for custody, last in ((Custody.KV, 3), (Custody.TRANSIT, 4), (Custody.ENGINE, 4))
        for writes in range(1, last + 1)
    ],
)
def test_program_killed_by_a_signal_while_it_rotates(
    vault: VaultUnderTest, layout: Layout, tmp_path: Path, custody: Custody, writes: int, last: int
) -> None:
    scene = Scene(custody)
    file = private_file(tmp_path / f"AuthKey_{keys.OTHER_KEY_ID}.p8", scene.new.pem.reveal())
    private_file(tmp_path / ".vault-token", vault.root_token.reveal())
    rotate = ("key", "rotate", NAME, str(file), "--no-apple-check")
    running: list[subprocess.Popen[bytes]] = []

    def kill(_method: str, _path: str) -> None:
        if len(wire.writes) == writes:
            running[0].send_signal(signal.SIGKILL)
            running[0].wait(10)

    with Wire(vault.address) as wire, connected(vault) as client:
        keeper = Lifecycle(Store(client, layout), system_clock)
        scene.imported(keeper)
        wire.done = kill
        running.append(program(wire, tmp_path, layout, *rotate))
        assert finish(running[0]) == (-signal.SIGKILL, "")
        assert scene.state(keeper) == ("new" if writes == last else "old")

        code, text = finish(program(wire, tmp_path, layout, *rotate))

        assert code == 0, text
        assert ("nothing was changed" in text) == (writes == last)
        assert scene.state(keeper) == "new"
        assert_no_key_is_twice_in_transit(keeper)
        keeper.rollback(NAME)
        assert scene.state(keeper) == "old"
        if custody is Custody.ENGINE:
            assert scene.read(keeper) == "old"
