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
from vault_asc.config import Config, load
from vault_asc.outcome import Outcome
from vault_asc.rotation import TargetState, attempted
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
    assert code == 130
    assert "interrupted" in err


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
    assert first[2].startswith("and 4 lines more")
    assert all(len(line) <= 60 for line in first)
    assert text.count("\x1b[H") >= 2


def test_a_check_answers_once(config: Config) -> None:
    with watching(config, "--check") as process:
        assert process.wait(PATIENCE) == 2
