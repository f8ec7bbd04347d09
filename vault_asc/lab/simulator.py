"""What the simulators of Apple and Nexla have in common: server, clock, journal and faults around one `_serve`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from vault_asc.clock import Clock
from vault_asc.lab.faults import Fault, FaultPlan
from vault_asc.lab.journal import Entry, Journal
from vault_asc.lab.web import Answer, LocalServer, Request
from vault_asc.secret import safe_text


@dataclass(frozen=True, slots=True)
class Served:
    """An answer and what the journal says about it."""

    answer: Answer
    who: str | None = None
    reason: str = ""


class Simulator(ABC):
    """A context manager that serves on 127.0.0.1 while it is entered.

    Attributes:
        journal: what was asked and answered.
    """

    def __init__(self, *, clock: Clock, prefix: str = "") -> None:
        self.journal = Journal()
        self._clock = clock
        self._prefix = prefix
        self._faults = FaultPlan()
        self._server = LocalServer(self._respond)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        return f"{self._server.url}{self._prefix}"

    def inject(self, fault: Fault, *, count: int = 1, method: str = "*", path: str = "*", skip: int = 0) -> None:
        """Let the next `count` requests go wrong.

        Args:
            fault: one from `vault_asc.lab.faults` or from the simulator's own `faults`.
            count: how many requests.
            method: only this method.
            path: only this path below `url`, or a pattern such as `/data_credentials/*`.
            skip: how many matching requests go well first.
        """
        self._faults.add(fault, count=count, method=method, path=path, skip=skip)

    def heal(self) -> None:
        """Forget the faults that were not used yet."""
        self._faults.clear()

    @abstractmethod
    def _serve(self, request: Request) -> Served:
        """Carry a request out; its path begins below `url`."""

    def _dress(self, answer: Answer) -> Answer:
        """Add what every answer carries, injected ones too."""
        return answer

    def _respond(self, whole: Request) -> Answer:
        request = whole.below(self._prefix)
        if request is None:
            return Answer(404)
        moment = self._clock()
        fault = self._faults.take(request)
        served = self._carried_out(request, fault)
        answer = served.answer if fault is None or fault.edit is None else fault.edit(served.answer)
        self.journal.write(
            Entry(
                moment,
                request.method,
                safe_text(request.path),
                None if answer.dropped else answer.status,
                served.who,
                served.reason,
                None if fault is None else fault.name,
            )
        )
        if fault is not None and fault.linger:
            self._server.wait(fault.linger)
        return self._dress(answer)

    def _carried_out(self, request: Request, fault: Fault | None) -> Served:
        if fault is None:
            return self._serve(request)
        if fault.delay:
            self._server.wait(fault.delay)
        return self._serve(request) if fault.instead is None else Served(fault.instead)
