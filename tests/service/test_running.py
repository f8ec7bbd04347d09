"""`vault-asc run` as people run it: a real Vault, simulators of Nexla and Apple, signals, locks."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worlds import PROBES, PUTS, import_key, state_of, until
from vault_asc.lab import world as lab_world
from vault_asc.lab.faults import slow
from vault_asc.lab.nexla.faults import refused
from vault_asc.lab.world import SERVICE_KEY, World
from vault_asc.state import StateDir

pytestmark = pytest.mark.waits

TARGETS = {f"t{number}": 6000 + number for number in range(6)}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with World(targets=TARGETS, usable_life=12) as world:
        import_key(world)
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.nexla.heal()
    shutil.rmtree(shared.dir / "state", ignore_errors=True)
    text = shared.config_file.read_text()
    yield shared
    shared.config_file.write_text(text)


class Running:
    """A service and the lines that it has told so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def events(self, name: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in list(self.lines)]
        return [event for event in events if event["event"] == name]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.reader.join(10)
        return code


@contextmanager
def running(world: World, *words: str) -> Iterator[Running]:
    with world.start("run", "--log-format", "json", *words) as process:
        service = Running(process)
        try:
            until(lambda: process.poll() is not None or service.events("started"), "a start")
            yield service
        finally:
            process.kill()
            service.reader.join(10)


def test_all_targets_are_kept_fresh_with_two_calls_each(world: World) -> None:
    with running(world) as service:
        until(lambda: len(service.events("refreshed")) >= 18, "three rounds")
        before = (world.nexla.journal.count("GET", "/data_credentials/*"), world.nexla.journal.count(*PROBES))
        puts = world.nexla.journal.count(*PUTS)
        until(lambda: world.nexla.journal.count(*PUTS) >= puts + 6, "one more")
        gets = world.nexla.journal.count("GET", "/data_credentials/*") - before[0]
        assert gets == world.nexla.journal.count(*PROBES) - before[1], "each read is a probe"
        for target in TARGETS:
            assert state_of(world, target).remaining(time.time()) > 0
        assert service.stop() == 0
        [event] = service.events("stopped")
    assert event["in_flight"] == 0
    assert not service.events("mandatory")
    text = "".join(service.lines)
    assert SERVICE_KEY not in text
    assert "eyJ" not in text


def test_a_second_one_exits_75_and_a_push_beside_it_only_waits_for_its_target(world: World) -> None:
    with running(world) as service:
        done = world.run("run")
        assert done.returncode == 75
        assert "fresh" in done.stderr
        until(lambda: len(service.events("refreshed")) >= 6, "a first round")
        world.nexla.inject(slow(1.5), method="PUT", path="/data_credentials/6000")
        until(lambda: StateDir(world.dir / "state").unended("t0"), "an attempt under way")
        done = world.run("push", "t0")
        assert (done.returncode, "t0: live" in done.stdout) == (0, True), done.stderr
        assert world.run("push", "t1").returncode == 0
        assert service.stop() == 0


def test_a_stop_lets_the_push_in_flight_end(world: World) -> None:
    world.nexla.inject(slow(2.0), method="PUT", path="/data_credentials/6003")
    with running(world) as service:
        until(lambda: StateDir(world.dir / "state").unended("t3"), "an attempt under way")
        begin = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begin < 10
    assert state_of(world, "t3").outcome == "live"
    assert not StateDir(world.dir / "state").unended("t3")


def test_a_reload_takes_what_is_good_and_tells_what_is_not(world: World) -> None:
    text = world.config_file.read_text()
    with running(world) as service:
        until(lambda: len(service.events("refreshed")) >= 6, "a first round")
        world.config_file.write_text(text + '[run]\nworkers = 4\nnonsense = "x"\n')
        assert 'unknown key "nonsense"' in _refused(service)["detail"]
        elsewhere = text.replace(str(world.dir / "state"), str(world.dir / "elsewhere"))
        for other, key in ((elsewhere, "state.dir"), (text + '[run]\nlisten = "127.0.0.1:9411"\n', "run.listen")):
            world.config_file.write_text(other)
            assert f"{key} was changed from " in _refused(service)["detail"]
        world.nexla.add_template_credential(6099, test_url=f"{world.apple.url}/v1/apps?limit=1")
        world.config_file.write_text(text + world._target("added", 6099) + "[run]\nworkers = 4\n")
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.events("reloaded"), "a reload")
        until(lambda: state_of(world, "added").outcome == "live", "the new target")
        assert service.process.poll() is None
        assert service.stop() == 0


def test_a_service_key_that_is_not_where_the_configuration_says_is_told_at_the_reload(world: World) -> None:
    text = world.config_file.read_text()
    with running(world) as service:
        until(lambda: len(service.events("refreshed")) >= 6, "a first round")
        assert not service.events("account unusable")
        world.config_file.write_text(re.sub(r'(service_key *= *\{ *mount *= *)"\w+"', r'\1"sekret"', text))
        assert world.config_file.read_text() != text
        service.process.send_signal(signal.SIGHUP)
        until(lambda: service.events("reloaded"), "a reload")
        [event] = service.events("account unusable")
        assert (event["level"], event["account"]) == ("error", "default")
        assert "sekret" in event["detail"]
        assert "service_key" in event["hint"]
        assert service.stop() == 0


