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

    Age of its token, time left, how the last attempt ended, when the next one is. Asks no server.

    With --watch a terminal shows what has least time left first, as much as fits; anything else gets a line for each
    target whenever it changes, or with --json a document a second on one line.
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

        watch_status(lambda now: snapshot(config, states, now, part), as_json=as_json)
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
        agent: when it ticked.
        rendered: how many targets it renders itself.
        shard: whose targets they are.
    """

    now: float
    rows: list[dict[str, Any]]
    agent: dict[str, Any]
    rendered: int
    shard: "Shard"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"targets": self.rows, "agent": self.agent}

    def lines(self) -> list[str]:
        """For people."""
        return _lines(self)


def snapshot(config: "Config", states: "StateDir", now: float, part: "Shard") -> Snapshot:
    """Look at the state files of a shard."""
    rows = [
        _describe(target, states.load(target.name), now) | {"attempt_began": states.unended(target.name) or None}
        for target in part.of(config.targets)
    ]
    return Snapshot(now, rows, _agent(config, states.last_tick(), now), len(config.rendered), part)


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


def _agent(config: "Config", last_tick: float, now: float) -> dict[str, Any]:
    """When the Agent last ticked, and whether that is too long ago: three ticks and the time of one push."""
    if not last_tick:
        return {"last_tick": None, "stopped": False}
    return {"last_tick": last_tick, "stopped": now - last_tick > 3 * config.agent.tick + 60}


def _lines(seen: Snapshot) -> list[str]:
    rows, agent, now, rendered = seen.rows, seen.agent, seen.now, seen.rendered
    nobody = "no targets are configured" if seen.shard.parts == 1 else f"no targets are in the shard {seen.shard}"
    header = ("TARGET", "KEY", "KEY ID", "AGE", "LEFT", "OUTCOME", "NEXT TRY")
    table = aligned([header, *(_cells(row, now) for row in rows)]) if rows else []
    shown = [
        *(table or [nobody] * (not rendered)),
        *(line for row in rows for line in _remarks(row, now)),
    ]
    if rendered:
        shown.append(f"rendered by the Agent: {rendered} target{'s' * (rendered > 1)}")
    # With nothing to push the Agent does not tick.
    return shown if rendered and not rows and agent["last_tick"] is None else [*shown, _agent_line(agent, now)]


def _remarks(row: dict[str, Any], now: float) -> Iterator[str]:
    from vault_asc.clock import format_duration

    if row["detail"]:
        yield f"  {row['target']}: {row['detail']}"
    if row["attempt_began"] is not None:
        yield (
            f"  {row['target']}: the attempt that began {format_duration(now - row['attempt_began'])} ago has not"
            " ended: it runs, or it was killed, and then the next tick, or vault-asc run, repeats it"
        )


def _agent_line(agent: dict[str, Any], now: float) -> str:
    from vault_asc.clock import format_duration

    if agent["last_tick"] is None:
        return "the Agent has never ticked here"
    ago = format_duration(now - agent["last_tick"])
    if not agent["stopped"]:
        return f"the Agent ticked {ago} ago"
    return (
        f"the Agent has stopped ticking: last tick {ago} ago; it is dead, or has no Vault to ask (sealed, unreachable,"
        " login refused): its log tells"
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
