"""`vault-asc policy`: the shipped policies."""

from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import table
from vault_asc.cli.wiring import Connection, config_option, vault_options
from vault_asc.errors import ConfigError

if TYPE_CHECKING:
    from vault_asc.config import Config


@click.group(no_args_is_help=False)
def policy() -> None:
    """List, show and write the shipped Vault policies."""


_key = click.option("--key", help="The key, for the policies of one key: minter, break-glass.")
_nexla = click.option("--nexla", "account", help="The Nexla account of the configuration, for publisher.")


@policy.command("list")
def list_() -> None:
    """List the shipped policies, who they are for and what has to be named with them."""
    from vault_asc.policy import AGENT, SHIPPED

    options = {"key": "--key NAME", "nexla_mount": "--nexla ACCOUNT"}
    rows = [
        (shipped.name, " ".join(options[name] for name in shipped.parameters if name in options), shipped.summary)
        for shipped in (*SHIPPED.values(), AGENT)
    ]
    table([("POLICY", "NEEDS", "WHO HOLDS IT"), *rows])


@policy.command()
@click.argument("name")
@_key
@_nexla
@config_option
def show(*, name: str, key: str | None, account: str | None, connection: Connection) -> None:
    """Print a shipped policy, filled in for the configured store.

    \b
      vault-asc policy show minter --key prod
      vault-asc policy show agent
    """
    _, text = _rendered(connection.config(), name, key, account)
    click.echo(text, nl=False)


@policy.command()
@click.argument("name")
@_key
@_nexla
@vault_options
def write(*, name: str, key: str | None, account: str | None, connection: Connection) -> None:
    """Write a shipped policy to Vault and print the name that it has there. Writing it again changes nothing.

    \b
      vault-asc policy write minter --key prod        written as asc-minter-prod
      vault-asc policy write agent                    for the targets of the configuration
    """
    config = connection.config()
    policy_name, text = _rendered(config, name, key, account)
    connection.vault(config).write_policy(policy_name, text)
    click.echo(policy_name)


def _rendered(config: "Config", name: str, key: str | None, account: str | None) -> tuple[str, str]:
    """Name in Vault and text of a policy."""
    from vault_asc import policy as policies

    mount, prefix = config.store.mount, config.store.prefix
    if name == policies.AGENT.name:
        if key is not None or account is not None:
            raise ConfigError("the policy of an Agent comes from the targets", hint="leave --key and --nexla away")
        accounts = {config.nexla[target.nexla].service_key for target in config.targets}
        text = policies.agent(
            {target.key for target in config.targets},
            {(ref.mount, ref.path) for ref in accounts},
            mount=mount,
            prefix=prefix,
        )
        return policies.policy_name(name, mount=mount, prefix=prefix), text
    ref = config.account(account).service_key if account is not None else None
    nexla_mount, nexla_path = (ref.mount, ref.path) if ref is not None else (None, None)
    return (
        policies.policy_name(name, mount=mount, prefix=prefix, key=key, nexla_mount=nexla_mount, nexla_path=nexla_path),
        policies.render(name, mount=mount, prefix=prefix, key=key, nexla_mount=nexla_mount, nexla_path=nexla_path),
    )
