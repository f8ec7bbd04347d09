"""The process as its keys need it: no core dumps, closed to debuggers of its own user, deaf to stray signals.

It ends when the host ends. The kernel's parent-death signal is not used: it fires when the *thread* that started us
ends, and a Go server's threads come and go.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_ENVIRONMENT: Final = (50, 51)  # begin and end of it, as fields of /proc/PID/stat are numbered in proc(5)
_FIRST_FIELD: Final = 3  # after the program's name
_LOOK: Final = 2000  # milliseconds between two looks at who our parent is, where nothing tells us


def harden() -> None:
    """Forbid core dumps and tracing, close new files to others, ignore the signals of a terminal.

    What `os.environ` no longer holds is gone from the environment that the system shows of this process, too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Also gives /proc/PID/environ and /proc/PID/mem to root alone.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.umask(0o077)
    if sys.platform == "linux":
        _blank_environment()
    # Ctrl-C in the server's terminal reaches us as well, and so does a HUP meant for the server: the host decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _blank_environment() -> None:
    """Overwrite the environment with which the process was started, where the kernel keeps showing it and a dump has it.

    What is left of `os.environ` moves to memory of the C library first. Where /proc is not there, nothing is done.
    """
    for name, value in os.environ.items():
        os.putenv(name, value)
    with contextlib.suppress(OSError):
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
        begin, end = (int(fields[number - _FIRST_FIELD]) for number in _ENVIRONMENT)
        ctypes.memset(begin, 0, end - begin)


def end_with_host(stdout: int, ended: Callable[[], None]) -> None:
    """Call `ended` from a thread of its own and end this process, when the host is gone.

    Args:
        stdout: descriptor of a pipe that the host reads; nobody reads it any more when the host is gone, also where
            another process (the loader of a one-file executable) is between the host and us.
        ended: removes what the process would leave behind; it must not wait.
    """
    threading.Thread(target=_watch, args=(os.getppid(), stdout, ended), name="host-watch", daemon=True).start()


def _watch(parent: int, stdout: int, ended: Callable[[], None]) -> None:
    events = select.poll()
    events.register(stdout, 0)  # an error on the pipe is told unasked: its reader is gone
    while os.getppid() == parent:
        if any(what & (select.POLLERR | select.POLLNVAL) for _, what in events.poll(_LOOK)):
            break
    try:
        ended()
    finally:
        os._exit(0)
