"""Many mounts, keys and roles in one process: how many processes there are, and how much memory that takes."""

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.effort import effort
from tests.engine.host import Plugin, Session, session
from tests.engine.mounted import team_key, verified
from tests.engine.noise import HEADERS, Line, a_request, prefixed
from tests.integration.engines import PLUGIN, PRODUCT, Engine, engine
from tests.support import key_id
from vault_asc.engine import frames

READS: Final = effort(100_000, 10_000)
MOUNTS: Final = 16
EACH: Final = effort(125, 25)
"""Keys and roles of one mount: 2,000 in all with full effort."""
LIMIT: Final = 80 * 1024  # KiB
SLACK: Final = 2 * 1024  # KiB that the memory may differ between two looks, whatever the number of reads
THREADS: Final = 4
AT_ONCE: Final = 50  # calls under way; what they answer is less than HTTP/2's first window
LOOKS: Final = 5  # at the memory, over all reads
Place = tuple[int, int]
"""Number of a mount, and of a key and a role there."""
PLACES: Final[list[Place]] = [(mount, number) for mount in range(MOUNTS) for number in range(EACH)]

SOME: Final = effort(PLACES, PLACES[::4])

log = logging.getLogger(__name__)
"""The figures: `--log-cli-level=info` shows them."""


def body_of(mount: int, number: int) -> dict[str, Any]:
    return team_key(key_id=key_id(mount * EACH + number))


def role_of(number: int) -> dict[str, Any]:
    return {"key": f"k{number}", "scope": ["GET /v1/apps", f"GET /v1/apps/{number}/builds"]}


def resident(pid: int) -> int:
    """Resident memory in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


# -- a real server -----------------------------------------------------------------------------------------------------


class Caller:
    """Calls as root on connections that are kept, one for each thread."""

    def __init__(self, server: Engine) -> None:
        self._server = server
        self._kept = threading.local()
        self._all: list[HTTPConnection] = []

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        if not hasattr(self._kept, "connection"):
            parts = urlsplit(self._server.server.address)
            self._kept.connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
            self._all.append(self._kept.connection)
        connection: HTTPConnection = self._kept.connection
        text = None if body is None else json.dumps(body).encode()
        connection.request(method, f"/v1/{path}", text, {"X-Vault-Token": self._server.server.root_token.reveal()})
        response = connection.getresponse()
        answer = response.read()
        assert response.status in {200, 204}, answer
        return json.loads(answer) if answer else {}

    def close(self) -> None:
        for connection in self._all:
            connection.close()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("plugins")) as here:
        for mount in range(MOUNTS):
            here.rig.mount(f"m{mount}", PLUGIN)
        here.rig.ask("DELETE", "sys/mounts/asc")
        yield here


def test_sixteen_mounts_with_many_keys_and_roles(server: Engine) -> None:
    caller = Caller(server)

    def write(place: Place) -> None:
        mount, number = place
        caller.ask("POST", f"m{mount}/keys/k{number}", body_of(mount, number))
        caller.ask("POST", f"m{mount}/roles/r{number}", role_of(number))

    def read(place: Place) -> str:
        mount, number = place
        answer = caller.ask("GET", f"m{mount}/token/r{number}")
        assert answer["data"]["key_id"] == key_id(mount * EACH + number)
        return str(answer["lease_id"])

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(write, PLACES))
        before = [process.pid for process in server.processes()]
        assert len(before) == 1, "one process serves them all"
        assert len(set(threads.map(read, PLACES))) == len(PLACES)
        for mount in (0, MOUNTS - 1):
            assert len(caller.ask("LIST", f"m{mount}/keys")["data"]["keys"]) == EACH
            assert len(caller.ask("LIST", f"m{mount}/roles")["data"]["keys"]) == EACH
            key, token = (caller.ask("GET", f"m{mount}/{path}")["data"] for path in ("keys/k7", "token/r7"))
            verified(token, key["public_key"])
    caller.close()
    assert [process.pid for process in server.processes()] == before
    memory = resident(before[0])
    log.info("%d keys and roles: resident %.1f MiB", len(PLACES), memory / 1024)
    assert memory < LIMIT


# -- the process alone -------------------------------------------------------------------------------------------------


async def filled(host: Session, places: Sequence[Place]) -> None:
    """All mounts, with their keys and roles."""
    for mount in range(MOUNTS):
        assert await host.setup(f"m{mount}") == ""
    for mount, number in places:
        for path, body in ((f"keys/k{number}", body_of(mount, number)), (f"roles/r{number}", role_of(number))):
            assert not (await host.ask("create", path, json.dumps(body), f"m{mount}")).err.err_msg


class Reader:
    """Reads tokens as fast as the process answers, some calls at a time on one connection."""

    def __init__(self, line: Line, places: Sequence[Place]) -> None:
        self._line = line
        self._calls = itertools.cycle([self._call(*place) for place in places])
        self._streams = itertools.count(1, 2)

    def read(self, number: int) -> None:
        """So many tokens; a call that fails is an error."""
        for _ in range(number // AT_ONCE):
            self._line.send(b"".join(self._opened(*next(self._calls)) for _ in range(AT_ONCE)))
            received = answered = 0
            while answered < AT_ONCE:
                for kind, _, payload in self._line.frames():
                    if kind == frames.HEADERS and b"grpc-status" in payload:
                        assert payload.endswith(b"\x010"), payload
                        answered += 1
                received += self._line.receive() if answered < AT_ONCE else 0
            self._line.send(frames.window_update(received))

    def _opened(self, headers: bytes, message: bytes) -> bytes:
        stream = next(self._streams)
        return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, headers) + frames.frame(
            frames.DATA, frames.END_STREAM, stream, message
        )

    @staticmethod
    def _call(mount: int, number: int) -> tuple[bytes, bytes]:
        headers = {**HEADERS, b"multiplex_id": f"m{mount}".encode()}
        return frames.literal(headers.items()), prefixed(a_request(path=f"token/r{number}"))


def test_memory_is_flat_over_all_reads() -> None:
    memory: list[int] = []

    def watch(pid: int, reader: Reader) -> None:
        reader.read(len(PLACES))  # by now all is remembered
        memory.append(resident(pid))
        for _ in range(LOOKS):
            reader.read(READS // LOOKS)
            memory.append(resident(pid))

    async def run() -> None:
        async with session(plugin) as host:
            await filled(host, SOME)
            with Line(plugin) as line:
                await asyncio.to_thread(watch, plugin.process.pid, Reader(line, SOME))
            assert (await host.ask("read", "token/r0", mount="m0")).response.data
            assert await host.shutdown() == 0

    with Plugin(PRODUCT) as plugin:
        asyncio.run(run())
    log.info("%d reads: resident %s MiB", READS, ", ".join(f"{each / 1024:.1f}" for each in memory))
    assert max(memory) < LIMIT
    assert max(memory) - memory[0] < SLACK
