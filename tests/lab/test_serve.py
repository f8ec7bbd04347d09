import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.worlds import until
from tests.lab.wire import ask
from vault_asc.errors import ConfigError
from vault_asc.key.identity import identity
from vault_asc.key.private_key import parse_private_key
from vault_asc.lab import serve, tryout
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


# -- with targets --------------------------------------------------------------------------------------------------


@contextmanager
def tried(directory: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-m", "vault_asc.lab", str(directory), *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            wait_for(directory / tryout.PID_FILE)
            yield program
        finally:
            program.terminate()


def typed(directory: Path, *words: str) -> str:
    """What a newcomer gets who types this, without a Vault token and without settings of their own."""
    argv = [sys.executable, "-m", "vault_asc", *words, "--config", str(directory / "vault-asc.toml")]
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def broken_and_mended(program: "subprocess.Popen[str]", number: signal.Signals, url: str, well: int) -> None:
    """The signal makes what is at the address answer 503; the same one once more brings its own answer back."""
    method = "GET" if url.endswith("health") else "POST"
    for status in (503, well):
        program.send_signal(number)
        until(lambda status=status: ask(method, url).status == status, f"{status} of {url}")  # type: ignore[misc]


def test_service_is_tried_without_accounts(tmp_path: Path) -> None:
    directory = tmp_path / "try"
    with tried(directory, "--targets", "10", "--accounts", "2", "--usable-life", "60") as program:
        config = tomllib.loads((directory / "vault-asc.toml").read_text(encoding="utf-8"))
        assert [target.get("nexla", "default") for target in config["targets"]] == ["default", "account-2"] * 5
        typed(directory, "run", "--once")
        targets = json.loads(typed(directory, "status", "--json"))["targets"]
        assert [(target["target"], target["outcome"]) for target in targets] == [
            (f"t{number:02}", "live") for number in range(1, 11)
        ]
        assert {stat.S_IMODE(file.stat().st_mode) for file in directory.glob("*.jwt")} == {0o600}
        nexla, vault = config["nexla"]["default"]["api_url"], config["vault"]["address"]
        broken_and_mended(program, signal.SIGUSR1, f"{nexla}/token", 400)
        broken_and_mended(program, signal.SIGUSR2, f"{vault}/v1/sys/health", 200)
        program.terminate()
        out, _ = program.communicate(timeout=10)
    assert f"vault-asc run --config {directory}/vault-asc.toml --listen {tryout.LISTEN}\n" in out
    assert out.endswith("Nexla answers 503 from now on\nNexla is well again\nVault is sealed\nVault is unsealed\n")
    assert program.returncode == 0
    assert not directory.exists()


def test_directory_of_somebody_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    argv = [sys.executable, "-m", "vault_asc.lab", str(tmp_path), "--targets", "3"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not empty" in done.stderr
    assert (tmp_path / "thesis").exists()
