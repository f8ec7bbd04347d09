"""Faults of Nexla, and of what stands in its place: refusals, limits, lost and slow answers, rubbish."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from urllib.parse import quote

import pytest

from tests.fault_server import FaultServer, black_hole
from tests.faults.conftest import Told
from tests.faults.rig import (
    SOON,
    TARGETS,
    Kept,
    add_account,
    due_in,
    once,
    ready,
    serving,
    state,
    states,
    token_at_nexla,
)
from tests.integration.worlds import status_of
from vault_asc.lab.faults import answered, dropped, throttled
from vault_asc.lab.journal import Entry
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.lab.world import World
from vault_asc.rotation import TargetState

pytestmark = pytest.mark.waits

BUSY = 5.0  # seconds that a machine with other things to do may take longer
Pushed = subprocess.CompletedProcess[str]
SALES = "/data_credentials/5001"
RUBBISH = {
    "cut short": "/trunc",
    "cut in a chunk": "/trunc-chunk",
    "empty": "/empty",
    "a page": "/html",
    "no HTTP": "/garbage",
    "a reset": "/rst",
    "no JSON": "/json/" + quote('{"a":', safe=""),
    "too deep": "/json/" + quote("[" * 5000, safe=""),
    "NaN": "/json/" + quote('{"access_token": NaN}', safe=""),
    "doubled": "/json/" + quote('{"access_token": "a-token", "access_token": "b-token"}', safe=""),
    "huge number": "/json/" + quote('{"access_token": "a-token", "expires_in": ' + "9" * 5000 + "}", safe=""),
    "a list": "/json/" + quote("[]", safe=""),
}


def puts(world: World, target: str = "sales") -> int:
    return world.nexla.journal.count("PUT", f"/data_credentials/{world.targets[target]}")


def test_f08_a_black_hole(told: Told) -> None:
    """In place of one of two accounts; its targets begin without a token, so that they are always due."""
    with ready(World(targets=TARGETS, usable_life=40)) as world, black_hole() as url:
        add_account(world, "hole", url, *(f"lost-{n}" for n in range(8)))
        due_in(world, 8, "ads")  # about two seconds after the start, which waits for the hole for 5
        with serving(world) as service:
            service.first("refreshed", "ads")
            assert not service.of("failed"), "who becomes due does not wait for the hole"
            service.first("failed", timeout=60)
            told(service)
            breaker = service.first("breaker", timeout=25)
            told(service, 1)
            assert breaker["host"] in url
            for target in ("sales", "ads", "news"):
                service.first("refreshed", target)
            assert {event["target"] for event in service.of("failed")} <= {f"lost-{n}" for n in range(8)}
            assert not service.of("mandatory")
            assert service.stop() == 0


# -- refusals --------------------------------------------------------------------------------------------------------


def test_f14_a_session_is_lost(world: World, told: Told) -> None:
    due_in(world, SOON, "sales")
    due_in(world, SOON + 3, "ads")
    with serving(world) as service:
        logins = world.nexla.journal.count("POST", "/token")
        world.nexla.end_sessions()
        service.first("refreshed", "sales")
        told(service)
        assert world.nexla.journal.count("POST", "/token") == logins + 1
        before = Kept.of(world, "ads")
        world.nexla.inject(nexla_faults.SESSION_LOST, count=2, method="PUT")
        service.first("failed", "ads")
        told(service, 1)
        # One for the attempt that failed, and one more if the next has begun meanwhile.
        assert world.nexla.journal.count("POST", "/token") in {logins + 2, logins + 3}
        assert before.nexla == token_at_nexla(world, "ads")
        service.first("refreshed", "ads")
        assert service.stop() == 0


def test_f15_what_only_a_person_can_mend(world: World, told: Told) -> None:
    due_in(world, 0, "sales", "ads", "news")
    before = {target: token_at_nexla(world, target) for target in ("sales", "ads")}
    refuse(world, {"sales": 403, "ads": 404})
    done = once(world)
    assert done.code == 10
    assert done.of("refreshed").keys() == {"news"}
    for target in before:
        told(done.about(target))
        known = state(world, target)
        next_try = done.of("failed")[target]["next_try"]
        assert next_try == pytest.approx(min(900, known.remaining(known.tried_at) - 300), abs=5)
    assert not once(world).of("failed"), "not before that"
    world.nexla.heal()
    assert {target: token_at_nexla(world, target) for target in before} == before
    assert [status_of(world, target)["failures"] for target in before] == [1, 1]
    nothing_is_left_to_lose(world)


def nothing_is_left_to_lose(world: World) -> None:
    for target in ("sales", "ads"):
        states(world).save(target, TargetState(), time.time())
    refuse(world, {"sales": 403, "ads": 404})
    assert [event["next_try"] for event in once(world).of("failed").values()] == pytest.approx([900, 900], abs=1)


def refuse(world: World, statuses: Mapping[str, int], words: str = "no") -> None:
    """Let Nexla refuse every PUT of these targets."""
    for target, status in statuses.items():
        path = f"/data_credentials/{world.targets[target]}"
        world.nexla.inject(nexla_faults.refused(status, words), count=99, path=path, method="PUT")


def test_f16_refused_with_words_that_are_no_line(world: World, told: Told) -> None:
    statuses = {"sales": 405, "ads": 409, "news": 422}
    due_in(world, 0, *statuses)
    before = {target: (token_at_nexla(world, target), puts(world, target)) for target in statuses}
    refuse(world, statuses, "no\nluck\x1b[2J")
    done = once(world)
    for target, (token, tries) in before.items():
        told(done.about(target))
        assert (token_at_nexla(world, target), puts(world, target)) == (token, tries + 1)
        assert (done.of("failed")[target]["next_try"] > 60) == (statuses[target] == 422)
    shown = world.run("status")
    told(shown)
    assert "\x1b" not in shown.stdout
    assert not [line for line in shown.stdout.splitlines() if line.startswith("luck")]


WAITS = {"sales": ("2", 2.0, 4.0), "ads": ("date", 0.5, 6.0), "news": ("abc", 0.0, 2.5)}


def test_f17_retry_after(world: World, told: Told) -> None:
    """Each waits as long as it is told, those that wait do not hold up the others."""
    due_in(world, 0, *WAITS)
    for target, (wanted, _, _) in WAITS.items():
        # Cut to whole seconds: at least 2 s ahead of the moment at which it is read.
        throttle(world, target, formatdate(time.time() + 4, usegmt=True) if wanted == "date" else wanted)
    done = once(world)
    for target, (_, least, most) in WAITS.items():
        told(done.about(target))
        asked = [entry.time for entry in world.nexla.journal.entries() if entry_of(world, target, entry)]
        assert least <= asked[-1] - asked[-2] <= most + BUSY


def test_f17_retry_after_that_is_too_long(world: World, told: Told) -> None:
    due_in(world, 0, "sales")
    tries = puts(world)
    throttle(world, "sales", "99999999")
    done = once(world)
    told(done, 1)
    assert puts(world) == tries + 1
    assert done.of("failed")["sales"]["next_try"] < 60, "the schedule's own"


def throttle(world: World, target: str, retry_after: str) -> None:
    world.nexla.inject(throttled(retry_after), path=f"/data_credentials/{world.targets[target]}", method="PUT")


def entry_of(world: World, target: str, entry: Entry) -> bool:
    return (entry.method, entry.path) == ("PUT", f"/data_credentials/{world.targets[target]}")


@pytest.mark.parametrize("statuses", [{"sales": 500}, {"sales": 502, "ads": 503, "news": 504}])
def test_f18_server_errors(world: World, told: Told, statuses: Mapping[str, int]) -> None:
    due_in(world, 0, *statuses)
    tries = {target: 1 if status == 500 else 3 for target, status in statuses.items()}
    for target, status in statuses.items():
        path = f"/data_credentials/{world.targets[target]}"
        world.nexla.inject(answered(status), count=tries[target], path=path, method="PUT")
    before = {target: puts(world, target) for target in statuses}
    with serving(world) as service:
        for target in statuses:
            failed = service.first("failed", target)
            assert failed["next_try"] <= 5
            told(service)
            service.first("refreshed", target)
            assert puts(world, target) == before[target] + tries[target] + 1, "the last one is the next attempt's"
            told(service, 1)
        assert service.stop() == 0


def test_f19_the_answer_to_a_write_is_lost(world: World, told: Told) -> None:
    due_in(world, 0, "sales")
    tries, posts = puts(world), world.nexla.journal.count("POST", "/data_credentials*")
    world.nexla.inject(dropped(committed=True), path=SALES, method="PUT")
    done = once(world)
    told(done)
    assert puts(world) == tries + 2
    assert world.nexla.journal.count("POST", "/data_credentials*") == posts
    assert (world.dir / "sales.jwt").read_text() == token_at_nexla(world)
    assert world.nexla.flow_read(5001) == 200


# -- slow answers, and rubbish ---------------------------------------------------------------------------------------


def instead_of_nexla(world: World, url: str, target: str = "odd") -> Callable[[], Pushed]:
    """A push of a target whose Nexla is something else."""
    name = f"at-{target}"
    add_account(world, name, url, target)
    return lambda: world.run("push", target)


def test_f20_slow_answers(world: World, told: Told) -> None:
    """Side by side, because they only wait."""
    kinds = ("silent", "drip", "drip-header")
    with FaultServer() as server, ThreadPoolExecutor() as pool:
        pushes = [instead_of_nexla(world, f"{server.url}/{kind}", kind) for kind in kinds]
        for target in ("sales", "ads", "news"):
            due_in(world, 1000, target)

        def timed(push: Callable[[], Pushed]) -> tuple[Pushed, float]:
            began = time.monotonic()
            return push(), time.monotonic() - began

        for done, took in pool.map(timed, pushes):
            assert done.returncode == 8
            told(done)
            assert 15 <= took < 15 + 1 + 3, "the deadline, a second, and the start of the program"


def test_f21_rubbish(fresh: World, told: Told) -> None:
    """Each kind in place of a Nexla of its own."""
    with FaultServer() as server:
        for number, path in enumerate(RUBBISH.values()):
            add_account(fresh, f"rubbish-{number}", f"{server.url}{path}", f"odd-{number}")
        done = once(fresh)
    assert done.code == 10
    assert done.of("refreshed").keys() == {"sales", "ads", "news"}
    for number, path in enumerate(RUBBISH.values()):
        told(done.about(f"odd-{number}"), 1 if path.startswith(("/json", "/empty", "/html")) else 0)
        failed = done.of("failed")[f"odd-{number}"]
        assert len(failed["detail"]) < 600
        assert failed["next_try"] <= 60, "tried again"


def test_f22_endless_answers_and_bombs(fresh: World, told: Told) -> None:
    """Memory of the whole process, against one that is told off with a plain 500."""
    with FaultServer() as server:
        plain, _ = peak(fresh, f"{server.url}/status/500", "plain")
        for kind in ("huge", "huge-503", "gzipbomb", "long-trailer"):
            used, said = peak(fresh, f"{server.url}/{kind}", kind)
            told(said)
            assert used - plain < 20 << 20, f"{kind}: {used - plain} bytes more"


def peak(world: World, url: str, target: str) -> tuple[int, Pushed]:
    """Bytes of memory that a push takes, and what it says."""
    add_account(world, f"at-{target}", url, target)
    with world.start("push", target) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 8, said
    return usage.ru_maxrss << 10, Pushed(process.args, process.returncode, "", said)
