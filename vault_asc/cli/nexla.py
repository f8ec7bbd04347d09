"""`vault-asc nexla`: what Nexla says about a credential."""

from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import facts, on_one_line
from vault_asc.cli.wiring import Connection, vault_options

if TYPE_CHECKING:
    from vault_asc.config import Config
    from vault_asc.nexla.credential_view import CredentialView
    from vault_asc.nexla.discovery import Wanted


@click.group(no_args_is_help=False)
def nexla() -> None:
    """Look at Nexla credentials."""


@nexla.command()
@click.argument("credential_id", type=click.IntRange(min=1))
@click.option(
    "--nexla", "account", default="default", show_default=True, help="The Nexla account of the configuration."
)
@vault_options
def inspect(*, credential_id: int, account: str, connection: Connection) -> None:
    """Show vendor, auth templates and parameters of a credential, and where a token would go.

    Reads only, and never shows a value. Settings of a target with this credential are applied.
    """
    from vault_asc.nexla.credential_view import describe

    config = connection.config()
    client = connection.nexla(config, account, connection.vault(config))
    view = describe(client.credential(credential_id), _wanted(config, credential_id, account))
    click.echo(f"credential {credential_id}")
    facts(_facts(view))
    for template in view.templates:
        name = on_one_line(str(template.name or template.id))
        click.echo(f"  auth template {name}{' (in use)' if template.id == view.template_id else ''}")
        for parameter in template.parameters:
            secured = "secured" if parameter.secured else "not secured"
            places = ", ".join(place.key for place in parameter.places) or "nowhere"
            click.echo(on_one_line(f"    {parameter.name}: {secured}, used in {places}"))
    if view.problem is not None:
        raise view.problem


def _wanted(config: "Config", credential_id: int, account: str) -> "Wanted":
    from vault_asc.nexla.discovery import Wanted
    from vault_asc.nexla.publisher import wanted_of

    mine = (target for target in config.targets if (target.credential_id, target.nexla) == (credential_id, account))
    found = next(mine, None)
    return Wanted(credential_id) if found is None else wanted_of(found)


def _facts(view: "CredentialView") -> list[tuple[str, str]]:
    plan = view.plan
    chosen = "undecided" if plan is None else f'{plan.token_field}, as "{plan.token_prefix}<token>"'
    return [
        ("type", view.kind or "unknown"),
        ("vendor", f"{view.vendor} ({view.vendor_id})" if view.vendor else "none (generic credential)"),
        ("mode", plan.mode if plan is not None else "undecided"),
        ("token goes to", chosen),
        ("still missing", _missing(view)),
    ]


def _missing(view: "CredentialView") -> str:
    if not view.missing:
        return "unknown" if view.plan is None else "nothing"
    fields = ", ".join(f'{name} = "..."' for name in view.missing)
    return f"{', '.join(view.missing)}; write into the target: extra_fields = {{ {fields} }}"
