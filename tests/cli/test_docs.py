import re
from pathlib import Path

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


def test_every_command_in_the_readme_exists() -> None:
    known = {" ".join(path[1:]) for path, _ in commands()}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = [tuple(words.split()) for words in re.findall(r"(?:\$ |`)vault-asc ([a-z]+(?: [a-z]+)?)", text)]
    assert used
    groups = {path[1] for path, command in commands() if len(path) == 2 and isinstance(command, click.Group)}
    for words in used:
        assert (" ".join(words[:2]) if words[0] in groups else words[0]) in known, words


def test_every_option_in_the_readme_exists() -> None:
    known = {name for _, command in COMMANDS for parameter in command.params for name in parameter.opts}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "vault-asc " in line]
    used = {option for line in lines for option in re.findall(r"(?<=[ `])--[a-z-]+", line.split("vault-asc", 1)[1])}
    assert used
    assert used <= known | {"--help", "--require-hashes", "--no-deps"}


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
    for page_file in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page_file.read_text(encoding="utf-8")):
            assert (page_file.parent / link).exists(), f"{page_file.name} links to {link}"
