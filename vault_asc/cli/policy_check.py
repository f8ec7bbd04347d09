"""The body of `vault-asc policy check`: which policies, which paths, and how the comparison is told."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from vault_asc import policy
from vault_asc.cli.output import table
from vault_asc.errors import ConfigError, PermissionDeniedError
from vault_asc.names import Custody
from vault_asc.rights import NOT_SEEN, Comparison, Ground, Right, compare

if TYPE_CHECKING:
    from vault_asc.cli.key_roles import RoleOf
    from vault_asc.cli.policies import Of
    from vault_asc.config import Config
    from vault_asc.vault import Vault

_ANY_KEY: Final = "any-key"  # for the policies of all keys; it need not exist
_TEAM_TEMPLATE: Final = "{{identity.entity.metadata.team}}"


class Asked(NamedTuple):
    """What a token is compared with.

    Attributes:
        roles: names of shipped policies.
        texts: name in Vault and text of each.
        ground: the keys whose paths are asked.
        custodies: what the texts are rendered for.
    """

    roles: Sequence[str]
    texts: Mapping[str, str]
    ground: Ground
    custodies: Sequence[str]


def asked(config: "Config", roles: Sequence[str], of: "Of", custodies: Sequence[str], role_of: "RoleOf") -> Asked:
    """What the command line asks for. `ConfigError` when something is missing or does not fit."""
    from vault_asc.cli.policies import rendered

    chosen = tuple(custodies or config.store.custodies)
    texts: dict[str, str] = {}
    for role in roles:
        if role == policy.TEAM:
            written, text = _of_own_team(config, chosen)
        else:
            written, text = rendered(config, role, _taken(role, of), chosen, role_of)
        texts[written] = text
    return Asked(roles, texts, _ground(config, roles, of, role_of if Custody.ENGINE in chosen else str), chosen)


def _taken(role: str, of: "Of") -> "Of":
    """What of that which was named is for this policy: the others may need the rest."""
    shipped = policy.SHIPPED.get(role)
    if shipped is None:
        return of
    keyed = shipped.keyed and of.key is not None
    takes_role = shipped.takes("role") and (keyed or not shipped.keyed)
    return of._replace(
        key=of.key if keyed else None,
        role=of.role if takes_role else None,
        account=of.account if shipped.takes("nexla_mount") else None,
    )


def compared(vault: "Vault", wanted: Asked) -> Comparison:
    """Ask Vault what the token may do, and compare."""
    from vault_asc.vault.capabilities import capabilities_self

    return compare([*wanted.texts.values()], capabilities_self(vault, wanted.ground.paths()))


def tell(found: Comparison, wanted: Asked) -> None:
    """Print a comparison, and what it cannot see."""
    if found.equal:
        click.echo(f"on {len(wanted.ground.paths())} paths the token may do what {_names(wanted)} grants, and no more")
    else:
        rows = [(right.path, right.capability, "lacks it") for right in found.lacks]
        rows += [(right.path, right.capability, "has it too much") for right in found.too_much]
        table([("PATH", "CAPABILITY", "THE TOKEN"), *rows])
    for limit in NOT_SEEN:
        click.echo(f"not seen: {limit}")


def tell_json(found: Comparison, wanted: Asked) -> None:
    """The same for programs."""
    report = {
        "policies": [*wanted.texts],
        "roles": [*wanted.roles],
        "custodies": [*wanted.custodies],
        "paths": wanted.ground.paths(),
        "lacks": _as_json(found.lacks),
        "too_much": _as_json(found.too_much),
        "not_seen": [*NOT_SEEN],
    }
    click.echo(json.dumps(report, indent=2))


def difference(found: Comparison, wanted: Asked) -> PermissionDeniedError:
    """The error for a token that is not as it should be."""
    return PermissionDeniedError(
        f"the token is not what {_names(wanted)} makes: {len(found.lacks)} missing, {len(found.too_much)} too much",
        hint="give it these policies and no other, not even the default one; a policy that was changed or is of another"
        " custody is written anew by: vault-asc policy write",
    )


def _ground(config: "Config", roles: Sequence[str], of: "Of", role_of: "RoleOf") -> Ground:
    from vault_asc.cli.policies import sources

    store = config.store
    keys, of_engine = sources(config) if policy.AGENT.name in roles else ({of.key} if of.key else set(), set())
    of_engine |= {of.role} if of.role else {role_of(key) if _names_role(roles) else key for key in keys}
    names = sorted(keys) or [_ANY_KEY]
    refs = [account.service_key for account in config.nexla.values()]
    return Ground(
        store.mount,
        store.prefix,
        store.transit_mount,
        store.engine_mount,
        {name: policy.policy_name("minter", mount=store.mount, prefix=store.prefix, key=name) for name in names},
        [(ref.mount, ref.path) for ref in refs] or [(store.mount, f"{store.prefix}/nexla/default")],
        sorted(of_engine),
    )


def _names_role(policies: Sequence[str]) -> bool:
    """Whether the role of a key is in one of these policies."""
    return any(name == policy.AGENT.name or policy.SHIPPED[name].names_role for name in policies)


def _of_own_team(config: "Config", custodies: Sequence[str]) -> tuple[str, str]:
    """Policy `team` as it is for a member: the configured prefix is that of a team, the policy's the one above."""
    store = config.store
    above, _, team = store.prefix.rpartition("/")
    if not above:
        raise ConfigError(
            f'policy "{policy.TEAM}" is compared for one team, and store.prefix "{store.prefix}" is that of all',
            hint=f'set store.prefix to that of a team, such as "{store.prefix}/team-a"',
        )
    text = policy.render(
        policy.TEAM,
        mount=store.mount,
        prefix=above,
        transit_mount=store.transit_mount,
        engine_mount=store.engine_mount,
        custodies=custodies,
    )
    return policy.policy_name(policy.TEAM, mount=store.mount, prefix=above), text.replace(_TEAM_TEMPLATE, team)


def _names(wanted: Asked) -> str:
    return " and ".join(f'"{name}"' for name in wanted.texts)


def _as_json(rights: Sequence[Right]) -> list[dict[str, str]]:
    return [right._asdict() for right in rights]
