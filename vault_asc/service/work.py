"""The queue of work of one service key: targets that wait for their time, and those that are due, the most urgent first.

Not here: when a target is due (`rotation`), and whether its servers may be asked (`loop`).
"""

import heapq
from itertools import count
from typing import Final

from vault_asc.config import Target
from vault_asc.rotation import TargetState, about, alarm_below, spread, urgency

Entry = tuple[tuple[bool, float], int, "Track"]
"""A target that is ready: its rank, a number that makes it unique, and the target."""
_NEVER: Final = float("inf")
_number: Final = count()


class Track:
    """What is known of a target while the service runs; owned by the loop, its `state` is replaced whole.

    Attributes:
        target: as configured now.
        state: as recorded last.
        slow_at: when an attempt failed that held a worker for long, though its host was well; 0 otherwise.
        own_fault: whether it failed though its host was well, and was not well since.
        warm: whether its discovery is known, so that a refresh takes two calls.
        alarm: seconds of life below which somebody is told.
        alarmed: whether somebody was told that little is left.
        watched: the token whose life is watched, by its expiry.
        dropped: whether it is no longer configured.
    """

    __slots__ = ("alarm", "alarmed", "dropped", "own_fault", "slow_at", "state", "target", "warm", "watched")

    def __init__(self, target: Target, state: TargetState) -> None:
        self.target = target
        self.slow_at = 0.0
        self.own_fault = False
        self.warm = False
        self.alarmed = False
        self.watched = 0
        self.dropped = False
        self.now_in(state)

    def now_in(self, state: TargetState) -> None:
        """Replace the state."""
        self.state = about(self.target, state)
        self.alarm = alarm_below(self.state.usable_life or self.target.request.usable_life)


class Lane:
    """The targets of one service key. `good` have not failed last time, `slow` ones held a worker when they did.

    Attributes:
        ready: how many are due.
        next_at: when the next one becomes due; infinite when none waits.
    """

    __slots__ = ("_failing", "_good", "_slow", "_waiting", "next_at", "ready")

    def __init__(self) -> None:
        self.ready = 0
        self.next_at = _NEVER
        self._waiting: list[tuple[float, int, Track]] = []
        self._good: list[Entry] = []
        self._failing: list[Entry] = []
        self._slow: list[Entry] = []

    def wait(self, track: Track, at: float) -> None:
        """Put a target in until a moment comes."""
        heapq.heappush(self._waiting, (at, next(_number), track))
        self.next_at = self._waiting[0][0]

    def release(self, now: float, recovered_at: float) -> None:
        """Let what has become due be ready.

        Args:
            now: the moment.
            recovered_at: when the host was found well again; who was slow before that gets a new start.
        """
        while self.next_at <= now:
            _, _, track = heapq.heappop(self._waiting)
            slow = track.slow_at > recovered_at
            heap = self._slow if slow else self._failing if track.state.failures else self._good
            heapq.heappush(heap, (_rank(track, now), next(_number), track))
            self.ready += 1
            self.next_at = self._waiting[0][0] if self._waiting else _NEVER

    def best(self, *, good_first: bool, slow: bool) -> Entry | None:
        """The most urgent that is ready, left in place; None when there is none. Entries compare by urgency.

        Args:
            good_first: whether those that have not failed come before all others: they tell most about a host.
            slow: whether those are allowed that may hold a worker for long.
        """
        good, failing = self._good, self._failing
        if good and (good_first or not (failing or self._slow)):
            return good[0]
        heaps = (good, failing, self._slow) if slow else (good, failing)
        return min((heap[0] for heap in heaps if heap), default=None)

    def dying(self, now: float, *, slow: bool) -> Entry | None:
        """The most urgent whose living token is to be replaced whatever it takes, left in place; None without any.

        It may stand behind others that are well, new or dead, so all are looked at.
        """
        heaps = (self._good, self._failing, self._slow) if slow else (self._good, self._failing)
        entries = [e for heap in heaps for e in heap if 0 < e[2].state.expires_at - now < e[2].alarm]
        return min(entries, default=None)

    def take(self, entry: Entry) -> bool:
        """Take out what `best` or `dying` has given; whether it is one of the slow."""
        for heap in (self._good, self._failing, self._slow):
            if heap and heap[0] is entry:
                heapq.heappop(heap)
            elif entry in heap:
                heap.remove(entry)
                heapq.heapify(heap)
            else:
                continue
            self.ready -= 1
            return heap is self._slow
        raise KeyError(entry[2].target.name)

    def give_up(self) -> list[Track]:
        """Take out all that is ready, the most urgent first."""
        entries = sorted([*self._good, *self._failing, *self._slow])
        for heap in (self._good, self._failing, self._slow):
            heap.clear()
        self.ready = 0
        return [track for _, _, track in entries]


def _rank(track: Track, now: float) -> tuple[bool, float]:
    """As for `push`, but what never had a token comes behind what has little life left: it has none to lose.

    Among the new ones the name decides, so that dead ones which stand together in the configuration are not all first.
    The dead come in turn, behind them who failed at a host that was well: who fails for ever makes a bad probe of it.
    """
    dead, expiry = urgency(track.state, now)
    if dead:
        return dead, float(track.own_fault)
    return dead, expiry if track.state.started_at else expiry + now + track.alarm + spread(track.target.name)
