"""What systemd is told, and `vault-asc run` as it is seen by others: a real process, a real Vault."""

import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.worlds import import_key, until
from tests.service.looked_at import samples
from tests.service.simulated import Simulation
from vault_asc.cli.running import run
from vault_asc.lab.world import SERVICE_KEY, World
from vault_asc.service.events import Event
from vault_asc.service.listening.heartbeat import Heartbeat
from vault_asc.service.listening.notify import Notifier
from vault_asc.service.listening.outside import Outside
from vault_asc.service.log import FLUSH
from vault_asc.service.loop import GRACE
from vault_asc.vault.logins import LAST_CALL

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "docs" / "systemd" / "vault-asc-run.service"
SHARD = UNIT.with_name("shard.conf")
ANALYZE = shutil.which("systemd-analyze")


class Systemd:
    """Takes datagrams, as systemd does."""

    def __init__(self, address: str) -> None:
        self.environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def told(self) -> list[str]:
        """All that was told so far, line by line."""
        while True:
            try:
                self.heard += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.heard


@contextmanager
def systemd(address: str) -> Iterator[Systemd]:
    found = Systemd(address)
    with found.socket:
        yield found


@pytest.mark.parametrize("abstract", [False, True])
def test_datagrams_reach_paths_and_abstract_names(tmp_path: Path, *, abstract: bool) -> None:
    address = f"@vault-asc-{os.urandom(8).hex()}" if abstract else str(tmp_path / "notify")
    with systemd(address) as listens:
        notifier = Notifier.of(listens.environ)
        assert (notifier.wanted, notifier.watchdog) == (True, 3.0)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        notifier.ready()
        first, moment, last = listens.told()
        assert (first, last) == ("RELOADING=1", "READY=1")
        assert (
            before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        )


