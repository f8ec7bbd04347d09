"""Clocks that are wrong, and clocks that are set while the service runs."""

import re
from pathlib import Path

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import Kept, due_in, once, ready, serving, state
from vault_asc.lab.world import World

pytestmark = pytest.mark.waits

# Loaded by the interpreter of the service before anything else: its wall clock is off by the seconds in a file.
SHIFTED = """\
import os, time
_file, _true = os.environ["SHIFTED_CLOCK"], time.time
def _shifted():
    with open(_file) as stream:
        return _true() + float(stream.read() or 0)
time.time = _shifted
"""


class WrongClock:
    """The wall clock of a child process, without root and without LD_PRELOAD; `ahead` may be set while it runs."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ahead"
        (directory / "sitecustomize.py").write_text(SHIFTED)
        self.environ = {"PYTHONPATH": str(directory), "SHIFTED_CLOCK": str(self._file)}
        self.ahead(0)

    def ahead(self, seconds: float) -> None:
        """Set the clock; never half."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._file)


@pytest.mark.parametrize(("ahead", "way"), [(900, "s ahead of"), (-900, "s behind that of")])
def test_f31_a_clock_that_is_wrong(world: World, told: Told, tmp_path: Path, ahead: int, way: str) -> None:
    clock = WrongClock(tmp_path)
    due_in(world, 0, *world.targets)
    before = Kept.of(world)
    clock.ahead(ahead)
    done = once(world, environ=clock.environ)
    failed = done.of("failed")
    assert failed.keys() == world.targets.keys()
    told(done.about("sales"))
    assert re.search(f"(899|900|901) {way}", failed["sales"]["detail"])
    assert Kept.of(world) == before
    assert world.nexla.flow_read(5001) == 200


@pytest.mark.parametrize("jump", [3600, -3600])
def test_f31_a_clock_that_is_set_while_the_service_runs(told: Told, tmp_path: Path, jump: int) -> None:
    clock = WrongClock(tmp_path)
    with ready(World()) as world:
        before = Kept.of(world)
        with serving(world, environ=clock.environ) as service:
            clock.ahead(jump)
            event = service.first("clock jumped")
            told(service, 1)
            assert event["seconds"] == pytest.approx(jump, abs=2)
            service.first("failed", "sales")
            told(service)
            next_try = state(world).next_try
            assert service.first("failed", "sales", more_than=1)["failures"] == 2
            assert state(world).tried_at >= next_try - 0.1, "no hot loop: it waits as after any failure"
            assert Kept.of(world) == before
            clock.ahead(0)
            back = service.first("clock jumped", more_than=1)
            assert back["seconds"] == pytest.approx(-jump, abs=2)
            assert service.first("refreshed", "sales")["outcome"] == "live"
            assert service.stop() == 0
        assert world.nexla.flow_read() == 200
        assert world.run("push", "sales").returncode == 0
