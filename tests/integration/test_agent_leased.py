"""Targets by a role of the engine: what the Agent renders by leases, and what is pushed, with the printed configuration."""

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests import keys
from tests.engine.rig import Rig
from tests.integration.engines import PLUGIN, PRODUCT, Engine, engine
from tests.integration.pure_hosts import mode_of
from tests.integration.worlds import FIRST_KEY, last_tick, pushed_after, status_of, until
from tests.support import Wire
from vault_asc import policy
from vault_asc.lab.serve import ISSUER_ID
from vault_asc.lab.server import BaoAgent, BaoServer
from vault_asc.lab.world import World

pytestmark = pytest.mark.waits

BACKDATE: Final = 10
USABLE: Final = 8
SHORT: Final = {"lifetime": BACKDATE + USABLE, "backdate": BACKDATE}  # leases of 4 s
SOON: Final = 10.0  # seconds; what a busy machine may need for the first token
AWKWARD: Final = """GET /v1/apps?a=${HOME}%{if}{{.}}`"b\\'c<&>;+=%20EOT"""
SCOPE: Final = ["GET /v1/apps", AWKWARD, "GET /v1/users"]
HEAD: Final = """\
version = 1
[vault]
address = "{address}"
[agent]
dir = "{dir}"
role_id_file = "{dir}/role_id"
secret_id_file = "{dir}/secret_id"
tick = "1s"
"""
RENDERED: Final = """\
[[targets]]
name = "{name}"
role = "{role}"
token_file = "{file}"
{more}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine with short lives, and two roles: one that all default, one with a scope."""
    with engine(tmp_path_factory.mktemp("plugins")) as here:
        here.rig.ask("POST", "asc/config", SHORT)
        here.rig.ask("POST", "sys/auth/approle", {"type": "approle"})
        here.add_role()
        here.add_role(role="wide", scope=SCOPE, lifetime=300)
        here.add_role(role="bulk", lease=False, lifetime=300)
        yield here


@pytest.fixture
def host(server: Engine, tmp_path: Path) -> Path:
    """The Agent's directory, with the files that it logs in by: it may read the tokens of both roles, and no more."""
    text = policy.agent((), roles=["sales", "wide", "bulk"], mount="secret", prefix="asc")
    server.rig.ask("PUT", "sys/policies/acl/tokens", {"policy": text})
    log_in(server.rig, tmp_path, "tokens")
    return tmp_path


def log_in(rig: Rig, directory: Path, holds: str) -> None:
    """An AppRole with one policy, its IDs in files."""
    role = "auth/approle/role/leased"
    rig.ask("POST", role, {"token_policies": [holds], "token_no_default_policy": True, "token_period": "60s"})
    for name, path, method in (("role_id", "role-id", "GET"), ("secret_id", "secret-id", "POST")):
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(rig.ask(method, f"{role}/{path}")["data"][name], encoding="ascii")


def target(host: Path, name: str, role: str = "sales", more: str = "") -> str:
    return RENDERED.format(name=name, role=role, file=host / f"{name}.jwt", more=more)


@contextlib.contextmanager
def agent(host: Path, address: str, *targets: str, options: tuple[str, ...] = ()) -> Iterator[BaoAgent]:
    """A running Agent with what `vault-asc agent config` prints for these targets."""
    config = host / "vault-asc.toml"
    config.write_text(HEAD.format(address=address, dir=host) + "".join(targets), encoding="utf-8")
    command = [sys.executable, "-m", "vault_asc", "agent", "config", f"--config={config}", *options]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    (host / "agent.hcl").write_text(printed.stdout, encoding="utf-8")
    with BaoAgent(host / "agent.hcl") as running:
        yield running


def judged(server: Engine, file: Path, key: str = "sales") -> dict[str, Any]:
    """The claims in a token file, which holds the bare token of a key and nothing else."""
    text = file.read_text(encoding="ascii")
    public = ECKey.import_key(server.rig.ask("GET", f"asc/keys/{key}")["data"]["public_key"])
    read = jwt.decode(text, public, algorithms=["ES256"])
    assert text == text.strip()
    assert read.header == {"alg": "ES256", "kid": keys.KEY_ID, "typ": "JWT"}
    return dict(read.claims)


def leases(server: Engine, role: str) -> int:
    answer = server.http("LIST", f"sys/leases/lookup/asc/token/{role}/")
    return len(answer.json()["data"]["keys"]) if answer.status == 200 else 0


@pytest.mark.parametrize("options", [(), ("--pure",)])
def test_a_token_is_there_at_once_and_replaced_before_its_lease_ends(
    server: Engine, host: Path, options: tuple[str, ...]
) -> None:
    file = host / "sales.jwt"
    with agent(host, server.server.address, target(host, "sales"), options=options) as running:
        until(file.exists, "a token", SOON)
        seen = {judged(server, file)["exp"]: time.time()}
        while len(seen) < 3:
            claims = judged(server, file)
            seen.setdefault(claims["exp"], time.time())
            left = claims["exp"] - time.time()
            # `exp` is in whole seconds: up to one of the usable life is never there.
            assert left >= USABLE / 2 - 1, f"{left:.2f} s of {USABLE} were left"
            assert time.time() - min(seen.values()) < 30
            time.sleep(0.05)
        assert mode_of(file) == 0o600
        assert running.running
    moments = list(seen.values())
    assert all(later - earlier > 2 for earlier, later in itertools.pairwise(moments)), "by its lease"
    assert {path.name for path in host.iterdir()} == {
        "role_id",
        "secret_id",
        "vault-asc.toml",
        "agent.hcl",
        "sales.jwt",
    }, "with nothing to push there are neither socket nor tick"


