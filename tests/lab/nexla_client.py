"""A caller of the simulated Nexla that hides nothing: one request per call, the answer as it came."""

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.wire import Response, ask
from vault_asc.lab.nexla import NexlaSimulator, User

SERVICE_KEY = "lab-service-key"
OTHER = User(3, "Somebody Else", "else@lab.example")
ONE = "/data_credentials/5001"


def login(nexla: NexlaSimulator, key: str = SERVICE_KEY) -> Response:
    return ask("POST", f"{nexla.url}/token", authorization=f"Basic {key}")


@dataclass
class Client:
    nexla: NexlaSimulator
    session: str

    def __call__(self, method: str, path: str, body: Any = None) -> Response:
        raw = None if body is None else json.dumps(body).encode()
        return ask(method, f"{self.nexla.url}{path}", authorization=f"Bearer {self.session}", body=raw)

    def get(self, path: str) -> Any:
        answer = self("GET", path)
        assert answer.status == 200, answer
        return answer.json()

    def put(self, body: Any, path: str = ONE) -> Response:
        return self("PUT", path, body)

    def probe(self, query: str = "") -> Response:
        return self("GET", f"{ONE}/probe{query}")
