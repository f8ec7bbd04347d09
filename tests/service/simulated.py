"""A day in seconds: the real loop, queue, breakers and rates on a clock and workers that only pretend.

What is simulated is one attempt: what it returns, which calls it made, and how long it took.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from tests.keys import KEY_ID
from vault_asc.config import Target
from vault_asc.errors import NexlaError
from vault_asc.nexla.allowance import Allowance
from vault_asc.outcome import Outcome
from vault_asc.push import Result
from vault_asc.refreshing import failed
from vault_asc.rotation import TargetState, attempted, settings_of
from vault_asc.service.attempt import Attempted
from vault_asc.service.clocks import SteadyClock
from vault_asc.service.crew import Done, Job
from vault_asc.service.events import Event
from vault_asc.service.loop import Service
from vault_asc.service.plan import Plan
from vault_asc.service.traffic import Seen, Traffic
from vault_asc.service.work import Track

NOW = 1_772_366_400.0
DAY = 86_400.0
VAULT, HOST = "vault:8200", "nexla:443"
LIFE = 1080
ALARM = 300
GOOD = (Seen(VAULT, "GET", good=True), Seen(HOST, "PUT", good=True), Seen(HOST, "GET", good=True))
BROKEN = (Seen(VAULT, "GET", good=True), Seen(HOST, "PUT", good=False))
READ = (Seen(VAULT, "GET", good=True), Seen(HOST, "GET", good=True))
SEALED = (Seen(VAULT, "GET", good=False),)
_LATE = 0.1  # seconds by which a busy loop hears of an attempt that has ended


class Time:
    """Moves when somebody waits. `ahead` is what the wall clock shows too much."""

    def __init__(self) -> None:
        self.elapsed = 1000.0
        self.ahead = 0.0

    def wall(self) -> float:
        return NOW - 1000.0 + self.elapsed + self.ahead

    def monotonic(self) -> float:
        return self.elapsed


class PretendedCrew:
    """Makes an attempt at once, and hands it over when its time is over."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.took = 0.0
        self.workers = 0
        self.most = 0
        self.woken = False
        self._ends: list[tuple[float, int, Done]] = []
        self._under_way: set[Track] = set()
        self._number = count()

    def start(self, track: Track, job: Job) -> None:
        done = Done(track, job())
        heapq.heappush(self._ends, (self.time.elapsed + self.took, next(self._number), done))
        self.most = max(self.most, len(self._ends))
        assert len(self._ends) <= self.workers
        assert track not in self._under_way, "one in flight per target"
        self._under_way.add(track)

    def finished(self, wait: float) -> Sequence[Done]:
        until = self.time.elapsed + (0 if self.woken else wait)
        self.woken = False
        if not self._ends or self._ends[0][0] > until:
            self.time.elapsed = until
            return []
        self.time.elapsed = max(self.time.elapsed, self._ends[0][0] + _LATE)
        found = []
        while self._ends and self._ends[0][0] <= self.time.elapsed:
            found.append(heapq.heappop(self._ends)[2])
            self._under_way.remove(found[-1].track)
        return found

    def wake(self) -> None:
        self.woken = True

    def resize(self, workers: int) -> None:
        self.workers = workers


def no_fault(_: Target, _now: float) -> str | None:
    return None


