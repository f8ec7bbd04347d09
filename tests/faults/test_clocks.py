"""Clocks that are wrong or set, machines that slept, and thousands of targets of which some are dead."""

import itertools
import re
from pathlib import Path

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import Kept, detail, due_in, once, ready, serving, state
from tests.service.simulated import Simulation
from tests.service.test_loop import pass_of
from vault_asc.config import Target
from vault_asc.lab.world import World

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
    told(detail(failed["sales"]))
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
            told(f"{event['event']}", 1)
            assert event["seconds"] == pytest.approx(jump, abs=2)
            told(detail(service.first("failed", "sales")))
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


def test_f32_the_machine_was_suspended(told: Told) -> None:
    """The monotonic clock stood still meanwhile; what was about to be due is long dead."""
    sim = Simulation(300, workers=32, quiet=False)
    service = sim.run(600)
    sim.begun.clear()
    before = {name: known.expires_at for name, known in sim.states.items()}
    sim.time.ahead += 1800
    sim.run(80, service)
    [jump] = sim.told("clock jumped")
    told(f"{jump.name} {jump.facts['seconds']}")
    moments = [moment for moment, _ in sim.begun]
    assert len(moments) == 300
    assert max(sum(at <= moment < at + 1 for moment in moments) for at in moments) <= 9, (
        "8 a second, and what came early"
    )
    order = [before[name] for _, name in sim.begun]
    assert sum(one > other for one, other in itertools.pairwise(order)) < 10, "but for those in flight"


def test_f33_one_percent_of_5000_is_dead(told: Told) -> None:
    def dead(target: Target, _now: float) -> str | None:
        return "hole" if target.credential_id % 100 == 0 else None

    whole = pass_of(Simulation(5000, keys=5))
    sim = Simulation(5000, keys=5, fault=dead)
    assert pass_of(sim) <= 2 * whole
    assert sum(known.expires_at > 0 for known in sim.states.values()) == 4950
    event = sim.told("failed")[0]
    told(f"{event.name} {event.facts['detail']}")
    assert {one.target for one in sim.told("failed")} <= {t.name for t in sim.targets if t.credential_id % 100 == 0}
