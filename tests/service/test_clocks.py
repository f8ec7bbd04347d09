"""Our clock, its jumps, and what the servers' clocks say about it; events as lines."""

import json
import logging
import math
from collections.abc import Callable
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.simulated import NOW, Time
from vault_asc.service.clocks import SteadyClock
from vault_asc.service.events import Event, as_json, as_text
from vault_asc.service.skew import FRESH, Sample, SkewError, Skews, measured


def test_the_clock_follows_the_monotonic_one_between_two_looks() -> None:
    time = Time()
    clock = SteadyClock(time.wall, time.monotonic)
    time.ahead = 3600
    time.elapsed += 5
    assert clock() == NOW + 5
    assert clock.look() == 3600
    assert clock() == NOW + 3605
    assert clock.look() == 0


def test_small_corrections_are_followed_silently() -> None:
    time = Time()
    clock = SteadyClock(time.wall, time.monotonic)
    for _ in range(10):
        time.ahead += 1.5
        assert clock.look() == 0
    assert clock() == NOW + 15


@pytest.mark.parametrize(("ahead", "expected"), [(0, 0), (0.9, 0), (45.5, 44.5), (-45, -45), (3600, 3599)])
def test_skew_is_measured_within_the_rounding_of_the_header(ahead: float, expected: float) -> None:
    assert measured(formatdate(NOW, usegmt=True), NOW + ahead) == pytest.approx(expected)


@given(st.text(max_size=40))
def test_an_odd_date_is_no_measurement(text: str) -> None:
    skew = measured(text, NOW)
    assert skew is None or math.isfinite(skew)


def test_no_date_no_measurement() -> None:
    assert measured(None, NOW) is None
    assert measured("Mon, 99 Foo 2026 99:99:99 GMT", NOW) is None


def test_from_a_minute_on_nothing_is_minted_for_that_servers_targets() -> None:
    skews = Skews()
    skews.note("vault", Sample(59, 0))
    skews.note("nexla", Sample(-61, 0))
    skews.check(("vault", "other"), 1)
    with pytest.raises(SkewError, match='61 s behind that of "nexla"'):
        skews.check(("vault", "nexla"), 1)
    skews.check(("vault", "nexla"), FRESH + 1)
    skews.note("nexla", Sample(3600, 0))
    with pytest.raises(SkewError, match="ahead of"):
        skews.check(("nexla",), 1)
    skews.forget()
    skews.check(("vault", "nexla"), 1)


EVIL = 'x"\n\r\x1b[2J\x00\u2028{"event": "fake"} token eyJhbGciOiJFUzI1NiJ9.e30.c2ln'


@pytest.mark.parametrize("line", [as_json, as_text])
def test_an_event_is_one_line_whatever_it_holds(line: Callable[[Event, float], str]) -> None:
    text = line(Event("failed", logging.WARNING, "sales", {"detail": EVIL, "left": 3}), NOW)
    assert text.isascii()
    assert text.isprintable()
    assert len(text.splitlines()) == 1
    assert "eyJhbGci" not in text


def test_json_lines_can_be_read() -> None:
    read = json.loads(as_json(Event("failed", logging.WARNING, "sales", {"detail": 'a\n"b"', "left": None}), NOW))
    assert read == {
        "time": "2026-03-01T12:00:00Z",
        "level": "warning",
        "event": "failed",
        "target": "sales",
        "detail": 'a\n"b"',
        "left": None,
    }


def test_text_lines_are_plain_where_that_is_unambiguous() -> None:
    text = as_text(
        Event("refreshed", logging.INFO, "sales", {"outcome": "live", "reason": "half = over", "x": ""}), NOW
    )
    assert text == '2026-03-01T12:00:00Z INFO    refreshed target=sales outcome=live reason="half = over" x=""'
