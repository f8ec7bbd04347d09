"""Every row has its test, every test its row, and the page says what the tests do."""

import ast
from pathlib import Path

from tests.faults.matrix import PAGE, ROOT, ROWS, matches, names_of_tests, page


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    assert list(ROWS) == [f"F{number}" for number in range(1, 37)]
    assert not [row for row in ROWS if not names_of_tests(row)]
    named = [
        name
        for file in Path(__file__).parent.glob("test_*.py")
        for name in functions(file)
        if name.startswith("test_f")
    ]
    assert {int(name[6:8]) for name in named} == set(range(1, 37))


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_tests_that_are_referred_to_exist() -> None:
    for row in ROWS.values():
        for test in row.also:
            file, _, name = test.partition("::")
            assert name in functions(ROOT / file), test


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.faults.matrix"


def test_a_message_is_one_line() -> None:
    assert matches("Vault … sealed", 'said "Vault at x is sealed (y)"')
    assert not matches("Vault … sealed", "Vault is\nsealed")
    assert not matches("Vault … sealed", "vault sealed")
