"""The workers: a bounded number of threads that make attempts and hand back what came of them."""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from vault_asc.service.attempt import Attempted, broken_off
from vault_asc.service.work import Track

Job = Callable[[], Attempted]


class Done(NamedTuple):
    """An attempt that has ended."""

    track: Track
    attempted: Attempted


class Crew(Protocol):
    """Makes attempts somewhere else; the loop never has more of them under way than it has workers."""

    def start(self, track: Track, job: Job) -> None:
        """Begin an attempt."""
        ...

    def finished(self, wait: float) -> Sequence[Done]:
        """What has ended since; when nothing has, wait so many seconds for it, or until `wake`."""
        ...

    def wake(self) -> None:
        """Let `finished` return at once; may be called by a signal handler."""
        ...

    def resize(self, workers: int) -> None:
        """Change the number of workers; those at work finish what they have."""
        ...


class Threads:
    """The crew of the service. Its threads do not keep the process from ending."""

    def __init__(self, workers: int) -> None:
        self._jobs: SimpleQueue[tuple[Track, Job] | None] = SimpleQueue()
        self._done: SimpleQueue[Done | None] = SimpleQueue()
        self._workers = 0
        self.resize(workers)

    def start(self, track: Track, job: Job) -> None:
        """Begin an attempt."""
        self._jobs.put((track, job))

    def finished(self, wait: float) -> list[Done]:
        """See `Crew`."""
        found: list[Done] = []
        try:
            one = self._done.get(timeout=max(wait, 0.0))
            while True:
                found += [one] if one is not None else []
                one = self._done.get_nowait()
        except Empty:
            return found

    def wake(self) -> None:
        """See `Crew`; `SimpleQueue.put` is reentrant."""
        self._done.put(None)

    def resize(self, workers: int) -> None:
        """See `Crew`."""
        for number in range(self._workers, workers):
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True).start()
        for _ in range(workers, self._workers):
            self._jobs.put(None)
        self._workers = workers

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._done.put(Done(job[0], _made(*job)))


def _made(track: Track, job: Job) -> Attempted:
    """Make an attempt. Whatever goes wrong ends in the answer, so that neither the target nor the worker is lost."""
    try:
        return job()
    except BaseException as error:  # noqa: BLE001  # the last net of a thread that nobody else watches
        return broken_off(track.target, error)
