"""A mount to ask things of, as the server would: it decides between create and update, and turns none into 404."""

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests import keys
from tests.engine.storages import DictStorage
from vault_asc.engine.backend import Backend
from vault_asc.engine.mount import Memory
from vault_asc.engine.request import Operation, Request, RequestError, Response

NOW = 1_772_366_400.75
SCOPE = ["GET /v1/apps", "GET /v1/users?limit=1,2"]
T = TypeVar("T")


def done(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call that waits for nothing, without an event loop."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    call.close()
    raise AssertionError("it waits for something")


class Mounted:
    """A backend with its storage.

    Attributes:
        now: its time in Unix seconds.
        caller: who asks, by the token's display name.
    """

    def __init__(self, storage: DictStorage | None = None, memory: Memory | None = None) -> None:
        self.storage = storage or DictStorage()
        self.now = NOW
        self.caller = "userpass-ada"
        self.backend = Backend(clock=lambda: self.now, build={"commit": "abc"}, memory=memory)

    def request(self, operation: Operation, path: str, data: Mapping[str, Any] | None = None) -> Request:
        return Request(operation, path, data or {}, self.storage, display_name=self.caller)

    async def do(self, operation: Operation, path: str, data: Mapping[str, Any] | None = None) -> Response | None:
        request = self.request(operation, path, data)
        if operation in {Operation.CREATE, Operation.UPDATE}:
            exists = await self.backend.exists(request)
            request = self.request(Operation.CREATE if exists is False else Operation.UPDATE, path, data)
        return await self.backend.handle(request)

    def ask(self, operation: Operation, path: str, data: Mapping[str, Any] | None = None) -> Response | None:
        return done(self.do(operation, path, data))

    def read(self, path: str, **data: Any) -> dict[str, Any]:
        return facts(self.ask(Operation.READ, path, data))

    def write(self, path: str, **data: Any) -> dict[str, Any]:
        response = self.ask(Operation.UPDATE, path, data)
        return {} if response is None else facts(response)

    def delete(self, path: str) -> None:
        assert self.ask(Operation.DELETE, path) is None

    def names(self, path: str) -> list[str]:
        response = self.ask(Operation.LIST, path)
        return [] if response is None else list(facts(response)["keys"])

    def token(self, role: str, **data: Any) -> Response:
        response = self.ask(Operation.READ, f"token/{role}", data)
        assert response is not None
        return response


def facts(response: Response | None) -> dict[str, Any]:
    assert response is not None, "404"
    assert response.data is not None
    return dict(response.data)


def refused(mounted: Mounted, operation: Operation, path: str, **data: Any) -> RequestError:
    """The refusal of a request, which has changed nothing."""
    before = dict(mounted.storage.values)
    with pytest.raises(RequestError) as caught:
        mounted.ask(operation, path, data)
    assert mounted.storage.values == before
    assert caught.value.message.isprintable()
    return caught.value


def p8(pem: bytes | None = None) -> str:
    return (pem or keys.new_p8_pem()).decode()


def team_key(pem: bytes | None = None, key_id: str = keys.KEY_ID) -> dict[str, Any]:
    return {"private_key": p8(pem), "key_id": key_id, "issuer_id": keys.ISSUER_ID}


def with_role(storage: DictStorage | None = None, **role: Any) -> Mounted:
    """A mount with the key `prod` and the role `sales` on it."""
    mounted = Mounted(storage)
    mounted.write("keys/prod", **team_key())
    mounted.write("roles/sales", **{"key": "prod", "scope": SCOPE, **role})
    return mounted


def verified(answer: Mapping[str, Any], public_key: str) -> dict[str, Any]:
    """The claims of a token, as another library than the product's reads them; it raises for a bad signature."""
    read = jwt.decode(answer["token"], ECKey.import_key(public_key), algorithms=["ES256"])
    assert read.header == {"alg": "ES256", "kid": answer["key_id"], "typ": "JWT"}
    return dict(read.claims)
