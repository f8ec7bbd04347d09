"""A real OpenBao Agent with a configuration file of the caller's."""

import os
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vault_asc.lab.bao import bao_binary, clean_environment
from vault_asc.lab.child import Child

_START_TIMEOUT: Final = 20.0  # seconds until the socket takes connections; usually well below one


class BaoAgent:
    """A `bao agent` with a given configuration file; the context starts it and ends it.

    Attributes:
        socket: the unix socket of its listener; a start waits for it when there is one.
        work_dir: private directory with its log, its home and working directory; removed at the end.
    """

    def __init__(
        self,
        config: Path,
        *,
        socket: Path | None = None,
        options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare an Agent; entering the context starts it.

        Args:
            config: its configuration file.
            socket: the unix socket that the configuration's listener names.
            options: further options of `bao agent`, such as `-exit-after-auth`.
            environ: added to a clean environment that has only `PATH`, `HOME` and `LANG`.
        """
        self.socket = socket
        self.work_dir = Path(tempfile.mkdtemp(prefix="vault-asc-agent-"))
        self._child = Child(
            (bao_binary(), "agent", f"-config={config}", *options),
            log=self.work_dir / "agent.log",
            environ=clean_environment(self.work_dir) | dict(environ or {}),
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._discard()

    def start(self) -> None:
        """Start the Agent and wait until its socket takes connections. `VaultUnavailableError` when it does not."""
        self._child.start()
        if self.socket is not None:
            self._child.wait_until(lambda: _listens(self.socket), "listened on its socket", _START_TIMEOUT)

    def stop(self) -> None:
        """End the Agent in order, and all that it started."""
        self._child.stop()

    def kill(self) -> None:
        """End the Agent as a crash would, and all that it started."""
        self._child.kill()

    def restart(self) -> None:
        """Stop and start again with the same configuration."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        """Process ID of the Agent. `VaultUnavailableError` when it does not run."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._child.running

    @property
    def exit_code(self) -> int | None:
        """How the Agent ended by itself, None while it runs."""
        return self._child.exit_code

    def log_lines(self) -> list[str]:
        """What the Agent and its hooks have written so far, over all starts."""
        return self._child.log_lines()

    def wait_for_line(self, text: str, timeout: float = 10.0) -> str:
        """The first log line with `text`, after at most `timeout` seconds; else `VaultUnavailableError`."""
        found: list[str] = []

        def seen() -> bool:
            found.extend(line for line in self.log_lines() if text in line)
            return bool(found)

        self._child.wait_until(seen, f'logged "{text}"', timeout)
        return found[0]

    def _discard(self) -> None:
        self._child.stop()
        shutil.rmtree(self.work_dir, ignore_errors=True)


def _listens(path: Path | None) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path or ""))
        except OSError:
            return False
        return True
