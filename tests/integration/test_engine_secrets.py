"""What of keys and tokens can be seen around the engine: in logs, in the audit log, in processes. And the same for what
a server's environment holds."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.leaks import Leak, Scanner, of_private_key, of_token
from tests.engine.host import Plugin
from tests.engine.rig import Rig
from tests.engine.test_freezing import built, children, register, unpacked_by
from tests.integration.engines import PRODUCT, Engine, engine
from vault_asc.engine.freezing.facts import Executable
from vault_asc.lab.server import BaoServer

__all__ = ["built"]  # a fixture

PLANTED: Final = "planted-password-of-the-server-4711"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A server that logs all that it can, and audits."""
    directory = tmp_path_factory.mktemp("plugins")
    audit = [{"type": "file", "path": "lab", "options": {"file_path": str(directory / "audit.log")}}]
    with engine(directory, log_level="trace", audit=audit) as here:
        yield here


def test_no_log_and_no_process_shows_a_key_or_a_token(server: Engine) -> None:
    server.add_role()
    tokens = [server.http("GET", "asc/token/sales").json()["data"]["token"] for _ in range(3)]
    tokens.append(server.hvac().write_data("asc/token/sales", data={"lifetime": "2m"})["data"]["token"])
    tokens.append(server.bao("read", "-field=token", "asc/token/sales"))
    refused(server)
    secrets = of_private_key(server.pem.encode(), "the key")
    for number, token in enumerate(tokens):
        secrets |= of_token(token, f"token {number}")
    scanner = Scanner(secrets)
    log = "\n".join(server.server.log_lines())
    audit = (server.rig.directory / "audit.log").read_text()
    assert "[TRACE]" in log
    assert "serving version" in log, "what the engine writes to stderr is there"
    assert audit.count("asc/token/sales") >= 2 * len(tokens)
    assert "hmac-sha256:" in audit
    leaks = scanner.find(log, "the server's log") + scanner.find(audit, "the audit log")
    for process in server.processes():
        leaks += shown_of(process.pid, scanner)
    assert leaks == []


def refused(server: Engine) -> None:
    """Requests with the key where it does not belong. Not as the name of a field: the server audits names as they are."""
    for method, path, body in (
        ("POST", "asc/keys/bad", {"private_key": server.pem, "key_id": server.pem, "issuer_id": server.pem}),
        ("POST", "asc/roles/bad", {"key": server.pem, "scope": [server.pem]}),
        ("POST", "asc/token/sales", {"lifetime": server.pem, "scope": server.pem}),
        ("POST", "asc/keys/bad", {"private_key": server.pem * 400}),
        ("PATCH", "asc/keys/sales", {"private_key": server.pem}),
    ):
        answer = server.http(method, path, json.dumps(body).encode())
        assert 400 <= answer.status < 500
        assert not Scanner(of_private_key(server.pem.encode(), "the key")).find(answer.body, path)


def shown_of(pid: int, scanner: Scanner) -> list[Leak]:
    leaks = []
    for name in ("cmdline", "environ", "comm", "maps"):
        with contextlib.suppress(OSError):
            leaks += scanner.find(Path(f"/proc/{pid}/{name}").read_bytes(), f"{name} of {pid}")
    return leaks


# -- what the server's environment holds ------------------------------------------------------------------------------


class Burdened(BaoServer):
    """A server that somebody has given a password by its environment."""

    def __init__(self, directory: Path) -> None:
        super().__init__(settings={"plugin_directory": str(directory)})
        child = self._child
        child._environ |= {"DATABASE_PASSWORD": PLANTED, "VAULT_TOKEN": PLANTED}


@pytest.fixture(scope="module")
def burdened(built: Executable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """With the engine mounted twice: run from the source, and frozen."""
    directory = tmp_path_factory.mktemp("plugins")
    (directory / "plugin").write_bytes(built.path.read_bytes())
    (directory / "plugin").chmod(0o755)
    with Burdened(directory) as server:
        rig = Rig(server, directory)
        rig.register("source", PRODUCT)
        register(rig, built)
        rig.mount("source", "source")
        rig.mount("asc", "asc")
        yield rig


def environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def processes(rig: Rig) -> tuple[int, int, int]:
    """The engine run from the source; loader and interpreter of the frozen one."""
    started = children(rig.server.pid)
    (loader,) = [each for each in started if children(each)]
    (source,) = [each for each in started if each != loader]
    (interpreter,) = children(loader)
    return source, loader, interpreter


def test_the_engine_keeps_nothing_of_the_server_s_environment(burdened: Rig) -> None:
    source, _, interpreter = processes(burdened)
    assert PLANTED.encode() in environ(burdened.server.pid), "it was there"
    for process in (source, interpreter):
        assert environ(process).strip(b"\0") == b"", "overwritten where the kernel shows it"
        # Not dumpable, so /proc gives its files to root.
        assert Path(f"/proc/{process}/environ").stat().st_uid == 0
        assert PLANTED.encode() not in stack(process)
    assert unpacked_by(interpreter).exists()


def test_the_environment_is_gone_before_the_handshake() -> None:
    with Plugin(PRODUCT, DATABASE_PASSWORD=PLANTED, TZ="UTC") as plugin:
        assert plugin.line
        assert environ(plugin.process.pid).strip(b"\0") == b""


def stack(pid: int) -> bytes:
    """The memory in which a process gets its environment."""
    (line,) = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if line.endswith("[stack]")]
    begin, end = (int(each, 16) for each in line.split()[0].split("-"))
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(begin)
        return memory.read(end - begin)


def test_the_loader_shows_no_more_than_the_server_and_to_nobody_else(burdened: Rig) -> None:
    """PyInstaller's loader waits for the interpreter with the environment that the server gave it.

    It holds no key, and what it holds is the server's own, readable for the same user and root, as the server's is.
    """
    _, loader, _ = processes(burdened)
    servers, loaders = (set(environ(pid).split(b"\0")) for pid in (burdened.server.pid, loader))
    added = {entry.partition(b"=")[0].decode() for entry in loaders - servers if entry}
    assert all(name.startswith(("PLUGIN_", "VAULT_", "BAO_")) for name in added), added
    for pid in (burdened.server.pid, loader):
        found = Path(f"/proc/{pid}/environ").stat()
        assert stat.S_IMODE(found.st_mode) == 0o400
        assert found.st_uid == os.geteuid()
