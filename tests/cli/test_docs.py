import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from tests.cli.reference import FILE, commands, page
from vault_asc.cli import _COMMANDS

ROOT = Path(__file__).parents[2]
COMMANDS = [(path, command) for path, command in commands() if not isinstance(command, click.Group)]


def test_the_page_of_commands_is_what_help_prints() -> None:
    assert FILE.read_text(encoding="utf-8") == page(), "run: make docs"


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_and_option_has_help(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{' '.join(path)} {parameter.name}"


def test_the_overview_says_what_the_commands_say() -> None:
    for path, command in commands():
        if len(path) == 2:
            assert command.get_short_help_str(limit=200) == _COMMANDS[path[1]][2]


class Typed(NamedTuple):
    """A command line in a page: its command, as far as there is one, and the options behind it."""

    page: str
    text: str
    command: click.Command | None
    options: frozenset[str]


def pages() -> Iterator[Path]:
    """What people read; the page of commands is made from the commands."""
    yield ROOT / "README.md"
    yield from (page for page in sorted((ROOT / "docs").rglob("*.md")) if page != FILE)


def code_in(text: str) -> Iterator[str]:
    """Lines of code blocks without their comments, continued ones joined, and code within sentences."""
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        yield from (re.sub(r"(?:^|\s)# .*|\s# .*", "", line) for line in lines)
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose))


# Where a command line begins: not in a path that ends in the name, nor where it is a user's.
LINE = r"(?:^|[$(;|&]|\bsudo -u \S+|\bdocker .*\brun .*?) *(?<![\w/.:-])vault-asc(?::lab)? +([^|;&)>]+)"


def typed_in(file: Path) -> Iterator[Typed]:
    """The command lines of ours in a page."""
    known = {path[1:]: command for path, command in commands() if not isinstance(command, click.Group)}
    for code in code_in(file.read_text(encoding="utf-8")):
        for line in re.findall(LINE, code.strip()):
            words = line.split()
            plain = tuple(itertools.takewhile(lambda word: re.fullmatch(r"[a-z]+", word), words))
            command = known.get(plain[:2]) or known.get(plain[:1])
            options = frozenset(word.partition("=")[0] for word in words if word.startswith("--"))
            yield Typed(file.name, line, command, options)


TYPED = [typed for file in [*pages(), FILE] for typed in typed_in(file)]


@pytest.mark.parametrize("typed", TYPED, ids=[f"{typed.page}: {typed.text[:60]}" for typed in TYPED])
def test_every_command_and_option_in_a_page_exists(typed: Typed) -> None:
    if typed.command is None:
        assert typed.text.strip() in {"--help", "--version"}, "no such command"
        return
    own = {name for parameter in typed.command.params for name in parameter.opts}
    assert typed.options <= own | {"--help", "--debug"}


def test_the_check_sees_what_is_there(tmp_path: Path) -> None:
    seen = {file.name: len([*typed_in(file)]) for file in pages()}
    for name, at_least in {"README.md": 30, "custodies.md": 10, "rotation.md": 6, "docker.md": 6}.items():
        assert seen[name] >= at_least, name
    sample = tmp_path / "page.md"
    sample.write_text(
        "Type `vault-asc key shwo prod`, then:\n```console\n$ (umask 077; vault-asc mint prod \\\n"
        "    --owt x)   # comment\n$ docker run -v ./vault-asc.toml:/x vault-asc config chekc\n```\n",
        encoding="utf-8",
    )
    for typed in typed_in(sample):
        with pytest.raises(AssertionError):
            test_every_command_and_option_in_a_page_exists(typed)
    assert len([*typed_in(sample)]) == 3


def test_every_command_in_our_messages_exists() -> None:
    known = {" ".join(path[1:]) for path, command in commands() if not isinstance(command, click.Group)}
    groups = {path[1] for path, command in commands() if len(path) == 2 and isinstance(command, click.Group)}
    found = [
        (file.name, words)
        for file in (ROOT / "vault_asc").rglob("*.py")
        for words in re.findall(r"[`:(] *vault-asc (?!or its)([a-z]+(?: [a-z]+)?)", file.read_text(encoding="utf-8"))
    ]
    assert len(found) > 30
    for name, words in found:
        first = words.split()[0]
        assert (words if first in groups - {words} else first) in known | groups, (name, words)


def test_every_event_of_the_service_is_in_its_table() -> None:
    sources = [*(ROOT / "vault_asc" / "service").rglob("*.py"), *(ROOT / "vault_asc" / "cli").glob("*.py")]
    code = "".join(file.read_text(encoding="utf-8") for file in sources)
    told = set(re.findall(r'(?<!\.)\bEvent\(\s*"([a-z ]+)"', code)) | {"logged in", "renewed"}
    table = (ROOT / "docs" / "service.md").read_text(encoding="utf-8").partition("| event | level | when |")[2]
    rows = re.findall(r"^\|((?: `[a-z ]+`)+) \|", table, re.MULTILINE)
    assert len(told) > 20
    assert told == {name for row in rows for name in re.findall(r"`([a-z ]+)`", row)}


def test_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    from vault_asc import errors

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.split("| code | meaning |", 1)[1].split("\n\n", 1)[0]
    told = {int(code) for code in re.findall(r"\| (\d+) \|", table)}
    ours = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VaultAscError)
    }
    assert ours | {0, 130, 141} == told


def test_every_decision_and_page_that_is_linked_exists() -> None:
    for page_file in [*pages(), FILE]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page_file.read_text(encoding="utf-8")):
            assert (page_file.parent / link).exists(), f"{page_file.name} links to {link}"
