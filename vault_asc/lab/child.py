"""One program of the lab as a child process: clean environment, output in a file, gone when we are gone.

It knows nothing of what the program does; `vault_asc.lab.server` runs OpenBao with it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from vault_asc.errors import VaultUnavailableError
from vault_asc.secret import safe_text

_GRACE: Final = 5.0  # seconds between asking a program to end and killing it
_TAIL: Final = 1000  # characters of a program's output in an error message
_POLL: Final = 0.02  # seconds between two looks at something that is about to happen

# A small launcher instead of `preexec_fn`, which may deadlock in a program with threads. The kernel sends the signal
# when the thread that started the child ends (PR_SET_PDEATHSIG, Linux only); execv keeps that setting.
_LAUNCHER: Final = """
import os, signal, sys
parent, argv = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != parent:
    sys.exit(1)
os.execv(argv[0], argv)
"""


class Child:
    """A program in a session of its own; all that it starts ends with it.

    Start it from a thread that lives as long as the program is needed (see `_LAUNCHER`).
    """

    def __init__(self, argv: Sequence[str], *, log: Path, environ: Mapping[str, str]) -> None:
        self._argv = tuple(argv)
        self._log = log
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program; its output is appended to the log. Does nothing while it runs."""
        if self.running:
            return
        launcher = (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()))
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                (*launcher, *self._argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environ,
                cwd=self._log.parent,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the program runs at this moment."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process ID. `VaultUnavailableError` when the program was never started or has been stopped."""
        if self._process is None:
            raise VaultUnavailableError("the program is not running", hint="start it first")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the program ended by itself (minus the signal number when by a signal), None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Ask the program to end, kill it after 5 s, and leave nothing behind that it started."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self.kill()

    def kill(self) -> None:
        """End the program and its children at once, as a crash would (SIGKILL)."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log_lines(self) -> list[str]:
        """What the program has written so far, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait for at most `timeout` seconds until `ready()`; else `VaultUnavailableError` with the last log lines.

        Args:
            ready: asked every 20 ms.
            what: what the program does then, for the message: "answered".
            timeout: in seconds.
        """
        deadline = time.monotonic() + timeout
        alive = self.running
        while not ready():
            if not alive:
                raise VaultUnavailableError(f"the program ended before it {what}; it wrote: {self._tail()}")
            if time.monotonic() > deadline:
                raise VaultUnavailableError(
                    f"{timeout:g} s went by before the program {what}; it wrote: {self._tail()}"
                )
            time.sleep(_POLL)
            alive = self.running  # looked at before `ready`: what it did last still counts

    def _tail(self) -> str:
        return safe_text(" | ".join(self.log_lines()[-5:]), _TAIL)
