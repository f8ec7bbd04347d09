import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault_asc.clock import format_duration, iso, parse_duration, system_clock
from vault_asc.errors import ConfigError

SIZES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("19m", 1140), ("1h30m", 5400), ("0s", 0), ("1d", 86400), ("1m1m", 120)]
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "1.5h",
        "-5s",
        "+5s",
        "5 s",
        " 5s",
        "5s ",
        "5s\n",
        "5S",
        "5w",
        "1h 30m",
        "٣s",
        "5s5",
        "1" * 10 + "s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration(text, "agent.tick")
    assert caught.value.message.startswith("agent.tick ")
    assert "\n" not in caught.value.message
    assert "19m" in str(caught.value.hint)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 999_999_999), st.sampled_from(sorted(SIZES))), min_size=1, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    assert parse_duration("".join(f"{n}{unit}" for n, unit in parts)) == sum(n * SIZES[unit] for n, unit in parts)


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_what_is_shown_reads_back_to_the_unit_that_is_shown_last(seconds: int) -> None:
    shown = format_duration(seconds)
    back = parse_duration(shown.replace(" ", ""))
    assert 0 <= seconds - back < SIZES[shown[-1]]
    assert format_duration(-seconds) == (f"-{shown}" if seconds else shown)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (45.9, "45s"),
        (-0.5, "0s"),
        (-45, "-45s"),
        (500, "8m 20s"),
        (-61, "-1m 1s"),
        (11100, "3h 5m"),
        (90000, "1d 1h"),
    ],
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


def test_moments_are_utc_to_the_second() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(1772366399.999) == "2026-03-01T11:59:59Z"


def test_the_system_clock_is_the_wall_clock() -> None:
    assert time.time() - 5 < system_clock() <= time.time()
