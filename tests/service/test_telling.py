"""What events say: a reason that is one, a way out, and nothing where there is nothing to say."""

import logging

import pytest

from tests.keys import KEY_ID
from tests.service.looked_at import looked_at, samples
from tests.service.simulated import HOST, NOW, VAULT, Simulation
from vault_asc.config import Target
from vault_asc.errors import ConfigError, NexlaError, NotFoundError, VaultAscError, VaultUnavailableError
from vault_asc.nexla.allowance import Allowance
from vault_asc.rotation import TargetState
from vault_asc.service import telling
from vault_asc.service.attempt import Attempted
from vault_asc.service.events import Event, as_text
from vault_asc.service.listening.metrics import exposition
from vault_asc.service.work import Track
from vault_asc.vault import LoggedIn, LoginFailed, LoginNews, Renewed

# --- why a token is about to die -----------------------------------------------------------------------------------


def test_who_waits_behind_a_breaker_is_told_with_that_and_not_with_the_last_success() -> None:
    sim = Simulation(30)
    sim.give_life(320)
    sim.fault = lambda _target, _now: "outage"
    sim.run(60)
    told = sim.told("mandatory")
    assert len(told) == 30
    waiting = [event for event in told if not event.facts["failures"]]
    assert waiting
    assert {event.facts["detail"] for event in waiting} <= {f"waits: breaker of {HOST} open", f"waits: breaker of {HOST} half open"}  # fmt: skip
    tried = [event.facts["detail"] for event in told if event.facts["failures"]]
    assert tried
    assert all(detail.startswith("no answer; waits: ") for detail in tried)


def test_who_waits_for_a_sealed_vault_is_told_with_that() -> None:
    sim = Simulation(30)
    sim.give_life(320)
    sim.fault = lambda _target, _now: "sealed"
    sim.run(60)
    assert f"waits: breaker of {VAULT} open" in {event.facts["detail"] for event in sim.told("mandatory")}


@pytest.mark.parametrize(
    ("sim", "said"),
    [
        (Simulation(3, workers=1, took=30), "waits: all 1 workers are busy"),
        (Simulation(3, allowance=Allowance(0.05, 0.05, 172_800, 259_200)), 'waits: the rate of account "key-0" is used up'),
        (Simulation(1, took=30), "its attempt was begun "),
    ],
    ids=["workers", "rate", "under way"],
)  # fmt: skip
def test_who_waits_for_anything_else_is_told_with_that(sim: Simulation, said: str) -> None:
    sim.give_life(310)
    sim.run(40)
    assert any(said in event.facts["detail"] for event in sim.told("mandatory")), sim.events


def test_a_breaker_that_opens_tells_why() -> None:
    sim = Simulation(30, fault=lambda _target, _now: "outage")
    sim.run(60)
    opened = [event for event in sim.told("breaker") if event.facts["mode"] == "open"]
    assert opened
    assert {event.facts["detail"] for event in opened} == {"no answer"}


# --- attempts ------------------------------------------------------------------------------------------------------


def test_what_reached_nexla_but_no_disk_is_told_and_counted_as_what_it_is() -> None:
    sim = Simulation(1)
    good = sim.attempt

    def unrecorded(target: Target) -> Attempted:
        done = good(target)
        return done._replace(result=done.result._replace(error=ConfigError("the disk is full"), recorded=False))

    sim.attempt = unrecorded  # type: ignore[method-assign]
    with looked_at(sim) as looked:
        sim.run(30, looked.service)
        counted = looked.metrics()["vault_asc_attempts_total"]
    assert (counted["live",], counted["not tried",]) == (1, 0)
    [event] = [event for event in looked.events if event.name == "not recorded"]
    assert (event.level, event.target) == (logging.WARNING, "target-0")
    facts = event.facts
    assert (facts["outcome"], facts["key_id"], facts["detail"]) == ("live", KEY_ID, "the disk is full")
    assert facts["left"] > 1000


# --- logins and service keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "name", "level"),
    [
        (NexlaError("no answer", hint="try", retryable=True), "limits unknown", logging.WARNING),
        (NexlaError("401 to the login", hint="try", status=401), "account unusable", logging.ERROR),
        (NotFoundError("nothing", hint="try"), "account unusable", logging.ERROR),
        (VaultUnavailableError("sealed", hint="try"), "account unusable", logging.ERROR),
    ],
)
def test_what_does_not_pass_by_itself_is_an_error(error: VaultAscError, name: str, level: int) -> None:
    event = telling.of_account("default", error)
    assert event[:2] == (name, level)
    assert event.facts == {"account": "default", "detail": error.message, "hint": "try"}


def test_the_metrics_tell_of_a_login_that_fails() -> None:
    failure = LoginFailed("approle", VaultUnavailableError("sealed"), 0.2)
    with looked_at(Simulation(1)) as looked:

        def after(news: LoginNews) -> float:
            looked.seen.tell(telling.of_login(news))
            return samples(exposition(looked.seen.observer).decode())["vault_asc_login_ok"][()]

        assert looked.metrics()["vault_asc_login_ok"] == {(): 1}
        told = [after(news) for news in (failure, LoggedIn("approle", 60), failure, Renewed("approle", 60))]
    assert told == [0, 1, 0, 1]


# --- lines -----------------------------------------------------------------------------------------------------------


def test_a_line_does_not_say_what_there_is_not() -> None:
    unread = telling.of_login(LoginFailed("approle", ConfigError("no file"), 0.0))
    assert unread.facts["next_try"] is None
    assert as_text(unread, NOW).endswith('login failed mount=approle detail="no file"')
    assert telling.of_login(LoginFailed("approle", VaultUnavailableError("x"), 0.2)).facts["next_try"] == 1
    assert "left" not in as_text(Event("failed", logging.WARNING, "sales", {"left": None, "took": 1}), NOW)


@pytest.mark.parametrize(
    ("count", "end"),
    [
        (0, "INFO    stopped in_flight=0"),
        (2, 'ERROR   stopped in_flight=2 left_behind="t00, t01"'),
        (23, 't18, t19 and 3 more"'),
    ],
)
def test_the_end_names_who_is_left_behind(count: int, end: str) -> None:
    left = [Track(Target(f"t{number:02}", "prod", number + 1), TargetState()) for number in reversed(range(count))]
    assert as_text(telling.of_stop(left), NOW).endswith(end)