@pytest.mark.parametrize(
    ("lifetime", "scope"), [(100, ["GET /v1/apps"]), (None, [AWKWARD, "GET /v1/users"]), (120, [AWKWARD])]
)
def test_a_narrowed_token_is_a_read_with_a_lease(
    server: Engine, host: Path, lifetime: int | None, scope: list[str]
) -> None:
    """One entry of the scope, two, and one with everything that a quote, a template or a URL ends at."""
    before = leases(server, "wide")
    more = f"scope = {json.dumps(scope)}\n" + (f'lifetime = "{lifetime}s"' if lifetime else "")
    file = host / "narrow.jwt"
    with Wire(server.server.address) as wire, agent(host, wire.address, target(host, "narrow", "wide", more)):
        until(file.exists, "a token", SOON)
        claims = judged(server, file, "wide")
        asked = [call for call in wire.calls if call[1].endswith("token/wide") and not call[1].startswith("sys/")]
    assert (claims["exp"] - claims["iat"], claims["scope"]) == (lifetime or 300, scope)
    assert asked == [("GET", "asc/token/wide")]
    assert leases(server, "wide") - before == 1


def test_two_targets_of_one_role_and_one_that_is_refused(server: Engine, host: Path) -> None:
    """What the engine refuses, or the policy, keeps nothing else from being rendered."""
    names = ("again", "sales")
    refused = [target(host, "wider", "wide", 'scope = ["GET /v1/builds"]'), target(host, "denied", "other")]
    with agent(host, server.server.address, *refused, *(target(host, name) for name in names)) as running:
        until(lambda: all((host / f"{name}.jwt").exists() for name in names), "both tokens", SOON)
        first = {name: judged(server, host / f"{name}.jwt")["exp"] for name in names}
        until(
            lambda: all(judged(server, host / f"{name}.jwt")["exp"] > first[name] for name in names),
            "the next ones",
            SOON,
        )
        said = "".join(running.log_lines())
    assert 'the scope holds a call that role "wide" does not give' in said.replace("\\", "")
    assert "permission denied" in said
    assert not (host / "wider.jwt").exists()
    assert not (host / "denied.jwt").exists()


def test_a_key_that_is_disabled_leaves_the_file_and_comes_back(server: Engine, host: Path) -> None:
    """A role without leases, beside it, is read at every interval all the time."""
    file, bulk = host / "sales.jwt", host / "bulk.jwt"
    with agent(host, server.server.address, target(host, "sales"), target(host, "bulk", "bulk")) as running:
        until(lambda: file.exists() and bulk.exists(), "both tokens", SOON)
        server.rig.ask("POST", "asc/keys/sales/disable", {})
        last = file.read_bytes()
        running.wait_for_line("is disabled")
        before = bulk.read_bytes()
        until(lambda: bulk.read_bytes() != before, "a token without lease", SOON)
        assert file.read_bytes() == last
        server.rig.ask("POST", "asc/keys/sales/enable", {})
        until(lambda: file.read_bytes() != last, "the next token")
        assert judged(server, file)["exp"] > time.time()
        assert running.running


# -- pushed ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """With a key in the engine alone: its target is pushed by a role, and beside it one is rendered."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    with World(tick=1, server=BaoServer(settings={"plugin_directory": str(plugins)})) as world:
        rig = Rig(world.server, plugins)
        rig.register(PLUGIN, PRODUCT)
        rig.mount("asc", PLUGIN)
        rig.ask("POST", "asc/config", {"lifetime": 28, "backdate": 10})
        pem = world.new_key(FIRST_KEY).read_text(encoding="ascii")
        rig.ask("POST", "asc/keys/prod", {"private_key": pem, "key_id": FIRST_KEY, "issuer_id": ISSUER_ID})
        rig.ask("POST", "asc/roles/sales", {"key": "prod", "scope": ["GET /v1/apps"]})
        text = world.config_file.read_text(encoding="utf-8").replace('key = "prod"', 'role = "sales"')
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("lifetime"))
        more = RENDERED.format(name="beside", role="sales", file=world.dir / "beside.jwt", more="")
        world.config_file.write_text(text + more, encoding="utf-8")
        world.must("policy", "write", "agent", "--force")  # the one that is there is for a key
        yield world


def test_a_target_by_a_role_is_kept_fresh_at_nexla(world: World) -> None:
    """By hand, and by the ticks of an Agent which renders another file of that role by its lease."""
    assert world.must("push", "sales").startswith(f"sales: live, key ID {FIRST_KEY}")
    assert world.run("push", "beside").returncode == 2
    row = status_of(world)
    assert (row["key"], row["role"], row["outcome"]) == (None, "sales", "live")
    assert 0 < row["left"] <= 18
    said = world.must("status")
    assert "role sales" in said
    assert "rendered by the Agent: 1 target\n" in said
    file = world.dir / "beside.jwt"
    with world.agent():
        until(file.exists, "the other token", SOON)
        first = file.read_bytes()
        begun = time.time()
        states = [pushed_after(world, begun)]
        states.append(pushed_after(world, states[0].started_at))
        until(lambda: file.read_bytes() != first, "the next one")
        assert last_tick(world) > begun
    assert all(17 <= state.usable_life <= 18 and state.record_version == 0 for state in states)
    assert states[1].started_at < states[0].expires_at
    assert not list((world.dir / "agent" / "ticks").glob("*"))
    assert world.must("push", "--all", "--if-due", "--dry-run").count("sales") == 1
