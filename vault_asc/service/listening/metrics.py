"""The view as metrics: a collector of its own that is made from one view and asks nobody. Names are documented promises.

Labels: names of targets and accounts, endpoints, outcomes. No key, no issuer, no detail of an error.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from vault_asc import __version__
from vault_asc.service.breaker import Mode
from vault_asc.service.listening.observer import Observer
from vault_asc.service.view import HostView, TargetView, View

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "vault_asc_"

Row = tuple[list[str], float]


def exposition(observer: Observer) -> bytes:
    """All metrics at this moment, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(observer))
    return generate_latest(registry)


class _Scrape(Collector):
    """One scrape: one view, so that its numbers fit together."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        view = self._observer.view()
        yield InfoMetricFamily(f"{_PREFIX}build", "The program.", value={"version": __version__})
        yield _counter("attempts", "Attempts that have ended.", ("outcome",), self._observer.attempts)
        lost = self._observer.lines_lost()
        yield CounterMetricFamily(f"{_PREFIX}log_lines_lost", "Lines of the log that nobody took in time.", value=lost)
        yield _number("ready", "Whether it works as configured.", self._observer.not_ready() is None)
        yield _number("config_good", "Whether the last reload was taken.", self._observer.config_good)
        yield _number("login_ok", "Whether the last login or renewal at Vault succeeded.", self._observer.login_ok)
        yield _number("loop_age_seconds", "Time since the loop went round last.", self._observer.behind)
        if view is not None:
            yield from _whole(view)
            yield from _accounts(view)
            yield from _hosts(view.hosts)
            yield from _targets(view.targets)
        yield from self._process.collect()


def _whole(view: View) -> Iterator[Metric]:
    yield _number("due_targets", "Targets that wait for a worker, a breaker or the rate.", view.due)
    yield _number("workers", "Attempts that may be under way.", view.workers)
    yield _number("workers_busy", "Attempts that are under way.", view.in_flight)
    yield _number("oldest_attempt_seconds", "Time since the oldest attempt under way was begun.", view.oldest)


def _accounts(view: View) -> Iterator[Metric]:
    label = ("account",)
    rows = [([load.account], load.targets) for load in view.loads]
    yield _gauge("targets", "Targets of a service key, those of other shards included.", label, rows)
    rows = [([load.account], load.capacity) for load in view.loads]
    yield _gauge("capacity_targets", "Targets of this kind that a service key can carry.", label, rows)


def _hosts(hosts: Iterable[HostView]) -> Iterator[Metric]:
    label = ("host",)
    opened = [([host.endpoint], float(host.mode is not Mode.CLOSED)) for host in hosts]
    yield _gauge("host_breaker_open", "1 while a host is not asked freely: breaker open or half open.", label, opened)
    busy = [([host.endpoint], host.in_flight) for host in hosts]
    yield _gauge("host_in_flight", "Attempts that use a host now.", label, busy)
    skews = [([host.endpoint], host.skew) for host in hosts if host.skew is not None]
    yield _gauge("host_clock_skew_seconds", "How far our clock is ahead of a host's.", label, skews)


def _targets(targets: Iterable[TargetView]) -> Iterator[Metric]:
    label = ("target",)
    left = [([target.name], round(target.left or 0.0, 1)) for target in targets]
    yield _gauge("target_seconds_left", "Life of the token at Nexla; 0 when there never was one.", label, left)
    life = [([target.name], target.life) for target in targets]
    yield _gauge("target_usable_life_seconds", "How long a new token of a target lives.", label, life)
    alarm = [([target.name], float(target.alarm)) for target in targets]
    yield _gauge("target_alarm", "1 while less life is left than somebody should accept.", label, alarm)
    failures = [([target.name], target.failures) for target in targets]
    yield _gauge("target_failures", "Attempts since the last good one.", label, failures)
    outcomes = [([target.name, str(target.outcome or "never pushed")], 1.0) for target in targets]
    yield _gauge("target_outcome", "1 for how the last attempt ended.", ("target", "outcome"), outcomes)


def _number(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value=float(value))


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for value, number in values.items():
        family.add_metric([value], number)
    return family
