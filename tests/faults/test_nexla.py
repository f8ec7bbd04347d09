"""Faults of Nexla, and of what stands in its place: refusals, limits, lost and slow answers, rubbish, redirects."""

import os
import ssl
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from urllib.parse import quote

import pytest
import trustme

from tests.fault_server import FaultServer, black_hole
from tests.faults.conftest import Told
from tests.faults.rig import (
    TARGETS,
    Kept,
    add_account,
    at_address,
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
from vault_asc.lab.nexla import faults as nexla_faults
from vault_asc.lab.web import Answer, LocalServer
from vault_asc.lab.world import World

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
    due_in(world, 1, "sales")
    due_in(world, 3, "ads")
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
        assert world.nexla.journal.count("POST", "/token") == logins + 2
        assert before.nexla == token_at_nexla(world, "ads")
        service.first("refreshed", "ads")
        assert service.stop() == 0


@pytest.mark.parametrize("status", [403, 404])
def test_f15_what_only_a_person_can_mend(world: World, told: Told, status: int) -> None:
    due_in(world, 0, "sales", "ads")
    before = token_at_nexla(world)
    world.nexla.inject(nexla_faults.refused(status), count=99, path=SALES, method="PUT")
    done = once(world)
    assert done.code == 10
    assert done.of("refreshed").keys() == {"ads"}
    failed = done.of("failed")["sales"]
    told(done)
    known = state(world)
    assert failed["next_try"] == pytest.approx(min(900, known.remaining(known.tried_at) - 300), abs=5)
    assert once(world).events[-1]["event"] != "failed", "not before that"
    world.nexla.heal()
    assert (token_at_nexla(world), status_of(world)["failures"]) == (before, 1)
    due_in(world, 0, "news")
    states(world).save("sales", type(known)(), time.time())
    world.nexla.inject(nexla_faults.refused(status), count=99, path=SALES, method="PUT")
    assert once(world).of("failed")["sales"]["next_try"] == pytest.approx(900, abs=1), "nothing is left to lose"


@pytest.mark.parametrize("status", [405, 409, 422])
def test_f16_refused_with_words_that_are_no_line(world: World, told: Told, status: int) -> None:
    due_in(world, 0, "sales")
    before = token_at_nexla(world)
    world.nexla.inject(nexla_faults.refused(status, "no\nluck\x1b[2J"), count=99, path=SALES, method="PUT")
    tries = puts(world)
    done = once(world)
    told(done)
    assert puts(world) == tries + 1
    assert (done.of("failed")["sales"]["next_try"] > 60) == (status == 422)
    assert token_at_nexla(world) == before
    shown = world.run("status")
    told(shown)
    assert "\x1b" not in shown.stdout
    assert not [line for line in shown.stdout.splitlines() if line.startswith("luck")]


@pytest.mark.parametrize("wanted", ["2", "date", "99999999", "abc"])
def test_f17_retry_after(world: World, told: Told, wanted: str) -> None:
    due_in(world, 0, "sales")
    tries = puts(world)
    # Cut to whole seconds: at least 2 s ahead of the moment at which it is read.
    value = formatdate(time.time() + 4, usegmt=True) if wanted == "date" else wanted
    world.nexla.inject(throttled(value), path=SALES, method="PUT")
    done = once(world)
    asked = [entry.time for entry in world.nexla.journal.entries() if (entry.method, entry.path) == ("PUT", SALES)]
    if wanted == "99999999":
        told(done, 1)
        assert puts(world) == tries + 1
        assert done.of("failed")["sales"]["next_try"] < 60, "the schedule's own"
        return
    told(done)
    waited = asked[-1] - asked[-2]
    low, high = {"2": (2.0, 4.0), "date": (0.5, 6.0), "abc": (0.0, 2.5)}[wanted]
    assert low <= waited <= high


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_f18_server_errors(world: World, told: Told, status: int) -> None:
    due_in(world, 0, "sales")
    tries, before = puts(world), token_at_nexla(world)
    world.nexla.inject(answered(status), count=3 if status != 500 else 1, path=SALES, method="PUT")
    with serving(world) as service:
        failed = service.first("failed", "sales")
        told(service)
        assert failed["next_try"] <= 5
        assert puts(world) == tries + (1 if status == 500 else 3)
        assert token_at_nexla(world) == before
        service.first("refreshed", "sales")
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


@pytest.mark.parametrize("kind", RUBBISH)
def test_f21_rubbish(fresh: World, told: Told, kind: str) -> None:
    with FaultServer() as server:
        add_account(fresh, "rubbish", f"{server.url}{RUBBISH[kind]}", "odd")
        done = once(fresh)
    assert done.code == 10
    assert done.of("refreshed").keys() == {"sales", "ads", "news"}
    failed = done.of("failed")["odd"]
    told(done, 1 if RUBBISH[kind].startswith(("/json", "/empty", "/html")) else 0)
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


# -- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_f23_a_redirect_by_nexla(fresh: World, told: Told, status: int) -> None:
    with FaultServer("127.0.0.2") as other, FaultServer() as server:
        add_account(fresh, "away", f"{server.url}/redirect/{status}/{quote(f'{other.url}/ok', safe='')}", "odd")
        done = once(fresh)
        assert other.connections == 0, "the other host was asked"
    told(done)
    assert server.requests
    assert done.of("refreshed").keys() == {"sales", "ads", "news"}


def test_f23_a_stranger_in_the_place_of_nexla(fresh: World, told: Told) -> None:
    """It has a certificate for the name, but nobody who is trusted signed it; it would be told the service key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with FaultServer(tls=context) as stranger:
        add_account(fresh, "away", f"{stranger.url}/ok", "odd")
        done = fresh.run("push", "odd")
    told(done, 2)
    assert not stranger.requests
    assert stranger.connections > 0
    assert done.returncode == 8


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_f23_a_redirect_by_vault(world: World, told: Told, status: int) -> None:
    """As that of a standby that names its leader: to whoever it names no token goes."""
    before = Kept.of(world)
    due_in(world, 0, "sales")
    with FaultServer("127.0.0.2") as other:
        server = LocalServer(lambda _: Answer(status, headers={"Location": f"{other.url}/v1/x"}))
        server.start()
        try:
            at_address(world, server.url)
            done = once(world)
        finally:
            server.stop()
        assert other.connections == 0
    told(done)
    told(done, 1)
    assert Kept.of(world) == before
