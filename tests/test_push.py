import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.test_rotation import FRESH, NOW, TARGET, World
from vault_asc.cli.pushing import _told
from vault_asc.config import Target
from vault_asc.errors import BusyError, ConfigError, NexlaError, VaultAscError
from vault_asc.outcome import Outcome
from vault_asc.push import DEADLINE, Pass, Result
from vault_asc.refreshing import Ports
from vault_asc.rotation import TargetState
from vault_asc.state import StateDir

SECRET = "eyJ.a-secret-text"  # what must not be told


def targets(*names: str) -> list[Target]:
    return [TARGET._replace(name=name) for name in names]


class Opened:
    """The ports of a world, and how often they were opened."""

    def __init__(self, world: World, error: VaultAscError | None = None) -> None:
        self.world, self.error, self.times = world, error, 0

    def __call__(self) -> Ports:
        self.times += 1
        if self.error is not None:
            raise self.error
        return self.world.ports()


@pytest.fixture
def states(tmp_path: Path) -> StateDir:
    return StateDir(tmp_path / "state")


def made(
    states: StateDir,
    world: World,
    ports: Opened | None = None,
    *,
    ticks: Path | None = None,
    only_due: bool = True,
    dry: bool = False,
) -> Pass:
    return Pass(
        states,
        ticks,
        only_due=only_due,
        dry=dry,
        clock=world.clock,
        ports=ports or Opened(world),
        elapsed=world.clock,
    )


def told(results: Sequence[Result]) -> list[tuple[str, str]]:
    return [(result.target.name, result.reason) for result in results]


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in directory.rglob("*") if p.is_file()}


def test_what_is_due_is_pushed_and_recorded(states: StateDir) -> None:
    world = World()
    states.save("fresh", FRESH, NOW)
    results = made(states, world).run(targets("new", "fresh"))
    assert told(results) == [("new", "never pushed"), ("fresh", "not due")]
    assert results[0].state == states.load("new")
    assert states.load("new").outcome is Outcome.LIVE
    assert [(r.state, r.error) for r in results[1:]] == [(None, None)]
    assert [name for _, name, _, _ in world.pushed] == ["new"]
    assert told(made(states, world).run(targets("new", "fresh"))) == [("new", "not due"), ("fresh", "not due")]


def test_no_targets_no_work(states: StateDir) -> None:
    ports = Opened(World())
    assert made(states, World(), ports).run([]) == []
    assert ports.times == 0


def test_the_earliest_expiry_comes_first(states: StateDir) -> None:
    world = World(now=NOW + 600)
    for name, left in {"a": 900, "b": 30, "c": 400}.items():
        states.save(name, replace(FRESH, started_at=1, expires_at=int(world.now) + left), NOW)
    results = made(states, world).run(targets("a", "b", "c", "new"))
    assert [result.target.name for result in results] == ["new", "b", "c", "a"]
    assert [name for _, name, _, _ in world.pushed] == ["new", "b", "c", "a"]


def test_what_is_dead_and_failing_does_not_use_up_the_time_of_what_lives(states: StateDir) -> None:
    """Three endpoints that swallow a pass at each tick once they hurry, and a healthy target beside them."""
    world = World()

    def black_hole(target: Target) -> VaultAscError | None:
        if target.name == "healthy":
            return None
        world.now += 16
        return NexlaError("no answer", retryable=True)

    world.nexla_error = black_hole
    chosen = targets("hole-1", "hole-2", "hole-3", "healthy")
    for target in chosen:
        states.save(target.name, FRESH, NOW)
    left = []
    for _ in range(60):
        before = states.load("healthy")
        made(states, world).run(chosen)
        after = states.load("healthy")
        if after.started_at != before.started_at:
            left.append(before.remaining(after.started_at))
        world.now += 30
    assert states.load("hole-1").remaining(world.now) < -1000
    assert len(left) > 5
    assert min(left) > 250


def test_asked_for_by_name_is_pushed_though_not_due(states: StateDir) -> None:
    world = World(now=NOW + 10)
    states.save("sales", FRESH, NOW)
    assert told(made(states, world, only_due=False).run(targets("sales"))) == [("sales", "asked for")]
    assert states.load("sales").started_at == NOW + 10


def test_a_tick_file_makes_due_and_is_remembered(states: StateDir, tmp_path: Path) -> None:
    world = World(now=NOW + 60, version=5)
    states.save("sales", FRESH, NOW)
    (tmp_path / "prod").write_text("5\n")
    os.utime(tmp_path / "prod", (NOW + 50, NOW + 50))
    assert told(made(states, world).run(targets("sales"))) == [("sales", "not due")]
    assert told(made(states, world, ticks=tmp_path).run(targets("sales"))) == [("sales", "the key was changed")]
    assert (states.load("sales").tried_version, states.load("sales").record_version) == (5, 5)
    assert told(made(states, world, ticks=tmp_path).run(targets("sales"))) == [("sales", "not due")]


