"""`vault-asc status --watch`: the same again and again, redrawn on a terminal, line by line anywhere else."""

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from vault_asc.cli.output import on_one_line
from vault_asc.cli.status import to_tell
from vault_asc.clock import format_duration, iso, system_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from vault_asc.cli.status import Snapshot

_PAUSE: Final = 1.0  # seconds
# Home, then every line with what is left of the old one wiped: nothing flickers, and no screen is cleared.
_HOME, _WIPE_LINE, _WIPE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_LEAST: Final = 4  # lines: head, header, the most urgent target, how many are left out
_INTERRUPTED: Final = 130
_CHANGES: Final = ("tried_at", "outcome", "failures", "alarm", "detail", "attempt_began")


def watch_status(look: "Callable[[float], Snapshot]", *, as_json: bool) -> int:
    """Show it until Ctrl-C, which is its end and no error; the exit code that shells know it by."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    show = _as_json if as_json else _redrawn if on_terminal else _Changes().show
    try:
        while True:
            show(look(system_clock()))
            time.sleep(_PAUSE)
    except KeyboardInterrupt:
        if on_terminal:
            click.echo()  # below the ^C
        return _INTERRUPTED


def _as_json(shown: "Snapshot") -> None:
    click.echo(json.dumps({"time": iso(shown.now)} | shown.document(), separators=(",", ":")))


def _redrawn(shown: "Snapshot") -> None:
    width, height = os.get_terminal_size(sys.stdout.fileno())
    lines = fitting(shown, max(height - 1, 2))  # the cursor stands below
    cut = "".join(f"{on_one_line(line)[: max(width, 1)]}{_WIPE_LINE}\n" for line in lines)
    click.echo(f"{_HOME}{cut}{_WIPE_BELOW}", nl=False)


def fitting(shown: "Snapshot", room: int) -> list[str]:
    """As many lines as there is room for: the most urgent targets, and who keeps them fresh where there is room for both."""
    urgent = shown._replace(rows=sorted(shown.rows, key=lambda row: (row["left"], row["target"])))
    head, table, ends = (
        f"{iso(shown.now)}  {len(shown.rows)} targets, every second until Ctrl-C",
        urgent.table(),
        urgent.ends(),
    )
    if 1 + len(table) + len(ends) <= room:
        return [head, *table, *ends]
    ends = ends if len(ends) + _LEAST <= room else []
    kept = room - 2 - len(ends)
    rest = min(len(shown.rows), len(shown.rows) + 1 - kept)  # the header stands above the targets
    what = (
        f"{rest} target{'s' * (rest > 1)}" if rest > 0 else f"{len(table) - kept} line{'s' * (len(table) - kept > 1)}"
    )
    return [head, *table[:kept], f"and {what} more, for which there is no room", *ends]


class _Changes:
    """One line for each target at first, and again when something is new about it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, ...]] = {}

    def show(self, shown: "Snapshot") -> None:
        for row in shown.rows:
            now = tuple(row[name] for name in _CHANGES)
            if self._known.get(row["target"]) != now:
                self._known[row["target"]] = now
                click.echo(_line(row, shown.now))


def _line(row: dict[str, Any], now: float) -> str:
    left = "none" if row["age"] is None else format_duration(row["left"])
    facts = [f"left={left.replace(' ', '')}", f"next={format_duration(max(0, row['next_try'] - now)).replace(' ', '')}"]
    facts += [f"failures={row['failures']}"] if row["failures"] else []
    facts += ["ALARM"] if row["alarm"] else []
    facts += [f"detail={json.dumps(detail)}"] if (detail := to_tell(row)) else []
    return f"{iso(now)} {row['target']}: {row['outcome']} {' '.join(facts)}"
