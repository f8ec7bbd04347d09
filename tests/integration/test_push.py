"""`vault-asc push` and `status` as people run them, against a real server: exit codes, locks, token files, deadlines."""

import json
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault_server import FaultServer
from tests.integration.worlds import PROBES, PUTS, import_key, state_of, status_of, until
from vault_asc import push
from vault_asc.cli.wiring import Connection
from vault_asc.clock import system_clock
from vault_asc.lab.apple import answers
from vault_asc.lab.faults import answered, slow
from vault_asc.lab.nexla.faults import refused
from vault_asc.lab.world import World
from vault_asc.push import Pass
from vault_asc.secret import Secret
from vault_asc.state import StateDir

TARGETS = {"sales": 5001, "ads": 5002, "news": 5003}


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with World(targets=TARGETS) as world:
        import_key(world)
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """As on the first day: no state, no token files, no faults, a key that works."""
    shared.nexla.heal()
    shutil.rmtree(shared.dir / "state", ignore_errors=True)
    for name in TARGETS:
        (shared.dir / f"{name}.jwt").unlink(missing_ok=True)
    return shared


def puts(world: World) -> int:
    return world.nexla.journal.count(*PUTS)


def token_at_nexla(world: World, credential_id: int) -> str:
    stored = world.nexla.credential(credential_id).stored
    return str(stored["api.key.auth.value"]).removeprefix("Bearer ")


def fail(world: World, *credentials: int) -> None:
    for number in credentials:
        world.nexla.inject(refused(500), count=1000, method="PUT", path=f"/data_credentials/{number}")


def test_exit_codes_tell_all_some_or_none(world: World) -> None:
    check = ("status", "--check")
    fail(world, *TARGETS.values())
    done = world.run("push", "--all")
    assert done.returncode == 8
    assert done.stderr.count("not written") == 3
    assert "never pushed" not in world.run(*check).stdout
    assert world.run(*check).returncode == 8

    world.nexla.heal()
    fail(world, 5002)
    done = world.run("push", "--all")
    assert done.returncode == 10
    assert (done.stdout.count("live"), done.stderr.count("not written")) == (2, 1)
    assert world.run(*check).returncode == 10
    assert status_of(world, "ads")["failures"] == 2
    assert world.run("push", "--all", "--tick-dir", str(world.dir / "ticks")).returncode == 0, "it is recorded"
    assert status_of(world, "ads")["failures"] == 3

    world.nexla.heal()
    assert world.run("push", "ads").returncode == 0
    assert world.run(*check).returncode == 0
    assert world.run("push", "--all", "--if-due").stdout.count("not due") == 3


def test_a_check_fails_for_what_lives_and_is_of_no_use(world: World) -> None:
    check = ("status", "--check")
    world.must("push", "--all")
    assert world.run(*check).returncode == 0
    world.nexla.inject(answered(401, answers.not_authorized().body), count=1000, path="/data_credentials/5001/probe")
    world.run("push", "sales")
    assert (status_of(world)["outcome"], status_of(world)["alarm"]) == ("written but apple says no", True)
    assert world.run(*check).returncode == 10

    world.nexla.heal()
    world.nexla.inject(answered(403, answers.agreement_missing().body), count=1000, path="/data_credentials/5001/probe")
    world.run("push", "sales")
    assert status_of(world)["outcome"] == "account agreement missing"
    assert world.run(*check).returncode == 10

    world.nexla.heal()
    world.must("push", "sales")
    assert world.run(*check).returncode == 0
    fail(world, 5001)
    for code in (0, 0, 10):
        world.run("push", "sales")
        assert world.run(*check).returncode == code
    assert status_of(world)["left"] > 1000


def test_a_check_of_no_targets_is_no_check(world: World, tmp_path: Path) -> None:
    file = tmp_path / "empty.toml"
    file.write_text("version = 1\n")
    assert world.run("status", "--config", str(file)).returncode == 0
    done = world.run("status", "--check", "--config", str(file))
    assert done.returncode == 2
    assert "nothing can be checked" in done.stderr


@pytest.mark.parametrize("line", ["credential_id = 5004", 'credential_id = 5001\nvendor = "other"'])
def test_a_changed_target_is_told_and_pushed_once(world: World, tmp_path: Path, line: str) -> None:
    world.must("push", "sales")
    file = tmp_path / "changed.toml"
    file.write_text(world.config_file.read_text().replace("credential_id = 5001", line))
    said = json.loads(world.must("status", "--json", "--config", str(file)))["targets"]
    (row,) = [row for row in said if row["target"] == "sales"]
    assert "the target was changed" in row["detail"]
    assert row["outcome"] == ("never pushed" if "5004" in line else "live")
    assert row["alarm"] is ("5004" in line)
    told = world.run("push", "sales", "--if-due", "--dry-run", "--config", str(file)).stdout
    assert "due: the target was changed" in told
    assert status_of(world)["outcome"] == "live"


def test_two_at_once_push_once(world: World) -> None:
    before, probes = puts(world), world.nexla.journal.count(*PROBES)
    world.nexla.inject(slow(60, committed=True), path="*/probe")
    with world.start("push", "sales") as first:
        try:
            until(lambda: world.nexla.journal.count(*PROBES) > probes, "a probe")
            beside = world.run("push", "--all", "--if-due", "--tick-dir", str(world.dir / "ticks"))
            assert beside.returncode == 0
            assert "another vault-asc holds the lock" in beside.stdout + beside.stderr
            assert status_of(world)["attempt_began"] is not None
            assert status_of(world, "ads")["outcome"] == "live"
        finally:
            first.kill()
    assert puts(world) == before + 3, "sales once, ads and news once"
    assert world.run("push", "sales").returncode == 0, "the lock died with its holder"


