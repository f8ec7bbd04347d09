from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import User, check_failure
from tests.conftest import Root
from tests.engine.test_installing import executable
from tests.vaults import VaultUnderTest
from vault_asc import __version__
from vault_asc.engine.freezing import building
from vault_asc.errors import NotFoundError


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


def test_the_mount_is_that_of_the_configuration(user: User) -> None:
    executable(user.home)
    install = ("engine", "install", "built", "--plugin-dir", str(plugins(user)), "--yes")
    user.sets(engine_mount="team/engine")
    assert "-path=team/engine " in user.does(*install).out
    assert "-path=other " in user.does(*install, "--mount", "other").out
    assert 'nothing of ours is mounted at "team/engine/"' in user.does("engine", "status").out
    for words in (install, ("engine", "status")):
        assert 'mount of the engine "asc/" is not a plain path' in user.fails(2, *words, "--mount", "asc/").error


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


@pytest.fixture
def _empty_catalog(root: Root) -> Iterator[None]:
    """Without the engine that other tests run on this server."""
    entry = "sys/plugins/catalog/secret/asc?version=v0.1.0"
    try:
        kept = root("GET", entry)["data"]
    except NotFoundError:
        yield
        return
    root("DELETE", entry)
    yield
    root("POST", "sys/plugins/catalog/secret/asc", kept)


@pytest.mark.usefixtures("_empty_catalog")
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
    assert done.hint == 'in a checkout: make install, or pip install ".[engine,build]"'
    assert not Path("x").exists()
