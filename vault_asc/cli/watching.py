"""`vault-asc status --watch`: the same again and again, redrawn on a terminal, line by line anywhere else."""

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from vault_asc.cli.output import on_one_line
from vault_asc.clock import format_duration, iso, system_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from vault_asc.cli.status import Snapshot

_PAUSE: Final = 1.0  # seconds
# Home, then every line with what is left of the old one wiped: nothing flickers, and no screen is cleared.
_HOME, _WIPE_LINE, _WIPE_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CHANGES: Final = ("tried_at", "outcome", "failures", "alarm", "detail", "attempt_began")


def watch_status(look: "Callable[[float], Snapshot]", *, as_json: bool) -> NoReturn:
    """Show it until somebody ends us."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    show = _as_json if as_json else _redrawn if on_terminal else _Changes().show
    while True:
        show(look(system_clock()))
        time.sleep(_PAUSE)


def _as_json(shown: "Snapshot") -> None:
    click.echo(json.dumps({"time": iso(shown.now)} | shown.document(), separators=(",", ":")))


def _redrawn(shown: "Snapshot") -> None:
    width, height = os.get_terminal_size(sys.stdout.fileno())
    urgent = shown._replace(rows=sorted(shown.rows, key=lambda row: (row["left"], row["target"])))
    lines = [f"{iso(shown.now)}  {len(shown.rows)} targets, every second until Ctrl-C", *urgent.lines()]
    room = max(height - 1, 2)  # the cursor stands below
    if len(lines) > room:
        lines = [*lines[: room - 1], f"and {len(lines) - room + 1} lines more, for which there is no room"]
    cut = "".join(f"{on_one_line(line)[: max(width, 1)]}{_WIPE_LINE}\n" for line in lines)
    click.echo(f"{_HOME}{cut}{_WIPE_BELOW}", nl=False)


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
    facts += [f"detail={json.dumps(row['detail'])}"] if row["detail"] else []
    return f"{iso(now)} {row['target']}: {row['outcome']} {' '.join(facts)}"
