"""`vault-asc run` killed at random moments, again and again, and what the next start makes of it.

python -m tests.faults.kills [ROUNDS] [SEED]
"""

import json
import random
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joserfc import jws, jwt

from tests.faults.rig import public_key_at, ready, serving, stale, state, states
from tests.integration.worlds import PUTS, until
from vault_asc.lab.faults import slow
from vault_asc.lab.world import World

TARGETS: Final = {f"t{number}": 6000 + number for number in range(8)}
LIFE: Final = 6  # seconds: all are due at almost each start
ROUNDS: Final = 12
"""In the suite; `make soak` makes 200."""
_HUNT: Final = 0.5  # seconds


@dataclass
class Tally:
    """What was met.

    Attributes:
        rounds: kills so far.
        caught: those that struck in the middle of an attempt.
        temporary: files that they left half-written.
        left: those of the last one.
        latest: begin of each target's last attempt that wrote to Nexla.
        shown: what `status` said of an attempt that was killed.
    """

    rounds: int = 0
    caught: int = 0
    temporary: int = 0
    left: set[Path] = field(default_factory=set)
    latest: dict[str, float] = field(default_factory=dict)
    shown: subprocess.CompletedProcess[str] | None = None


def killed(world: World, chance: random.Random, *, writing: bool) -> None:
    """A service, killed some milliseconds after some of its writes to Nexla, or as soon as it writes a file then."""
    until_put = world.nexla.journal.count(*PUTS) + chance.randint(1, 6)
    pause = chance.uniform(0.0, 0.03)
    with world.start("run", "--log-format", "json") as process:
        try:
            until(lambda: world.nexla.journal.count(*PUTS) >= until_put or process.poll() is not None, "a write")
            if writing:
                wait_for_a_write(world)
            else:
                time.sleep(pause)
            assert process.poll() is None, "it ended before it was killed"
        finally:
            process.kill()
            process.communicate()


def wait_for_a_write(world: World) -> None:
    """Until a temporary file is there; most live for a millisecond."""
    end = time.monotonic() + _HUNT
    places = (world.dir, world.dir / "state" / "targets")
    while time.monotonic() < end and not any(next(place.glob(".*.tmp"), None) for place in places):
        time.sleep(0.0001)


def look(world: World, tally: Tally) -> None:
    """Everything is whole: token files, states; no target has forgotten what it knew."""
    count(world, tally)
    expected = {f"{name}.{kind}" for name in TARGETS for kind in ("json", "lock")}
    directory = world.dir / "state" / "targets"
    assert {file.name for file in directory.iterdir() if not file.name.endswith(".tmp")} == expected
    for target in TARGETS:
        json.loads((directory / f"{target}.json").read_text())
        known = state(world, target)
        assert known.started_at >= tally.latest.get(target, 1.0), f"{target} has forgotten its token"
        tally.latest[target] = known.started_at
        whole(world, target)


def count(world: World, tally: Tally) -> None:
    """What this kill struck. What the one before had left was swept by the start in between."""
    left, unended = set(stale(world)), any(states(world).unended(target) for target in TARGETS)
    assert not left & tally.left, "a start did not sweep what was left"
    tally.rounds += 1
    tally.caught += bool(left) or unended
    tally.temporary += len(left)
    tally.left = left
    if unended and not tally.shown:
        tally.shown = world.run("status")


def whole(world: World, target: str) -> None:
    """The token file holds a whole token, signed by the key that it names, and is 0600."""
    file = world.dir / f"{target}.jwt"
    token = file.read_text()
    kid = jws.extract_compact(token.encode()).headers()["kid"]
    jwt.decode(token, public_key_at(world.apple, kid), algorithms=["ES256"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def the_next_start(world: World) -> None:
    """It takes up every target and sweeps what was left; one of each kind is there for certain."""
    for file in (world.dir / "t0.jwt", world.dir / "state" / "targets" / "t1.json"):
        file.with_name(f".{file.name}.0123abcd.tmp").write_bytes(file.read_bytes()[:9])
    before = time.time()
    with serving(world) as service:
        until(lambda: all(state(world, target).started_at > before for target in TARGETS), "a token for each target")
        assert service.stop() == 0
    assert not stale(world)
    assert all(state(world, target).outcome == "live" and not states(world).unended(target) for target in TARGETS)
    assert all(world.nexla.flow_read(number) == 200 for number in TARGETS.values())


def run(rounds: int, seed: int) -> Tally:
    """So many kills, and what was met; `AssertionError` when something was lost, torn or doubled."""
    chance, tally = random.Random(seed), Tally()
    with ready(World(targets=TARGETS, usable_life=LIFE)) as world:
        for number in range(rounds):
            world.nexla.heal()
            if number % 3 == 0:  # on an idle machine an attempt is too short for a kill to meet one
                world.nexla.inject(slow(0.3), count=2, method="PUT", path="/data_credentials/*")
            killed(world, chance, writing=number % 3 == 1)
            look(world, tally)
        the_next_start(world)
    return tally


def main() -> None:
    """Run it and print the figures."""
    rounds, seed = ([int(word) for word in sys.argv[1:]] + [200, 1][len(sys.argv) - 1 :])[:2]
    began = time.monotonic()
    tally = run(rounds, seed)
    sys.stdout.write(
        f"{tally.rounds} kills (seed {seed}, {time.monotonic() - began:.0f} s): {tally.caught} in the middle of an attempt,"
        f" {tally.temporary} temporary files left, all swept by the next start; lost targets 0, doubled states 0,"
        " torn files 0\n"
    )


if __name__ == "__main__":
    main()
