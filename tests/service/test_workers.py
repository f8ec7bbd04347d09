"""The threads beside the loop: whatever ends what they do, neither they nor a target is lost, and no secret is shown."""

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.integration.worlds import until
from tests.service.simulated import Simulation
from tests.test_rotation import TARGET
from vault_asc.cli.running import _deaths_told
from vault_asc.cli.signals import Signals
from vault_asc.errors import VaultAscError
from vault_asc.push import Result
from vault_asc.rotation import TargetState
from vault_asc.service.attempt import Attempted
from vault_asc.service.crew import Done, Threads
from vault_asc.service.listening.hanging import HangingAttempts
from vault_asc.service.reloading import Reloads
from vault_asc.service.work import Track

if TYPE_CHECKING:
    from vault_asc.service.events import Event

SECRET = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"


class PanicException(BaseException):
    """As libraries in Rust raise it."""


def panic() -> NoReturn:
    raise PanicException(SECRET)


def one(crew: Threads) -> Done:
    [done] = until(lambda: crew.finished(1), "an end")
    return done


@pytest.mark.parametrize("error", [PanicException(SECRET), SystemExit(SECRET), ValueError(SECRET)])
def test_whatever_ends_an_attempt_ends_neither_the_worker_nor_the_target(error: BaseException) -> None:
    def job() -> Attempted:
        raise error

    crew, track = Threads(1), Track(TARGET, TargetState())
    crew.start(track, job)
    done = one(crew)
    assert done.track is track
    assert f"internal error ({type(error).__name__})" in str(done.attempted.result.error)
    assert SECRET not in str(done)
    good = Attempted(Result(TARGET, "due"), None)
    crew.start(track, lambda: good)
    assert one(crew).attempted is good
    crew.resize(0)


def test_whatever_ends_a_reload_does_not_end_the_next() -> None:
    def beside(work: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        threads[-1].join()

    threads: list[threading.Thread] = []
    reloads = Reloads(panic, beside, lambda: None)
    for _ in range(3):
        reloads.want()
        made = reloads.take()
        assert isinstance(made, VaultAscError)
        assert "PanicException" in made.message
        assert SECRET not in str(made)


def test_a_thread_that_a_bug_ends_is_told_by_its_class_alone(capfd: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    with _deaths_told(events.append):
        thread = threading.Thread(target=panic, name="worker-7")
        thread.start()
        thread.join()
    [event] = events
    assert event.facts == {"thread": "worker-7", "detail": "internal error (PanicException)"}
    assert capfd.readouterr() == ("", "")


def test_what_is_asked_for_before_there_is_a_service_is_not_forgotten() -> None:
    taken = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in taken}
    try:
        early = Signals()
        early.install()
        signal.raise_signal(signal.SIGHUP)
        sim = Simulation(1)
        service = sim.service()
        early.serve(service)
        sim.run(1, service)
        assert sim.told("reloaded")
        signal.raise_signal(signal.SIGTERM)
        assert service.traffic.stopping
        second = Simulation(1).service()
        early.serve(second)
        assert second.traffic.stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_attempt_that_hangs_is_told_once() -> None:
    events: list[Event] = []
    hanging = HangingAttempts(events.append)
    hanging.look({"a": 59.0, "b": 61.0})
    hanging.look({"a": 64.0, "b": 66.0})
    hanging.look({"a": 69.0})
    hanging.look({"a": 74.0, "b": 70.0})
    assert [(event.target, event.facts["seconds"], event.facts["hanging"]) for event in events] == [
        ("b", 61, 1),
        ("a", 64, 2),
        ("b", 70, 2),
    ]
