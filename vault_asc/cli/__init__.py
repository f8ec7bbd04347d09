"""The command line: click, and the composition root. Commands import what they need inside their bodies."""

import errno
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from vault_asc import __version__
from vault_asc.cli.lazy import LazyGroup
from vault_asc.cli.output import report, report_bug, report_interrupt, silence, with_config
from vault_asc.cli.process import run_and_leave
from vault_asc.errors import ConfigError, VaultAscError

_COMMANDS = {
    "init": ("vault_asc.cli.setup", "init", "Write a commented configuration."),
    "config": ("vault_asc.cli.setup", "config", "Look at the configuration."),
    "key": ("vault_asc.cli.keys", "key", "Import, rotate, roll back and remove App Store Connect API keys."),
    "mint": ("vault_asc.cli.minting", "mint", "Mint a token from the key NAME, or by a role of the secrets engine."),
    "inspect": ("vault_asc.cli.inspecting", "inspect", "Explain the token in FILE (or standard input: -)."),
    "push": (
        "vault_asc.cli.pushing",
        "push",
        "Mint a token for each TARGET, write it to Nexla, and prove that it works.",
    ),
    "run": ("vault_asc.cli.running", "run", "Keep all targets fresh, for ever."),
    "status": ("vault_asc.cli.status", "status", "Show how fresh each target is."),
    "agent": ("vault_asc.cli.agent", "agent", "Let Vault Agent or OpenBao Agent keep the targets fresh."),
    "policy": ("vault_asc.cli.policies", "policy", "List, show, write and check the shipped Vault policies."),
    "nexla": ("vault_asc.cli.nexla", "nexla", "Look at Nexla credentials."),
    "audit": ("vault_asc.cli.audit", "audit", "Find out from Vault's audit log who minted a token."),
    "engine": (
        "vault_asc.cli.engine",
        "engine",
        "Build, install and compare the secrets engine as one executable.",
    ),
    "demo": ("vault_asc.cli.demo", "demo", "Watch it all work on this machine, for a minute."),
}

_CLOSED_PIPE = 141  # what a shell reports for a program that SIGPIPE ended
_NO_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

_START = """\
vault-asc keeps App Store Connect API keys in Vault and Nexla credentials alive.

  try it          vault-asc demo                      everything on this machine, for real, in a minute
  begin           vault-asc init                      writes a commented vault-asc.toml
  store a key     vault-asc key import AuthKey_ABC123DEFG.p8 prod --issuer-id ...
  take a token    vault-asc mint prod
  keep alive      vault-asc agent config              for vault agent or bao agent

All commands: vault-asc --help
"""


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--debug", is_flag=True, help="Show a traceback with an error (secrets are masked).")
@click.version_option(__version__, prog_name="vault-asc", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context, *, debug: bool) -> None:  # noqa: ARG001  # run() looks for the flag, before click does
    """Keep App Store Connect API keys in Vault, mint short-lived tokens, keep Nexla credentials alive."""
    if ctx.invoked_subcommand is None:
        click.echo(_START, nl=False)


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error is printed as `error:` and `hint:`."""
    debug = "--debug" in args  # before or after the command
    words = [word for word in args if word != "--debug"]
    try:
        code = root.main(words, prog_name="vault-asc", standalone_mode=False)
    except VaultAscError as error:
        error.hint = with_config(error.hint, words)
        return report(error, debug=debug)
    except click.UsageError as error:
        return report(_usage(error), debug=False)
    except (click.Abort, KeyboardInterrupt):
        return report_interrupt()
    except SystemExit:  # click's way out, and its only one here, when nobody reads the output any more
        code = _CLOSED_PIPE
    except Exception as error:  # noqa: BLE001  # the last net: a bug must not print key material by traceback
        return _unforeseen(error, debug=debug)
    return code if isinstance(code, int) else 0


def _usage(error: click.UsageError) -> ConfigError:
    """What click says about a wrong command line, in the grammar of our errors."""
    where = error.ctx.command_path if error.ctx else "vault-asc"
    text, _, near = error.format_message().replace("'", '"').rstrip(".").partition(" Did you mean ")
    message = text[:1].lower() + text[1:].rstrip(".")
    return ConfigError(message, hint=f"did you mean {near} See: {where} --help" if near else f"{where} --help")


def _unforeseen(error: Exception, *, debug: bool) -> int:
    if isinstance(error, OSError) and error.errno in _NO_OUTPUT:
        return report(_no_output(error), debug=debug)
    return report_bug(error, debug=debug)


def _no_output(error: OSError) -> ConfigError:
    """Nothing can be printed, as to a full disk. Files are `vault_asc.files`' business, with errors of their own."""
    silence(sys.stdout)
    reason = os.strerror(error.errno or errno.EIO).lower()
    return ConfigError(
        f"the output cannot be written: {reason}; what was asked for may be done all the same",
        hint="make room or write elsewhere, then repeat the command: it looks first and changes nothing twice",
    )


def main() -> NoReturn:
    """Entry point of the console script."""
    run_and_leave(run)
