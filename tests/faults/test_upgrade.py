"""What the release before left behind is taken up as it is."""

import json
import time
from pathlib import Path
from typing import Any, Final

from tests.faults.conftest import Told
from tests.faults.rig import detail, due_in, once, serving, state, token_at_nexla
from tests.integration.worlds import FIRST_KEY, SECOND_KEY, rotate, status_of
from vault_asc.key.private_key import parse_private_key
from vault_asc.lab.serve import new_key
from vault_asc.lab.world import World
from vault_asc.secret import Secret

OLD: Final = Path(__file__).parent / "n_minus_1"
MOMENTS: Final = ("started_at", "issued_at", "expires_at", "tried_at", "next_try")


def test_f36_an_upgrade(told: Told) -> None:
    with World(targets={"sales": 5001, "ads": 5002}) as world:
        left_behind(world)
        token = as_the_policy_said(world)
        world.must("config", "check")
        assert [status_of(world, target)["outcome"] for target in ("sales", "ads")] == ["live", "not written"]
        assert status_of(world)["left"] > 1000
        assert state(world, "ads").failures == 1
        assert (
            world.run(
                "push", "--all", "--if-due", "--tick-dir", str(world.dir / "agent" / "ticks"), token=token
            ).returncode
            == 0
        )

        done = once(world, token=token)
        assert done.code == 0, done.text
        due_in(world, 1, "sales", "ads")
        with serving(world, token=token) as service:
            for target in ("sales", "ads"):
                told(detail(service.first("refreshed", target)))
            assert service.stop() == 0
        goes_on_over_a_rotation(world, token)


def left_behind(world: World) -> None:
    """Everything as after the upgrade of the package alone."""
    text = (OLD / "vault-asc.toml").read_text()
    for name, value in (("{dir}", world.dir), ("{vault}", world.server.address), ("{nexla}", world.nexla.url)):
        text = text.replace(name, str(value))
    world.config_file.write_text(text + f'[appstoreconnect]\napi_url = "{world.apple.url}"\n')
    pem = new_key(world.apple, FIRST_KEY)
    for path, data in json.loads((OLD / "kv.json").read_text()).items():
        put(world, path, filled(data, pem))
    for file in (OLD / "state" / "targets").iterdir():
        keep(world, file)


def filled(data: dict[str, Any], pem: bytes) -> dict[str, Any]:
    left_out = {"{private_key}": pem.decode(), "{spki_sha256}": parse_private_key(pem).spki_sha256}
    return {name: left_out.get(str(value), value) for name, value in data.items()}


def put(world: World, path: str, data: dict[str, Any]) -> None:
    world.server.api("POST", f"secret/data/{path}", {"data": data}, token=world.server.root_token)


def keep(world: World, file: Path) -> None:
    """A state file, all its moments so much later that its token was made just now."""
    data = json.loads(file.read_text())
    later = time.time() - data["tried_at"]
    moved = {name: type(data[name])(data[name] + later) for name in MOMENTS if data[name]}
    directory = world.dir / "state" / "targets"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / file.name).write_text(json.dumps(data | moved))


def as_the_policy_said(world: World) -> Secret:
    """A token with the policy that the release before wrote, and no other."""
    root = world.server.root_token
    world.server.api("PUT", "sys/policies/acl/old-agent", {"policy": (OLD / "asc-agent.hcl").read_text()}, token=root)
    body = {"policies": ["old-agent"], "no_default_policy": True, "no_parent": True}
    return Secret(world.server.api("POST", "auth/token/create", body, token=root)["auth"]["client_token"])


def goes_on_over_a_rotation(world: World, token: Secret) -> None:
    rotate(world, SECOND_KEY)
    assert world.run("push", "sales", token=token).returncode == 0
    assert state(world).key_id == SECOND_KEY
    world.must("key", "rollback", "prod")
    assert world.run("push", "sales", token=token).returncode == 0
    assert state(world).key_id == FIRST_KEY
    assert world.apple_read(Secret(token_at_nexla(world))) == 200
