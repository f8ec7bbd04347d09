"""Leased tokens out of a plugin against the server's own `transit/sign`, in turns within one run.

The client is as small as it can be, since it runs on the same machine: prepared bytes on kept connections. A part of
`make bench`; `python -m tests.bench.engine` prints these figures alone.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

from tests import keys
from tests.engine.host import ECHO
from tests.engine.rig import Rig, rig
from vault_asc.engine.freezing.building import build
from vault_asc.lab.server import BaoServer, Storage
from vault_asc.names import ENGINE_FILE

PRODUCT = "vault_asc.engine"
"""The module that the plugin runs."""
STORAGES: tuple[Storage, ...] = ("inmem", "raft")
LOADS = {
    "engine token": "asc/token/bench",
    "engine token without lease": "asc/token/bulk",
    "echo plugin, leased": "echo/token/bench",
}
ROUNDS = 5
SECONDS = 1.5


@dataclass(frozen=True)
class Load:
    """One kind of request, as bytes."""

    name: str
    request: bytes


@dataclass(frozen=True)
class Figures:
    """What one round gave; CPU is in seconds for each request."""

    per_second: float
    p50: float
    p99: float
    server_cpu: float
    plugin_cpu: float


def load(rig: Rig, name: str, method: str, path: str, body: bytes = b"") -> Load:
    """A request as root."""
    token = rig.server.root_token.reveal()
    head = f"{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Load(name, head.encode() + body)


def measure(server: BaoServer, what: Load, connections: int, seconds: float) -> Figures:
    """Send it over and over on each of some connections."""
    processes = _processes(server.pid)
    before = [_cpu(each) for each in processes]
    taken: list[float] = []
    until = time.perf_counter() + seconds
    with _connected(server.address, connections) as sockets:
        threads = [threading.Thread(target=_repeat, args=(one, what.request, until, taken)) for one in sockets]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - begin
    taken.sort()
    cpu = [(_cpu(each) - earlier) / len(taken) for each, earlier in zip(processes, before, strict=True)]
    return Figures(len(taken) / wall, statistics.median(taken), taken[int(len(taken) * 0.99)], cpu[0], sum(cpu[1:]))


def _processes(server: int) -> list[int]:
    """The server and what it has started."""
    children = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _stat(int(entry.name))[1] == str(server)
    ]
    return [server, *children]


def _cpu(process: int) -> float:
    user, system = _stat(process)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _stat(process: int) -> list[str]:
    """The fields after the program's name."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except FileNotFoundError:
        return ["", ""]


@contextmanager
def _connected(address: str, number: int) -> Iterator[list[socket]]:
    host = urlsplit(address)
    connections = [HTTPConnection(host.hostname or "", host.port) for _ in range(number)]
    for connection in connections:
        connection.connect()
    try:
        yield [connection.sock for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def _repeat(wire: socket, request: bytes, until: float, taken: list[float]) -> None:
    begin = time.perf_counter()
    while begin < until:
        wire.sendall(request)
        _answer(wire)
        end = time.perf_counter()
        taken.append(end - begin)
        begin = end


def _answer(wire: socket) -> None:
    data = wire.recv(65536)
    if not data.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"refused: {data[:300]!r}")
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += wire.recv(65536)
    at = data.index(b"Content-Length: ", 0, end) + 16
    missing = end + 4 + int(data[at : data.index(b"\r\n", at)]) - len(data)
    while missing > 0:
        missing -= len(wire.recv(65536))


def compare(rig: Rig, ours: Load, connections: int) -> str:
    """Both in turns; one line with the medians, and the ratios of medians to `transit/sign`."""
    transit = load(
        rig,
        "transit/sign",
        "POST",
        "asc-transit/sign/bench",
        b'{"input":"%s","hash_algorithm":"sha2-256","marshaling_algorithm":"jws"}' % b64encode(b"x" * 250),
    )
    for each in (ours, transit):
        measure(rig.server, each, connections, 0.5)
    rounds = [[measure(rig.server, each, connections, SECONDS) for each in (ours, transit)] for _ in range(ROUNDS)]
    rate, base_rate = (statistics.median(pair[n].per_second for pair in rounds) for n in (0, 1))
    p50, base_p50 = (statistics.median(pair[n].p50 for pair in rounds) * 1000 for n in (0, 1))
    p99 = statistics.median(pair[0].p99 for pair in rounds) * 1000
    cpu, base_cpu = (statistics.median(pair[n].server_cpu for pair in rounds) * 1e6 for n in (0, 1))
    plugin = statistics.median(pair[0].plugin_cpu for pair in rounds) * 1e6
    return (
        f"{ours.name}, {connections} connections: {rate:5.0f}/s p50 {p50:5.2f} ms p99 {p99:5.2f} ms   "
        f"{transit.name}: {base_rate:5.0f}/s p50 {base_p50:5.2f} ms   rate x{rate / base_rate:4.2f}  p50 x{p50 / base_p50:4.2f}"
        f"   CPU of the server {cpu:.0f} µs and the plugin {plugin:.0f} µs, against {base_cpu:.0f} µs"
    )


def add_roles(rig: Rig) -> None:
    """A key and two roles to read tokens of."""
    key = {"private_key": keys.new_p8_pem().decode(), "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID}
    rig.ask("POST", "asc/keys/bench", key)
    for role, lease in (("bench", True), ("bulk", False)):
        rig.ask("POST", f"asc/roles/{role}", {"key": "bench", "scope": ["GET /v1/apps"], "lease": lease})


def start_to_handshake(argv: Sequence[str], rounds: int = 9) -> float:
    """Median of seconds from the start of the process to its handshake line."""
    import trustme

    certificate = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes().decode()
    environ = {
        "PATH": "/usr/bin:/bin",
        "VAULT_BACKEND_PLUGIN": "6669da05-b1c8-4f49-97d9-c8e5bed98e20",
        "PLUGIN_PROTOCOL_VERSIONS": "5",
        "PLUGIN_CLIENT_CERT": certificate,
    }
    return statistics.median(_handshake(argv, environ) for _ in range(rounds))


def _handshake(argv: Sequence[str], environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = time.perf_counter() - begin
        process.kill()
    return taken


def start_lines(directory: Path) -> Iterator[str]:
    """How long the engine takes to start, from an installation and as the one file that nodes get."""
    installed = start_to_handshake((sys.executable, "-m", PRODUCT))
    yield f"start to handshake: installed {installed * 1000:.0f} ms (aim 400)"
    build(directory / ENGINE_FILE, time.time())
    yield f"start to handshake: frozen {start_to_handshake((str(directory / ENGINE_FILE),)) * 1000:.0f} ms (aim 1000)"


def load_lines(directory: Path, storage: Storage) -> Iterator[str]:
    """Token reads against `transit/sign`; without a lease, and with a plugin that only echoes: where the time goes."""
    with rig(directory, storage) as server:
        for mount, module in (("asc", PRODUCT), ("echo", ECHO)):
            server.register(mount, module)
            server.mount(mount, mount)
        server.ask("POST", "asc-transit/keys/bench", {"type": "ecdsa-p256"})
        add_roles(server)
        for connections in (1, 8):
            for name, path in LOADS.items():
                yield f"{storage}: {compare(server, load(server, name, 'GET', path), connections)}"


def lines() -> Iterator[str]:
    """Everything that is measured of the engine."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        yield from start_lines(directory)
        yield "token reads; aims: 8 connections rate x0.35, 1 connection p50 x4"
        for storage in STORAGES:
            yield from load_lines(directory / storage, storage)


def main() -> None:
    """Measure and print."""
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
