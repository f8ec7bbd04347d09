"""What is to be seen of the service at one moment: frozen, without secrets, for a listener to serve."""

from dataclasses import dataclass

from vault_asc.outcome import Outcome
from vault_asc.rotation import next_due
from vault_asc.service.breaker import Mode
from vault_asc.service.capacity import Load
from vault_asc.service.loop import Service
from vault_asc.service.work import Track


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target. Moments are Unix seconds.

    Attributes:
        left: seconds of life of its token at Nexla; negative when it is dead, None when there never was one.
        life: seconds that a token of this target lives.
        alarm: whether less is left than it takes to be called.
        next_try: when its next attempt is due; 0 means now.
        in_flight: whether a worker has it.
        slow: whether it is kept from holding up the others.
    """

    name: str
    account: str
    key_id: str
    left: float | None
    life: float
    alarm: bool
    outcome: Outcome | None
    detail: str
    failures: int
    next_try: float
    in_flight: bool
    slow: bool


@dataclass(frozen=True, slots=True)
class HostView:
    """One server.

    Attributes:
        opens_in: seconds until an open breaker lets a probe through; 0 for any other.
        in_flight: attempts that use it now.
        skew: seconds by which our clock is ahead of its; None while that is unknown.
    """

    endpoint: str
    mode: Mode
    opens_in: float
    in_flight: int
    skew: float | None


@dataclass(frozen=True, slots=True)
class View:
    """The whole service.

    Attributes:
        taken_at: Unix seconds.
        started_at: when the service began.
        looked_at: when the loop went round last, by the same clock; a service that hangs stays behind.
        workers, in_flight: attempts that may be and are under way.
        oldest: seconds that the one of them has taken that was begun first; 0 when there is none.
        due: targets that wait for a worker, a breaker or the rate.
        stopping: whether no new attempt is begun.
    """

    taken_at: float
    started_at: float
    looked_at: float
    workers: int
    in_flight: int
    oldest: float
    due: int
    stopping: bool
    targets: tuple[TargetView, ...]
    hosts: tuple[HostView, ...]
    loads: tuple[Load, ...]


def view(service: Service) -> View:
    """The service as it is now. May be called by any thread: it reads what the loop replaces whole."""
    now, tick = service.clock(), service.clock.elapsed()
    return View(
        taken_at=now,
        started_at=service.started_at,
        looked_at=service.looked_at,
        workers=service.plan.workers,
        in_flight=len(service.flights),
        oldest=max(flying(service).values(), default=0.0),
        due=sum(account.lane.ready for account in list(service.roster.accounts.values())),
        stopping=service.traffic.stopping,
        targets=tuple(_target(service, track, now) for track in list(service.roster.tracks.values())),
        hosts=tuple(_host(service, endpoint, tick) for endpoint in service.hosts.named),
        loads=service.plan.loads,
    )


def flying(service: Service) -> dict[str, float]:
    """How many seconds each attempt under way has taken, by target. May be called by any thread."""
    tick = service.clock.elapsed()
    return {track.target.name: tick - flight.began for track, flight in service.flights.copy().items()}


def _target(service: Service, track: Track, now: float) -> TargetView:
    target, state = track.target, track.state
    left = state.remaining(now) if state.expires_at else None
    return TargetView(
        name=target.name,
        account=target.nexla,
        key_id=state.key_id,
        left=left,
        life=state.usable_life or target.request.usable_life,
        alarm=left is None or left < track.alarm,
        outcome=state.outcome,
        detail=state.detail,
        failures=state.failures,
        next_try=next_due(target, state),
        in_flight=track in service.flights,
        slow=track.slow_at > 0,
    )


def _host(service: Service, endpoint: str, tick: float) -> HostView:
    breaker = service.hosts.breakers[endpoint]
    return HostView(
        endpoint=endpoint,
        mode=breaker.mode,
        opens_in=max(0.0, breaker.until - tick) if breaker.mode is Mode.OPEN else 0.0,
        in_flight=service.hosts.in_flight[endpoint],
        skew=service.traffic.skews.of(endpoint, tick),
    )