def test_a_login_that_vault_refuses_is_told_and_is_seen_in_the_metrics(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("role_id", "secret_id"):
        (tmp_path / name).write_text("wrong")
    files = "".join(f'{name}_file = "{tmp_path / name}"\n' for name in ("role_id", "secret_id"))
    world.config_file.write_text(world.config_file.read_text() + f'[vault.auth]\nmethod = "approle"\n{files}')
    monkeypatch.setattr(lab_world, "_takes_token", lambda _words: False)
    with running(world, "--listen", "127.0.0.1:0") as service:
        assert "login" in service.events("login failed")[0]["detail"]
        [event] = service.events("account unusable")
        assert (event["level"], bool(event["hint"])) == ("error", True)
        address = service.events("listening")[0]["address"]
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            assert b"\nvault_asc_login_ok 0.0\n" in answer.read()
        assert service.stop() == 0


def _refused(service: Running) -> dict[str, Any]:
    """Let it read its configuration; what it says against it."""
    before = len(service.events("reload refused"))
    service.process.send_signal(signal.SIGHUP)
    until(lambda: len(service.events("reload refused")) > before, "a refusal")
    return service.events("reload refused")[-1]


def test_once_makes_one_pass_and_exits_like_push(world: World) -> None:
    world.nexla.inject(refused(422), count=100, method="PUT", path="/data_credentials/6002")
    done = world.run("run", "--once")
    assert done.returncode == 10
    assert done.stderr.count(" refreshed ") == 5
    assert re.search(r"WARNING|ERROR +failed target=t2", done.stderr)
    assert done.stderr.endswith(" done refreshed=5 failed=1 not_finished=0 not_tried=0 not_due=0\n")
    done = world.run("run", "--once")
    assert done.returncode == 0
    assert " refreshed " not in done.stderr
    assert done.stderr.endswith(" INFO    done refreshed=0 failed=0 not_finished=0 not_tried=0 not_due=6\n")


def test_a_pass_that_is_told_to_stop_says_what_it_did_not_try(world: World) -> None:
    world.config_file.write_text(world.config_file.read_text() + "[run]\nworkers = 2\n")
    world.nexla.inject(slow(1.0), count=10, method="PUT", path="/data_credentials/*")
    with running(world, "--once") as service:
        until(lambda: any(StateDir(world.dir / "state").unended(target) for target in TARGETS), "an attempt")
        assert service.stop() == 143
        [event] = service.events("stopped")
    assert (event["in_flight"], event["level"]) == (0, "error")
    done = len(service.events("refreshed"))
    assert event["not_tried"] == len(TARGETS) - done
    assert 1 <= done <= 4


def test_signals_that_come_while_it_starts_are_obeyed_and_leave_nothing_behind(world: World) -> None:
    world.nexla.inject(slow(1.5), path="/limits")
    listener = world.dir / "run.sock"
    with world.start("run", "--log-format", "json", "--listen", f"unix://{listener}") as process:
        try:
            until(listener.exists, "a listener, which comes before the questions for limits")
            process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert '"event": "stopped"' in err
    assert "refreshed" not in err
    assert not listener.exists()


def test_a_pipe_that_nobody_reads_stops_neither_the_work_nor_the_end(world: World) -> None:
    with world.start("run", "--log-format", "json") as process:
        try:
            _fill(process)
            until(lambda: all(state_of(world, target).outcome == "live" for target in TARGETS), "a first round")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def _fill(process: subprocess.Popen[str]) -> None:
    """Leave no room for a single line in what the process writes its log to."""
    end = os.open(f"/proc/{process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(end, b"x" * 4096)
    os.close(end)


def test_shards_share_the_targets(world: World) -> None:
    for part in range(2):
        done = world.run("run", "--once", "--shard", f"{part}/2")
        assert done.returncode == 0, done.stderr
    assert all(state_of(world, target).outcome == "live" for target in TARGETS)
    assert world.run("run", "--once", "--shard", "2/2").returncode == 2


def test_a_plan_that_cannot_be_met_is_refused_with_the_arithmetic(world: World) -> None:
    world.config_file.write_text(world.config_file.read_text() + "[run]\nrate = 1\nreplicas = 2\n")
    done = world.run("run")
    assert done.returncode == 2
    assert '"default": 6 > 3, ' in done.stderr
    assert "shard over 2 service keys" in done.stderr


def test_a_nexla_that_is_down_at_the_start_is_no_reason_to_stop(world: World) -> None:
    world.nexla.inject(refused(500), count=3, path="/limits")
    with running(world) as service:
        assert service.events("limits unknown")
        until(lambda: len(service.events("refreshed")) >= 6, "a first round")
        assert service.stop() == 0