@dataclass
class Simulation:
    """Targets, spread evenly over service keys, and what becomes of their tokens.

    Attributes:
        fault: "outage" (a connection that fails), "hole" (one that hangs), "refused" (before anything is written; the
            hosts are well), "sealed" (Vault answers nothing good), or None, by target and moment.
        least: the least validity left when the next token arrived.
        gaps: tokens that were dead when the next one arrived.
        near: targets and tokens that had less than the alarm left when the next one arrived.
    """

    count: int
    keys: int = 1
    workers: int = 32
    took: float = 1.0
    hole: float = 15.0
    allowance: Allowance = field(default_factory=lambda: Allowance(8, 12, 8 * 21_600, 12 * 21_600))
    fault: Callable[[Target, float], str | None] = no_fault
    chance: float = 0.0
    least: float = 1e9
    gaps: int = 0
    near: set[tuple[str, int]] = field(default_factory=set)
    attempts: Counter[str] = field(default_factory=Counter)
    begun: list[tuple[float, str]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    quiet: bool = True

    def __post_init__(self) -> None:
        self.time = Time()
        self.random = random.Random(7)
        self.crew = PretendedCrew(self.time)
        self.states: dict[str, TargetState] = {}
        self.targets = tuple(
            Target(f"target-{n}", "prod", n + 1, nexla=f"key-{n % self.keys}") for n in range(self.count)
        )
        self.digests = {target.name: settings_of(target) for target in self.targets}
        self.traffic = Traffic(self.time.wall, self.time.monotonic)
        self.next_plan: Callable[[], Plan] = self.plan

    def plan(self, targets: tuple[Target, ...] | None = None) -> Plan:
        accounts = [f"key-{n}" for n in range(self.keys)]
        return Plan(
            self.targets if targets is None else targets,
            self.attempt,
            lambda name: self.states.get(name, TargetState()),
            VAULT,
            dict.fromkeys(accounts, HOST),
            dict.fromkeys(accounts, self.allowance),
            self.workers,
        )

    def service(self) -> Service:
        return Service(
            self.plan(),
            self.crew,
            SteadyClock(self.time.wall, self.time.monotonic),
            self.traffic,
            tell=self.tell,
            replan=lambda: self.next_plan(),  # noqa: PLW0108 -- tests replace it
            spawn=lambda work: work(),
        )

    def run(self, seconds: float, service: Service | None = None) -> Service:
        """Let the service work for so long."""
        service = service or self.service()
        service._queue()
        end = self.time.elapsed + seconds
        while self.time.elapsed < end:
            service.step()
        return service

    def tell(self, event: Event) -> None:
        if not self.quiet or event.name != "refreshed":
            self.events.append((self.time.wall(), event))

    def told(self, name: str) -> list[Event]:
        return [event for _, event in self.events if event.name == name]

    def attempt(self, target: Target) -> Attempted:
        """One attempt, begun now: a PUT and a probe, or the error that came in their place."""
        now = self.time.wall()
        before = self.states.get(target.name) or TargetState()
        self.attempts[target.name] += 1
        if not self.quiet:
            self.begun.append((now, target.name))
        fault = self.fault(target, now) or ("outage" if self.random.random() < self.chance else None)
        if fault is not None:
            self.crew.took = self.hole if fault == "hole" else self.took
            tried = attempted(target, before, None, now)
            error = NexlaError("no answer", retryable=True)
            after = failed(target, tried, error, now + self.crew.took)
            self.states[target.name] = after
            seen = {"refused": READ, "sealed": SEALED}.get(fault, BROKEN)
            return Attempted(Result(target, "due", after, None, recorded=True), after, seen)
        self.crew.took = self.took
        if VAULT in self.traffic.proving:
            self.traffic.answered(VAULT)
        left = before.expires_at - (now + self.took)
        if before.expires_at:
            self.least = min(self.least, left)
            self.gaps += left <= 0
            if left < ALARM:
                self.near.add((target.name, before.expires_at))
        after = TargetState(
            account=target.nexla,
            credential_id=target.credential_id,
            settings=self.digests[target.name],
            key_id=KEY_ID,
            started_at=now,
            issued_at=int(now) - 60,
            expires_at=int(now) + LIFE,
            usable_life=LIFE,
            tried_at=now,
            outcome=Outcome.LIVE,
        )
        self.states[target.name] = after
        return Attempted(Result(target, "due", after, None, recorded=True), after, GOOD)

    def give_life(self, left: float, *names: str) -> None:
        """Let targets begin with a token that lives for so long."""
        for target in self.targets:
            if not names or target.name in names:
                state = self.attempt(target).state or TargetState()
                begun, ends = self.time.wall() - LIFE + left, int(self.time.wall() + left)
                self.states[target.name] = replace(state, started_at=begun, issued_at=int(begun) - 60, expires_at=ends)
        self.attempts.clear()
        self.begun.clear()
