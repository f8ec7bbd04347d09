"""Faults of the keys in Vault: a version that is gone, a rotation while tokens are minted, two rotations at once."""

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import (
    SOON,
    TARGETS,
    Kept,
    at_address,
    due_in,
    not_soon_again,
    public_key_at,
    ready,
    serving,
    state,
    token_at_nexla,
)
from tests.integration.worlds import FIRST_KEY, SECOND_KEY, import_key, rotate, until
from tests.support import Wire
from vault_asc.lab.serve import ISSUER_ID
from vault_asc.lab.world import World
from vault_asc.secret import Secret

pytestmark = pytest.mark.waits


def kv(world: World, key: str, verb: str, body: object) -> None:
    world.server.api("POST", f"secret/{verb}/asc/private/{key}", body, token=world.server.root_token)


def lose_the_versions(world: World) -> None:
    """Of one key it is deleted, of one destroyed; of one newer versions, which are nobody's, push it out."""
    kv(world, "prod", "delete", {"versions": [1]})
    kv(world, "second", "destroy", {"versions": [1]})
    kv(world, "third", "metadata", {"max_versions": 1})
    kv(world, "third", "data", {"data": {"private_key": "x", "key_id": "y"}})


def test_f11_the_version_is_gone(told: Told) -> None:
    with World(targets=TARGETS) as world:
        import_key(world)
        for number, (key, target) in enumerate({"second": "ads", "third": "news"}.items()):
            file = world.new_key(f"MOREKEY00{number}")
            world.must("key", "import", str(file), key, "--issuer-id", ISSUER_ID)
            named = world.config_file.read_text().replace(
                f'name = "{target}"\nkey = "prod"', f'name = "{target}"\nkey = "{key}"'
            )
            world.config_file.write_text(named)
        world.must("push", "--all")
        due_in(world, SOON, *TARGETS)
        before = [Kept.of(world, target) for target in TARGETS]
        with serving(world) as service:
            lose_the_versions(world)
            for number, target in enumerate(TARGETS):
                told(not_soon_again(service, target), number)
            assert [Kept.of(world, target) for target in TARGETS] == before
            assert service.stop() == 0
        for number in range(len(TARGETS)):
            told(world.run("status"), number)


def test_f12_the_key_is_rotated(told: Told) -> None:
    """Of eight targets that become due one after the other; each token is verified by the public key that its kid names."""
    seen: set[str] = set()
    with ready(World(targets={f"t{n}": 6000 + n for n in range(8)})) as world:
        for number, target in enumerate(world.targets):
            due_in(world, 3 + 1.5 * number, target)

        def all_refreshed() -> bool:
            for token in {token_at_nexla(world, target) for target in world.targets} - seen:
                verify(world, token)
                seen.add(token)
            return len(service.of("refreshed")) == len(world.targets) or bool(service.of("failed"))

        with serving(world) as service:
            service.first("refreshed")
            service.mark()
            moment = rotate(world, SECOND_KEY)
            until(all_refreshed, "a token for each", 60)
            assert not service.of("failed")
            assert not service.of("mandatory")
            assert service.stop() == 0
        told(service)
        for target in world.targets:
            after = state(world, target)
            assert after.key_id == SECOND_KEY or after.started_at < moment + 1
        assert world.apple_read(Secret(token_at_nexla(world, "t0"))) == 200


def verify(world: World, token: str) -> None:
    """It verifies with the public half that Apple has of the key that it names, and with no other."""
    from joserfc import jws, jwt

    kid = jws.extract_compact(token.encode()).headers()["kid"]
    assert kid in {FIRST_KEY, SECOND_KEY}
    assert (
        jwt.decode(token, public_key_at(world.apple, kid), algorithms=["ES256"]).claims["aud"] == "appstoreconnect-v1"
    )


def test_f13_two_rotate_at_once(told: Told) -> None:
    """The second one begins and ends between the reading and the writing of the first."""
    with ready(World()) as world, Wire(world.server.address) as wire:
        mine, other = world.new_key(SECOND_KEY), world.new_key("TESTKEY003")
        direct = world.dir / "direct.toml"
        direct.write_text(world.config_file.read_text())
        at_address(world, wire.address)
        left = [("POST", "secret/data/asc/keys/prod")]

        def meanwhile(method: str, path: str) -> None:
            if left and (method, path) == left[0]:
                left.pop()
                world.must("key", "rotate", "prod", str(other), "--config", str(direct))

        wire.fate = meanwhile
        done = world.run("key", "rotate", "prod", str(mine))
        assert done.returncode == 9, done.stderr
        told(done)
        at_address(world, world.server.address)
        assert world.must("push", "sales").count("TESTKEY003") == 1
