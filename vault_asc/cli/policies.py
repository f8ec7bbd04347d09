"""`vault-asc policy`: the shipped policies, and how a token compares with them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from vault_asc.cli.output import product, table, warn
from vault_asc.cli.wiring import Connection, config_option, vault_options
from vault_asc.errors import ConfigError, ConflictError, PermissionDeniedError
from vault_asc.names import Custody
from vault_asc.secret import safe_text

if TYPE_CHECKING:
    from vault_asc.cli.key_roles import RecordedRoles, RoleOf
    from vault_asc.config import Config
    from vault_asc.targets import Rendered, Target
    from vault_asc.vault import Vault

_SHOWN: Final = 5  # lost paths that an error names


class Of(NamedTuple):
    """What a policy is of: a key, a role of the engine, a Nexla account."""

    key: str | None = None
    role: str | None = None
    account: str | None = None


@click.group(no_args_is_help=False)
def policy() -> None:
    """List, show, write and check the shipped Vault policies."""


_key = click.option(
    "--key", help="The key, for the policies of one key: minter, break-glass. Narrows key-admin and registrar to it."
)
_role = click.option(
    "--role",
    help="The role of the engine, for token-reader. Narrows role-admin to it; beside --key the role of the key, if it has"
    " another name.",
)
_nexla = click.option("--nexla", "account", help="The Nexla account of the configuration, for publisher.")
_custodies = click.option(
    "--custody",
    "custodies",
    type=click.Choice([custody.value for custody in Custody]),
    multiple=True,
    help="Grant what keys in this custody need; repeat it for several. Else store.custodies of the configuration.",
)


@policy.command("list")
def list_() -> None:
    """List the shipped policies, who they are for and what has to be named with them."""
    from vault_asc.policy import AGENT, SHIPPED

    options = {"key": "--key NAME", "role": "--role ROLE", "nexla_mount": "--nexla ACCOUNT"}
    rows = []
    for shipped in (*SHIPPED.values(), AGENT):
        needed = [options[name] for name in shipped.parameters if name in options]
        needed += [f"[{options[name]}]" for name in shipped.optional]
        rows.append((shipped.name, " ".join(needed), shipped.summary))
    table([("POLICY", "NEEDS", "WHO HOLDS IT"), *rows])


@policy.command()
@click.argument("name")
@_key
@_role
@_nexla
@_custodies
@config_option
def show(
    *,
    name: str,
    key: str | None,
    role: str | None,
    account: str | None,
    custodies: tuple[str, ...],
    connection: Connection,
) -> None:
    """Print a shipped policy, filled in for the configured store.

    No server is asked: in custody engine the role of a key is what --role says, else it is taken to have the key's name.

    \b
      vault-asc policy show minter --key prod
      vault-asc policy show minter --key prod --custody transit
      vault-asc policy show token-reader --role sales
      vault-asc policy show agent
    """
    from vault_asc.cli.key_roles import assumed

    _, text = rendered(connection.config(), name, Of(key, role, account), custodies, assumed)
    product(text)


@policy.command()
@click.argument("name")
@_key
@_role
@_nexla
@_custodies
@click.option("--as", "written_as", metavar="NAME", help="Name in Vault; else one made of prefix, NAME and key.")
@click.option("--force", is_flag=True, help="Replace a policy even when that takes rights away.")
@vault_options
def write(
    *,
    name: str,
    key: str | None,
    role: str | None,
    account: str | None,
    custodies: tuple[str, ...],
    written_as: str | None,
    force: bool,
    connection: Connection,
) -> None:
    """Write a shipped policy to Vault and print the name that it has there. Writing it again changes nothing.

    A policy of that name which grants paths that the new one lacks is replaced only with --force. With a token that may
    write policies but not read them, this cannot be checked: it is written, with a warning.

    In custody engine minter, break-glass and agent name the role of a key. Without --role it is read from the key's record;
    with a token that may not read it, it is taken to have the key's name, with a warning.

    \b
      vault-asc policy write minter --key prod        written as asc-minter-prod
      vault-asc policy write agent                    for the targets of the configuration
      vault-asc policy write agent --as asc-agent-b   for a host with other targets
      vault-asc policy write minter --key prod --custody kv --custody transit   while prod moves
    """
    from vault_asc.names import check_name

    config = connection.config()
    roles = _recorded_roles(connection, config)
    policy_name, text = rendered(config, name, Of(key, role, account), custodies, roles)
    if written_as is not None:
        policy_name = check_name(written_as, "policy")
    vault = roles.store().vault
    seen = force or _takes_nothing_away(vault, policy_name, text, roles.mistaken(config.store.engine_mount))
    vault.write_policy(policy_name, text)
    if not seen:
        warn(f'policy "{policy_name}" was written without knowing what it replaced: the token may not read policies')
    click.echo(policy_name)


@policy.command()
@click.argument("roles", nargs=-1, required=True, metavar="NAME...")
@_key
@_role
@_nexla
@_custodies
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@vault_options
def check(
    *,
    roles: tuple[str, ...],
    key: str | None,
    role: str | None,
    account: str | None,
    custodies: tuple[str, ...],
    as_json: bool,
    connection: Connection,
) -> None:
    """Compare what your token may do on the sensitive paths of a key with what shipped policies grant there.

    Vault is asked what the token may do on a fixed list of paths (docs/policies.md); nothing is tried. Printed is what
    the token lacks and what it has too much, and always what cannot be seen this way. Several policies are compared
    together, as for a token that has them all. Without --key the paths are those of a key that need not exist. In custody
    engine the role of a key is read from its record, as for `policy write`.

    \b
      vault-asc policy check minter --key prod --token-file minter.token
      vault-asc policy check key-admin registrar
      vault-asc policy check agent --address unix:///run/vault-asc/agent.sock
    """
    from vault_asc.cli import policy_check
    from vault_asc.names import check_name

    config = connection.config()
    for what, named in (("key", key), ("role", role)):
        if named is not None:
            check_name(named, what)
    roles_of_keys = _recorded_roles(connection, config)
    wanted = policy_check.asked(config, roles, Of(key, role, account), custodies, roles_of_keys)
    found = policy_check.compared(roles_of_keys.store().vault, wanted)
    (policy_check.tell_json if as_json else policy_check.tell)(found, wanted)
    if not found.equal:
        raise policy_check.difference(found, wanted)


def _recorded_roles(connection: Connection, config: "Config") -> "RecordedRoles":
    """The roles of keys, and the one connection of the command, made when one of both is needed."""
    from functools import cache

    from vault_asc.cli.key_roles import RecordedRoles

    return RecordedRoles(cache(lambda: connection.store(config)))


def _takes_nothing_away(vault: "Vault", name: str, text: str, mistaken: set[str]) -> bool:
    """True when a write loses no path, `ConflictError` when it does; False when the token may not see that.

    No loss are the mistaken ones: they are not for the key that the policy is for.
    """
    from vault_asc.policy import lost_paths
    from vault_asc.vault import InvalidTokenError

    try:
        lost = lost_paths(vault.read_policy(name) or "", text)
    except InvalidTokenError:
        raise
    except PermissionDeniedError:
        return False
    corrected, lost = [path for path in lost if path in mistaken], [path for path in lost if path not in mistaken]
    if not lost:
        for path in corrected:
            warn(f'policy "{name}" grants {safe_text(repr(path))} no more: that is not the role of its key')
        return True
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    raise ConflictError(
        f'policy "{name}" exists and grants what the new one does not, so nothing was written:'
        f" {', '.join(safe_text(repr(path)) for path in lost[:_SHOWN])}{more}",
        hint="name each custody that its holders need (--custody kv --custody transit), give the new one a name of its own"
        " with --as NAME, or take these rights away with --force",
    )


def rendered(config: "Config", name: str, of: Of, custodies: Sequence[str], role_of: "RoleOf" = str) -> tuple[str, str]:
    """Name in Vault and text of a policy. `role_of` is asked for the role of a key where the text names one."""
    from vault_asc import policy as policies

    store = config.store
    mount, prefix, chosen = store.mount, store.prefix, custodies or store.custodies
    if name == policies.AGENT.name:
        if of != Of():
            raise ConfigError(
                "the policy of an Agent comes from the targets", hint="leave --key, --role and --nexla away"
            )
        return policies.policy_name(name, mount=mount, prefix=prefix), _of_agent(config, chosen, role_of)
    ref = config.account(of.account).service_key if of.account is not None else None
    nexla_mount, nexla_path = (ref.mount, ref.path) if ref is not None else (None, None)
    written = policies.policy_name(
        name, mount=mount, prefix=prefix, key=of.key, role=of.role, nexla_mount=nexla_mount, nexla_path=nexla_path
    )
    role = of.role
    if role is None and of.key is not None and Custody.ENGINE in chosen and policies.SHIPPED[name].names_role:
        role = role_of(of.key)
    text = policies.render(
        name,
        mount=mount,
        prefix=prefix,
        key=of.key,
        role=role,
        nexla_mount=nexla_mount,
        nexla_path=nexla_path,
        transit_mount=store.transit_mount,
        engine_mount=store.engine_mount,
        custodies=chosen,
    )
    return written, text


def sources(config: "Config") -> "tuple[set[str], set[str]]":
    """Keys and roles of all targets: what an Agent needs tokens of."""
    targets: list[Target | Rendered] = [*config.targets, *config.rendered]
    return {target.key for target in targets if target.key}, {target.role for target in targets if target.role}


def _of_agent(config: "Config", custodies: Sequence[str], role_of: "RoleOf") -> str:
    from vault_asc import policy as policies

    store = config.store
    keys, roles = sources(config)
    accounts = {config.nexla[target.nexla].service_key for target in config.targets}
    return policies.agent(
        {key: role_of(key) for key in sorted(keys)} if Custody.ENGINE in custodies else keys,
        {(ref.mount, ref.path) for ref in accounts},
        roles=roles,
        mount=store.mount,
        prefix=store.prefix,
        transit_mount=store.transit_mount,
        engine_mount=store.engine_mount,
        custodies=custodies,
    )
