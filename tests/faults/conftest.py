"""Fixtures of the rows, and the rule that each of them asserts what a person sees."""

import re
from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.faults.matrix import ROWS, matches
from tests.faults.rig import TARGETS, Speaker, as_on_the_first_day, heard
from tests.integration.worlds import import_key
from vault_asc.lab.world import World

_ROW = re.compile(r"test_f(\d\d)_")


class Told(Protocol):
    """`told(service)`: the row's message is in what it said; `told(service, 1)`: the second one of its messages."""

    def __call__(self, who: Speaker, number: int = 0) -> None: ...


class Teller:
    """Asserts the messages of the row that a test is named after."""

    def __init__(self, test: str) -> None:
        found = _ROW.match(test)
        assert found, "a row's test is named after it"
        self._says = ROWS[f"F{int(found[1])}"].says
        self.seen = 0

    def __call__(self, who: Speaker, number: int = 0) -> None:
        text, says = heard(who), self._says[number]
        assert matches(says, text), f"{says!r} is not in: {text}"
        self.seen += 1


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Iterator[Told]:
    """A message has to be asserted at least once."""
    teller = Teller(request.node.name)
    yield teller
    assert teller.seen, "no message was looked at"


@pytest.fixture(scope="session")
def _shared_world() -> Iterator[tuple[World, str]]:
    with World(targets=TARGETS) as world:
        import_key(world)
        yield world, world.config_file.read_text(encoding="utf-8")


@pytest.fixture
def fresh(_shared_world: tuple[World, str]) -> World:
    """Three targets of one key that were never pushed; the server is shared by all rows that leave it as it is."""
    world, config = _shared_world
    as_on_the_first_day(world, config)
    return world


@pytest.fixture
def world(fresh: World) -> World:
    """As `fresh`, and every target has its first token."""
    fresh.must("push", "--all")
    return fresh


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A row without a message is no row."""
    silent = [
        item.nodeid for item in items if _ROW.match(item.name) and "told" not in getattr(item, "fixturenames", ())
    ]
    if silent:
        raise pytest.UsageError(f"these rows assert no message: {silent}")
