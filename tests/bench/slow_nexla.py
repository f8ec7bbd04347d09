"""A Nexla that does nothing but take its time, in a process of its own; some of its credentials never answer.

python -m tests.bench.slow_nexla LATENCY DEAD_EVERY     (0: none is dead); prints its address
"""

import re
import sys
import threading
from typing import Final

from vault_asc.lab.web import Answer, LocalServer, Request, json_answer

_CREDENTIAL: Final = r"/nexla-api/data_credentials/(\d+)(/probe)?"


class SlowNexla:
    """Answers every call after `latency` seconds, those for each `dead_every`-th credential after minutes."""

    def __init__(self, latency: float, dead_every: int) -> None:
        self.server = LocalServer(self.respond)
        self._latency = latency
        self._dead_every = dead_every

    def respond(self, request: Request) -> Answer:
        """One call."""
        found = re.fullmatch(_CREDENTIAL, request.path)
        number = int(found[1]) if found else 1
        dead = found is not None and self._dead_every and number % self._dead_every == 0
        self.server.wait(600 if dead else self._latency)
        if request.path.endswith("/token"):
            return json_answer(200, {"access_token": "slow-session-token", "expires_in": 3600})
        if found is None:
            return json_answer(200, {})
        if found[2]:
            return json_answer(200, {"status": 200, "message": "Ok"})
        return json_answer(200, {"id": number, "credentials_type": "rest", "credentials_non_secure_data": {}})


def main() -> None:
    """Serve until standard input ends."""
    nexla = SlowNexla(float(sys.argv[1]), int(sys.argv[2]))
    nexla.server.start()
    print(nexla.server.url, flush=True)
    sys.stdin.read()
    threading.Thread(target=nexla.server.stop, daemon=True).start()


if __name__ == "__main__":
    main()
