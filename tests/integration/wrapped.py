"""Answers that go into wrapping tokens, on a real server, and every way in which they can be taken out again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.integration.audited import Audited
from vault_asc import http
from vault_asc.secret import Secret

UNWRAP = "sys/wrapping/unwrap"
PLAIN: Mapping[str, str] = {}
WRAPPED = {"X-Vault-Wrap-TTL": "60"}
AS_JWT = {**WRAPPED, "X-Vault-Wrap-Format": "jwt"}
MAY_UNWRAP = (
    f'path "{UNWRAP}" {{ capabilities = ["update"] }}\npath "sys/wrapping/rewrap" {{ capabilities = ["update"] }}'
)


@dataclass(frozen=True)
class Wire:
    """Raw calls, with headers."""

    scene: Audited

    def ask(self, token: Secret, method: str, path: str, body: object = None, **headers: str) -> dict[str, Any]:
        """The whole answer, which has to be a success."""
        with http.session() as session:
            named = {"X-Vault-Token": token.reveal(), **headers}
            answer = session.request(method, f"{self.scene.server.address}/v1/{path}", json=body, headers=named)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())


def wrapping_token(answer: dict[str, Any]) -> Secret:
    return Secret(answer["wrap_info"]["token"])


def inner(answer: dict[str, Any], name: str = "signature") -> str:
    """A value that an answer has, also inside of a whole answer."""
    data = answer["data"]
    return str(data[name]) if name in data else inner(json.loads(data["response"]), name)


Way = Callable[[Wire, Secret, Secret], dict[str, Any]]
"""How a signature is taken out: with the wrapping token, by somebody else's token where that is needed."""


def plainly(wire: Wire, wrapped: Secret, _other: Secret) -> dict[str, Any]:
    return wire.ask(wrapped, "POST", UNWRAP)


def by_another(wire: Wire, wrapped: Secret, other: Secret) -> dict[str, Any]:
    return wire.ask(other, "POST", UNWRAP, {"token": wrapped.reveal()})


def from_the_cubbyhole(wire: Wire, wrapped: Secret, _other: Secret) -> dict[str, Any]:
    return wire.ask(wrapped, "GET", "cubbyhole/response?token=x")


def wrapped_again(wire: Wire, wrapped: Secret, other: Secret) -> dict[str, Any]:
    again = wire.ask(other, "POST", "sys/wrapping/rewrap", {"token": wrapped.reveal()})
    return wire.ask(wrapping_token(again), "POST", UNWRAP)


def wrapped_again_and_from_the_cubbyhole(wire: Wire, wrapped: Secret, other: Secret) -> dict[str, Any]:
    again = wire.ask(other, "POST", "sys/wrapping/rewrap", {"token": wrapped.reveal()})
    return wire.ask(wrapping_token(again), "GET", "cubbyhole/response")


def unwrapped_into_another(wire: Wire, wrapped: Secret, _other: Secret) -> dict[str, Any]:
    return wire.ask(wrapping_token(wire.ask(wrapped, "POST", UNWRAP, **WRAPPED)), "POST", UNWRAP)


def cubbyhole_into_another(wire: Wire, wrapped: Secret, _other: Secret) -> dict[str, Any]:
    again = wire.ask(wrapped, "GET", "cubbyhole/response", **WRAPPED)
    return wire.ask(wrapping_token(again), "POST", UNWRAP)


WAYS: tuple[Way, ...] = (
    plainly,
    by_another,
    from_the_cubbyhole,
    wrapped_again,
    wrapped_again_and_from_the_cubbyhole,
    unwrapped_into_another,
    cubbyhole_into_another,
)
