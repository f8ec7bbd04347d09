"""What the rows share: a world as on the first day, targets that are about to be due, and a service that is watched."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.integration.worlds import import_key, until
from tests.service.test_running import Running
from vault_asc.clock import system_clock
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.server import BaoAgent
from vault_asc.lab.world import SERVICE_KEY, World
from vault_asc.rotation import TargetState, refresh_at
from vault_asc.secret import Secret
from vault_asc.state import StateDir

TARGETS: Final = MappingProxyType({"sales": 5001, "ads": 5002, "news": 5003})
SOON: Final = 6.0
"""Seconds after which a target is due when a fault is to come first: a busy machine starts the service meanwhile."""
_MINUTE: Final = 55.0  # what "not faster than once a minute" may be by the spread of the backoff
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_SECRET: Final = re.compile(r"eyJ[\w-]{8,}\.|PRIVATE KEY|\b(?:hv)?[sb]\.[A-Za-z0-9]{20,}")
_ESCAPED: Final = re.compile(r'\\(["\\])')
_TRACEBACK: Final = re.compile(r"Traceback|a bug of vault-asc")


# -- worlds ----------------------------------------------------------------------------------------------------------


def as_on_the_first_day(world: World, config: str) -> None:
    """No state, no token files, no faults, this configuration."""
    for simulator in (world.nexla, world.apple):
        simulator.heal()
    shutil.rmtree(world.dir / "state", ignore_errors=True)
    for file in world.dir.glob("*.jwt"):
        file.unlink()
    world.config_file.write_text(config, encoding="utf-8")


@contextmanager
def ready(world: World) -> Iterator[World]:
    """A world with a key, in which every target has its first token."""
    with world:
        import_key(world)
        world.must("push", "--all")
        yield world


def add_account(world: World, name: str, url: str, *targets: str) -> None:
    """One more Nexla account, at this address, with targets of its own."""
    text = world.config_file.read_text(encoding="utf-8")
    ref = '{ mount = "secret", path = "asc/nexla/default", field = "service_key" }'
    account = f'[nexla.{name}]\napi_url = "{url}"\nservice_key = {ref}\n'
    more = "".join(f'{world._target(target, 7001 + n)}nexla = "{name}"\n' for n, target in enumerate(targets))
    world.config_file.write_text(text.replace("[[targets]]", account + "[[targets]]", 1) + more, encoding="utf-8")


def at_address(world: World, address: str) -> None:
    """Let vault-asc look for Vault there."""
    text = world.config_file.read_text(encoding="utf-8")
    changed = re.sub(r'(?m)^address = ".*"$', f'address = "{address}"', text)
    world.config_file.write_text(changed, encoding="utf-8")


# -- targets ---------------------------------------------------------------------------------------------------------


def states(world: World) -> StateDir:
    return StateDir(world.dir / "state")


def state(world: World, target: str = "sales") -> TargetState:
    return states(world).load(target)


def due_in(world: World, seconds: float, *targets: str) -> None:
    """Let the tokens of targets be older than they are, so that they will be due in so many seconds. They stay good."""
    now = system_clock()
    for target in targets:
        known = state(world, target)
        shift = now + seconds - refresh_at(target, known)
        aged = replace(
            known,
            started_at=known.started_at + shift,
            issued_at=int(known.issued_at + shift),
            expires_at=int(known.expires_at + shift),
            tried_at=known.tried_at + min(shift, 0.0),
        )
        states(world).save(target, aged, now)


def token_at_nexla(world: World, target: str = "sales") -> str:
    stored = world.nexla.credential(world.targets[target]).stored
    return str(stored["api.key.auth.value"]).removeprefix("Bearer ")


@dataclass(frozen=True)
class Kept:
    """What a consumer of a target has at a moment: at Nexla, and in the token file."""

    nexla: str
    file: bytes

    @classmethod
    def of(cls, world: World, target: str = "sales") -> "Kept":
        return cls(token_at_nexla(world, target), (world.dir / f"{target}.jwt").read_bytes())


def stale(world: World) -> list[Path]:
    """Temporary files."""
    return [file for file in world.dir.rglob(".*.tmp") if file.is_file()]


# -- what a service says ---------------------------------------------------------------------------------------------


def assert_clean(world: World, said: str) -> None:
    """No bug was met, and neither what was said nor a state file holds a secret."""
    assert not _TRACEBACK.search(said), said
    written = [file.read_text(errors="replace") for file in (world.dir / "state").rglob("*") if file.is_file()]
    for text in (said, *written):
        assert not _SECRET.search(text), f"a secret is in: {text}"
        assert SERVICE_KEY not in text
        assert world.server.root_token.reveal() not in text


class Watched(Running):
    """A service with its lines as people read them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.marked = 0
        self._parsed: list[dict[str, Any]] = []
        super().__init__(process)

    def events(self, name: str) -> list[dict[str, Any]]:
        """As before, but each line is parsed once, however often it is looked for."""
        self._parsed += [json.loads(line) for line in list(self.lines)[len(self._parsed) :]]
        return [event for event in self._parsed if event["event"] == name]

    @property
    def text(self) -> str:
        return "".join(list(self.lines))

    @property
    def since(self) -> str:
        """What it said since the mark."""
        return "".join(list(self.lines)[self.marked :])

    def mark(self) -> None:
        """From here on counts what it says: what it said before the fault tells nothing of it."""
        self.marked = len(self.lines)

    def of(self, name: str, target: str | None = None) -> list[dict[str, Any]]:
        return [event for event in self.events(name) if target in {None, event.get("target")}]

    def first(
        self, name: str, target: str | None = None, *, more_than: int = 0, timeout: float = 40.0
    ) -> dict[str, Any]:
        """The event, waited for."""

        def seen() -> list[dict[str, Any]]:
            assert self.process.poll() is None or self.reader.is_alive() or self.of(name, target), self.text
            return self.of(name, target)[more_than:]

        try:
            return until(seen, f"{name} of {target or 'the service'}", timeout)[0]
        except AssertionError as exc:
            raise AssertionError(f"{exc}; it said: {self.text}") from None


