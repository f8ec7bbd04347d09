"""The service: who is refreshed when, by which worker. One thread owns everything here; workers only make attempts.

It never waits for a target, only for whatever comes first: an attempt that ends, a target that becomes due, a limit or a
breaker that gives way, a token that is about to die. Time, workers and the reload are handed in.
"""

import logging
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Final

from vault_asc.errors import VaultAscError
from vault_asc.outcome import Outcome
from vault_asc.push import Result, bug
from vault_asc.service import telling
from vault_asc.service.again import UNRECORDED, next_at
from vault_asc.service.alarms import Alarms
from vault_asc.service.attempt import Attempted
from vault_asc.service.breaker import Breaker
from vault_asc.service.choosing import Chooser
from vault_asc.service.clocks import SteadyClock
from vault_asc.service.crew import Crew, Done
from vault_asc.service.events import Event, Tell
from vault_asc.service.flight import Flight
from vault_asc.service.hosts import Hosts, Room
from vault_asc.service.once import not_begun, not_ended, unreachable
from vault_asc.service.plan import Plan
from vault_asc.service.reloading import Reloads
from vault_asc.service.roster import Account, Roster
from vault_asc.service.traffic import Seen, Traffic
from vault_asc.service.waiting import waits_for
from vault_asc.service.work import Entry, Track

GRACE: Final = 10.0
"""Seconds for what is in flight when the service is told to stop."""
LOOK: Final = 5.0
"""Seconds between two looks at the wall clock and at the servers' clocks."""
SLOW: Final = 2.0
"""Seconds from which a failure holds a worker for long."""


