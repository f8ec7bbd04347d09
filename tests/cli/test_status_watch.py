"""`status --watch` as people and pipes see it."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_startup import CONFIG
from tests.keys import KEY_ID
from vault_asc.cli import run
from vault_asc.cli.status import snapshot
from vault_asc.cli.watching import fitting
from vault_asc.config import Config, load
from vault_asc.outcome import Outcome
from vault_asc.rotation import TargetState, attempted
from vault_asc.service.shard import Shard
from vault_asc.state import StateDir

PATIENCE = 20.0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "vault-asc.toml"
    file.write_text(CONFIG.format(state=tmp_path / "state"))
    return load(file, {})


def save(config: Config, name: str, left: float, **more: object) -> None:
    now, target = time.time(), config.target(name)
    state = replace(
        attempted(target, TargetState(), None, now - 5),
        key_id=KEY_ID,
        started_at=now - 5,
        expires_at=int(now + left),
        usable_life=1080,
        outcome=Outcome.LIVE,
        **more,  # type: ignore[arg-type]  # fields of any type, by name
    )
    assert config.path is not None
    StateDir(config.path.parent / "state").save(name, state, now)


@contextmanager
def watching(config: Config, *words: str, out: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "vault_asc", "status", "--watch", "--config", str(config.path), *words]
    with subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def read(fd: int, until: str, found: str = "") -> str:
    """What comes until a pattern is in it."""
    end = time.monotonic() + PATIENCE
    while not re.search(until, found):
        ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{until} did not come: {found}"
        found += os.read(fd, 65536).decode()
    return found


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err.decode()


def test_a_pipe_gets_a_line_when_something_changes_and_no_escapes(config: Config) -> None:
    save(config, "sales", 1000)
    with watching(config) as process:
        assert process.stdout is not None
        fd = process.stdout.fileno()
        text = read(fd, "other: never pushed.*\n")
        assert re.search(r"^\S+Z sales: live left=16m[34]\ds next=", text)
        save(config, "sales", 200, failures=2, detail="\x1b[2J said")
        text = read(fd, "said.*\n")
        assert re.search(r'^\S+Z sales: live left=3m\d+s next=\S+ failures=2 ALARM detail="\\u001b\[2J said"\n$', text)
        code, err = ended(process)
    assert (code, err) == (130, "")


@pytest.mark.parametrize(
    ("height", "targets", "left_out", "ended_by"),
    [
        (8, 4, "and 96 targets more, for", True),
        (7, 3, "and 97 targets more, for", True),
        (4, 1, "and 99 targets", False),
    ],
)
def test_what_has_no_room_is_counted_in_targets(
    config: Config, height: int, targets: int, left_out: str, *, ended_by: bool
) -> None:
    many = config._replace(targets=tuple(config.targets[0]._replace(name=f"t{n:03}") for n in range(100)))
    assert config.path is not None
    shown = snapshot(many, StateDir(config.path.parent / "state"), time.time(), Shard(0, 1))
    lines = fitting(shown, height)
    assert len(lines) == height
    assert sum(line.startswith("t0") for line in lines) == targets
    assert any(line.startswith(left_out) for line in lines)
    assert lines[-1].startswith("vault-asc run is not running here") is ended_by


def test_remarks_without_room_are_counted_too(config: Config) -> None:
    for name in ("sales", "other"):
        save(config, name, 1000, detail="a remark")
    assert config.path is not None
    shown = snapshot(config, StateDir(config.path.parent / "state"), time.time(), Shard(0, 1))
    assert sorted(fitting(shown, 7)[1:]) == sorted(shown.lines())
    assert fitting(shown, 6)[4:] == ["and 2 lines more, for which there is no room", *shown.ends()]
    assert fitting(shown, 5)[3:] == ["and 1 target more, for which there is no room", *shown.ends()]


def test_json_is_a_document_a_second_on_one_line(config: Config) -> None:
    with watching(config, "--json") as process:
        assert process.stdout is not None
        text = read(process.stdout.fileno(), r"\n.*\n")
        assert ended(process)[0] == 130
    found = [json.loads(line) for line in text.splitlines()]
    assert [target["target"] for target in found[0]["targets"]] == ["sales", "other"]
    assert found[0]["time"] <= found[1]["time"]


def test_a_terminal_is_redrawn_with_what_fits(config: Config) -> None:
    save(config, "sales", 1000)
    save(config, "other", 300, detail="y" * 500)
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 4, 60, 0, 0))
        with watching(config, out=theirs) as process:
            text = read(ours, r"(?s)\x1b\[J.*\x1b\[J")
            assert ended(process)[0] == 130
    finally:
        os.close(ours)
        os.close(theirs)
    first = text.split("\x1b[J")[0].removeprefix("\x1b[H").replace("\x1b[K", "").splitlines()
    assert len(first) == 3
    assert [line.split()[0] for line in first[1:2]] == ["TARGET"]
    assert first[2].startswith("and 2 targets more")
    assert all(len(line) <= 60 for line in first)
    assert text.count("\x1b[H") >= 2


def test_a_shard_alone_is_looked_at(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    save(config, "sales", 1000)

    def look(*words: str) -> tuple[int, str]:
        return run(["status", "--config", str(config.path), *words]), capsys.readouterr().out

    assert look("--check")[0] == 10, "the other one was never pushed here"
    assert look("--check", "--json", "--shard", "0/3")[0] == 8
    code, out = look("--check", "--json", "--shard", "2/3")
    assert (code, [row["target"] for row in json.loads(out)["targets"]]) == (0, ["sales"])
    code, out = look("--check", "--shard", "1/3")
    assert (code, out.splitlines()[0]) == (0, "no targets are in the shard 1/3")
    assert look("--shard", "3/3")[0] == 2


def test_what_was_killed_is_not_said_to_wait_for_the_agent_alone(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    assert config.path is not None
    states = StateDir(config.path.parent / "state")
    with states.lock("sales"):
        states.begin("sales", time.time())
    assert run(["status", "--config", str(config.path)]) == 0
    assert "was killed, and then the next tick, or vault-asc run, repeats it" in capsys.readouterr().out


def test_a_check_answers_once(config: Config) -> None:
    with watching(config, "--check") as process:
        assert process.wait(PATIENCE) == 2
