"""What the executable runs: the plugin, with the facts of its build, in a directory that is kept and swept."""

import functools
import sys
import threading
from pathlib import Path

from vault_asc.clock import system_clock
from vault_asc.engine import plugin
from vault_asc.engine.backend import Backend
from vault_asc.engine.freezing.facts import FILE, facts_in
from vault_asc.engine.freezing.unpacked import hold, sweep_twice
from vault_asc.engine.mount import Memory


def main() -> int:
    """Serve the host; the exit code."""
    directory = Path(sys._MEIPASS)  # type: ignore[attr-defined]  # noqa: SLF001 - PyInstaller's documented name for it
    hold(directory)
    threading.Thread(target=sweep_twice, args=(directory.parent, system_clock), name="sweep", daemon=True).start()
    facts = facts_in((directory / FILE).read_bytes())
    return plugin.main(functools.partial(Backend, memory=Memory(), build=facts))
