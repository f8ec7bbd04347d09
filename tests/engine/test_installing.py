"""From a file to a mount, on the real server; scripts with build facts stand for executables, so that nothing is built."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine.host import ROOT
from tests.engine.rig import Rig, rig
from tests.support import connected
from tests.vaults import VaultUnderTest
from vault_asc import __version__
from vault_asc.engine import installing
from vault_asc.engine.freezing.facts import Executable, look_at, text_of
from vault_asc.errors import ConfigError, ConflictError, NotFoundError, PermissionDeniedError, VaultError
from vault_asc.names import ENGINE_FILE, ENGINE_TYPES
from vault_asc.vault import Vault

HERE = {"version": __version__, "platform": f"{sys.platform} x86_64", "libc": "glibc 2.2 or newer"}


def executable(directory: Path, name: str = "built", **facts: str) -> Executable:
    """A script that runs the engine and says to be a build; another commit is another file."""
    told = text_of(HERE | facts).decode()
    file = directory / name
    file.write_text(
        f"#!{sys.executable}\n# {told}import runpy, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "runpy.run_module('vault_asc.engine', run_name='__main__')\n"
    )
    return look_at(file)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("plugins")) as server:
        yield server


@pytest.fixture
def vault(server: Rig) -> Iterator[Vault]:
    with connected(VaultUnderTest(server.server.address, server.server.root_token)) as vault:
        yield vault
    for path, mount in server.ask("GET", "sys/mounts")["data"].items():
        if mount["type"] in ENGINE_TYPES:
            server.ask("DELETE", f"sys/mounts/{path}")
    for name in ENGINE_TYPES:
        with contextlib.suppress(NotFoundError):
            server.ask("DELETE", f"sys/plugins/catalog/secret/{name}?version=v{__version__}")


def advice(vault: Vault, server: Rig, built: Executable | None, mount: str = "asc") -> list[str]:
    found = installing.standing(vault, mount, server.directory, built)
    return installing.differences(found, mount, server.directory)


def test_a_copy_is_named_after_its_build_and_made_once(tmp_path: Path) -> None:
    built, plugins = executable(tmp_path), tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    installed = installing.copy(built, plugins, time.time())
    assert installed.name == f"vault-plugin-secrets-asc-{__version__}-{built.sha256[:8]}"
    assert installed.read_bytes() == built.path.read_bytes()
    assert installed.stat().st_mode & 0o777 == 0o755
    written = installed.stat().st_ino
    installed.chmod(0o600)
    assert installing.copy(built, plugins, time.time()).stat().st_ino == written
    assert installed.stat().st_mode & 0o777 == 0o755
    other = installing.copy(executable(tmp_path, commit="b"), plugins, time.time())
    assert {*plugins.iterdir()} == {installed, other}


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    built = executable(tmp_path)
    executable(tmp_path, commit="b")
    with pytest.raises(ConflictError, match="is being changed, nothing was copied"):
        installing.copy(built, tmp_path, time.time())
    assert [*tmp_path.glob("vault-plugin*")] == []


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, []),
        ({"platform": "linux riscv64"}, ["the executable is for linux riscv64, this host is "]),
        ({"libc": "glibc 99.1 or newer"}, ["the executable asks for glibc 99.1 or newer, this host has "]),
    ],
)
def test_concerns_about_the_host(tmp_path: Path, facts: Mapping[str, str], told: list[str]) -> None:
    built = executable(tmp_path, **facts)
    found = installing.concerns(built, built.path)
    assert len(found) == len(told)
    assert all(each.startswith(start) for each, start in zip(found, told, strict=True))


def test_concerns_about_a_host_with_musl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    built = executable(tmp_path)
    assert "another C library, as Alpine has" in installing.concerns(built, built.path)[0]


def test_concerns_about_a_directory_that_others_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)
    built = executable(tmp_path)
    assert installing.concerns(built, built.path)[0].endswith(f"chmod go-w {tmp_path}")


def test_install_mounts_then_upgrades(server: Rig, vault: Vault, tmp_path: Path) -> None:
    first = executable(tmp_path, "first", commit="a")
    assert advice(vault, server, first) == [
        f"the catalog has no plugin asc: vault-asc engine install {first.path} --plugin-dir {server.directory} --register",
        'nothing of ours is mounted at "asc/": vault secrets enable -path=asc asc',
    ]
    installing.copy(first, server.directory, time.time())
    installing.register(vault, first)
    assert installing.bring_up(vault, first, "asc") == 'mounted at "asc/"'
    assert advice(vault, server, first) == []
    running = installing.standing(vault, "asc", None, None).running
    assert running is not None
    assert (running.version, running.sha256) == (first.version, first.sha256)

    second = executable(tmp_path, "second", commit="b")
    assert [each.partition(":")[0] for each in advice(vault, server, second)] == [
        "what is built is not what is registered"
    ]
    installing.copy(second, server.directory, time.time())
    installing.register(vault, second)
    (told,) = advice(vault, server, second)
    assert told.startswith('"asc/" runs another build than the registered one: vault secrets tune -plugin-version=v')
    assert installing.bring_up(vault, second, "asc") == f'"asc/" was told to run {second.version}, and reloaded'
    assert advice(vault, server, second) == []

    installing.register(vault, first)  # the way back: nothing was replaced
    installing.bring_up(vault, first, "asc")
    assert advice(vault, server, first) == []


def test_a_mount_by_the_name_of_the_file_is_ours_and_keeps_that_name(server: Rig, vault: Vault, tmp_path: Path) -> None:
    first = executable(tmp_path, "first", commit="by-file-a")
    installing.copy(first, server.directory, time.time())
    installing.register(vault, first, ENGINE_FILE)
    assert f"vault secrets enable -path=asc {ENGINE_FILE}" in advice(vault, server, first)[0]
    server.mount("asc", ENGINE_FILE)
    vault.require_engine("asc")
    assert advice(vault, server, first) == []

    second = executable(tmp_path, "second", commit="by-file-b")
    installing.copy(second, server.directory, time.time())
    assert installing.mounted_by(vault, "asc") == ENGINE_FILE
    installing.register(vault, second, installing.mounted_by(vault, "asc"))
    (told,) = advice(vault, server, second)
    assert told.endswith(f"vault plugin reload -plugin={ENGINE_FILE} -scope=global")
    assert installing.bring_up(vault, second, "asc") == f'"asc/" was told to run {second.version}, and reloaded'
    assert advice(vault, server, second) == []
    assert installing.mounted_by(vault, "elsewhere") == installing.PLUGIN


def test_status_sees_a_missing_and_a_changed_file(server: Rig, vault: Vault, tmp_path: Path) -> None:
    built = executable(tmp_path, commit="missing")
    installed = installing.copy(built, server.directory, time.time())
    installing.register(vault, built)
    installed.write_bytes(installed.read_bytes() + b"#\n")
    assert "is not what is registered, the server refuses to start it" in advice(vault, server, built)[0]
    installed.unlink()
    assert "is missing, the server cannot start it" in advice(vault, server, built)[0]


def test_what_keeps_a_plugin_from_starting_is_told(server: Rig, vault: Vault, tmp_path: Path) -> None:
    built = executable(tmp_path, commit="nowhere")
    with pytest.raises(VaultError, match="the engine was not registered: ") as failed:
        installing.register(vault, built)
    assert "has to be on this node" in str(failed.value.hint)
    installed = installing.copy(built, server.directory, time.time())
    installing.register(vault, built)
    installed.write_bytes(b"another")
    with pytest.raises(VaultError, match="the engine is registered, and the server does not start it") as failed:
        installing.bring_up(vault, built, "asc")
    assert "noexec" in str(failed.value.hint)


def test_another_mount_in_the_way_is_left_alone(server: Rig, vault: Vault, tmp_path: Path) -> None:
    built = executable(tmp_path)
    with pytest.raises(ConflictError, match='"secret/" is a mount of type "kv"'):
        installing.bring_up(vault, built, "secret")
    assert server.ask("GET", "sys/mounts")["data"]["secret/"]["type"] == "kv"


class Refusing:
    """A server that denies what is below some paths, and answers nothing else."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied

    def ask(
        self, method: str, where: str, capability: str, body: Any = None, *, writing: bool = False
    ) -> dict[str, Any]:
        if where.startswith(self.denied):
            raise PermissionDeniedError(f'permission denied: the token lacks "{capability}" on "{where}"')
        return {}


def test_what_a_token_may_not_see_is_told_and_not_guessed() -> None:
    found = installing.standing(Refusing("sys/plugins"), "asc", None, None)
    assert found.unseen == ('permission denied: the token lacks "sudo" on "sys/plugins/catalog"',)
    assert installing.differences(found, "asc", None) == []
    with pytest.raises(PermissionDeniedError, match="sys/mounts"):
        installing.standing(Refusing("sys/"), "asc", None, None)


def test_commands_are_those_of_vault(tmp_path: Path) -> None:
    built = executable(tmp_path)
    register, mount = installing.commands(built, "team/asc")
    assert register == (
        f"vault plugin register -sha256={built.sha256} -command={installing.name_of(built)} -version=v{__version__}"
        " secret asc"
    )
    assert mount == f"vault secrets enable -path=team/asc -plugin-name=asc -plugin-version=v{__version__} plugin"


def test_no_directory_no_copy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        installing.copy(executable(tmp_path), tmp_path / "missing", time.time())
