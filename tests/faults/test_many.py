"""Many targets at once, kept fresh by the real program: after a suspension of the machine, and with a dead endpoint."""

import json
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.fault_server import black_hole
from tests.faults.conftest import Told
from tests.faults.rig import add_account, due_in, once, ready, serving, state
from tests.faults.test_clocks import WrongClock
from tests.integration.worlds import import_key, until
from vault_asc.lab.faults import answered
from vault_asc.lab.world import World

pytestmark = pytest.mark.waits

GENEROUS: Final = {"second": {kind: {"limit": 1000} for kind in ("light", "medium")}}
SLEEPERS: Final = {f"t{number:02d}": 6000 + number for number in range(24)}


def test_f32_the_machine_was_suspended(told: Told, tmp_path: Path) -> None:
    """The process is stopped, and when it goes on the wall clock has left the monotonic one 45 s behind: all are due."""
    clock = WrongClock(tmp_path)
    with ready(World(targets=SLEEPERS, usable_life=80)) as world:
        for number, name in enumerate(SLEEPERS):
            due_in(world, 25 + number / 2, name)
        first = {name: state(world, name).expires_at for name in SLEEPERS}
        with serving(world, environ=clock.environ) as service:
            assert not service.of("refreshed"), "it is to sleep before"
            service.process.send_signal(signal.SIGSTOP)
            clock.ahead(45)
            before = len(world.nexla.journal.entries())
            service.process.send_signal(signal.SIGCONT)
            until(lambda: {event["target"] for event in service.of("refreshed")} == SLEEPERS.keys(), "all of them")
            told(service)
            assert not service.of("failed")
            assert service.stop() == 0
        puts = [entry for entry in world.nexla.journal.entries()[before:] if entry.method == "PUT"]
    numbers = [int(entry.path.rpartition("/")[2]) for entry in puts]
    place = [numbers.index(SLEEPERS[name]) for name in sorted(first, key=lambda name: first[name])]
    assert max(place[:8]) < min(place[-8:]), "earliest expiry first"
    assert puts[-1].time - puts[0].time > 1, "8 a second; 24 at once would be a storm"


def test_f33_one_of_100_is_dead(told: Told) -> None:
    """Its endpoint is a black hole. Nexla allows so much here that the rate keeps nobody waiting."""
    healthy = {f"t{number}": 6000 + number for number in range(99)}
    with World(targets=healthy) as world, black_hole() as url:
        import_key(world)
        add_account(world, "hole", url, "lost")
        world.nexla.inject(answered(200, json.dumps(GENEROUS).encode()), count=99, path="/limits")
        done = once(world)
        assert done.code == 10
        told(done)
        assert done.of("refreshed").keys() == healthy.keys()
        assert done.of("failed").keys() == {"lost"}
        assert not done.of("mandatory")
