"""What the end-to-end tests share: a world with a key, its Agent, a flow that reads, and looks at state and processes."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from vault_asc import http
from vault_asc.lab.demo import Flow
from vault_asc.lab.serve import ISSUER_ID
from vault_asc.lab.server import BaoAgent
from vault_asc.lab.world import World
from vault_asc.rotation import TargetState
from vault_asc.state import StateDir

FIRST_KEY: Final = "TESTKEY001"
SECOND_KEY: Final = "TESTKEY002"
THIRD_KEY: Final = "TESTKEY003"
PUTS: Final = ("PUT", "/data_credentials/*")
PROBES: Final = ("GET", "/data_credentials/*/probe")
_PATIENCE: Final = 40.0  # seconds; what a busy machine may need for what takes one
_POLL: Final = 0.02
_T = TypeVar("_T")


def until(ready: Callable[[], _T], what: str, timeout: float = _PATIENCE) -> _T:
    """Wait until `ready()` is truthy; its value."""
    end = time.monotonic() + timeout
    while not (value := ready()):
        assert time.monotonic() < end, f"{timeout:g} s went by without {what}"
        time.sleep(_POLL)
    return value


# -- the key and the Agent -------------------------------------------------------------------------------------------


def import_key(world: World) -> list[str]:
    """Give the world its first key; lines of the .p8 that must not be seen anywhere."""
    file = world.new_key(FIRST_KEY)
    lines = file.read_text().splitlines()[1:-1]
    world.must("key", "import", str(file), "prod", "--issuer-id", ISSUER_ID)
    file.unlink()
    return lines


def rotate(world: World, key_id: str) -> float:
    """Replace the key; the moment when that was done."""
    file = world.new_key(key_id)
    world.must("key", "rotate", "prod", str(file))
    file.unlink()
    return time.time()


def agent_with(world: World, *, exec_timeout: int) -> BaoAgent:
    """An Agent that kills its exec sooner than after 60 s."""
    text = world.must("agent", "config")
    assert text.count('timeout = "60s"') == 1
    file = world.dir / "impatient.hcl"
    file.write_text(text.replace('timeout = "60s"', f'timeout = "{exec_timeout}s"'))
    return BaoAgent(file, socket=world.dir / "agent" / "agent.sock")


def token_of(agent: BaoAgent) -> dict[str, Any]:
    """What Vault says of the Agent's own token through its socket; the token itself is not in it."""
    address = f"unix://{agent.socket}"
    with http.session() as session:
        answer = session.get(f"{http.base_url(address)}/v1/auth/token/lookup-self", headers={"X-Vault-Request": "true"})
    data: dict[str, Any] = answer.json()["data"]
    return data


@contextlib.contextmanager
def reading(world: World) -> Iterator[Counter[int]]:
    """A flow that reads through Nexla every second; what it was answered."""
    flow = Flow(world)
    flow.start()
    try:
        yield flow.answers
    finally:
        flow.stop()


# -- what is remembered ----------------------------------------------------------------------------------------------


def state_of(world: World, target: str = "sales") -> TargetState:
    return StateDir(world.dir / "state").load(target)


def last_tick(world: World) -> float:
    return StateDir(world.dir / "state").last_tick()


def pushed_after(world: World, moment: float, target: str = "sales") -> TargetState:
    """Wait for a token that was minted after a moment and is live."""

    def state() -> TargetState | None:
        now = state_of(world, target)
        return now if now.started_at > moment and now.outcome == "live" else None

    return until(state, "a live token") or TargetState()


def status_of(world: World, target: str = "sales") -> dict[str, Any]:
    """The row of a target in `status --json`, with what it says of the Agent."""
    said = json.loads(world.must("status", "--json"))
    (row,) = [row for row in said["targets"] if row["target"] == target]
    return {**row, "agent": said["agent"]}


@contextlib.contextmanager
def ticks_of(world: World) -> Iterator[list[float]]:
    """The moments of all ticks from now on, as they come."""
    seen: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_POLL):
            tick = last_tick(world)
            if tick and seen[-1:] != [tick]:
                seen.append(tick)

    thread = threading.Thread(target=watch, name="ticks")
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


# -- processes, from /proc -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process as everybody (command line) and its user (environment) can see it."""

    pid: int
    argv: list[str]
    environ: dict[str, str]


def below(pid: int) -> list[Process]:
    """The processes that one has started, and those that these have."""
    parents = {number: _parent(number) for number in _pids()}
    found, new = [pid], [pid]
    while new:
        new = [number for number, parent in parents.items() if parent in new]
        found += new
    return [process for number in found[1:] if (process := look_at(number)) is not None]


def look_at(pid: int) -> Process | None:
    """A process; None when it has ended."""
    try:
        argv = _strings(Path(f"/proc/{pid}/cmdline"))
        environ = _strings(Path(f"/proc/{pid}/environ"))
    except OSError:
        return None
    return Process(pid, argv, dict(entry.split("=", 1) for entry in environ)) if argv else None


def naming(path: Path) -> list[list[str]]:
    """Command lines of all processes that name a path: who works with it."""
    lines = []
    for number in _pids():
        with contextlib.suppress(OSError):
            lines.append(_strings(Path(f"/proc/{number}/cmdline")))
    return [argv for argv in lines if any(str(path) in word for word in argv)]


def helpers(agent: BaoAgent) -> list[Process]:
    """The pushes that the Agent has running."""
    return [process for process in below(agent.pid) if "push" in process.argv and process.argv[0] != "/usr/bin/env"]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _strings(file: Path) -> list[str]:
    return [word.decode(errors="replace") for word in file.read_bytes().split(b"\0") if word]
