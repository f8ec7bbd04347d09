"""Every command of key owners, killed after each of its writes: nothing is lost, and the same command completes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from tests import keys
from tests.support import NAME, PREFIX, TEAM, Wire, connected, lifecycle_on, minted_with, new_key
from tests.vaults import VaultUnderTest
from vault_asc import http
from vault_asc.clock import system_clock
from vault_asc.errors import NotFoundError, TokenRequestError, VaultError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.record import State
from vault_asc.store import Layout, Store
from vault_asc.vault import Vault


class Killed(BaseException):
    """The process is gone: nothing that catches errors catches this."""


@contextmanager
def killed_after(writes: int, server: VaultUnderTest, mount: str) -> Iterator[Lifecycle]:
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
        yield Lifecycle(
            Store(Vault(server.address, server.root_token, session=session), Layout(mount, PREFIX)), system_clock
        )


@dataclass(frozen=True)
class Scene:
    """A key and its successor."""

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
            return "none"
        raise AssertionError("the name stands for an unknown key")

    def imported(self, keeper: Lifecycle) -> object:
        return keeper.import_key(NAME, self.old, TEAM)

    def staged(self, keeper: Lifecycle) -> object:
        return keeper.stage(NAME, self.new, keys.OTHER_KEY_ID)

    def promoted(self, keeper: Lifecycle) -> object:
        return keeper.promote(NAME, self.new.spki_sha256)

    def rotated(self, keeper: Lifecycle) -> object:
        return keeper.rotate(NAME, self.new, keys.OTHER_KEY_ID)

    def rolled_back(self, keeper: Lifecycle) -> object:
        return keeper.rollback(NAME, 1)

    def disabled(self, keeper: Lifecycle) -> object:
        return keeper.set_state(NAME, State.DISABLED)

    def enabled(self, keeper: Lifecycle) -> object:
        return keeper.set_state(NAME, State.ENABLED)

    def destroyed(self, keeper: Lifecycle) -> object:
        return keeper.destroy(NAME)


Step = Callable[[Scene, Lifecycle], object]


@dataclass(frozen=True)
class Command:
    """A command, what goes before it, and what a consumer sees after its 1st, 2nd, ... write; the last one completes."""

    before: tuple[Step, ...]
    run: Step
    seen: tuple[str, ...]


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
}
CASES: Final = [(name, writes) for name, command in COMMANDS.items() for writes in range(1, len(command.seen) + 1)]


@pytest.mark.parametrize(("name", "writes"), CASES)
def test_killed_command_leaves_a_working_state_and_completes_when_it_is_repeated(
    vault: VaultUnderTest, kv_mount: str, name: str, writes: int
) -> None:
    command, scene = COMMANDS[name], Scene()
    with lifecycle_on(vault, kv_mount) as keeper:
        for step in command.before:
            step(scene, keeper)

        with killed_after(writes, vault, kv_mount) as doomed, pytest.raises(Killed):
            command.run(scene, doomed)
        assert scene.state(keeper) == command.seen[writes - 1]

        command.run(scene, keeper)
        assert scene.state(keeper) == command.seen[-1]
        command.run(scene, keeper)
        assert scene.state(keeper) == command.seen[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_writes_more_often_than_the_kills_above_cover(
    vault: VaultUnderTest, kv_mount: str, name: str
) -> None:
    command, scene = COMMANDS[name], Scene()
    with Wire(vault.address) as wire, lifecycle_on(vault, kv_mount, address=wire.address) as keeper:
        for step in command.before:
            step(scene, keeper)
        wire.calls.clear()
        command.run(scene, keeper)
        assert len(wire.writes) == len(command.seen)


def test_rotation_that_is_killed_again_and_again_never_prunes_the_current_key(
    vault: VaultUnderTest, kv_mount: str
) -> None:
    scene = Scene()
    with lifecycle_on(vault, kv_mount) as keeper:
        scene.imported(keeper)
        for _ in range(9):  # with version 1 that makes the ten that Vault keeps
            with killed_after(1, vault, kv_mount) as doomed, pytest.raises(Killed):
                scene.rotated(doomed)
            assert scene.state(keeper) == "old"

        with pytest.raises(VaultError, match="would prune version 1, which is current"):
            scene.rotated(keeper)

        assert scene.state(keeper) == "old"


def test_staged_and_half_done_versions_are_visible_without_their_values(vault: VaultUnderTest, kv_mount: str) -> None:
    scene = Scene()
    with lifecycle_on(vault, kv_mount) as keeper:
        scene.imported(keeper)
        with killed_after(1, vault, kv_mount) as doomed, pytest.raises(Killed):
            scene.rotated(doomed)
        half_done = keeper.store.private_metadata(NAME)
        assert (sorted(half_done.versions), keeper.store.note(NAME)[0]) == ([1, 2], None)

        scene.staged(keeper)

        note, _ = keeper.store.note(NAME)
        assert note is not None
        assert (note.private_version, keeper.store.read(NAME).record.private_version) == (3, 1)


# The real program, and a real kill.


def program(wire: Wire, directory: Path, mount: str, *arguments: str) -> "subprocess.Popen[bytes]":
    config = directory / "vault-asc.toml"
    config.write_text(
        f'version = 1\n[vault]\naddress = "{wire.address}"\n[store]\nmount = "{mount}"\n', encoding="utf-8"
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


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_program_killed_by_a_signal_while_it_rotates(
    vault: VaultUnderTest, kv_mount: str, tmp_path: Path, writes: int
) -> None:
    scene = Scene()
    file = tmp_path / f"AuthKey_{keys.OTHER_KEY_ID}.p8"
    file.touch(0o600)
    file.write_text(scene.new.pem.reveal(), encoding="ascii")
    token = tmp_path / ".vault-token"
    token.touch(0o600)
    token.write_text(vault.root_token.reveal(), encoding="ascii")
    running: list[subprocess.Popen[bytes]] = []

    def kill(_method: str, _path: str) -> None:
        if len(wire.writes) == writes:
            running[0].send_signal(signal.SIGKILL)
            running[0].wait(10)

    with Wire(vault.address) as wire, connected(vault) as client:
        keeper = Lifecycle(Store(client, Layout(kv_mount, PREFIX)), system_clock)
        scene.imported(keeper)
        wire.done = kill
        running.append(program(wire, tmp_path, kv_mount, "key", "rotate", NAME, str(file)))
        assert finish(running[0]) == (-signal.SIGKILL, "")
        assert scene.state(keeper) == ("new" if writes == 3 else "old")

        code, text = finish(program(wire, tmp_path, kv_mount, "key", "rotate", NAME, str(file)))

        assert code == 0, text
        assert ("nothing was changed" in text) == (writes == 3)
        assert scene.state(keeper) == "new"
        keeper.rollback(NAME)
        assert scene.state(keeper) == "old"
