"""Leased tokens out of a plugin against the server's own `transit/sign`, in turns within one run.

The client is as small as it can be, since it runs on the same machine: prepared bytes on kept connections.
`python -m tests.bench.engine [--plugin MODULE] [--raft]` prints the figures alone.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

from tests import keys
from tests.engine.rig import Rig, rig
from vault_asc.lab.server import BaoServer, Storage

PRODUCT = "vault_asc.engine"
"""The module that the plugin runs; `tests.engine.echo` answers from memory and shows what the transport alone costs."""
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


def add_role(rig: Rig) -> None:
    """A key and a role to read tokens of."""
    key = {"private_key": keys.new_p8_pem().decode(), "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID}
    rig.ask("POST", "asc/keys/bench", key)
    rig.ask("POST", "asc/roles/bench", {"key": "bench", "scope": ["GET /v1/apps"]})


def start_to_handshake(module: str, rounds: int = 9) -> float:
    """Median of seconds from the start of the process to its handshake line."""
    import trustme

    certificate = trustme.CA().issue_cert("localhost").cert_chain_pems[0].bytes().decode()
    environ = {
        "PATH": "/usr/bin:/bin",
        "VAULT_BACKEND_PLUGIN": "6669da05-b1c8-4f49-97d9-c8e5bed98e20",
        "PLUGIN_PROTOCOL_VERSIONS": "5",
        "PLUGIN_CLIENT_CERT": certificate,
    }
    return statistics.median(_handshake(module, environ) for _ in range(rounds))


def _handshake(module: str, environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    argv = [sys.executable, "-m", module]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = time.perf_counter() - begin
        process.kill()
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", default=PRODUCT)
    parser.add_argument("--raft", action="store_true")
    options = parser.parse_args()
    print(f"start to handshake {start_to_handshake(options.plugin) * 1000:.0f} ms")
    storage: Storage = "raft" if options.raft else "inmem"
    with tempfile.TemporaryDirectory() as directory, rig(Path(directory), storage) as server:
        server.register("bench", options.plugin)
        server.mount("asc", "bench")
        server.ask("POST", "asc-transit/keys/bench", {"type": "ecdsa-p256"})
        if options.plugin == PRODUCT:
            add_role(server)
        ours = load(server, "engine token", "GET", "asc/token/bench")
        for connections in (1, 8):
            print(compare(server, ours, connections), flush=True)


if __name__ == "__main__":
    main()
