"""The hint of a denied call never stands in the way of what was denied."""

from collections.abc import Sequence
from itertools import product
from typing import Final

import pytest

from tests.cli.conftest import User
from tests.cli.test_policies_in_engine import in_engine
from tests.test_policy import DEPLOYMENTS
from vault_asc import policy
from vault_asc.cli.advice import Need, advise
from vault_asc.names import Custody
from vault_asc.settings import Config, NexlaSettings, SecretRef, StoreSettings
from vault_asc.targets import Target

OWNERS: Final = ("key-admin", "registrar")
MOVERS: Final = ("auditor", *OWNERS, policy.ROLE_ADMIN, "minter", "break-glass")
NEEDS: Final = [
    Need(),
    Need(("agent",)),
    Need(("auditor",)),
    Need(("registrar",)),
    Need(("minter",), "prod"),
    Need(("break-glass",), "prod"),
    Need((policy.TOKEN_READER,), role="sales"),
    Need(("key-admin",)),
    *(Need(OWNERS, custodies=(custody,)) for custody in Custody),
    Need((*OWNERS, policy.ROLE_ADMIN), custodies=(Custody.ENGINE,)),
    *(Need(MOVERS[:end], "prod", tuple(Custody)) for end in range(1, len(MOVERS) + 1)),
    # What no command should build.
    Need((policy.TOKEN_READER,)),
    Need(("minter",)),
    Need(("publisher", "team", "nothing")),
    Need(("minter",), "../x", role="../y"),
]
PATHS: Final = [
    *(
        "secret/data/asc/keys/prod",
        "secret/data/asc/private/prod",
        "secret/data/asc/nexla/x",
        "asc-transit/sign/asc.prod",
    ),
    *("asc/keys/prod", "asc/keys/prod/stage", "asc/token/prod", "asc/token/sales", "asc/config", "sys/seal"),
    *(f"sys/internal/ui/mounts/{mount}" for mount in ("secret", "asc", "asc-transit", "asc/roles/x", "nowhere", "")),
    *("asc/roles", "asc/roles/", "asc/token/", "asc/token/a.b", "asc/roles/sales", "asc/token/../x", "asc", "", "/"),
    *("secret/data/asc/keys/Not a name", "secret/data/asc/staged/", "asc-transit/sign/x.y", "sys/policies/acl/x"),
]


def configured(prefix: str, custodies: tuple[Custody, ...]) -> Config:
    ref = SecretRef("secret", "asc/nexla/x", "service_key")
    targets = (Target("a", "prod", 1), Target("b", None, 2, role="sales"))
    store = StoreSettings(prefix=prefix, custodies=custodies)
    return Config(store=store, nexla={"default": NexlaSettings("default", ref)}, targets=targets)


@pytest.mark.parametrize("need", NEEDS)
@pytest.mark.parametrize(("prefix", "deployments"), [("asc", DEPLOYMENTS), ("a.b/c", DEPLOYMENTS[-1:])])
def test_it_never_fails(need: Need, prefix: str, deployments: Sequence[tuple[Custody, ...]]) -> None:
    for custodies in deployments:
        for path, capability in product(PATHS, ("read", "update")):
            hint = advise(configured(prefix, custodies), need, path, capability)
            assert hint is None or "\n" not in hint
    assert advise(configured(prefix, ())._replace(targets=(), nexla={}), Need(("agent",)), PATHS[0], "read")


@pytest.mark.parametrize("custodies", [("kv",), ("engine",)])
def test_a_role_of_a_mount_that_is_not_there(user: User, custodies: tuple[str, ...]) -> None:
    in_engine(user, "nowhere", *custodies)
    done = user.fails(7, "mint", "--role", "sales")
    assert 'there is no mount at "nowhere"' in done.error
    assert "policy write token-reader --role sales" in done.hint
    assert ("--custody engine" in done.hint) is (custodies == ("kv",))


def test_a_mount_that_may_be_mistyped_is_named() -> None:
    usual = configured("asc", (Custody.KV,))
    wrong = usual._replace(store=usual.store._replace(mount="sekret"))
    away = usual._replace(nexla={"default": NexlaSettings("default", SecretRef("sekret", "asc/nexla/x", "key"))})
    for config, path, setting in (
        (usual, "secret/data/asc/keys/prod", None),
        (wrong, "sekret/data/asc/keys/prod", "store.mount"),
        (away, "sekret/data/asc/nexla/x", "nexla.default.service_key.mount"),
    ):
        hint = advise(config, Need((policy.AGENT.name,)), path, "read")
        assert hint is not None
        assert hint.endswith(f'; if there is no mount "sekret", correct {setting}') is (setting is not None)
