"""The service in real time with lives of 20 s, and a consumer that verifies what it has 20 times a second.

    python -m tests.faults.soak [SECONDS]

The consumer reads the token file and what Nexla holds, verifies both with the public key that their kid names, and reads
from Apple through Nexla. The key is rotated on the way. Exit code 1 when anything was invalid, torn, or answered with 401.
"""

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import JoseError

from tests.faults.rig import public_key_at, ready, serving, token_at_nexla
from tests.integration.worlds import SECOND_KEY, THIRD_KEY, rotate
from vault_asc.lab.world import World

LIFE: Final = 20
RATE: Final = 20.0  # looks in a second
TARGETS: Final = {f"t{number}": 6000 + number for number in range(6)}
_ROTATIONS: Final = (SECOND_KEY, THIRD_KEY)


@dataclass
class Consumer:
    """Looks at one target after the other, as one that uses it would.

    Attributes:
        looks: how often.
        least: the least life left of a token that it met, in seconds.
        tokens: different ones, in token files and at Nexla.
        wrong: what was wrong, by its name.
        answers: of Apple, by status.
    """

    world: World
    looks: int = 0
    least: float = LIFE
    tokens: set[str] = field(default_factory=set)
    wrong: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`; what comes too late by a busy machine is left out."""
        due = time.monotonic()
        for target in cycle(TARGETS):
            due = max(due + 1 / RATE, time.monotonic())
            if self.stop.wait(max(0.0, due - time.monotonic())):
                return
            self.look(target)

    def look(self, target: str) -> None:
        """At the file, at Nexla, and through it at Apple."""
        self.looks += 1
        self._judge("token file", (self.world.dir / f"{target}.jwt").read_text())
        self._judge("token at Nexla", token_at_nexla(self.world, target))
        status = self.world.nexla.flow_read(TARGETS[target])
        self.answers[status] += 1
        self.wrong[f"answer {status}"] += status != 200

    def _judge(self, where: str, token: str) -> None:
        try:
            claims = self._verified(token)
        except (JoseError, ValueError, KeyError) as exc:
            self.wrong[f"{where}: {type(exc).__name__}"] += 1
            return
        now = time.time()
        self.tokens.add(token)
        self.least = min(self.least, claims["exp"] - now)
        self.wrong[f"{where}: not valid now"] += not claims["iat"] <= now < claims["exp"]

    def _verified(self, token: str) -> dict[str, Any]:
        kid = jws.extract_compact(token.encode()).headers()["kid"]
        return dict(jwt.decode(token, public_key_at(self.world.apple, kid), algorithms=["ES256"]).claims)


def run(seconds: float) -> tuple[Consumer, Counter[str]]:
    """The consumer afterwards, and the events of the service by name."""
    with ready(World(targets=TARGETS, usable_life=LIFE)) as world:
        world.apple._hourly_limit = 10**9  # it is asked more often than a tenant would
        consumer = Consumer(world)
        with serving(world) as service:
            thread = threading.Thread(target=consumer.run, name="consumer")
            thread.start()
            try:
                for key_id in _ROTATIONS:
                    time.sleep(seconds / (len(_ROTATIONS) + 1))
                    rotate(world, key_id)
                time.sleep(seconds / (len(_ROTATIONS) + 1))
            finally:
                consumer.stop.set()
                thread.join()
            consumer.wrong["exit code of the service"] += service.stop() != 0
            names = ("refreshed", "failed", "mandatory", "expired")
            events = Counter({name: len(service.events(name)) for name in names})
    for name in names[1:]:
        consumer.wrong[name] += events[name]
    return consumer, events


def main() -> int:
    """Run it and print the figures."""
    seconds = float(sys.argv[1]) if sys.argv[1:] else 600.0
    consumer, events = run(seconds)
    sys.stdout.write(
        f"{seconds:.0f} s, {len(TARGETS)} targets with {LIFE} s of life, {len(_ROTATIONS)} rotations:"
        f" {consumer.looks} looks ({consumer.looks / seconds:.1f} a second) at {len(consumer.tokens)} tokens,"
        f" least life left {consumer.least:.1f} s; answers {dict(consumer.answers)}; {events['refreshed']} refreshed\n"
    )
    wrong = {name: count for name, count in consumer.wrong.items() if count}
    sys.stdout.write(f"wrong: {wrong or 'nothing'}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
