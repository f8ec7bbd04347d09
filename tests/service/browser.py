"""A real browser without a window, spoken to over two pipes by the DevTools protocol; it reaches nothing but this machine."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING: Final = "needs a browser: apt-get install chromium"
_PATIENCE: Final = 30.0
_OPTIONS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
)
# The protocol is spoken on descriptors 3 and 4 of the browser.
_LAUNCHER: Final = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Tab:
    """One page in the browser.

    Attributes:
        requests: addresses that it has asked for.
        complaints: exceptions, and what the browser has written to its console about it.
    """

    def __init__(self, to: int, come: int) -> None:
        self._to = to
        self._come = come
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def open(self, url: str) -> None:
        """Attach to a new page, and load the address in it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something, and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _PATIENCE
        while True:
            found = self._next(end)
            if found.get("id") == self._number:
                assert "error" not in found, found
                result: dict[str, Any] = found["result"]
                return result
            self._note(found)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, timeout: float = _PATIENCE) -> Any:
        """Wait until an expression is true in the page; its value."""
        end = time.monotonic() + timeout
        while not (value := self.js(expression)):
            assert time.monotonic() < end, (
                f"{expression} did not become true: {self.js('document.body.innerText')[:2000]}"
            )
            time.sleep(0.05)
        return value

    def size(self, width: int, height: int = 900) -> None:
        """Change the size of the window, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def key(self, key: str) -> None:
        """Press and let go a key."""
        code = {"Tab": 9, "Enter": 13}.get(key, 0)
        for kind in ("rawKeyDown", "char", "keyUp"):
            text = {"text": "\r" if key == "Enter" else key} if kind == "char" else {}
            if kind != "char" or key != "Tab":
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, file: Path) -> None:
        """What is to be seen in the window, as PNG."""
        file.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._come], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._come, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])


@contextmanager
def browser(home: Path) -> Iterator[Tab]:
    """A tab of a fresh browser, which is gone afterwards with all its processes."""
    assert PROGRAM is not None
    pipes = [fd for _ in range(2) for fd in os.pipe()]
    theirs = [fcntl.fcntl(pipes[i], fcntl.F_DUPFD, 10) for i in (0, 3)]  # out of the way of 3 and 4
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    options = [*_OPTIONS, *root, f"--user-data-dir={home / 'profile'}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, *map(str, theirs), PROGRAM, *options],
        pass_fds=theirs,
        env={"HOME": str(home), "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for fd in (*theirs, pipes[0], pipes[3]):
        os.close(fd)
    try:
        yield Tab(pipes[1], pipes[2])
    finally:
        os.close(pipes[1])
        os.close(pipes[2])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_PATIENCE)