def test_a_systemd_that_is_not_there_or_does_not_listen_is_no_error(tmp_path: Path) -> None:
    for address in ("", "relative", "@", "vsock:2:1234", str(tmp_path / "missing"), "/" + "x" * 200):
        Notifier(address).ready()
    with systemd(str(tmp_path / "full")) as listens:
        begin = time.monotonic()
        for _ in range(5000):
            Notifier(str(tmp_path / "full")).ready()
        assert 0 < len(listens.told()) < 5000
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("environ", "span"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_of_another_process_is_not_ours(environ: dict[str, str], span: float) -> None:
    assert Notifier.of(environ).watchdog == span


def test_a_loop_that_hangs_gives_no_sign_of_life(tmp_path: Path) -> None:
    with systemd(str(tmp_path / "notify")) as listens:
        notifier = Notifier.of(listens.environ)
        sim = Simulation(2)
        seen = Outside(lambda _: None, notifier)
        sim.tell = seen.tell  # type: ignore[method-assign]
        service = sim.service()
        heartbeat = Heartbeat(notifier, seen.observer, sim.time.monotonic)
        heartbeat.beat()
        assert listens.told() == ["WATCHDOG=1"], "while it starts"
        seen.watch(service)
        seen.tell(Event("started", logging.INFO))
        sim.run(20, service)
        heartbeat.beat()
        assert listens.told()[1:3] == ["READY=1", "WATCHDOG=1"]
        assert re.fullmatch(r"STATUS=2 targets, 0 with .*, 0 failing; least left 17m \d+s", listens.told()[3])
        sim.time.elapsed += 60
        heartbeat.beat()
        assert listens.told()[4:] == ["STATUS=the loop has not gone round for 65 s"]
        assert listens.told().count("WATCHDOG=1") == 2
        service.step()
        heartbeat.beat()
        assert listens.told().count("WATCHDOG=1") == 3
        service.stop()
        heartbeat.beat()
        heartbeat.beat()
        assert listens.told().count("STOPPING=1") == 1


def test_signs_of_life_come_three_times_in_the_watchdogs_time(tmp_path: Path) -> None:
    with systemd(str(tmp_path / "notify")) as listens:
        sim = Simulation(1)
        seen = Outside(lambda _: None, Notifier.of(listens.environ))
        service = sim.service()
        seen.watch(service)
        heartbeat = Heartbeat(Notifier.of(listens.environ), seen.observer, sim.time.monotonic)
        for _ in range(60):
            service.looked_at = service.clock()
            sim.time.elapsed += 0.5
            heartbeat.beat()
            listens.told()
        assert 28 <= listens.told().count("WATCHDOG=1") <= 31


# --- a real one ----------------------------------------------------------------------------------------------------


def asked(path: str, socket_file: Path) -> tuple[int, str]:
    """Ask a listener on a unix socket."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(socket_file))
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_run_tells_systemd_and_all_who_ask(tmp_path: Path) -> None:
    file = tmp_path / "run.sock"
    with (
        World(targets={"sales": 6000, "other": 6001}, usable_life=60) as world,
        systemd(str(tmp_path / "n")) as listens,
    ):
        pems = import_key(world)
        config = world.config_file.read_text()
        world.config_file.write_text(config + f'[run]\nlisten = "unix://{file}"\n')
        with world.start("run", "--log-format", "json", environ=listens.environ) as process:
            try:
                until(lambda: "READY=1" in listens.told() or process.poll() is not None, "a start")
                assert asked("/readyz", file) == (200, "ok\n")
                until(lambda: samples(asked("/metrics", file)[1])["vault_asc_attempts_total"]["live",] == 2, "attempts")
                found = json.loads(asked("/status.json", file)[1])
                assert {target["name"]: target["outcome"] for target in found["targets"]} == {
                    "sales": "live",
                    "other": "live",
                }
                shown = "".join(asked(path, file)[1] for path in ("/", "/metrics", "/status.json", "/healthz"))
                world.config_file.write_text(config + "[run]\nnonsense = 1\n")
                process.send_signal(signal.SIGHUP)
                until(lambda: listens.told().count("READY=1") == 2, "the end of a reload")
                assert listens.told().index("RELOADING=1") > listens.told().index("READY=1")
                assert asked("/readyz", file)[0] == 503
                until(lambda: listens.told().count("WATCHDOG=1") >= 2, "signs of life")
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 0, err
        assert "STOPPING=1" in listens.told()
        assert any(line.startswith("STATUS=2 targets, ") for line in listens.told())
        assert not file.exists()
        for secret in (SERVICE_KEY, "eyJ", world.server.root_token.reveal(), *pems):
            assert secret not in shown + err + "".join(listens.told())


def test_a_listener_that_cannot_be_is_an_error_before_anything_is_begun(tmp_path: Path) -> None:
    with World(targets={"sales": 6000}) as world, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = world.run("run", "--listen", f"127.0.0.1:{port}")
        assert done.returncode == 2
        assert f'nothing can listen on "127.0.0.1:{port}": address already in use' in done.stderr
        done = world.run("run", "--listen", "0.0.0.0:9411")
        assert done.returncode == 2
        assert "neither a loopback address" in done.stderr
        done = world.run("run", "--once", "--listen", "unix:///nowhere/run.sock")
        assert done.returncode == 2
        assert '--once makes one pass and ends, so nothing would answer on "unix:///nowhere/run.sock"' in done.stderr


# --- the unit ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze: apt-get install systemd")
def test_the_units_are_understood_and_hardened(tmp_path: Path) -> None:
    single, shard = tmp_path / UNIT.name, tmp_path / "vault-asc-run@2.service"
    for unit in (single, tmp_path / "vault-asc-run@.service"):
        unit.write_text(startable(UNIT))
    drop_ins = tmp_path / "vault-asc-run@.service.d"
    drop_ins.mkdir()
    (drop_ins / SHARD.name).write_text(startable(SHARD))
    verified = analyzed("verify", "--man=no", str(single), str(shard))
    told = [line for line in verified.stderr.splitlines() if "vault-asc-run" in line or SHARD.name in line]
    assert (verified.returncode, told) == (0, [])
    secure = analyzed("security", "--offline=yes", "--threshold=15", "--no-pager", str(single))
    assert secure.returncode == 0, secure.stdout[-300:] + secure.stderr


def startable(file: Path) -> str:
    """A unit whose program exists here; only words that the program takes may be behind it."""
    text = file.read_text()
    words = re.findall(r"(?m)^ExecStart=/usr/local/bin/vault-asc run (.+)$", text)[0].replace("%i", "2").split()
    run.make_context("run", words)
    return re.sub(r"(?m)^(ExecStart=)/\S+", r"\1/bin/true", text)


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, timeout=60, check=False)


def test_the_unit_is_what_the_pages_say() -> None:
    settings = dict(re.findall(r"(?m)^(\w+)=(.*)$", UNIT.read_text()))
    program = settings["ExecStart"].split()[0]
    assert f"ln -s /opt/vault-asc/bin/vault-asc {Path(program).parent}/" in (ROOT / "README.md").read_text()
    page = (ROOT / "docs" / "service.md").read_text()
    assert re.search(rf"useradd --system .* {settings['User']}\n", page)
    assert f'dir = "/var/lib/{settings["StateDirectory"]}"' in page


def test_the_unit_gives_the_service_the_time_that_it_needs() -> None:
    text = UNIT.read_text()
    assert "Type=notify\n" in text
    assert int(re.findall(r"WatchdogSec=(\d+)", text)[0]) >= 45, "a loop counts as hanging after 30 s"
    stop = GRACE + LAST_CALL + FLUSH
    assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > stop + 3


def test_the_unit_is_started_again_for_ever_whatever_ended_it() -> None:
    settings = dict(re.findall(r"(?m)^(\w+)=(.*)$", UNIT.read_text()))
    assert settings["Restart"] == "on-failure"
    assert settings["StartLimitIntervalSec"] == "0"
    assert int(settings["RestartSec"]) >= 10, "a server that is away is not asked all the time"
    assert "RestartPreventExitStatus" not in settings