def test_a_role_has_no_tick_file(states: StateDir, tmp_path: Path) -> None:
    """Nor does one of its name, of a key, count for it."""
    target = Target("sales", None, 5001, role="prod")
    world = World()
    (tmp_path / "prod").write_text("5\n")
    (tmp_path / "None").write_text("6\n")
    for reason in ("never pushed", "not due", "not due"):
        assert told(made(states, world, ticks=tmp_path).run([target])) == [("sales", reason)]
    world.now += 640
    assert told(made(states, world, ticks=tmp_path).run([target])) == [("sales", "half its life is over")]
    assert (states.load("sales").tried_version, states.load("sales").record_version) == (0, 0)


def test_a_locked_target_is_left_alone_and_the_others_are_not(states: StateDir) -> None:
    world = World()
    with states.lock("a"):
        results = made(states, world).run(targets("a", "b"))
    assert told(results) == [("a", "busy: another push holds it"), ("b", "never pushed")]
    assert isinstance(results[0].error, BusyError)
    assert [name for _, name, _, _ in world.pushed] == ["b"]
    assert states.load("a") == TargetState()
    assert told(made(states, world).run(targets("a"))) == [("a", "never pushed")]


def test_a_person_waits_for_a_target_that_is_held_and_not_longer_than_patience(states: StateDir) -> None:
    world = World()
    held = threading.Event()

    def hold() -> None:
        with states.lock("a"):
            held.set()
            time.sleep(0.4)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    patient = Pass(states, None, only_due=False, dry=False, clock=world.clock, ports=world.ports, patience=10)
    assert told(patient.run(targets("a"))) == [("a", "never pushed")]
    thread.join()
    patient.patience = 0.2
    with states.lock("a"):
        assert told(patient.run(targets("a"))) == [("a", "busy: another push holds it")]


@pytest.mark.parametrize("only_due", [True, False])
def test_what_another_process_has_just_done_is_not_done_again(states: StateDir, *, only_due: bool) -> None:
    """It gets the lock between our first look and ours, does the work, and is gone."""

    class Overtaken(StateDir):
        def lock(self, target: str) -> Any:
            self.save(target, FRESH, NOW)
            return super().lock(target)

    world = World(now=NOW + 1)
    ports = Opened(world)
    results = made(Overtaken(states.path), world, ports, only_due=only_due).run(targets("sales"))
    if only_due:
        assert told(results) == [("sales", "not due")]
        assert (ports.times, world.minted) == (0, 0)
    else:
        assert told(results) == [("sales", "asked for")]


def test_the_ports_are_opened_once_and_only_when_something_is_due(states: StateDir) -> None:
    world = World()
    ports = Opened(world)
    made(states, world, ports).run(targets("a", "b", "c"))
    assert (ports.times, world.minted) == (1, 3)
    made(states, world, ports).run(targets("a", "b", "c"))
    assert ports.times == 1


def test_ports_that_do_not_open_are_tried_once_and_every_target_is_told(states: StateDir) -> None:
    world = World()
    ports = Opened(world, ConfigError("no Vault token", hint="log in"))
    results = made(states, world, ports).run(targets("a", "b", "c"))
    assert ports.times == 1
    assert {str(result.error) for result in results} == {"no Vault token"}
    assert all(result.recorded for result in results)
    assert {states.load(name).detail for name in "abc"} == {"no Vault token (hint: log in)"}
    assert {states.load(name).failures for name in "abc"} == {1}


def test_an_attempt_without_ports_is_remembered_as_one(states: StateDir, tmp_path: Path) -> None:
    """Else a changed key would be tried at every tick, whatever the backoff says."""
    world = World(now=NOW + 60)
    states.save("sales", FRESH, NOW)
    (tmp_path / "prod").write_text("5\n")
    os.utime(tmp_path / "prod", (NOW + 50, NOW + 50))
    ports = Opened(world, ConfigError("no Vault token"))
    made(states, world, ports, ticks=tmp_path).run(targets("sales"))
    after = states.load("sales")
    assert (after.tried_at, after.tried_version, after.settings) == (NOW + 60, 5, FRESH.settings)
    assert (after.failures, after.started_at, after.record_version) == (1, NOW, 4)
    world.now += 1
    assert told(made(states, world, ports, ticks=tmp_path).run(targets("sales"))) == [("sales", "not due")]
    assert ports.times == 1


def test_a_bug_in_opening_is_recorded_for_each_target(states: StateDir) -> None:
    class Broken(Opened):
        def __call__(self) -> Ports:
            self.times += 1
            raise ZeroDivisionError(SECRET)

    ports = Broken(World())
    results = made(states, World(), ports).run(targets("a", "b"))
    assert ports.times == 1
    assert [(r.recorded, r.error.exit_code if r.error else 0) for r in results] == [(True, 1)] * 2
    assert all("ZeroDivisionError" in states.load(name).detail for name in "ab")