@contextmanager
def serving(
    world: World, *words: str, token: Secret | None = None, environ: Mapping[str, str] = _NOTHING
) -> Iterator[Watched]:
    """`vault-asc run`, killed at the end unless it was stopped before; whatever happened, it is clean."""
    with world.start("run", "--log-format", "json", *words, token=token, environ=environ) as process:
        service = Watched(process)
        try:
            until(lambda: process.poll() is not None or service.events("started"), "a start")
            yield service
            assert_clean(world, service.text)
        finally:
            process.kill()
            service.reader.join(10)


def not_soon_again(service: Watched, target: str) -> Watched:
    """It, once it has told of an attempt that is not to be repeated soon."""
    assert service.first("failed", target)["next_try"] >= _MINUTE
    return service


@dataclass(frozen=True)
class Once:
    """What a single pass of the service said."""

    code: int
    text: str
    events: Sequence[Mapping[str, Any]]

    def of(self, name: str) -> dict[str, Mapping[str, Any]]:
        """Events of a name by target."""
        return {event["target"]: event for event in self.events if event["event"] == name}

    def about(self, target: str) -> "Once":
        """The same, with the lines about one target alone."""
        lines = [line for line in self.text.splitlines() if f'"target": "{target}"' in line]
        return Once(self.code, "\n".join(lines), [event for event in self.events if event.get("target") == target])


def once(world: World, *words: str, token: Secret | None = None, environ: Mapping[str, str] = _NOTHING) -> Once:
    """`vault-asc run --once`; whatever happened, it is clean."""
    with world.start("run", "--once", "--log-format", "json", *words, token=token, environ=environ) as process:
        _, err = process.communicate(timeout=120)
    assert_clean(world, err)
    events = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return Once(process.returncode, err, events)


Speaker = Watched | Once | subprocess.CompletedProcess[str] | BaoAgent
"""Who says something to a person; never a text that a test has made."""


def heard(speaker: Speaker) -> str:
    """What a person reads of it; the quotes in a line of JSON are escaped once more, which does not count."""
    return "\n".join(_ESCAPED.sub(r"\1", line) if line.startswith("{") else line for line in _lines(speaker))


def _lines(speaker: Speaker) -> list[str]:
    match speaker:
        case Watched():
            return speaker.since.splitlines()
        case Once():
            return speaker.text.splitlines()
        case BaoAgent():
            return speaker.log_lines()
        case _:
            return [*speaker.stdout.splitlines(), *speaker.stderr.splitlines()]


def public_key_at(apple: AppleSimulator, key_id: str) -> Any:
    """What Apple verifies tokens of a key with."""
    return apple._keys[key_id].public
