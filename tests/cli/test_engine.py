from pathlib import Path

import pytest

from tests.cli.conftest import User, check_failure
from tests.engine.test_installing import executable
from tests.vaults import VaultUnderTest
from vault_asc import __version__
from vault_asc.engine.freezing import building


def plugins(user: User) -> Path:
    directory = user.home / "plugins"
    directory.mkdir(mode=0o755)
    return directory


def test_install_copies_and_prints_what_to_type(user: User) -> None:
    built, directory = executable(user.home), plugins(user)
    done = user.does("engine", "install", "built", "--plugin-dir", str(directory), "--yes", "--mount", "team-asc")
    name = f"vault-plugin-secrets-asc-{__version__}-{built.sha256[:8]}"
    assert [file.name for file in directory.iterdir()] == [name]
    assert (
        f"vault plugin register -sha256={built.sha256} -command={name} -version=v{__version__} secret asc" in done.out
    )
    assert f"vault secrets enable -path=team-asc -plugin-name=asc -plugin-version=v{__version__} plugin" in done.out
    assert "it needs glibc 2.2 or newer on the node" in done.out


def test_install_asks_first(user: User) -> None:
    executable(user.home)
    directory = plugins(user)
    for typed in (b"", b"y\n", b"no\n"):
        done = user.fails(2, "engine", "install", "built", "--plugin-dir", str(directory), stdin=typed)
        assert "nothing was written" in done.error
        assert "--yes" in done.hint
    assert [*directory.iterdir()] == []
    user.does("engine", "install", "built", "--plugin-dir", str(directory), stdin=b"yes\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("install", "missing", "--plugin-dir", "."), '"missing" cannot be read'),
        (("install", "vault-asc.toml", "--plugin-dir", "."), "is no executable of the engine"),
        (("install", "built", "--plugin-dir", "nowhere"), "nowhere"),
        (("install", "built"), "--plugin-dir"),
        (("status", "--file", "missing"), '"missing" cannot be read'),
    ],
)
def test_wrong_arguments(user: User, words: tuple[str, ...], told: str) -> None:
    executable(user.home)
    assert told in user.fails(2, "engine", *words).error


def test_status_says_what_is_missing(user: User) -> None:
    built = executable(user.home)
    done = user.does("engine", "status", "--file", "built", "--mount", "nowhere")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["built", f"v{__version__}", built.sha256[:16], "-"] in rows
    assert "the catalog has no plugin asc: vault-asc engine install built --plugin-dir DIR --register" in done.out
    assert 'nothing of ours is mounted at "nowhere/"' in done.out


def test_a_token_without_rights_is_told_so(user: User, vault: VaultUnderTest) -> None:
    executable(user.home)
    user.token_file.write_text("s.nothing")
    user.fails(6, "engine", "status")
    done = user("engine", "install", "built", "--plugin-dir", str(plugins(user)), "--yes", "--register")
    assert done.code == 6
    check_failure(done, out=True)  # the copy was made by then
    assert done.out.startswith("installed ")


def test_build_without_its_tools_says_what_to_install(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_TOOLS", ("no_such_module",))
    done = user("engine", "build", "--out", "x")
    assert done.code == 2
    assert done.hint == 'pip install "vault-asc[engine,build]"'
    assert not Path("x").exists()
