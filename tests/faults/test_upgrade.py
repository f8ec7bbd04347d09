"""What the release before left behind is taken up as it is."""

import json
import time
import zlib
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import due_in, once, serving, state, token_at_nexla
from tests.integration.worlds import FIRST_KEY, SECOND_KEY, rotate, status_of
from vault_asc.config import Target
from vault_asc.key.private_key import parse_private_key
from vault_asc.lab.serve import new_key
from vault_asc.lab.world import World
from vault_asc.rotation import TargetState, retargeted, settings_of
from vault_asc.secret import Secret
from vault_asc.tokens import TokenRequest

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
                service.first("refreshed", target)
            told(service)
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


# -- the digest of a target's settings, by which a change is noticed -------------------------------------------------

PLAIN: Final = Target("sales", "prod", 5001)
RICH: Final = Target(
    "ads",
    None,
    5002,
    TokenRequest(1140, ("GET /v1/apps",)),
    extra_fields={"a": 1},
    token_file=Path("/run/ads.jwt"),
    role="reports",
)


@dataclass(frozen=True)
class LaterRequest(TokenRequest):
    """What a later release knows of a token."""

    audience: str = "appstoreconnect-v1"


def of_a_later_release(target: Target) -> Target:
    """The same target where both it and its request have one more field."""
    fields = [*Target._fields[:3], "another", *Target._fields[3:]]
    # Its types are of no matter, only its fields.
    later = namedtuple("Target", fields, defaults=["", *Target._field_defaults.values()])  # type: ignore[misc]  # noqa: PYI024
    request = LaterRequest(**vars(target.request))
    return cast("Target", later(**target._replace(request=request)._asdict()))


@pytest.mark.parametrize(("target", "digest"), [(PLAIN, 2073278260), (RICH, 296927591)])
def test_a_digest_is_the_same_in_all_releases(target: Target, digest: int) -> None:
    assert settings_of(target) == digest, "or each target is pushed once more after an upgrade"
    assert settings_of(of_a_later_release(target)) == digest


@pytest.mark.parametrize("target", [PLAIN, RICH])
def test_a_digest_of_the_release_before_is_taken(target: Target) -> None:
    before = zlib.crc32(repr(target._replace(name="")).encode())
    assert not retargeted(target, TargetState(tried_at=1.0, settings=before))
    assert retargeted(target._replace(mode="rest"), TargetState(tried_at=1.0, settings=before))


def test_a_digest_changes_with_each_setting() -> None:
    more: dict[str, Any] = {
        "key": "other",
        "credential_id": 5003,
        "request": TokenRequest(600),
        "nexla": "other",
        "mode": "rest",
        "vendor": "other",
        "auth_template": "other",
        "token_field": "other",
        "token_prefix": "",
        "extra_fields": {"a": 2},
        "token_file": Path("/run/other.jwt"),
        "role": "other",
    }
    assert {"name", *more} == set(Target._fields)
    changed = [target._replace(**{field: value}) for target in (PLAIN, RICH) for field, value in more.items()]
    requests = [
        TokenRequest(600, backdate=0),
        TokenRequest(600, ("GET /v1/apps",)),
        TokenRequest(None, ("GET /v1/apps",)),
    ]
    changed += [PLAIN._replace(request=request) for request in requests]
    assert len({settings_of(target) for target in [PLAIN, RICH, *changed]}) == len(changed) + 2
    assert settings_of(PLAIN._replace(name="other")) == settings_of(PLAIN)