def test_the_token_file_holds_what_nexla_holds_and_is_replaced_whole(world: World) -> None:
    file = world.dir / "sales.jwt"
    world.must("push", "sales")
    assert file.read_text() == token_at_nexla(world, 5001)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_text()
    with file.open() as opened:
        world.must("push", "sales")
        assert opened.read() == first, "whoever has the old one open keeps it whole"
    assert file.read_text() == token_at_nexla(world, 5001)
    assert [path.name for path in world.dir.iterdir() if path.name.endswith(".tmp")] == []


def test_a_token_file_that_cannot_be_written_does_not_keep_the_token_from_nexla(world: World) -> None:
    (world.dir / "sales.jwt").mkdir()
    try:
        before = token_at_nexla(world, 5001)
        done = world.run("push", "sales")
    finally:
        (world.dir / "sales.jwt").rmdir()
    assert "live" in done.stdout + done.stderr
    assert "cannot write" in done.stdout + done.stderr
    assert token_at_nexla(world, 5001) != before
    told = status_of(world)
    assert (told["outcome"], told["failures"]) == ("live", 1)
    assert "sales.jwt" in told["detail"]


def can_mount() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "-rm", "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs unshare -rm, to mount a small disk")
def test_full_disks_do_not_keep_the_token_from_nexla(world: World) -> None:
    """State and token file on a disk that takes not a byte more."""
    world.must("push", "sales")
    before = token_at_nexla(world, 5001)
    disk = world.dir / "disk"
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size=64k tmpfs {disk}
        cp -r {world.dir}/state {disk}/state
        cp {world.dir}/sales.jwt {disk}/sales.jwt
        sed 's#^token_file = .*sales.jwt"#token_file = "{disk}/sales.jwt"#' {world.config_file} > {world.dir}/full.toml
        dd if=/dev/zero of={disk}/ballast bs=1k 2>/dev/null
        STATE_DIRECTORY={disk}/state {sys.executable} -m vault_asc push sales --config {world.dir}/full.toml \\
            --token-file {world.dir}/token --tick-dir {world.dir}/ticks
        code=$?
        cmp {disk}/sales.jwt {world.dir}/sales.jwt && ls -A {disk}
        exit $code
    """
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.count("No space left") == 3, done.stderr  # the tick, the token file, the record
    assert "sales: live" in done.stderr
    assert done.returncode == 2, "the outcome is not recorded"
    assert sorted(done.stdout.split()[-3:]) == ["ballast", "sales.jwt", "state"], "the old file, and nothing beside it"
    assert token_at_nexla(world, 5001) != before


def test_a_disabled_key_is_told(world: World) -> None:
    world.must("push", "sales")
    world.must("key", "disable", "prod")
    try:
        done = world.run("push", "sales")
        assert done.returncode == 8
        told = status_of(world)
    finally:
        world.must("key", "enable", "prod")
    for text in (done.stderr, told["detail"]):
        assert 'key "prod" was disabled by' in text
        assert "vault-asc key enable prod" in text
    assert told["left"] > 1000, "what Nexla holds is told as before"


def test_a_dry_run_asks_nobody_and_writes_nothing(world: World) -> None:
    asked = len(world.nexla.journal.entries())
    done = world.run("push", "--all", "--dry-run", "--tick-dir", str(world.dir / "ticks"), token=Secret("no-token"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("due: never pushed") == 3
    assert len(world.nexla.journal.entries()) == asked
    assert not (world.dir / "state").exists()


@pytest.mark.parametrize("where", ["a dripping Nexla", "slow probes"])
def test_a_pass_ends_in_time_however_slowly_nexla_answers(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    """With 3 s for a pass in place of 50, in this process, because the limit is no setting."""
    monkeypatch.setattr(push, "DEADLINE", 3.0)
    monkeypatch.setattr(push, "_LEAST", 0.5)
    (tmp_path / "token").write_text(world.server.root_token.reveal())
    connection = Connection(world.config_file, token_file=tmp_path / "token")
    config = connection.config()
    with FaultServer() as drip:
        if where == "a dripping Nexla":
            account = config.nexla["default"]._replace(api_url=f"{drip.url}/drip")
            config = config._replace(nexla={"default": account})
        else:
            world.nexla.inject(slow(60, committed=True), count=1000, path="*/probe")
        states = StateDir(world.dir / "state")
        began = time.monotonic()
        results = Pass(
            states, None, only_due=True, dry=False, clock=system_clock, ports=lambda: connection.ports(config)
        ).run(config.targets)
        took = time.monotonic() - began
    assert took < 3 + 2
    assert len(results) == 3
    first = state_of(world, results[0].target.name)
    assert first.outcome == ("not written" if where == "a dripping Nexla" else "written but unproven")
    assert "no answer" in first.detail
    assert results[-1].reason == "not tried"


def test_what_the_agent_allows_is_more_than_a_pass_takes() -> None:
    from vault_asc.agent import EXEC_TIMEOUT

    assert push.DEADLINE + 5 < EXEC_TIMEOUT
