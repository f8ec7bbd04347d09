"""Whether App Store Connect accepts a new key, asked before anything is written: option and question of two commands."""

from typing import TYPE_CHECKING, Final

import click

from vault_asc.cli.output import warn
from vault_asc.clock import system_clock

if TYPE_CHECKING:
    from vault_asc.cli.key_source import NewKey
    from vault_asc.cli.wiring import Connection
    from vault_asc.record import StoredRecord

apple_option: Final = click.option(
    "--no-apple-check", is_flag=True, help="Do not ask App Store Connect whether it accepts the new key."
)


def ask_apple(connection: "Connection", plan: "StoredRecord | None", new: "NewKey", *, skip: bool) -> str | None:
    """Refuse a key that Apple refuses, or cannot be asked about. `plan` is None when the key is current already.

    That Apple accepts it is returned, to be told with the result; what it says less plainly is a warning.
    """
    if plan is None or skip:
        return None
    from vault_asc import apple, http

    settings = connection.config().appstoreconnect
    who = plan.record.identity._replace(key_id=new.key_id)
    with http.session(ca_file=settings.ca_file) as session:
        trial = apple.try_key(apple.Api(session, settings.api_url, system_clock), new.key, who)
    error = apple.refusal(trial)
    if error is not None:
        raise error
    if trial.outcome is apple.TrialOutcome.ACCEPTED:
        return trial.detail
    warn(trial.detail)
    return None


def reach_apple(connection: "Connection", *, skip: bool) -> None:
    """Refuse when App Store Connect cannot be asked, while there is still nothing to ask about."""
    if skip:
        return
    from vault_asc import apple, http

    settings = connection.config().appstoreconnect
    with http.session(ca_file=settings.ca_file) as session:
        trial = apple.out_of_reach(apple.Api(session, settings.api_url, system_clock))
    error = None if trial is None else apple.refusal(trial)
    if error is not None:
        raise error


def tell_accepted(said: str | None) -> None:
    """What `ask_apple` has returned, below the result of the command."""
    if said is not None:
        click.echo(f"  {said}")