def test_a_bug_in_one_target_costs_the_others_nothing_and_tells_no_text(states: StateDir) -> None:
    def bug(target: Target) -> VaultAscError | None:
        if target.name == "a":
            raise ZeroDivisionError(SECRET)
        return None

    world = World(vault_error=bug)
    results = made(states, world).run(targets("a", "b"))
    assert [name for _, name, _, _ in world.pushed] == ["b"]
    assert results[0].error is not None
    assert (results[0].recorded, results[0].error.exit_code) == (True, 1)
    state = states.load("a")
    assert (state.outcome, state.failures, state.tried_at) == (Outcome.NOT_WRITTEN, 1, NOW)
    assert "ZeroDivisionError" in state.detail
    assert SECRET not in "".join([repr(results), *(content.decode() for content, _ in files(states.path).values())])
    assert told(made(states, world).run(targets("a", "b"))) == [("b", "not due"), ("a", "not due")]
    with states.lock("a"):
        pass


def test_a_bug_outside_of_the_attempt_ends_no_pass_either(states: StateDir) -> None:
    class Broken(StateDir):
        def lock(self, target: str) -> Any:
            if target == "a":
                raise ZeroDivisionError(SECRET)
            return super().lock(target)

    world = World()
    results = made(Broken(states.path), world).run(targets("a", "b"))
    assert told(results) == [("a", "no attempt was possible"), ("b", "never pushed")]
    assert results[0].error is not None
    assert (results[0].recorded, results[0].error.exit_code) == (False, 1)
    assert SECRET not in repr(results)


@pytest.mark.parametrize("under_agent", [True, False])
def test_a_bug_ends_in_exit_code_1_unless_it_is_recorded_for_the_agent(
    states: StateDir, capsys: pytest.CaptureFixture[str], *, under_agent: bool
) -> None:
    def bug(target: Target) -> VaultAscError | None:
        if target.name == "a":
            raise ZeroDivisionError(SECRET)
        return None

    results = made(states, World(vault_error=bug)).run(targets("a", "b"))
    assert _told(results, under_agent=under_agent) == (0 if under_agent else 1)
    said = capsys.readouterr()
    assert "ZeroDivisionError" in said.err
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_wall_clock_neither_ends_a_pass_nor_prolongs_it(states: StateDir, jump: float) -> None:
    world, steady = World(took=0), [100.0]

    def publish_jumps(_: Target) -> VaultAscError | None:
        world.now += jump
        steady[0] += 20
        return None

    world.nexla_error = publish_jumps
    clocked = made(states, world)
    clocked.elapsed = lambda: steady[0]
    results = clocked.run(targets("a", "b", "c", "d", "e"))
    assert [result.reason == "not tried" for result in results] == [False, False, False, True, True]


@pytest.mark.parametrize(("took", "done"), [(2.0, 23), (10.0, 5), (44.9, 2), (45.1, 1), (500.0, 1)])
def test_no_attempt_begins_without_time_for_it(states: StateDir, took: float, done: int) -> None:
    world = World(took=took)
    results = made(states, world).run(targets(*(f"t{n:02}" for n in range(30))))
    assert len(results) == 30
    assert len(world.pushed) == done
    assert [result.reason for result in results[done:]] == ["not tried"] * (30 - done)
    assert [states.load(r.target.name).outcome for r in results[:done]] == [Outcome.LIVE] * done
    # an attempt that began in time may end late, the next one may not begin
    assert world.pushed[-1][0] - took <= NOW + DEADLINE - 5


@pytest.mark.parametrize("under_agent", [True, False])
def test_what_found_no_time_is_one_line(
    states: StateDir, capsys: pytest.CaptureFixture[str], *, under_agent: bool
) -> None:
    for nexla_error, hint in (
        (lambda _: NexlaError("nexla is down", retryable=True), "see first why 2 failed, which took the time; "),
        (None, "; if there are too many for one pass each time, vault-asc run does many at a time\n"),
    ):
        world = World(took=44.0)
        world.nexla_error = nexla_error or world.nexla_error
        results = made(states, world, only_due=False).run(targets("a", "b", "c", "d"))
        assert [result.reason == "not tried" for result in results] == [False, False, True, True]
        assert (_told(results, under_agent=under_agent) == 0) is under_agent
        said = capsys.readouterr().err
        assert "error: 2 targets were not tried: the 50 s of this pass were over; their state is unchanged\n" in said
        assert hint in said
        assert (said.count("not tried"), "push again" in said) == (1, not under_agent)


