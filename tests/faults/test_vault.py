"""Faults of Vault: sealed, limited, failing, without a place for its audit log; and of the token and its policy."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import (
    SOON,
    TARGETS,
    Kept,
    at_address,
    due_in,
    not_soon_again,
    once,
    ready,
    serving,
    state,
)
from tests.integration.worlds import status_of, token_of, until
from tests.support import Answer, Wire
from vault_asc.lab import world as lab_world
from vault_asc.lab.serve import ISSUER_ID
from vault_asc.lab.server import BaoAgent, BaoServer
from vault_asc.lab.world import World
from vault_asc.secret import Secret

pytestmark = pytest.mark.waits


def test_f01_vault_sealed(told: Told) -> None:
    with ready(World(server=BaoServer())) as world:
        due_in(world, SOON, "sales")
        before = Kept.of(world)
        with serving(world) as service:
            world.server.seal()
            failed = service.first("failed", "sales")
            told(service)
            assert failed["left"] > 300
            assert failed["level"] == "warning"
            assert Kept.of(world) == before
            assert status_of(world)["outcome"] == "not written"
            told(world.run("status"))
            world.server.unseal()
            began = time.monotonic()
            service.first("refreshed", "sales", timeout=60)
            assert time.monotonic() - began < 60
            assert service.stop() == 0
        assert Kept.of(world) != before


def test_f05_vault_limits_the_rate(world: World, told: Told) -> None:
    due_in(world, 0, "sales")
    before = Kept.of(world)
    path = "sys/quotas/rate-limit/tight"
    body = {"path": "secret", "rate": 1, "interval": "1h"}
    with serving(world) as service:
        service.first("refreshed", "sales")
        due_in(world, 0, "sales", "ads")
        world.server.api("POST", path, body, token=world.server.root_token)
    try:
        before = Kept.of(world)
        with Wire(world.server.address) as wire:
            at_address(world, wire.address)
            done = once(world)
        failed = done.of("failed")
        assert failed.keys() == {"sales", "ads"}
        told(done)
        assert 3 < failed["sales"]["next_try"] <= 5
        # Nexla's limits are asked for at the start, which needs the service key: three tries; then each target has its own.
        assert len(wire.calls) <= 3 + 2 * 3
        assert Kept.of(world) == before
    finally:
        at_address(world, world.server.address)
        world.server.api("DELETE", path, token=world.server.root_token)
    assert world.run("push", "sales", "ads").returncode == 0


def test_f06_a_server_error_that_does_not_pass(world: World, told: Told) -> None:
    world.must("key", "import", str(world.new_key("OTHERKEY01")), "other", "--issuer-id", ISSUER_ID)
    world.config_file.write_text(
        world.config_file.read_text().replace('name = "ads"\nkey = "prod"', 'name = "ads"\nkey = "other"')
    )
    due_in(world, 0, *world.targets)
    broken = "secret/data/asc/private/other"
    body = b'{"errors": ["could not find version data"]}'
    try:
        with Wire(world.server.address) as wire:
            wire.fate = lambda _method, path: Answer(500, body) if path == broken else None
            at_address(world, wire.address)
            done = once(world)
        assert done.code == 10
        assert done.of("refreshed").keys() == {"sales", "news"}
        told(done)
        assert 1 <= wire.calls.count(("GET", broken)) <= 3
    finally:
        at_address(world, world.server.address)
        world.must("key", "disable", "other")
        world.must("key", "destroy", "other", "--yes")


def test_f07_the_audit_device_is_full(tmp_path: Path, told: Told) -> None:
    """The log's name leads to a file, then to /dev/full, which takes not a byte; the mode keeps the server from chmod."""
    log, device = tmp_path / "audit.log", tmp_path / "device"
    log.touch(mode=0o600)
    device.symlink_to(log)
    options = {"file_path": str(device), "mode": "0000"}
    settings = {"audit": [{"type": "file", "path": "small", "options": options}]}
    with ready(World(server=BaoServer(settings=settings))) as world:
        due_in(world, 0, "sales")
        before = Kept.of(world)
        point(device, Path("/dev/full"), world.server)
        until(lambda: world.run("key", "list").returncode, "an error for a full audit device")
        with serving(world) as service:
            service.first("failed", "sales")
            told(service)
            assert world.server.api("GET", "sys/health")["sealed"] is False
            assert Kept.of(world) == before
            assert before.nexla not in service.text
            point(device, log, world.server)
            service.first("refreshed", "sales")
            assert service.stop() == 0
        assert Kept.of(world) != before


def point(name: Path, target: Path, server: BaoServer) -> None:
    """Let the audit log be something else, and the server open it anew."""
    new = name.with_suffix(".new")
    new.symlink_to(target)
    new.rename(name)
    os.kill(server.pid, 1)