class Service:
    """Keeps the targets of a plan fresh.

    Args:
        plan: what to do.
        crew: the workers.
        clock: ours.
        traffic: shared with the attempts.
        tell: takes events.
        replan: makes a new plan by a reload; raises our errors. It runs beside the loop.
        spawn: runs a function beside the loop.

    Attributes:
        roster: all targets and service keys.
        hosts: the servers.
        plan: the one in force.
        looked_at: when the loop went round last.
    """

    def __init__(
        self,
        plan: Plan,
        crew: Crew,
        clock: SteadyClock,
        traffic: Traffic,
        *,
        tell: Tell,
        replan: Callable[[], Plan],
        spawn: Callable[[Callable[[], None]], object],
    ) -> None:
        self.crew = crew
        self.clock = clock
        self.traffic = traffic
        self.tell = tell
        self.plan = plan
        self.roster = Roster(tell)
        self.hosts = Hosts(self.roster.anybody_well)
        self._chooser = Chooser(self.roster, self.hosts)
        self.flights: dict[Track, Flight] = {}
        self.started_at = self.looked_at = clock()
        self._answers: SimpleQueue[str] = SimpleQueue()
        traffic.answered = self._answered
        self._reloads = Reloads(replan, spawn, crew.wake)
        self._alarms = Alarms(tell, self._why)
        self._skews = telling.SkewWatch(traffic.skews, tell)
        self._next_look = 0.0
        self._slow_room = 1
        self._slow = 0
        self._once: list[Result] | None = None
        self._adopt(plan)

    # -- from outside --------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Work until `stop`; whether everything in flight was finished."""
        self._queue()
        while not self.traffic.stopping:
            self.step()
        return self._drained()

    def run_once(self) -> list[Result]:
        """Try everything that is due now once; one result for each, in the order in which they ended.

        After a `stop` those come last that were not tried, or not finished, with a `StoppedError`.
        """
        results = self._once = []
        self._queue()
        while not self.traffic.stopping and (self.flights or any(a.lane.ready for a in self._released())):
            self.step()
            self._give_up_on_the_closed()
        self._drained()
        results += [not_ended(track) for track in self.flights]
        results += [not_begun(track) for account in self._released() for track in account.lane.give_up()]
        return results

    def stop(self) -> None:
        """Begin no attempt any more, and let `run` return. For signal handlers."""
        self.traffic.stopping = True
        self.crew.wake()

    def reload(self) -> None:
        """Read the configuration again, beside the loop. For signal handlers."""
        self._reloads.want()

    def step(self) -> None:
        """One turn: what is to be told, what can begin, and then whatever comes first."""
        now, tick = self.clock(), self.clock.elapsed()
        if tick >= self._next_look:
            self._look_at_clocks(tick)
            now = self.clock()
        self.looked_at = now
        self._take_plan()
        self._take_answers(tick)
        self._alarms.ring(now)
        while len(self.flights) < self.plan.workers:
            chosen = self._chooser.choose(now, tick, slow=self._slow < self._slow_room)
            if chosen is None:
                break
            self._begin(*chosen, tick)
        for done in self.crew.finished(self._delay(now, tick)):
            self._settle(done)

    # -- what to begin -------------------------------------------------------------------------------------------

    def _begin(self, account: Account, entry: Entry, tick: float) -> None:
        track = entry[2]
        slow = account.lane.take(entry)
        self._slow += slow
        reads = 1 if track.warm else 2
        account.pace.take(tick, writes=1, reads=reads)
        self.flights[track] = Flight(account, self.hosts.begin(account.host), tick, reads, slow)
        self.crew.start(track, partial(self.plan.attempt, track.target))

    def _delay(self, now: float, tick: float) -> float:
        """Seconds until something can begin, or is to be told, without an attempt ending before."""
        delay = min(self._next_look - tick, self._alarms.next_at() - now)
        if len(self.flights) < self.plan.workers:
            delay = min(delay, self._chooser.delay(now, tick, LOOK))
        return max(delay, 0.0)

    def _why(self, track: Track) -> str:
        """What keeps a target from its refresh now."""
        flight, tick = self.flights.get(track), self.clock.elapsed()
        if flight is not None:
            return f"its attempt was begun {tick - flight.began:.0f} s ago"
        return waits_for(track, self.plan, self.roster, self.hosts, (self.clock(), tick), len(self.flights))

    # -- what has ended ------------------------------------------------------------------------------------------

    def _settle(self, done: Done) -> None:
        track, attempted = done
        flight = self.flights.pop(track)
        now, tick = self.clock(), self.clock.elapsed()
        at, before = now + UNRECORDED, track.state
        try:
            self._learn(track, attempted, flight, now, tick)
            at = next_at(track, attempted, now)
        except Exception as error:  # noqa: BLE001  # one target's oddity must not end the loop of all others
            track.state = before
            self.tell(Event("not tried", logging.ERROR, track.target.name, {"detail": bug(error).message}))
        if self._once is not None:
            self._once.append(attempted.result)
        elif not track.dropped:
            self.roster.accounts[track.target.nexla].lane.wait(track, at)

    def _learn(self, track: Track, attempted: Attempted, flight: Flight, now: float, tick: float) -> None:
        """Take note of all that an attempt tells: of its host, its rate, its target."""
        was_well = self.hosts.well(flight.host)
        self.hosts.end(flight.used)
        self._hear(attempted.seen, tick, news=not track.state.failures, why=telling.why(attempted))
        flight.charge(attempted.seen)
        if attempted.state is not None:
            track.now_in(attempted.state)
            self._alarms.follow(track, now)
        track.warm = not track.state.failures
        self._note_slowness(track, flight, tick, was_well=was_well)
        event = telling.of_attempt(track, attempted, tick - flight.began, now)
        if event is not None and not track.dropped:
            self.tell(event)

    def _hear(self, seen: tuple[Seen, ...], tick: float, *, news: bool, why: str = "") -> None:
        self._note_breakers(self.hosts.hear(seen, tick, news=news), tick, why)

    def _answered(self, endpoint: str) -> None:
        """Called by workers."""
        self._answers.put(endpoint)
        self.crew.wake()

    def _take_answers(self, tick: float) -> None:
        while not self._answers.empty():
            self._hear((Seen(self._answers.get(), "", good=True),), tick, news=False)

    def _note_breakers(self, changed: list[tuple[str, Breaker]], tick: float, why: str = "") -> None:
        if changed:
            self.traffic.closed, self.traffic.proving = self.hosts.open(), self.hosts.proving()
        for endpoint, breaker in changed:
            self.tell(telling.of_breaker(endpoint, breaker, tick, why))

    def _note_slowness(self, track: Track, flight: Flight, tick: float, *, was_well: bool) -> None:
        """Who holds a worker for nothing, while the host answers others, gets few workers until it succeeds."""
        failed = track.state.outcome is Outcome.NOT_WRITTEN
        track.own_fault = failed and (was_well or track.own_fault)
        if flight.slow:
            self._slow -= 1
            self._slow_room = self._chooser.few if failed else min(self._slow_room + 1, self.plan.workers)
        held_up = failed and tick - flight.began >= SLOW
        track.slow_at = tick if held_up and was_well else (track.slow_at if failed else 0.0)

    # -- plans ---------------------------------------------------------------------------------------------------

    def _take_plan(self) -> None:
        plan = self._reloads.take()
        if plan is None:
            return
        if isinstance(plan, VaultAscError):
            detail = {"detail": plan.message, "hint": plan.hint, "kept": "the configuration from before"}
            self.tell(Event("reload refused", logging.ERROR, None, detail))
            return
        self._adopt(plan)
        self._queue()
        self.tell(Event("reloaded", logging.INFO, None, {"targets": len(plan.targets)}))

    def _adopt(self, plan: Plan) -> None:
        self.plan = plan
        self.crew.resize(plan.workers)
        self._chooser.few = self._slow_room = max(1, plan.workers // 8)
        self.hosts.know(plan.vault, plan.hosts.values(), plan.workers)
        self._hear(plan.seen, self.clock.elapsed(), news=True)
        for load in plan.loads:
            self.tell(telling.of_load(load))
        for track in self.roster.adopt(plan):
            self._alarms.follow(track, self.clock())

    def _queue(self) -> None:
        self.roster.queue(self.clock(), busy=self.flights, only_due=self._once is not None)

    # -- clocks and ends -----------------------------------------------------------------------------------------

    def _look_at_clocks(self, tick: float) -> None:
        self._next_look = tick + LOOK
        self._note_breakers(self.hosts.rested(tick), tick)
        jumped = self.clock.look()
        if jumped:
            self.traffic.skews.forget()
            self.tell(Event("clock jumped", logging.WARNING, None, {"seconds": round(jumped, 1)}))
            self._alarms.anew(self.roster.tracks.values(), self.clock())
            self._queue()
        self._skews.look(tick)

    def _released(self) -> list[Account]:
        now = self.clock()
        for account in self.roster.accounts.values():
            account.lane.release(now, 0.0)
        return list(self.roster.accounts.values())

    def _give_up_on_the_closed(self) -> None:
        """One pass does not wait for a breaker."""
        if self._once is None or self.flights:
            return
        for account in self.roster.accounts.values():
            if self.hosts.room(account.host, self.clock.elapsed()) is Room.OPEN:
                self._once += [unreachable(track, account.host) for track in account.lane.give_up()]

    def _drained(self) -> bool:
        """Finish what is in flight, for `GRACE` seconds at most; whether all of it was."""
        end = self.clock.elapsed() + GRACE
        while self.flights and self.clock.elapsed() < end:
            for done in self.crew.finished(end - self.clock.elapsed()):
                self._settle(done)
        return not self.flights
