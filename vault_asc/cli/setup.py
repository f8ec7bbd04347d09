"""`vault-asc init` and `vault-asc config check`: the configuration file."""

import os
import stat
from pathlib import Path

import click

from vault_asc.cli.output import facts, warn
from vault_asc.cli.wiring import Connection, config_option
from vault_asc.errors import ConfigError

_USUAL = "vault-asc.toml"
_TEMPLATE = """\
# vault-asc.toml: where keys lie and what to keep fresh. No secret belongs in this file.
version = 1

[vault]
address = "https://vault.example:8200"   # VAULT_ADDR and BAO_ADDR beat it
# namespace = "team-a"
# ca_file = "/etc/vault-asc/ca.pem"

# How `vault-asc run` logs in by itself; left out it takes a Vault token as the other commands do.
# [vault.auth]
# method         = "approle"             # or "kubernetes", "jwt": these need role = "..." and no files of AppRole
# role_id_file   = "/etc/vault-asc/role_id"
# secret_id_file = "/etc/vault-asc/secret_id"

[store]
mount         = "secret"                 # a KV version 2 mount
prefix        = "asc"                    # or "asc/team-a"
custodies     = ["kv"]                   # what the shipped policies grant: also "transit", "engine"; two while keys move
transit_mount = "asc-transit"            # where keys of custody transit lie, a mount of Transit
engine_mount  = "asc"                    # where keys of custody engine lie, and roles: a mount of the secrets engine

[agent]
dir            = "/run/vault-asc"        # socket and tick files
role_id_file   = "/etc/vault-asc/role_id"
secret_id_file = "/etc/vault-asc/secret_id"
tick           = "30s"                   # how often the Agent looks what is due

[state]
dir = "/var/lib/vault-asc"

# For `vault-asc run`, one process that keeps very many targets fresh.
# [run]
# workers  = 16                          # attempts at the same time
# rate     = 8                           # writes per second and service key; left out: what Nexla tells
# replicas = 1                           # hosts that keep the same targets fresh
# listen   = "127.0.0.1:9411"            # health, metrics, status page; or "unix:///run/vault-asc/run.sock"

# Where a new key is tried before it is staged; left out it is Apple's own address.
# [appstoreconnect]
# api_url = "https://api.appstoreconnect.apple.com"
# ca_file = "/etc/vault-asc/ca.pem"

# A Nexla account. Its service key is read from Vault when it is needed; store it with
#   vault kv put -mount=secret asc/nexla/default service_key=-      (paste it, then Ctrl-D)
[nexla.default]
api_url     = "https://dataops.nexla.io/nexla-api"
service_key = { mount = "secret", path = "asc/nexla/default", field = "service_key" }

# A target is one Nexla credential to keep fresh; one table each.
# [[targets]]
# name          = "sales"
# key           = "prod"                 # vault-asc key import AuthKey_....p8 prod --issuer-id ...
#                                        # or, in place of a key, a role of the secrets engine: role = "sales"
# credential_id = 5001
# scope         = ["GET /v1/apps"]       # what Nexla may call; all that the key may without it
# token_file    = "/run/vault-asc/sales.jwt"
# What Nexla's credential looks like is found out; these beat it (see: vault-asc nexla inspect 5001):
# mode          = "auto"                 # or "template", "rest"
# vendor        = "appstore_api"         # a credential of another vendor is refused
# auth_template = "..."
# token_field   = "..."
# token_prefix  = "auto"                 # or "", "Bearer "
# extra_fields  = { }

# A target without credential_id is a token file that the Agent alone keeps fresh, by a role of the secrets engine.
# [[targets]]
# name       = "reports"
# role       = "reports"
# token_file = "/run/vault-asc/reports.jwt"
"""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=_USUAL)
def init(*, file: Path) -> None:
    """Write a commented configuration.

    FILE is vault-asc.toml unless another is named; an existing file is left alone.
    """
    try:
        with file.open("x", encoding="utf-8") as stream:
            # Whatever the umask: a file that the group may change would not be taken from the working directory.
            os.fchmod(stream.fileno(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
            stream.write(_TEMPLATE)
    except FileExistsError as exc:
        raise ConfigError(f'"{file}" is there already and stays as it is', hint=_check_command(file)) from exc
    except OSError as exc:
        raise ConfigError(
            f'"{file}" cannot be written: {exc.strerror}', hint="name another: vault-asc init FILE"
        ) from exc
    click.echo(f"wrote {file}")
    click.echo(f"  next: fill in vault.address, then: {_check_command(file)}")


def _check_command(file: Path) -> str:
    import shlex

    named = "" if file == Path(_USUAL) else f" --config {shlex.quote(str(file))}"
    return f"vault-asc config check{named}"


@click.group(no_args_is_help=False)
def config() -> None:
    """Look at the configuration."""


@config.command()
@config_option
def check(*, connection: Connection) -> None:
    """Read the configuration and say what it means; asks no server.

    What an Agent could not keep fresh is refused where the file is for an Agent, and a warning where it is for vault-asc
    run or for none in particular.
    """
    from vault_asc.cli.config_check import meaning, warnings

    found = connection.config()
    told = list(warnings(found))
    click.echo(f"{found.path or 'no configuration file, defaults only'}: good")
    facts(meaning(found))
    for warning in told:
        warn(warning)
