"""`vault-asc run` with a login of its own, as people run it: a real Vault with its audit log, signals, revoked tokens."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.leaks import Scanner
from tests.integration.worlds import import_key, state_of, until
from tests.service.test_running import Running
from tests.support import Wire
from vault_asc.errors import VaultError
from vault_asc.lab.server import BaoServer
from vault_asc.lab.world import World

pytestmark = pytest.mark.waits

TARGETS = {f"t{number}": 6100 + number for number in range(3)}
LOGIN = "auth/approle/login"
ROLE = "auth/approle/role/vault-asc"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with World(targets=TARGETS, usable_life=12, server=BaoServer(audit=True)) as world:
        import_key(world)
        yield world


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shutil.rmtree(shared.dir / "state", ignore_errors=True)
    text = shared.config_file.read_text()
    (shared.dir / "secret_id").write_text(new_secret_id(shared))
    yield shared
    shared.config_file.write_text(text)


def configure(world: World, address: str | None = None) -> None:
    text = world.config_file.read_text().replace(world.server.address, address or world.server.address)
    auth = f'[vault.auth]\nmethod = "approle"\nrole_id_file = "{world.dir}/role_id"\nsecret_id_file = "{world.dir}/secret_id"\n'
    world.config_file.write_text(text.replace("[agent]\n", f"{auth}[agent]\n"))


@contextmanager
def running(world: World) -> Iterator[Running]:
    """The service without any token but its own."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(world.dir), "VAULT_ASC_CONFIG": str(world.config_file)}
    with subprocess.Popen(
        [sys.executable, "-m", "vault_asc", "run", "--log-format", "json"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        service = Running(process)
        try:
            until(lambda: process.poll() is not None or service.events("started"), "a start")
            yield service
        finally:
            process.kill()
            service.reader.join(10)


def root(world: World, method: str, path: str, body: object = None) -> dict[str, Any]:
    return world.server.api(method, path, body, token=world.server.root_token)


def new_secret_id(world: World) -> str:
    return str(root(world, "POST", f"{ROLE}/secret-id", {})["data"]["secret_id"])


def audited(world: World, path: str, since: int = 0) -> list[dict[str, Any]]:
    """The answers on a path, as the audit log tells them."""
    lines = [json.loads(line) for line in world.server.audit_log.read_text().splitlines()[since:]]
    return [line for line in lines if line["type"] == "response" and line["request"]["path"] == path]


def lines_of(world: World) -> int:
    return len(world.server.audit_log.read_text().splitlines())


def accessors(world: World) -> list[str]:
    """Of the living tokens that logins have brought."""
    found = []
    for accessor in root(world, "LIST", "auth/token/accessors")["data"]["keys"]:
        data = root(world, "POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
        if data["path"] == LOGIN:
            found.append(accessor)
    return found


def rounds(service: Running, count: int) -> Callable[[], bool]:
    """Whether so many more refreshes were told than there are now."""
    before = len(service.events("refreshed"))
    return lambda: len(service.events("refreshed")) >= before + count


def test_one_login_serves_all_and_the_token_is_given_back(world: World) -> None:
    configure(world)
    begin = lines_of(world)
    with running(world) as service:
        until(rounds(service, 6), "two rounds")
        assert len(accessors(world)) == 1
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 10
    assert accessors(world) == []
    assert len(audited(world, LOGIN, begin)) == 1
    [revocation] = audited(world, "auth/token/revoke-self", begin)
    assert "error" not in revocation
    assert not service.events("failed")
    assert not service.events("limits unknown")


def test_a_token_revoked_in_the_middle_costs_one_login_and_no_target(world: World) -> None:
    configure(world)
    begin = lines_of(world)
    with running(world) as service:
        until(rounds(service, 3), "a first round")
        [accessor] = accessors(world)
        root(world, "POST", "auth/token/revoke-accessor", {"accessor": accessor})
        until(rounds(service, 6), "two more rounds")
        assert accessors(world) not in ([], [accessor])
        assert service.stop() == 0
    assert not service.events("failed")
    logins = service.events("logged in")
    assert [(event["level"], event["mount"]) for event in logins] == [("info", "approle")] * 2
    assert all(event["ttl"] > 0 for event in logins)
    assert len(audited(world, LOGIN, begin)) == 2


def test_a_policy_taken_away_is_told_as_that_without_logins(world: World) -> None:
    configure(world)
    begin = lines_of(world)
    text = root(world, "GET", "sys/policies/acl/asc-agent")["data"]["policy"]
    with running(world) as service:
        until(rounds(service, 3), "a first round")
        try:
            root(world, "PUT", "sys/policies/acl/asc-agent", {"policy": "# nothing"})
            until(lambda: len(service.events("failed")) >= 3, "failures")
        finally:
            root(world, "PUT", "sys/policies/acl/asc-agent", {"policy": text})
        [detail] = {event["detail"] for event in service.events("failed")}
        assert 'permission denied: the token lacks "read" on "secret/data/asc/keys/prod"' in detail
        assert service.stop() == 0
    assert len(audited(world, LOGIN, begin)) == 1


def test_a_rotated_secret_id_is_used_by_the_next_login(world: World) -> None:
    configure(world)
    with running(world) as service:
        until(rounds(service, 3), "a first round")
        old = (world.dir / "secret_id").read_text()
        (world.dir / "secret_id").write_text(new_secret_id(world))
        root(world, "POST", f"{ROLE}/secret-id/destroy", {"secret_id": old})
        [accessor] = accessors(world)
        root(world, "POST", "auth/token/revoke-accessor", {"accessor": accessor})
        until(rounds(service, 3), "another round")
        assert service.stop() == 0
    assert not service.events("failed")


def test_a_vault_that_is_sealed_at_the_login_is_waited_for(world: World) -> None:
    configure(world)
    with running(world) as service:
        until(rounds(service, 3), "a first round")
        assert service.stop() == 0
    before = {name: (state_of(world, name).expires_at, (world.dir / f"{name}.jwt").read_text()) for name in TARGETS}
    world.server.seal()
    try:
        with running(world) as service:
            until(lambda: len({e["target"] for e in service.events("failed")}) == 3, "failures of all")
            assert all("is sealed" in event["detail"] for event in service.events("failed"))
            for name in TARGETS:
                assert (state_of(world, name).expires_at, (world.dir / f"{name}.jwt").read_text()) == before[name]
            world.server.unseal()
            until(lambda: len({e["target"] for e in service.events("refreshed")}) == 3, "a recovery", 90)
            assert service.stop() == 0
    finally:
        world.server.unseal()


def test_a_wrong_secret_id_is_told_and_mended_without_a_restart(world: World) -> None:
    good = (world.dir / "secret_id").read_text()
    (world.dir / "secret_id").write_text("wrong-secret-id-sentinel")
    with Wire(world.server.address) as wire:
        configure(world, wire.address)
        with running(world) as service:
            until(lambda: len({e["target"] for e in service.events("failed")}) == 3, "failures of all")
            [detail] = {event["detail"] for event in service.events("failed")}
            assert 'the login at "auth/approle/login" was refused' in detail
            assert "invalid role or secret ID" in detail
            assert wire.calls.count(("POST", LOGIN)) == 1
            [event] = service.events("login failed")
            assert (event["level"], event["next_try"]) == ("warning", 60)
            assert "invalid role or secret" in event["detail"]
            (world.dir / "secret_id").write_text(good)
            assert service.stop() == 0
        text = "".join(service.lines)
        assert "wrong-secret-id-sentinel" not in text


def test_nothing_that_is_told_holds_a_secret(world: World) -> None:
    configure(world)
    with Wire(world.server.address) as wire:
        world.config_file.write_text(world.config_file.read_text().replace(world.server.address, wire.address))
        with running(world) as service:
            until(rounds(service, 3), "a first round")
            for accessor in accessors(world):
                root(world, "POST", "auth/token/revoke-accessor", {"accessor": accessor})
            until(rounds(service, 3), "another round")
            shown = [(Path("/proc") / str(service.process.pid) / part).read_bytes() for part in ("cmdline", "environ")]
            for accessor in accessors(world):
                root(world, "POST", "auth/token/revoke-accessor", {"accessor": accessor})
            until(lambda: service.events("failed"), "a second revocation within a minute")
            assert "is not taken either" in service.events("failed")[0]["detail"]
            assert service.stop() == 0
        tokens = {token for token in wire.tokens if token}
        assert len(tokens) == 2
        sentinels: dict[str, str | bytes] = {f"token {number}": token for number, token in enumerate(sorted(tokens))}
        sentinels["secret ID"] = (world.dir / "secret_id").read_text()
        scanner = Scanner(sentinels)
        kept = {world.dir / name for name in ("secret_id", "token")}
        assert not [
            *scanner.find("".join(service.lines), "events"),
            *(leak for text in shown for leak in scanner.find(text, "process")),
            *scanner.find_in_files(world.dir, but=kept),
        ]


def test_a_push_beside_it_needs_a_token_of_its_own(world: World) -> None:
    configure(world)
    environ = {"PATH": os.environ["PATH"], "HOME": str(world.dir), "VAULT_ASC_CONFIG": str(world.config_file)}
    done = subprocess.run(
        [sys.executable, "-m", "vault_asc", "push", "t0"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "no Vault token" in done.stdout + done.stderr
    with pytest.raises(VaultError):
        world.server.api("POST", LOGIN, {"role_id": "x"})
