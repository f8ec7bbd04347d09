"""`vault-asc status`: what the state files tell. Asks nobody."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from vault_asc.cli.output import aligned
from vault_asc.cli.wiring import Connection, config_option
from vault_asc.errors import ConfigError, SomeTargetsFailedError, TargetError

if TYPE_CHECKING:
    from vault_asc.cli.keepers import Keepers
    from vault_asc.config import Config, Target
    from vault_asc.rotation import TargetState
    from vault_asc.service.shard import Shard
    from vault_asc.state import StateDir

_IN_A_ROW: Final = 3  # attempts that failed before anything was written, and then somebody should be told


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 8 (all) or 10 (some) when a token has little life left, Apple refuses it, or attempts keep failing.",
)
@click.option(
    "--shard",
    default="0/1",
    show_default=True,
    help="Only the targets that run --shard keeps fresh with the same words: 1/4, auto/4.",
)
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@config_option
def status(*, as_json: bool, check: bool, shard: str, watch: bool, connection: Connection) -> int:
    """Show how fresh each target is.

    Age of its token, time left, how the last attempt ended, when the next one is; then what there is to tell of some, and
    who keeps them fresh here: vault-asc run, or the Agent. Asks no server.

    With --watch a terminal shows what has least time left first, as much as fits; anything else gets a line for each
    target whenever it changes, or with --json a document a second on one line. Ctrl-C ends it, with exit code 130.
    """
    from vault_asc.clock import system_clock
    from vault_asc.config import state_dir
    from vault_asc.service.shard import Shard
    from vault_asc.state import StateDir

    part = Shard.parse(shard, os.environ)
    config = connection.config()
    if check and not config.targets:
        where = f'"{config.path}"' if config.path else "the configuration"
        raise ConfigError(
            f"there are no targets {'to push ' if config.rendered else ''}in {where}, so nothing can be checked",
            hint="name the right file with --config, or add a [[targets]] table, see vault-asc init",
        )
    if check and watch:
        raise ConfigError("--check and --watch do not go together", hint="leave out one: --check answers once")
    states = StateDir(state_dir(config, os.environ))
    if watch:
        from vault_asc.cli.watching import watch_status

        return watch_status(lambda now: snapshot(config, states, now, part), as_json=as_json)
    shown = snapshot(config, states, system_clock(), part)
    click.echo(json.dumps(shown.document(), indent=2) if as_json else "\n".join(shown.lines()))
    alarms = sum(1 for row in shown.rows if row["alarm"])
    if not check or not alarms:
        return 0
    return TargetError.exit_code if alarms == len(shown.rows) else SomeTargetsFailedError.exit_code


class Snapshot(NamedTuple):
    """What the state files tell.

    Attributes:
        now: the moment, in Unix seconds.
        rows: each target of the shard.
        keepers: who keeps them fresh.
        rendered: how many targets the Agent renders itself.
        shard: whose targets they are.
    """

    now: float
    rows: list[dict[str, Any]]
    keepers: "Keepers"
    rendered: int
    shard: "Shard"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"targets": self.rows, **self.keepers.document()}

    def lines(self) -> list[str]:
        """For people."""
        return [*self.table(), *self.ends()]

    def table(self) -> list[str]:
        """A header and a line for each target, and then what is to be told of some; without targets that."""
        if not self.rows:
            nobody = (
                "no targets are configured" if self.shard.parts == 1 else f"no targets are in the shard {self.shard}"
            )
            return [nobody] * (not self.rendered)
        header = ("TARGET", "KEY", "KEY ID", "AGE", "LEFT", "OUTCOME", "NEXT TRY")
        table = aligned([header, *(_cells(row, self.now) for row in self.rows)])
        return [*table, *(line for row in self.rows for line in _remarks(row, self.now))]

    def ends(self) -> list[str]:
        """Who keeps them fresh."""
        told = list(self.keepers.lines(self.now))
        if not self.rendered:
            return told
        # With nothing to push the Agent does not tick, and nothing is to be run.
        told = [] if not self.rows and self.keepers.last_tick is None else told
        return [f"rendered by the Agent: {self.rendered} target{'s' * (self.rendered > 1)}", *told]


def snapshot(config: "Config", states: "StateDir", now: float, part: "Shard") -> Snapshot:
    """Look at the state files of a shard."""
    from vault_asc.cli.keepers import Keepers

    rows = [
        _describe(target, states.load(target.name), now) | {"attempt_began": states.unended(target.name) or None}
        for target in part.of(config.targets)
    ]
    return Snapshot(now, rows, Keepers.seen(config, states, now), len(config.rendered), part)


def _describe(target: "Target", state: "TargetState", now: float) -> dict[str, Any]:
    from vault_asc.rotation import about, alarm_below, next_due, retargeted

    changed, wait_until = retargeted(target, state), next_due(target, state)
    state = about(target, state)
    left = state.remaining(now) if state.expires_at else 0
    return {
        "target": target.name,
        "key": target.key,
        "role": target.role,
        "key_id": state.key_id,
        "age": round(now - state.started_at, 1) if state.started_at else None,
        "left": round(left, 1),
        "alarm": left < alarm_below(state.usable_life or target.request.usable_life) or _stuck(state),
        "outcome": str(state.outcome) if state.outcome else "never pushed",
        "detail": "the target was changed, and not pushed since" if changed else state.detail,
        "failures": state.failures,
        "tried_at": state.tried_at,
        "next_try": wait_until,
    }


def _stuck(state: "TargetState") -> bool:
    """Whether the token is of no use however long it lives, or the next one fails to come again and again."""
    from vault_asc.outcome import Outcome

    if state.outcome is Outcome.NOT_WRITTEN:
        return state.failures >= _IN_A_ROW
    return state.outcome in {Outcome.REFUSED, Outcome.AGREEMENT}


def to_tell(row: dict[str, Any]) -> str:
    """The detail of a row, unless it says that all is well: then the row has said so."""
    from vault_asc.outcome import PROVEN

    return "" if row["detail"] == PROVEN else str(row["detail"])


def _remarks(row: dict[str, Any], now: float) -> Iterator[str]:
    from vault_asc.clock import format_duration

    if detail := to_tell(row):
        yield f"  {row['target']}: {detail}"
    if row["attempt_began"] is not None:
        yield (
            f"  {row['target']}: the attempt that began {format_duration(now - row['attempt_began'])} ago has not"
            " ended: it runs, or it was killed, and then the next tick, or vault-asc run, repeats it"
        )


def _cells(row: dict[str, Any], now: float) -> tuple[str, ...]:
    from vault_asc.clock import format_duration

    left = "expired" if row["left"] <= 0 else format_duration(row["left"])
    wait = row["next_try"] - now
    return (
        row["target"],
        row["key"] or f"role {row['role']}",
        row["key_id"] or "-",
        "-" if row["age"] is None else format_duration(row["age"]),
        ("-" if row["age"] is None else left) + (" !" if row["alarm"] else ""),
        row["outcome"] + (f" ({row['failures']} failures)" if row["failures"] else ""),
        "now" if wait <= 0 else f"in {format_duration(wait)}",
    )