# -- the token -------------------------------------------------------------------------------------------------------


def agents_token(world: World) -> Secret:
    """A token as the Agent's, and as that of an AppRole: the shipped policy and no other."""
    body = {"policies": ["asc-agent"], "no_default_policy": True, "ttl": "1h", "no_parent": True}
    auth = world.server.api("POST", "auth/token/create", body, token=world.server.root_token)["auth"]
    return Secret(auth["client_token"])


def revoke(world: World, token: Secret) -> None:
    world.server.api("POST", "auth/token/revoke", {"token": token.reveal()}, token=world.server.root_token)


def test_f09_the_token_in_the_file_is_revoked(world: World, told: Told) -> None:
    """A new one is taken by SIGHUP; what failed by then has its minute to wait."""
    due_in(world, SOON, "sales")
    due_in(world, SOON + 4, "ads")
    old = agents_token(world)
    before = Kept.of(world)
    with serving(world, token=old) as service:
        revoke(world, old)
        told(not_soon_again(service, "sales"))
        assert Kept.of(world) == before
        (world.dir / "token").write_text(agents_token(world).reveal())
        service.process.send_signal(1)
        service.first("reloaded")
        service.first("refreshed", "ads")
        assert len(service.of("failed")) == 1
        assert service.stop() == 0


def test_f09_the_token_of_the_agent_is_revoked(told: Told) -> None:
    """Its listener gives a new one as soon as it has logged in again."""
    with ready(World(targets=TARGETS, token_period=10, tick=60)) as world, world.agent() as agent:
        at_address(world, f"unix://{agent.socket}")
        first = until(lambda: created(agent), "a token of the Agent")
        time.sleep(1.1)  # Vault tells the time of a token's creation in whole seconds
        with nobody_logs_in(world):
            revoke_logins(world)
            done = world.run("push", "sales")
        assert done.returncode == 8
        told(done)
        until(lambda: created(agent) > first, "a new token of the Agent")
        due_in(world, 0, "ads")
        with serving(world) as service:
            # The service does it, or the Agent's own push, which a new login may start as well.
            until(
                lambda: state(world, "ads").remaining(time.time()) > world.usable_life * 0.8, "a new token of ads", 90
            )
            assert service.stop() == 0


@contextmanager
def nobody_logs_in(world: World) -> Iterator[None]:
    """The AppRole has another ID meanwhile, or the Agent would be faster than a busy machine."""
    role, root = "auth/approle/role/vault-asc/role-id", world.server.root_token
    world.server.api("POST", role, {"role_id": "somebody-else"}, token=root)
    try:
        yield
    finally:
        world.server.api("POST", role, {"role_id": (world.dir / "role_id").read_text()}, token=root)


def created(agent: BaoAgent) -> int:
    """When the Agent's token was made; 0 when it has none that is good."""
    try:
        return int(token_of(agent)["creation_time"])
    except KeyError:
        return 0


def test_f09_the_token_of_the_own_login_is_revoked(world: World, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """One login, within the same attempt: nothing is to be seen of it. A token without a login is told as ever."""
    told(world.run("push", "news", token=Secret("s.aaaaaaaaaaaaaaaaaaaaaaaa")))
    files = "".join(f'{name}_file = "{world.dir / name}"\n' for name in ("role_id", "secret_id"))
    login = f'[vault.auth]\nmethod = "approle"\n{files}[agent]'
    world.config_file.write_text(world.config_file.read_text().replace("[agent]", login, 1))
    due_in(world, SOON, "sales")
    due_in(world, SOON + 4, "ads")
    monkeypatch.setattr(lab_world, "_takes_token", lambda _words: False)
    with serving(world) as service:
        revoke_logins(world)
        service.first("refreshed", "sales")
        service.first("refreshed", "ads")
        assert not service.of("failed")
        assert service.stop() == 0


def revoke_logins(world: World) -> None:
    world.server.api("POST", "sys/leases/revoke-prefix/auth/approle/login", {}, token=world.server.root_token)


def test_f10_the_policy_loses_its_rights(world: World, told: Told) -> None:
    due_in(world, SOON, "sales")
    before = Kept.of(world)
    policy = "sys/policies/acl/asc-agent"
    whole = world.server.api("GET", policy, token=world.server.root_token)["data"]["policy"]
    try:
        with serving(world, token=agents_token(world)) as service:
            world.server.api("PUT", policy, {"policy": "# no paths"}, token=world.server.root_token)
            told(not_soon_again(service, "sales"))
            assert Kept.of(world) == before
            assert service.stop() == 0
        told(world.run("status"))
    finally:
        world.server.api("PUT", policy, {"policy": whole}, token=world.server.root_token)
    assert world.run("push", "sales", token=agents_token(world)).returncode == 0
