"""`vault-asc mint`: a token on stdout, or in a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import product, warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.clock import parse_duration, system_clock
from vault_asc.errors import ConfigError, VaultUnavailableError

if TYPE_CHECKING:
    from vault_asc.store import Store
    from vault_asc.tokens import Token, TokenRequest


@click.command()
@click.argument("name")
@click.option(
    "--lifetime", default="19m", show_default=True, help="From iat to exp, at most 20m; iat is 1m in the past."
)
@click.option("--scope", multiple=True, help='A call that the token is good for: "GET /v1/apps". May be repeated.')
@click.option(
    "--format",
    "form",
    type=click.Choice(["raw", "json", "header"]),
    default="raw",
    show_default=True,
    help="The token alone, JSON with its times, or an Authorization header for `curl -H @FILE`.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write to a file (0600, atomically) instead of stdout.")
@click.option("--min-remaining", help="With --out: keep a file whose token has at least this much left, such as 10m.")
@vault_options
def mint(
    *,
    name: str,
    lifetime: str,
    scope: tuple[str, ...],
    form: str,
    out: Path | None,
    min_remaining: str | None,
    connection: Connection,
) -> None:
    """Mint a token from the key NAME.

    \b
      vault-asc mint prod
      vault-asc mint prod --format header --out /run/asc/header --min-remaining 10m
    """
    from vault_asc.names import check_name
    from vault_asc.tokens import TokenRequest

    check_name(name)
    _check_out(out, min_remaining)
    request = TokenRequest(parse_duration(lifetime, "--lifetime"), scope)
    least = None if min_remaining is None else parse_duration(min_remaining, "--min-remaining")
    store = connection.store(connection.config(), "minter", key=name)
    if out is not None and least is not None and _still_good(out, form, least, store, name, request):
        return

    from vault_asc.custody import KeyTokenSource

    text = _formatted(KeyTokenSource(store, name, system_clock).token(request).token, form)
    if out is None:
        product(text)
        return
    from vault_asc.files import write_atomic

    write_atomic(out, f"{text}\n".encode(), now=system_clock())


def _check_out(out: Path | None, min_remaining: str | None) -> None:
    if out is None:
        if min_remaining is not None:
            raise ConfigError("--min-remaining needs a file", hint="add --out FILE")
        return
    # The file is replaced, not written to: as root that would be the end of /dev/stdout.
    if str(out) == "-" or out.absolute().parts[1:2] in {("dev",), ("proc",)}:
        raise ConfigError(f'--out "{out}" is no file', hint="leave --out away to print the token")


def _formatted(token: "Token", form: str) -> str:
    value = token.value.reveal()
    if form == "header":
        return f"Authorization: Bearer {value}"
    if form == "json":
        facts = {"key_id": token.key_id, "issued_at": token.issued_at, "expires_at": token.expires_at}
        return json.dumps({"token": value, **facts, "scope": list(token.scope)})
    return value


def _still_good(out: Path, form: str, least: int, store: "Store", name: str, request: "TokenRequest") -> bool:
    """Whether the file is as a mint would leave it, with `least` seconds left, and of the key that is current."""
    from vault_asc.record import State

    if least > request.usable_life:
        raise ConfigError(
            f"--min-remaining of {least} s is more than a new token has ({request.usable_life} s)",
            hint="ask for less, 10m fits the default lifetime",
        )
    held = _held(out, form, request)
    if held is None or not least <= held.remaining(system_clock()) <= request.usable_life:
        return False
    try:
        record = store.read(name).record
    except VaultUnavailableError as error:
        warn(f"{error.message}; the token in {out} is still good and stays")
        return True
    # A disabled key is refused by the mint that follows, in its own words.
    return record.identity.key_id == held.key_id and record.state is State.ENABLED


def _held(out: Path, form: str, request: "TokenRequest") -> "Token | None":
    """The token in a private file of ours that has this form and this scope and breaks none of Apple's rules."""
    from vault_asc.inspection import broken_rules, read_token_file, token_in

    text = read_token_file(out)
    held = None if text is None else token_in(text)
    if held is None or held.scope != request.scope or text != f"{_formatted(held, form)}\n":
        return None
    return None if broken_rules(held.value.reveal(), system_clock()) else held
