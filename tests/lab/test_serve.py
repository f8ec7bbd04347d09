import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.wire import ask
from vault_asc.errors import ConfigError
from vault_asc.key.identity import identity
from vault_asc.key.private_key import parse_private_key
from vault_asc.lab import serve
from vault_asc.tokens import TokenRequest, mint

FILES = (serve.KEY_FILE, serve.SERVICE_KEY_FILE, serve.APPLE_FILE, serve.READY_FILE)


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline, f"{file.name} never came"
        time.sleep(0.02)
    return file.read_text(encoding="utf-8")


@contextmanager
def served(directory: Path) -> Iterator[list[str]]:
    stop, lines = threading.Event(), list[str]()
    thread = threading.Thread(target=serve.serve, args=(directory, stop, lines.append))
    thread.start()
    try:
        wait_for(directory / serve.READY_FILE)
        yield lines
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_files_are_private_and_the_address_comes_last(tmp_path: Path) -> None:
    with served(tmp_path):
        assert {file.name for file in tmp_path.iterdir()} == set(FILES)
        assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in FILES} == {0o600}
        times = [(tmp_path / name).stat().st_mtime_ns for name in FILES]
        assert times[-1] == max(times)


def test_service_key_logs_in_and_the_key_mints_what_apple_takes(tmp_path: Path) -> None:
    with served(tmp_path) as lines:
        nexla = (tmp_path / serve.READY_FILE).read_text(encoding="utf-8")
        service_key = (tmp_path / serve.SERVICE_KEY_FILE).read_text(encoding="utf-8")
        assert ask("POST", f"{nexla}/token", authorization=f"Basic {service_key}").status == 200
        key = parse_private_key((tmp_path / serve.KEY_FILE).read_bytes())
        who = identity(key_id=serve.KEY_ID, issuer_id=serve.ISSUER_ID, individual=False)
        token = mint(who, TokenRequest(), key, time.time()).value.reveal()
        deadline = time.monotonic() + 5
        while not any("Apple at " in line for line in lines):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        apple = lines_with("Apple at ", lines)[0].partition("Apple at ")[2].partition(";")[0]
        assert ask("GET", f"{apple}/v1/apps", authorization=f"Bearer {token}").status == 200
        assert lines_with("GET /v1/apps by LABKEY0001: 200 (accepted)", lines)
        assert not [line for line in lines if token in line or service_key in line]


def lines_with(part: str, lines: list[str]) -> list[str]:
    return [line for line in lines if part in line]


def test_missing_directory_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        serve.serve(tmp_path / "none", threading.Event(), lambda _line: None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_program_ends_in_order_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "vault_asc.lab", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            url = wait_for(tmp_path / serve.READY_FILE)
            program.send_signal(number)
            out, err = program.communicate(timeout=10)
        finally:
            program.kill()
    assert (program.returncode, err) == (0, "")
    assert url in out


def test_program_says_what_is_wrong(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "vault_asc.lab", str(tmp_path / "none")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: cannot write "')
    assert "\nhint: create the directory first" in done.stderr