def test_what_found_no_time_is_first_next_time(states: StateDir) -> None:
    world = World(took=20.0)
    names = ["a", "b", "c", "d", "e"]
    for _ in range(3):
        made(states, world).run(targets(*names))
    assert sorted({name for _, name, _, _ in world.pushed}) == names
    assert len(world.pushed) == 5


def test_a_dry_run_tells_and_touches_nothing(states: StateDir, tmp_path: Path) -> None:
    world = World(now=NOW + 600)
    ports = Opened(world)
    assert told(made(states, world, ports, dry=True).run(targets("new"))) == [("new", "due: never pushed")]
    assert list(tmp_path.iterdir()) == []
    states.save("old", FRESH, NOW)
    states.save("fresh", replace(FRESH, started_at=NOW + 590), NOW)
    before = files(tmp_path)
    with states.lock("old"):
        before |= files(tmp_path)
        results = made(states, world, ports, dry=True).run(targets("new", "old", "fresh"))
    assert sorted(told(results)) == [
        ("fresh", "not due"),
        ("new", "due: never pushed"),
        ("old", "due: half its life is over"),
    ]
    assert told(made(states, world, ports, only_due=False, dry=True).run(targets("fresh"))) == [
        ("fresh", "due: asked for")
    ]
    assert all(result.state is None and result.error is None for result in results)
    assert (ports.times, world.minted) == (0, 0)
    assert files(tmp_path) == before


def test_a_state_that_cannot_be_saved_is_told_with_the_outcome(states: StateDir) -> None:
    class Full(StateDir):
        def save(self, target: str, state: TargetState, now: float) -> None:
            if target == "a":
                # the real thing: the directory becomes a file under our hands
                file = self.path / "targets" / "a.json"
                file.unlink(missing_ok=True)
                file.mkdir()
            super().save(target, state, now)

    world = World()
    first, second = made(Full(states.path), world).run(targets("a", "b"))
    assert first.state is not None
    assert first.state.outcome is Outcome.LIVE
    assert isinstance(first.error, ConfigError)
    assert "a.json" in first.error.message
    assert (first.reason, second.reason, second.error) == ("never pushed", "never pushed", None)
    assert len(world.pushed) == 2


def test_a_state_of_a_newer_release_is_told_left_alone_and_no_reason_to_stop(states: StateDir) -> None:
    states.save("b", FRESH, NOW)
    newer = states.path / "targets" / "a.json"
    newer.write_text('{"format": 2}')
    world = World(now=NOW + 600)
    results = made(states, world).run(targets("a", "b"))
    assert dict(told(results)) == {"a": "no attempt was possible", "b": "half its life is over"}
    (error,) = [result.error for result in results if result.error]
    assert "format 2" in error.message
    assert newer.read_text() == '{"format": 2}'
    assert [name for _, name, _, _ in world.pushed] == ["b"]


def test_failures_are_recorded_not_raised(states: StateDir) -> None:
    world = World(nexla_error=lambda _: NexlaError("nexla is down", status=503, retryable=True))
    (result,) = made(states, world).run(targets("a"))
    assert result.error is None
    assert result.state == states.load("a")
    assert (states.load("a").outcome, states.load("a").failures) == (Outcome.NOT_WRITTEN, 1)
    assert told(made(states, world).run(targets("a"))) == [("a", "not due")]
    world.now += 5
    assert told(made(states, world).run(targets("a"))) == [("a", "attempt 2")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_root_does_not_push_into_the_state_of_another_user(states: StateDir) -> None:
    """What it wrote there, the Agent's user could not read."""
    states.save("a", FRESH, NOW)
    os.chown(states.path / "targets", 65534, -1)
    before, world = files(states.path), World(now=NOW + 600)
    (result,) = made(states, world).run(targets("a"))
    assert isinstance(result.error, ConfigError)
    assert "belongs to user 65534" in result.error.message
    assert "as that user" in str(result.error.hint)
    assert (world.pushed, files(states.path)) == ([], before)


def test_two_processes_push_once(states: StateDir, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.test_push import *\n"
        "class Slow(World):\n"
        "    def publish(self, target, token, plan, began):\n"
        "        time.sleep(0.3)\n"
        "        (Path(sys.argv[2]) / str(os.getpid())).touch()\n"
        "        return super().publish(target, token, plan, began)\n"
        "world = Slow()\n"
        "print('ready', flush=True); input()\n"
        "print(made(StateDir(Path(sys.argv[1])), world).run(targets('sales'))[0].reason)\n"
    )
    done = tmp_path / "done"
    done.mkdir()
    command = [sys.executable, "-c", script, str(states.path), str(done)]
    processes = [
        subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    reasons = sorted(process.communicate(timeout=30)[0].strip() for process in processes)
    assert len(list(done.iterdir())) == 1
    assert reasons[1] == "never pushed"
    assert reasons[0] in {"busy: another push holds it", "not due"}
