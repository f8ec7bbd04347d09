"""What Vault says of tokens with the shipped policies, compared with these policies: equal, or told what differs."""

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.conftest import NO_RIGHTS, Root, TokenWith
from tests.integration.entities import token_of_team
from tests.support import connected
from tests.vaults import VaultUnderTest
from vault_asc import policy
from vault_asc.errors import PermissionDeniedError
from vault_asc.names import Custody
from vault_asc.rights import ROOT, Comparison, Ground, Right, compare
from vault_asc.secret import Secret
from vault_asc.vault.capabilities import capabilities_self

DEPLOYMENTS: Final = (*((custody,) for custody in Custody), tuple(Custody))
PREFIX: Final = "asc/team-a"
KV, TRANSIT, ENGINE = "secret", "asc-transit", "asc"
SERVICE_KEY: Final = (KV, f"{PREFIX}/nexla/default")
GROUND: Final = Ground(
    KV, PREFIX, TRANSIT, ENGINE, {"prod": "asc-team-a-minter-prod"}, [SERVICE_KEY], ["prod", "sales"]
)
SELF: Final = "".join(
    f'path "{path}" {{\n  capabilities = ["{capability}"]\n}}\n'
    for path, capability in zip(policy.SELF_PATHS, ("read", "update", "update"), strict=True)
)

Ask = Callable[[Secret], dict[str, frozenset[str]]]


@pytest.fixture
def ask(vault: VaultUnderTest) -> Iterator[Ask]:
    with connected(vault) as client:
        yield lambda token: capabilities_self(client.as_token(token), GROUND.paths())


def shipped(role: str, *custodies: Custody, narrowed: bool = False) -> str:
    one = policy.SHIPPED[role]
    named = {*one.parameters, *(one.optional if narrowed else ())}
    values = {what: value for what, value in (("key", "prod"), ("role", "sales")) if what in named}
    if "nexla_path" in one.parameters:
        values = {"nexla_mount": SERVICE_KEY[0], "nexla_path": SERVICE_KEY[1]}
    return policy.render(role, mount=KV, prefix=PREFIX, transit_mount=TRANSIT, custodies=custodies, **values)


@pytest.mark.parametrize("custodies", DEPLOYMENTS)
@pytest.mark.parametrize("role", [role for role in policy.SHIPPED if role != policy.TEAM])
def test_token_with_a_shipped_policy_is_equal_to_it(
    ask: Ask, token_with: TokenWith, role: str, custodies: tuple[Custody, ...]
) -> None:
    if policy.SHIPPED[role].custody not in {None, *custodies}:
        return
    for narrowed in {False, bool(policy.SHIPPED[role].optional)}:
        text = shipped(role, *custodies, narrowed=narrowed)
        assert compare([text], ask(token_with(text))) == Comparison((), ())


@pytest.mark.parametrize("custodies", DEPLOYMENTS)
def test_token_of_an_agent_and_of_a_team_are_equal_too(
    ask: Ask, root: Root, token_with: TokenWith, custodies: tuple[Custody, ...]
) -> None:
    agent = policy.agent(["prod"], [SERVICE_KEY], roles=["sales"], mount=KV, prefix=PREFIX, custodies=custodies)
    assert compare([agent], ask(token_with(agent))).equal
    team = policy.render("team", mount=KV, prefix="asc", transit_mount=TRANSIT, custodies=custodies)
    member = token_of_team(root, team, "team-a").token
    assert compare([team.replace("{{identity.entity.metadata.team}}", "team-a")], ask(member)).equal
    assert not compare([team.replace("{{identity.entity.metadata.team}}", "team-b")], ask(member)).equal


@pytest.mark.parametrize("narrowed", [False, True])
@pytest.mark.parametrize(
    "roles",
    [
        ("key-admin", "registrar"),
        ("minter", "publisher"),
        ("minter", "registrar"),
        ("break-glass", "registrar", "auditor"),
        ("break-glass", "role-admin"),
        ("key-admin", "registrar", "role-admin"),
        ("minter", "token-reader"),
        ("minter", "key-admin", "registrar", "auditor", "break-glass", "publisher"),
    ],
)
def test_several_policies_add_up_as_vault_adds_them(
    ask: Ask, token_with: TokenWith, roles: tuple[str, ...], *, narrowed: bool
) -> None:
    texts = [shipped(role, *Custody, narrowed=narrowed) for role in roles]
    assert compare(texts, ask(token_with(*texts))) == Comparison((), ())


