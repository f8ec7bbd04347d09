"""Where the listener may be: loopback and unix sockets, and what is there already."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from tests.service.looked_at import ANY_PORT, looked_at, socket_path
from tests.service.simulated import Simulation
from tests.test_config import read, refused
from vault_asc.errors import ConfigError
from vault_asc.listen import Listen, parse_listen
from vault_asc.service.listening.sockets import listening


@pytest.mark.parametrize("text", ["127.0.0.1:9411", "127.8.0.1:1", "[::1]:9411", "unix:///run/vault-asc/run.sock"])
def test_loopback_and_unix_sockets_are_listened_on(text: str) -> None:
    assert str(parse_listen(text, "x")) == text
    listen = read(f'[run]\nlisten = "{text}"').run.listen
    assert listen is not None
    assert str(listen) == text


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0:9411", ":9411", "9411", "10.0.0.1:9411", "[::]:9411", "localhost:9411", "example.com:80", "127.0.0.1"),
        *("127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:9411/x", "127.0.0.999:1", "[::1%lo]:1", "http://127.0.0.1:9411"),
        *("unix://run.sock", "unix://", "unix:///", "unix:///a\\nb", "unix:///" + "x" * 120, "[127.0.0.1.]:1", "\u066127.0.0.1:1"),
    ],
)  # fmt: skip
def test_nothing_else_is(text: str) -> None:
    assert "run.listen" in refused(f'[run]\nlisten = "{text}"')


def test_by_default_nothing_listens() -> None:
    assert read("[run]\n").run.listen is None


def test_a_port_in_use_is_an_error_of_the_configuration() -> None:
    with listening(ANY_PORT) as opened:
        listen = Listen(host="127.0.0.1", port=opened.getsockname()[1])
        with pytest.raises(ConfigError, match="nothing was begun"), listening(listen):
            pass


def test_a_unix_socket_is_for_our_user_alone_and_goes_with_the_listener(tmp_path: Path) -> None:
    listen = socket_path(tmp_path)
    assert listen.path is not None
    before = os.umask(0)
    try:
        with looked_at(Simulation(1), listen=listen):
            assert stat.S_IMODE(listen.path.stat().st_mode) == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(listen.path))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: whatever\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    finally:
        os.umask(before)
    assert not listen.path.exists()


def test_a_socket_that_was_left_behind_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    listen = socket_path(tmp_path)
    assert listen.path is not None
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(listen.path))
    with listening(listen):
        with pytest.raises(ConfigError, match="another process listens"), listening(listen):
            pass
        assert listen.path.exists(), "that of the other one stays"
        listen.path.unlink()
        listen.path.write_text("somebody else's by now")
    assert listen.path.read_text() == "somebody else's by now"
    with pytest.raises(ConfigError, match="is no socket"), listening(listen):
        pass
    with pytest.raises(ConfigError, match="no such file"), listening(socket_path(tmp_path / "missing")):
        pass


@pytest.mark.parametrize("waits", [TimeoutError("timed out"), BlockingIOError(11, "x")])
def test_a_socket_whose_listener_is_busy_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: OSError
) -> None:
    def connect(*_: object) -> None:
        raise waits

    listen = socket_path(tmp_path)
    with listening(listen):
        monkeypatch.setattr(socket.socket, "connect", connect)
        with pytest.raises(ConfigError, match="another process listens"), listening(listen):
            pass


def test_an_error_without_a_number_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*_: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ConfigError, match="TimeoutError; nothing was begun"), listening(ANY_PORT):
        pass


def test_without_the_library_for_metrics_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.setitem(sys.modules, name, None)
    for part in ("metrics", "answers"):
        monkeypatch.delitem(sys.modules, f"vault_asc.service.listening.{part}")
        monkeypatch.delattr(f"vault_asc.service.listening.{part}")
    with pytest.raises(ConfigError, match="prometheus_client is not installed") as caught, looked_at(Simulation(1)):
        pass
    assert caught.value.hint is not None
    assert "requirements/run.txt" in caught.value.hint
