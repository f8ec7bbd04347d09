"""`vault-asc inspect`: explain a token."""

import sys
from pathlib import Path

import click

from vault_asc.cli.output import facts
from vault_asc.errors import ConfigError, TokenRequestError


@click.command("inspect")
@click.argument("file", default="-")
def inspect(*, file: str) -> int:
    """Explain the token in FILE (or standard input: -).

    Shows its claims, the time left, and each of Apple's rules that it breaks; never the token. The signature is not
    verified. Exit code 3 when a rule is broken.

    \b
      vault-asc mint prod | vault-asc inspect
    """
    from vault_asc.clock import system_clock
    from vault_asc.inspection import broken_rules, find_token

    token, now = find_token(read_text(file)), system_clock()
    try:
        rules = broken_rules(token or "", now)
    except ValueError as exc:
        raise TokenRequestError(
            f'there is no token in "{file}"',
            hint="a token is three parts of base64url joined by dots, beginning with eyJ",
        ) from exc
    facts(_claims(token or "", now))
    for rule in rules:
        click.echo(f"  breaks a rule: {rule}")
    return TokenRequestError.exit_code if rules else 0


def read_text(file: str) -> str:
    """The text in a file, or in standard input for `-`, that may hold a token."""
    from vault_asc.inspection import FILE_MAX

    try:
        if file == "-":
            return sys.stdin.read(FILE_MAX) if sys.stdin else ""
        with Path(file).open("rb") as stream:
            return stream.read(FILE_MAX).decode("ascii", "replace")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f'"{file}" cannot be read', hint="name a file with a token, or - for standard input") from exc


def _claims(token: str, now: float) -> list[tuple[str, str]]:
    from vault_asc.clock import format_duration, iso
    from vault_asc.inspection import decode

    header, claims = decode(token)
    pairs = [(name, str(value)) for name, value in {**header, **claims}.items()]
    shown = [(name, f"{value} ({iso(int(value))})" if _is_moment(name, value) else value) for name, value in pairs]
    left = claims.get("exp")
    if type(left) is int and left > now:
        shown.append(("time left", format_duration(left - now)))
    return shown


def _is_moment(name: str, value: str) -> bool:
    return name in {"iat", "exp"} and value.isascii() and value.isdigit() and len(value) <= len("9999999999")
