"""A team's namespace on the real server: nothing of the product's is in the root namespace, and everything works."""

import sys
import time
from typing import Any, Final

import pytest

from tests.integration.worlds import FIRST_KEY, SECOND_KEY, THIRD_KEY, import_key, pushed_after, rotate, token_of
from vault_asc.errors import VaultError
from vault_asc.lab.server import KV_MOUNT, TRANSIT_MOUNT, BaoServer
from vault_asc.lab.world import World
from vault_asc.secret import Secret

pytestmark = [pytest.mark.waits, pytest.mark.skipif(sys.platform != "linux", reason="as the other tests of the Agent")]

TEAM: Final = "team-a"


class TeamServer(BaoServer):
    """After its start every call goes to the team's namespace, and the root namespace has neither KV nor Transit."""

    _below = ""

    def start(self) -> None:
        super().start()
        self.api("POST", f"sys/namespaces/{TEAM}", {}, token=self.root_token)
        for mount in (KV_MOUNT, TRANSIT_MOUNT):
            self.api("DELETE", f"sys/mounts/{mount}", token=self.root_token)
        self._below = f"{TEAM}/"
        self._mount_transit()
        self._mount_kv()

    def api(self, method: str, path: str, body: object = None, *, token: Secret | None = None) -> dict[str, Any]:
        return super().api(method, f"{self._below}{path}", body, token=token)

    def team_token(self, policy: str) -> Secret:
        body = {"policies": [policy], "no_default_policy": True, "no_parent": True}
        return Secret(self.api("POST", "auth/token/create", body, token=self.root_token)["auth"]["client_token"])


class TeamWorld(World):
    def _write_config(self) -> None:
        super()._write_config()
        text = self.config_file.read_text()
        assert text.count("[vault]\n") == 1
        self.config_file.write_text(text.replace("[vault]\n", f'[vault]\nnamespace = "{TEAM}"\n'))


def test_a_team_has_all_in_its_namespace() -> None:
    server = TeamServer()
    with TeamWorld(usable_life=300, tick=1, server=server) as world:
        import_key(world)
        the_command_line_works_with_a_token_of_the_team(world, server)
        with world.agent() as agent:
            first = pushed_after(world, 0)
            assert first.key_id == FIRST_KEY
            assert token_of(agent)["namespace_path"] == f"{TEAM}/"
            assert pushed_after(world, rotate(world, SECOND_KEY)).key_id == SECOND_KEY, "tick files follow the record"
            assert pushed_after(world, moved_to_transit(world, server)).key_id == SECOND_KEY
            assert pushed_after(world, rotate(world, THIRD_KEY)).key_id == THIRD_KEY
        with pytest.raises(VaultError):
            BaoServer.api(server, "GET", f"{KV_MOUNT}/data/asc/keys/prod", token=server.root_token)


def the_command_line_works_with_a_token_of_the_team(world: World, server: TeamServer) -> None:
    assert "prod" in world.must("key", "list")
    world.must("policy", "write", "minter", "--key", "prod")
    minter = server.team_token("asc-minter-prod")
    minted = world.run("mint", "prod", token=minter)
    assert (minted.returncode, minted.stdout.count("."), minted.stderr) == (0, 2, "")
    # The same token without the namespace is nobody: it was the namespace that made it work.
    file = world.config_file
    text = file.read_text()
    file.write_text(text.replace(f'namespace = "{TEAM}"\n', ""))
    assert world.run("mint", "prod", token=minter).returncode != 0
    file.write_text(text)


def moved_to_transit(world: World, server: TeamServer) -> float:
    """Move the key, under the Agent that pushes; the moment when that was done."""
    both = ("--custody", "kv", "--custody", "transit")
    assert "asc-minter-prod" in world.run("key", "move", "prod", "--custody", "transit").stderr
    world.must("policy", "write", "agent", *both)
    world.must("policy", "write", "minter", "--key", "prod", *both)
    world.must("key", "move", "prod", "--custody", "transit")
    now = time.time()
    world.must("policy", "write", "minter", "--key", "prod", "--custody", "transit", "--force")
    minted = world.run("mint", "prod", token=server.team_token("asc-minter-prod"))
    assert (minted.returncode, minted.stderr) == (0, "")
    return now
