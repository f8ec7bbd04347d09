"""The demo: a credential kept alive before your eyes, with lives of seconds, over a rotation, a revocation and a move.

At the end a token straight from Vault, by the engine: what anybody gets who types `vault read`.

Nothing in it is staged: the server, the Agent and every command are the real ones; only Nexla and Apple are simulators.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import click

from vault_asc.clock import system_clock
from vault_asc.errors import TargetError
from vault_asc.lab.serve import CREDENTIAL_ID, ISSUER_ID
from vault_asc.lab.server import ENGINE_MOUNT
from vault_asc.lab.world import World
from vault_asc.rotation import TargetState
from vault_asc.secret import Secret
from vault_asc.state import StateDir

USABLE_LIFE: Final = 24  # seconds; 1080 in real life
TICK: Final = 2  # seconds; 30 in real life
_BEFORE: Final = 20.0  # seconds of watching before the rotation
_AFTER: Final = 14.0  # seconds until the old key is revoked
_MOVED: Final = 8.0  # seconds between the move to Transit and its end
_END: Final = 6.0  # seconds until the summary
_FIRST_TOKEN: Final = 30.0  # seconds that the first token may take to come
_READ_EVERY: Final = 1.0
_REPORT_EVERY: Final = 3.0
_BAR: Final = 24  # characters
_COLOURS: Final = {"you": "cyan", "nexla": "green", "apple": "yellow", "flow": "blue", "summary": "magenta"}

Echo = Callable[[str], None]


def run_demo(echo: Echo) -> None:
    """Run the demo and print its timeline. `TargetError` when the flow was refused even once."""
    timeline = Timeline(echo)
    timeline.say("start", "a real OpenBao server, simulators of Nexla and Apple, all on 127.0.0.1")
    with World(usable_life=USABLE_LIFE, tick=TICK) as world:
        timeline.say(
            "start", f"OpenBao at {world.server.address}; Nexla at {world.nexla.url}; Apple at {world.apple.url}"
        )
        timeline.say(
            "start", f"tokens live {USABLE_LIFE} s instead of 18 min, the Agent ticks every {TICK} s instead of 30 s"
        )
        Story(world, timeline).tell()
    timeline.say("end", "everything is stopped, nothing is left behind")


@dataclass
class Timeline:
    """Prints what happens, with the seconds since the beginning."""

    echo: Echo
    begin: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, who: str, what: str) -> None:
        """One line."""
        with self.lock:
            shown = click.style(f"{who:<7}", fg=_COLOURS.get(who), bold=who == "you")
            self.echo(f"{time.monotonic() - self.begin:5.1f}s  {shown}  {what}")


class Flow:
    """A data flow that reads through the Nexla credential once a second, as a consumer would."""

    def __init__(self, world: World) -> None:
        self.answers: Counter[int] = Counter()
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="flow", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the read under way."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._stop.wait(_READ_EVERY):
            self.answers[self._world.nexla.flow_read(CREDENTIAL_ID)] += 1


class Story:
    """What happens in the demo, in order."""

    def __init__(self, world: World, timeline: Timeline) -> None:
        self.world = world
        self.timeline = timeline
        self.states = StateDir(world.dir / "state")
        self.flow = Flow(world)
        self.tokens: list[TargetState] = []

    def tell(self) -> None:
        """Import, Agent, refreshes, rotation, revocation, move, summary."""
        key = self.world.new_key("DEMOKEY001")
        self.command("key", "import", str(key), "prod", "--issuer-id", ISSUER_ID)
        key.unlink()
        with self.world.agent() as agent:
            self.timeline.say("agent", f"bao agent runs (pid {agent.pid}) with what `vault-asc agent config` printed")
            self.watch(_FIRST_TOKEN, until=lambda: bool(self.tokens))
            self.flow.start()
            self.timeline.say("flow", "a data flow now reads App Store Connect through Nexla, once a second")
            try:
                self.live()
            finally:
                self.flow.stop()
        self.engine()
        self.summary()

    def live(self) -> None:
        """What happens while the flow reads."""
        self.watch(_BEFORE)
        self.rotate()
        self.watch(_AFTER)
        self.world.apple.revoke("DEMOKEY001")
        self.timeline.say("apple", "the old key DEMOKEY001 is revoked; nobody uses it any more")
        self.move()
        self.watch(_END)

    def command(self, *words: str) -> None:
        """Run a command and show it with what it printed."""
        shown = " ".join(word.replace(f"{self.world.dir}/", "") for word in words)
        self.timeline.say("you", f"$ vault-asc {shown}")
        for line in self.world.must(*words).splitlines():
            self.timeline.say("", f"  {line}")

    def rotate(self) -> None:
        """Replace the key, live."""
        key = self.world.new_key("DEMOKEY002")
        self.command("key", "rotate", "prod", str(key))
        key.unlink()

    def move(self) -> None:
        """Hand the signing to Vault, live: grant, move, take the old grant away, finish."""
        self.timeline.say("you", "from now on Vault shall sign, and nobody be able to copy the key")
        self.command("policy", "write", "agent", "--custody", "kv", "--custody", "transit")
        self.command("key", "move", "prod", "--custody", "transit")
        self.watch(_MOVED)
        self.command("policy", "write", "agent", "--custody", "transit", "--force")
        self.command("key", "move", "prod", "--finish")

    def engine(self) -> None:
        """A second key, held by the engine, and a token of it by `bao read`, tried at Apple."""
        self.timeline.say("you", "a key that nobody but Vault ever holds, for whoever types `vault read`")
        self.world.server.mount_engine()
        key = self.world.new_key("DEMOKEY003")
        self.command("key", "import", str(key), "ci", "--issuer-id", ISSUER_ID, "--custody", "engine")
        key.unlink()
        where = f"{ENGINE_MOUNT}/token/ci"
        self.timeline.say("you", f"$ bao read {where}")
        answer = self.world.bao("read", "-format=json", where)
        token = Secret(answer["data"].pop("token"))
        del answer["data"]["header"]
        facts = {"lease_id": answer["lease_id"], "lease_duration": f"{answer['lease_duration']}s", **answer["data"]}
        for name, value in (*facts.items(), ("token", "... (never shown here)")):
            self.timeline.say("", f"  {name:<16}{value}")
        status = self.world.apple_read(token)
        self.timeline.say("apple", f"answers {status} to that token")
        if status != HTTPStatus.OK:
            raise TargetError("the engine's token was refused", hint="run it again; if it persists, report it")

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Tell of each new token and of the flow, for a while or until something has happened."""
        end = time.monotonic() + seconds
        next_report = time.monotonic() + _REPORT_EVERY
        while time.monotonic() < end and not until():
            state = self.states.load("sales")
            if state.started_at and (not self.tokens or state.started_at != self.tokens[-1].started_at):
                self.tokens.append(state)
                self.timeline.say("nexla", f"{_left(state)}   token {len(self.tokens)}: {state.outcome}")
            if self.flow.answers and time.monotonic() >= next_report:
                next_report += _REPORT_EVERY
                self.timeline.say("flow", f"{_left(state)}   apple's answers: {_answers(self.flow.answers)}")
            time.sleep(0.1)

    def summary(self) -> None:
        """Figures, and the verdict."""
        by_key = Counter(state.key_id for state in self.tokens)
        self.timeline.say(
            "summary", f"{len(self.tokens)} tokens: " + ", ".join(f"{n} of {k}" for k, n in by_key.items())
        )
        self.timeline.say(
            "summary", f"the flow read {sum(self.flow.answers.values())} times: {_answers(self.flow.answers)}"
        )
        status = self.world.must("status").splitlines()
        for line in status:
            self.timeline.say("", f"  {line}")
        if set(self.flow.answers) != {200} or len(by_key) != 2:  # noqa: PLR2004  # the old key and the new one
            raise TargetError(
                "the flow was refused, or the rotated key never arrived", hint="run it again; if it persists, report it"
            )
        self.timeline.say(
            "summary", "the flow never saw a dead token, over every refresh, the rotation, the revocation and the move"
        )


def _left(state: TargetState) -> str:
    """The token at Nexla: a bar of the life that it has left, and whose it is."""
    left = max(0.0, state.remaining(system_clock()))
    full = min(_BAR, round(_BAR * left / USABLE_LIFE))
    return f"{'█' * full}{'░' * (_BAR - full)} {left:2.0f} s left, {state.key_id}"


def _answers(answers: Counter[int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(answers.items()))