# Each is wider, in a way that the list of paths shows.
TOO_WIDE: Final = {
    f"{KV}/data/{PREFIX}/private/*": Right(f"{KV}/data/{PREFIX}/private/another-key", "read"),
    f"{KV}/+/{PREFIX}/private/prod": Right(f"{KV}/destroy/{PREFIX}/private/prod", "read"),
    f"{TRANSIT}/keys/*": Right(f"{TRANSIT}/keys/asc.team-a.prod/config", "read"),
    f"{TRANSIT}/sign/*": Right(f"{TRANSIT}/sign/asc.team-a.another-key", "read"),
    f"{TRANSIT}/sign/asc.team-a.prod*": Right(f"{TRANSIT}/sign/asc.team-a.prod/sha2-512", "read"),
    f"{TRANSIT}/export/+/+": Right(f"{TRANSIT}/export/signing-key/asc.team-a.prod", "read"),
    "sys/policies/acl/asc-*": Right("sys/policies/acl/asc-team-a-minter-prod", "read"),
    "auth/token/*": Right("auth/token/create", "read"),
    f"{ENGINE}/keys/*": Right(f"{ENGINE}/keys/prod/promote", "read"),
    f"{ENGINE}/token/+": Right(f"{ENGINE}/token/another-role", "read"),
    f"{ENGINE}/+/prod": Right(f"{ENGINE}/roles/prod", "read"),
    f"{ENGINE}/*": Right(f"{ENGINE}/config", "read"),
    f"sys/mounts/{ENGINE}/*": Right(f"sys/mounts/{ENGINE}/tune", "read"),
    "sys/*": Right("sys/audit/file", "read"),
}


@pytest.mark.parametrize("path", TOO_WIDE)
def test_what_is_too_wide_is_told(ask: Ask, token_with: TokenWith, path: str) -> None:
    text = shipped("minter", Custody.TRANSIT)
    wide = f'path "{path}" {{\n  capabilities = ["read"]\n}}\n'
    found = compare([text], ask(token_with(text, wide)))
    assert TOO_WIDE[path] in found.too_much
    assert not found.lacks


def test_what_is_missing_is_told(ask: Ask, token_with: TokenWith) -> None:
    granted = ask(token_with(shipped("minter", Custody.KV)))
    sign = Right(f"{TRANSIT}/sign/asc.team-a.prod", "update")
    private = Right(f"{KV}/data/{PREFIX}/private/prod", "read")
    assert compare([shipped("minter", Custody.TRANSIT)], granted) == Comparison((sign,), (private,))
    token = Right(f"{ENGINE}/token/prod", "read")
    assert compare([shipped("minter", *Custody)], granted) == Comparison((sign, token), ())
    assert compare([SELF], ask(token_with(SELF))).equal


def test_limits_of_parameters_are_not_seen(ask: Ask, token_with: TokenWith) -> None:
    text = shipped("minter", Custody.TRANSIT)
    anything = f'path "{TRANSIT}/sign/asc.team-a.prod" {{\n  capabilities = ["update"]\n}}\n'
    record = f'path "{KV}/data/{PREFIX}/keys/prod" {{\n  capabilities = ["read"]\n}}\n'
    assert compare([text], ask(token_with(anything + record + SELF))).equal


def test_root_has_everything_too_much_and_lacks_nothing(ask: Ask, vault: VaultUnderTest) -> None:
    found = compare([shipped("auditor", *Custody)], ask(vault.root_token))
    assert found == Comparison((), tuple(Right(path, ROOT) for path in GROUND.paths()))


def test_who_may_not_even_ask_is_denied(ask: Ask, token_with: TokenWith) -> None:
    with pytest.raises(PermissionDeniedError, match='"update" on "sys/capabilities-self"'):
        ask(token_with(NO_RIGHTS))
