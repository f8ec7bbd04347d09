"""`vault-asc mint`: a token on stdout, or in a file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from vault_asc.cli.output import product, warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.clock import parse_duration, system_clock
from vault_asc.errors import ConfigError, VaultUnavailableError

if TYPE_CHECKING:
    from vault_asc.store import Store
    from vault_asc.tokens import Token, TokenRequest


class _Kept(NamedTuple):
    """When a file is left as it is.

    Attributes:
        file: which one.
        form: its format.
        least: seconds that its token must have left.
        most: seconds that a new token has.
    """

    file: Path
    form: str
    least: int
    most: int


@click.command()
@click.argument("name", required=False)
@click.option(
    "--role", help="Mint by this role of the secrets engine, in place of a key; the role says which key signs."
)
@click.option(
    "--lifetime",
    help="From iat to exp, at most 20m; iat is 1m in the past. Default: 19m, for the engine what the role gives.",
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
@click.option(
    "--min-remaining",
    help="With --out: keep a file whose token has at least this much left, such as 10m, and exactly the scope that is"
    " asked for (that of a role counts only when it is named). For a key, its key ID has to be that of the record. With"
    " --role nobody is asked, so a changed key or role is not noticed before: use one file per role.",
)
@vault_options
def mint(
    *,
    name: str | None,
    role: str | None,
    lifetime: str | None,
    scope: tuple[str, ...],
    form: str,
    out: Path | None,
    min_remaining: str | None,
    connection: Connection,
) -> None:
    """Mint a token from the key NAME, or by a role of the secrets engine.

    \b
      vault-asc mint prod
      vault-asc mint prod --format header --out /run/asc/header --min-remaining 10m
      vault-asc mint --role sales
    """
    from vault_asc.tokens import TokenRequest

    _check_source(name, role)
    _check_out(out, min_remaining)
    request = TokenRequest(None if lifetime is None else parse_duration(lifetime, "--lifetime"), scope)
    least = None if min_remaining is None else parse_duration(min_remaining, "--min-remaining")
    kept = None if out is None or least is None else _Kept(out, form, least, _longest(request, role))
    if role is not None:
        token = _by_role(connection, role, request, kept)
    else:
        token = _by_key(connection, str(name), request, kept)
    if token is None:
        return
    text = _formatted(token, form)
    if out is None:
        product(text)
        return
    from vault_asc.files import write_atomic

    write_atomic(out, f"{text}\n".encode(), now=system_clock())
    if least is not None:
        _warn_of_short_life(token.remaining(system_clock()), least)


def _check_source(name: str | None, role: str | None) -> None:
    from vault_asc.names import check_name

    if (name is None) == (role is None):
        what = "mint needs a key or a role" if name is None else "mint takes a key or a role, not both"
        raise ConfigError(what, hint="vault-asc mint NAME, or vault-asc mint --role ROLE")
    if name is not None:
        check_name(name)
    if role is not None:
        check_name(role, "role")


def _by_key(connection: Connection, name: str, request: "TokenRequest", kept: _Kept | None) -> "Token | None":
    """A token of a key; None when the file is good as it is."""
    held = _held(kept, request)
    store = connection.store(connection.config(), "minter", key=name)
    if kept is not None and held is not None and _is_current(held, store, name, kept.file):
        return None

    from vault_asc.custody import KeyTokenSource

    return KeyTokenSource(store, name, system_clock).token(request).token


def _by_role(connection: Connection, role: str, request: "TokenRequest", kept: _Kept | None) -> "Token | None":
    """A token by a role; None when the file is good as it is, as far as the file tells."""
    config = connection.config()
    if _held(kept, request) is not None:
        return None

    from vault_asc.custody import role_token

    return role_token(connection.store(config, "token-reader", role=role).engine, role, request, system_clock())


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


def _longest(request: "TokenRequest", role: str | None) -> int:
    """Seconds that a new token has at most; how long a role's live is known to the engine alone."""
    from vault_asc.tokens import MAX_LIFETIME

    if role is not None and request.asked_lifetime is None:
        return MAX_LIFETIME - request.backdate
    return request.usable_life


def _warn_of_short_life(left: float, least: int) -> None:
    """Say that no file will ever be kept: how long a role's tokens live, only the token itself shows."""
    if left < least:
        warn(
            f"the new token has {int(left)} s left, less than the {least} s of --min-remaining: each call mints anew; ask for"
            " less than that, or have the role give tokens that live longer"
        )


def _held(kept: _Kept | None, request: "TokenRequest") -> "Token | None":
    """The token in a private file of ours, provided that a mint would leave the file like this, and time is left.

    That is: it has this form and this scope, breaks none of Apple's rules, and expires no later than a new one.
    """
    if kept is None:
        return None
    if kept.least > kept.most:
        raise ConfigError(
            f"--min-remaining of {kept.least} s is more than a new token has ({kept.most} s)",
            hint="ask for less, 10m fits the default lifetime",
        )
    from vault_asc.inspection import broken_rules, read_token_file, token_in

    text = read_token_file(kept.file)
    held = None if text is None else token_in(text)
    if held is None or held.scope != request.scope or text != f"{_formatted(held, kept.form)}\n":
        return None
    now = system_clock()
    if not kept.least <= held.remaining(now) <= kept.most:
        return None
    return None if broken_rules(held.value.reveal(), now) else held


def _is_current(held: "Token", store: "Store", name: str, file: Path) -> bool:
    """Whether a token is of the key that is current; while Vault does not answer it is taken to be."""
    from vault_asc.record import State

    try:
        record = store.read(name).record
    except VaultUnavailableError as error:
        warn(f"{error.message}; the token in {file} is still good and stays")
        return True
    # A disabled key is refused by the mint that follows, in its own words.
    return record.identity.key_id == held.key_id and record.state is State.ENABLED
