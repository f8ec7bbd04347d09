"""`vault-asc push`: one pass over targets."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vault_asc.cli.output import report, warn
from vault_asc.cli.wiring import Connection, vault_options
from vault_asc.errors import BusyError, ConfigError, SomeTargetsFailedError, TargetError, VaultAscError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vault_asc.config import Config, Target
    from vault_asc.push import Result
    from vault_asc.rotation import TargetState
    from vault_asc.state import StateDir


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--all", "all_targets", is_flag=True, help="All targets of the configuration.")
@click.option("--if-due", is_flag=True, help="Leave targets alone whose token is younger than half its life.")
@click.option(
    "--tick-dir",
    type=click.Path(path_type=Path),
    help="The Agent's tick files (what the Agent passes). Exit code 0 then means: every outcome is recorded.",
)
@click.option("--dry-run", is_flag=True, help="Tell which targets are due and why; do nothing.")
@vault_options
def push(
    *,
    targets: tuple[str, ...],
    all_targets: bool,
    if_due: bool,
    tick_dir: Path | None,
    dry_run: bool,
    connection: Connection,
) -> int:
    """Mint a token for each TARGET, write it to Nexla, and prove that it works.

    \b
      vault-asc push sales
      vault-asc push --all --if-due
    """
    import os

    from vault_asc.clock import system_clock
    from vault_asc.config import state_dir
    from vault_asc.push import DEADLINE, Pass
    from vault_asc.state import StateDir

    config = connection.config()
    chosen = chosen_targets(config, targets, all_targets=all_targets)
    states = StateDir(state_dir(config, os.environ))
    if tick_dir is not None and not dry_run:
        _note_tick(states)
    made = Pass(
        states,
        tick_dir,
        only_due=if_due,
        dry=dry_run,
        clock=system_clock,
        ports=lambda: connection.ports(config),
        patience=0 if tick_dir else DEADLINE,  # a person waits for `run` to be done with a target, a tick comes again
    )
    return _told(made.run(chosen), under_agent=tick_dir is not None)


def chosen_targets(config: "Config", names: tuple[str, ...], *, all_targets: bool) -> "Sequence[Target]":
    """The targets that a command names; `ConfigError` where there are none."""
    if bool(names) == all_targets:
        what = "push takes targets or --all, not both" if all_targets else "push needs targets"
        raise ConfigError(what, hint="vault-asc push TARGET..., or vault-asc push --all")
    if all_targets and not config.targets:
        where = f'"{config.path}"' if config.path else "the configuration"
        what = "no targets to push" if config.rendered else "no targets"
        raise ConfigError(f"there are {what} in {where}", hint="add a [[targets]] table, see vault-asc init")
    return config.targets if all_targets else [config.target(name) for name in dict.fromkeys(names)]


def _note_tick(states: "StateDir") -> None:
    """Remember that the Agent called. A full disk is told, but is no reason to let tokens die."""
    from vault_asc.clock import system_clock

    try:
        states.save_tick(system_clock())
    except VaultAscError as error:
        report(error, debug=False)


def _told(results: "list[Result]", *, under_agent: bool) -> int:
    """Print one line per target that was looked at, and give the exit code of the pass."""
    from vault_asc.push import NOT_TRIED

    failed = [result for result in results if _failed(result)]
    tried = [result for result in results if result.reason != NOT_TRIED]
    for result in tried:
        if result.error is not None:
            # What could not be recorded is told here and nowhere else.
            warn(f"{result.target.name}: {result.reason}" if result.recorded else _line(result))
            report(result.error, debug=False)
        else:
            click.echo(_line(result), err=result in failed)
    if late := len(results) - len(tried):
        report(_late(late, failed=len(failed) - late, under_agent=under_agent), debug=False)
    if under_agent:
        # Whoever holds a target's lock records its outcome.
        lost = [r.error for r in failed if r.error and not r.recorded and not isinstance(r.error, BusyError)]
        return lost[0].exit_code if lost else 0
    return exit_code(results)


def _late(late: int, *, failed: int, under_agent: bool) -> TargetError:
    """What is said of all targets together for which no time was left."""
    from vault_asc.push import DEADLINE

    again = "the next tick goes on with them" if under_agent else "push again to go on with them"
    many = "if there are too many for one pass each time, vault-asc run does many at a time"
    return TargetError(
        f"{late} target{'s were' if late > 1 else ' was'} not tried: the {DEADLINE:.0f} s of this pass were over; their"
        " state is unchanged",
        hint=f"see first why {failed} failed, which took the time; {again}" if failed else f"{again}; {many}",
    )


def exit_code(results: "Sequence[Result]") -> int:
    """The exit code of a pass that a person, or a unit of systemd, looks at."""
    failed = [result for result in results if _failed(result)]
    if not failed:
        return 0
    if any(result.error and result.error.exit_code == VaultAscError.exit_code for result in failed):
        return VaultAscError.exit_code
    if len(failed) < len(results):
        return SomeTargetsFailedError.exit_code
    errors = [result.error for result in failed if result.error]
    return errors[0].exit_code if len(errors) == len(failed) else TargetError.exit_code


def _failed(result: "Result") -> bool:
    from vault_asc.outcome import Outcome

    if result.error is not None:
        return True
    if result.state is None or result.state.outcome is Outcome.UNPROVEN:
        return False
    return result.state.outcome is not Outcome.LIVE or result.state.failures > 0  # live, but without its token file


def _line(result: "Result") -> str:
    if result.state is None:
        return f"{result.target.name}: {result.reason}"
    return f"{result.target.name}: {_outcome(result.state)} ({result.reason})"


def _outcome(state: "TargetState") -> str:
    from vault_asc.clock import format_duration, system_clock

    detail = f": {state.detail}" if state.detail else ""
    left = f", key ID {state.key_id}, {format_duration(state.remaining(system_clock()))} left" if state.key_id else ""
    return f"{state.outcome}{left}{detail}"
